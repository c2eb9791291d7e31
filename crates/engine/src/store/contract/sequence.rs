//! The numbers of events: in order, without a gap, whoever pauses, fails or comes late.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Fixture, MINUTE, on_purpose};
use crate::model::event::{Event, EventName};
use crate::model::ids::{EventId, IdentityId, TenantId};
use crate::model::time::Timestamp;
use crate::store::sequence::{self, Numbered};
use crate::store::{Db, Tx, event, identity};
use crate::testing::Backend;

each_db! {
    events_are_numbered_in_the_order_of_their_writes
    a_worker_that_pauses_until_its_lease_is_over_numbers_nothing
    a_claim_is_good_for_one_batch
    a_lease_runs_out
    tenants_with_events_that_have_no_number_are_found
    many_writers_at_once_leave_no_gap_and_keep_the_order_of_each_login
    what_is_swept_is_noted
}

fn event(id: EventId, order: i64) -> Event {
    let data = Map::from_iter([("order".to_owned(), Value::from(order))]);
    Event { id, name: EventName::CustomerUpdated, data, secret_ref: None, created_at: Timestamp::from_seconds(1_800_000_000) }
}

/// Writes `count` events of `tenant`, one transaction each.
async fn write(f: &Fixture, tenant: TenantId, count: i64) {
    for order in 0..count {
        let id = f.id();
        commit!(f, |tx| event::append(tx, tenant, &event(id, order), &[]).await);
    }
}

async fn claim(f: &Fixture, tenant: TenantId, lease: &'static str) -> Option<i64> {
    let until = f.in_a_minute();
    commit!(f, |tx| sequence::claim(tx, tenant, lease, until).await)
}

async fn number(f: &Fixture, tenant: TenantId, lease: &'static str, last: i64) -> Option<i64> {
    commit!(f, |tx| sequence::number(tx, tenant, lease, last, 100).await)
}

/// The numbers of a tenant's events and what each holds, in the order of the numbers.
async fn numbers(f: &Fixture, tenant: TenantId) -> Vec<(i64, String)> {
    const SQL: &str = "SELECT number, data FROM events WHERE tenant_id = $1 AND number IS NOT NULL ORDER BY number";
    look!(f, |reader| reader.all::<(i64, String)>(SQL, &[tenant.into()]).await)
}

async fn last(f: &Fixture, tenant: TenantId) -> Numbered {
    look!(f, |reader| sequence::state(reader, tenant).await)
}

async fn events_are_numbered_in_the_order_of_their_writes(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    assert_eq!(last(f, acme).await, Numbered { last: 0, swept: 0 });
    write(f, acme, 3).await;
    write(f, other, 1).await;
    assert_eq!(claim(f, acme, "w1").await, Some(0));
    assert_eq!(commit!(f, |tx| sequence::number(tx, acme, "w1", 0, 2).await), Some(2), "a batch");
    assert_eq!(claim(f, acme, "w1").await, Some(2));
    assert_eq!(number(f, acme, "w1", 2).await, Some(1));
    write(f, acme, 1).await;
    assert_eq!(claim(f, acme, "w2").await, Some(3));
    assert_eq!(number(f, acme, "w2", 3).await, Some(1));
    let expected = [(1, 0), (2, 1), (3, 2), (4, 0)].map(|(number, order)| (number, format!("{{\"order\":{order}}}")));
    assert_eq!(numbers(f, acme).await, expected);
    assert_eq!((last(f, acme).await.last, last(f, other).await.last), (4, 0));
    assert!(numbers(f, other).await.is_empty(), "nothing of another tenant is numbered");
}

async fn a_worker_that_pauses_until_its_lease_is_over_numbers_nothing(f: &Fixture) {
    let acme = f.acme;
    write(f, acme, 2).await;
    assert_eq!(claim(f, acme, "paused").await, Some(0));
    f.clock.advance(MINUTE);
    assert_eq!(claim(f, acme, "next").await, Some(0));
    // It wakes before the other has done anything.
    assert_eq!(number(f, acme, "paused", 0).await, None);
    assert!(numbers(f, acme).await.is_empty());
    assert_eq!(number(f, f.other, "next", 0).await, None, "another tenant's lease is none");
    assert_eq!(number(f, acme, "next", 0).await, Some(2));
    assert_eq!(number(f, acme, "paused", 2).await, None);
}

async fn a_claim_is_good_for_one_batch(f: &Fixture) {
    let acme = f.acme;
    write(f, acme, 2).await;
    assert_eq!(claim(f, acme, "w").await, Some(0));
    assert_eq!(number(f, acme, "w", 0).await, Some(2));
    write(f, acme, 1).await;
    // Its lease was given back; and one that it has again does not make an old number good.
    assert_eq!(number(f, acme, "w", 2).await, None);
    assert_eq!(claim(f, acme, "w").await, Some(2));
    assert_eq!(number(f, acme, "w", 0).await, None);
    assert_eq!(number(f, acme, "w", 3).await, None);
    assert_eq!(number(f, acme, "w", 2).await, Some(1));
    assert_eq!(numbers(f, acme).await.last().unwrap().0, 3);
}

async fn a_lease_runs_out(f: &Fixture) {
    let acme = f.acme;
    assert_eq!(claim(f, acme, "w1").await, Some(0));
    assert_eq!(claim(f, acme, "w2").await, None);
    assert_eq!(claim(f, f.other, "w2").await, Some(0), "another tenant is free");
    f.clock.advance(MINUTE);
    assert_eq!(claim(f, acme, "w2").await, Some(0));
    assert_eq!(claim(f, acme, "w1").await, None);
}

async fn tenants_with_events_that_have_no_number_are_found(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let due = async |after, most| look!(f, |reader| sequence::due(reader, after, most).await);
    assert!(due(None, 9).await.is_empty());
    write(f, acme, 2).await;
    write(f, other, 1).await;
    assert_eq!(due(None, 9).await, [acme, other]);
    assert_eq!(due(None, 1).await, [acme]);
    assert_eq!(due(Some(acme), 9).await, [other]);
    claim(f, acme, "w").await;
    number(f, acme, "w", 0).await;
    assert_eq!(due(None, 9).await, [other]);
}

/// Under the lock of the login: says in the event how many were written before.
async fn one_more(tx: &mut Tx, tenant: TenantId, login: IdentityId, id: EventId, fails: bool) -> crate::error::Result<()> {
    assert!(identity::lock(tx, tenant, login).await?);
    let order = identity::by_id(tx, tenant, login).await?.unwrap().password_hash.unwrap().parse::<i64>().unwrap();
    identity::set_password(tx, tenant, login, &(order + 1).to_string()).await?;
    event::append(tx, tenant, &event(id, order), &[]).await?;
    if fails { on_purpose() } else { Ok(()) }
}

const OF: &str = "SELECT id, data FROM events WHERE tenant_id = $1 ORDER BY number";

async fn many_writers_at_once_leave_no_gap_and_keep_the_order_of_each_login(f: &Fixture) {
    let acme = f.acme;
    let logins = [f.identity("ann").await, f.identity("bob").await];
    for login in logins {
        commit!(f, |tx| identity::set_password(tx, acme, login, "0").await);
    }
    let (mut writers, mut of_ann) = (JoinSet::new(), Vec::new());
    for place in 0..120_usize {
        let (db, login, id): (Db, _, EventId) = (f.db.clone(), logins[place % 2], f.id());
        if place % 2 == 0 {
            of_ann.push(id.bare());
        }
        writers.spawn(async move { db.write(move |tx| Box::pin(one_more(tx, acme, login, id, place % 5 == 0))).await.is_ok() });
    }
    // Two that number meanwhile, and one that takes their lease again and again.
    let mut workers = JoinSet::new();
    for lease in ["w1", "w2"] {
        let (db, clock) = (f.db.clone(), f.clock.clone());
        workers.spawn(async move {
            for _ in 0..40 {
                let until = clock.now().after(Duration::from_millis(1));
                clock.advance(Duration::from_micros(500));
                let claimed = db.write(move |tx| Box::pin(sequence::claim(tx, acme, lease, until))).await.unwrap();
                tokio::task::yield_now().await;
                let Some(last) = claimed else { continue };
                db.write(move |tx| Box::pin(sequence::number(tx, acme, lease, last, 7))).await.unwrap();
            }
        });
    }
    let written = writers.join_all().await.into_iter().filter(|written| *written).count();
    workers.join_all().await;
    assert_eq!(written, 96);
    f.clock.advance(MINUTE);
    let before = claim(f, acme, "end").await.unwrap();
    number(f, acme, "end", before).await.unwrap();
    let found = numbers(f, acme).await;
    assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=96).collect::<Vec<_>>());
    let rows = look!(f, |reader| reader.all::<(String, String)>(OF, &[acme.into()]).await);
    let (ann, bob): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(id, _)| of_ann.contains(id));
    for (name, orders) in [("ann", ann), ("bob", bob)] {
        let orders: Vec<_> = orders.into_iter().map(|(_, data)| data).collect();
        assert_eq!(orders, (0..48).map(|order| format!("{{\"order\":{order}}}")).collect::<Vec<_>>(), "{name}");
    }
}

async fn what_is_swept_is_noted(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    write(f, acme, 3).await;
    let later = f.in_a_minute();
    assert_eq!(commit!(f, |tx| event::sweep(tx, acme, later).await), 0, "what has no number yet stays");
    assert_eq!(claim(f, acme, "w").await, Some(0));
    assert_eq!(commit!(f, |tx| sequence::number(tx, acme, "w", 0, 2).await), Some(2));
    assert_eq!(commit!(f, |tx| event::sweep(tx, acme, later).await), 2);
    assert_eq!(last(f, acme).await, Numbered { last: 2, swept: 2 });
    // It never falls, and numbers go on where they were.
    commit!(f, |tx| sequence::swept(tx, acme, 1).await);
    claim(f, other, "w").await;
    commit!(f, |tx| sequence::swept(tx, acme, 1).await);
    assert_eq!((last(f, acme).await.swept, last(f, other).await.swept), (2, 0));
    assert_eq!(claim(f, acme, "w").await, Some(2));
    assert_eq!(number(f, acme, "w", 2).await, Some(1));
    assert_eq!(numbers(f, acme).await.last().unwrap().0, 3);
}

/// On SQLite one transaction writes at a time, so none can commit late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_whoever_commits_late_gets_a_later_number() {
    let f = Fixture::create(Backend::Postgres).await;
    let (acme, late, early): (_, EventId, EventId) = (f.acme, f.id(), f.id());
    let (written, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (written.clone(), go.clone());
    let db = f.db.clone();
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        let work = db.write(move |tx| {
            let (written, go) = signals.clone();
            Box::pin(async move {
                event::append(tx, acme, &event(late, 1), &[]).await?;
                written.notify_one();
                go.notified().await;
                Ok(())
            })
        });
        work.await.unwrap();
    });
    written.notified().await;
    commit!(f, |tx| event::append(tx, acme, &event(early, 2), &[]).await);
    assert_eq!(claim(&f, acme, "w").await, Some(0));
    assert_eq!(number(&f, acme, "w", 0).await, Some(1), "nobody waits for the open one");
    go.notify_one();
    writer.join_all().await;
    assert_eq!(claim(&f, acme, "w").await, Some(1));
    assert_eq!(number(&f, acme, "w", 1).await, Some(1));
    assert_eq!(numbers(&f, acme).await, [(1, "{\"order\":2}".to_owned()), (2, "{\"order\":1}".to_owned())]);
    f.database.remove().await.unwrap();
}
