//! What is claimed, how it ends, and when it is tried again.

use std::collections::HashMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::model::event::{Event, EventName};
use crate::model::ids::{DeliveryId, EventId, JobId, TenantId};
use crate::model::tenant::{Secret, Webhook};
use crate::notify::smtp;
use crate::ops::event::webhook_id;
use crate::testing::{Backend, Fault, TestDatabase, one_shop, reopened};

const BACKLOG: usize = 5_000;
/// For less than this long a tenant's settings are taken for what they were.
const TENANT_KNOWN: Duration = Duration::from_secs(1);
const STATES: &str = "SELECT state, attempts, answer FROM deliveries ORDER BY id";

/// Of one event so many deliveries, to so many subscribers in turn; or so many jobs.
async fn backlog(engine: &Engine, tenant: TenantId, lane: Lane, subscribers: usize) {
    for table in ["DELETE FROM deliveries", "DELETE FROM jobs", "DELETE FROM backlogs"] {
        crate::testing::execute(engine, table).await.unwrap();
    }
    let draw = || engine.rng.ulid(engine.clock.now());
    let name = |place| match lane {
        Lane::Mail => MAILER.to_owned(),
        Lane::Nats => NATS.to_owned(),
        Lane::Medusa => MEDUSA.to_owned(),
        Lane::Jobs | Lane::Webhooks => format!("webhook:{}", place % subscribers),
    };
    let drawn = Arc::new((EventId(draw()), (0..BACKLOG).map(|place| (draw(), name(place))).collect::<Vec<_>>()));
    let inserted = engine.db.write(move |tx| {
        let drawn = drawn.clone();
        Box::pin(async move {
            for (id, subscriber) in &drawn.1 {
                if lane == Lane::Jobs {
                    assert!(store::job::append(tx, tenant, JobId(*id), password_reset::JOB, "{}", 10_000).await?);
                } else {
                    store::delivery::insert(tx, tenant, DeliveryId(*id), drawn.0, subscriber).await?;
                }
            }
            Ok(())
        })
    });
    inserted.await.unwrap();
}

/// Whatever waits, so much of it is held in memory.
async fn a_claim_is_bounded(backend: Backend) {
    let (engine, tenant, database) = one_shop(backend).await.unwrap();
    for (lane, subscribers, bound) in
        [(Lane::Jobs, 1, 128), (Lane::Mail, 1, 32), (Lane::Webhooks, 1, 16), (Lane::Webhooks, 50, 256), (Lane::Nats, 1, 128), (Lane::Medusa, 1, 16)]
    {
        backlog(&engine, tenant.id, lane, subscribers).await;
        let claimed = claim(&engine, lane, &mut Slots::new(lane)).await.unwrap();
        assert_eq!(claimed.len(), bound, "{lane:?} of {subscribers}");
        let mut each: HashMap<Party, usize> = HashMap::new();
        for work in claimed {
            *each.entry(work.party()).or_default() += 1;
        }
        assert_eq!(each.len(), subscribers, "everybody has a share: {each:?}");
    }
    database.remove().await.unwrap();
}

#[tokio::test]
async fn of_5000_that_are_due_so_many_are_claimed_on_sqlite() {
    a_claim_is_bounded(Backend::Sqlite).await;
}

#[tokio::test]
async fn of_5000_that_are_due_so_many_are_claimed_on_postgres() {
    a_claim_is_bounded(Backend::Postgres).await;
}

#[test]
fn what_a_stranger_said_is_kept_in_bounds_and_printable() {
    assert_eq!(printable("250 2.0.0 ok\0\u{1b}[2J\r\nü"), "250 2.0.0 ok  [2J  ü");
    assert_eq!(printable(&"ü".repeat(501)), "ü".repeat(500));
}

/// An event that `subscriber` is to be told of.
async fn told(engine: &Engine, tenant: TenantId, subscriber: &str) {
    let now = engine.clock.now();
    let event = Event {
        id: EventId(engine.rng.ulid(now)),
        name: EventName::CustomerCreated,
        data: serde_json::Map::new(),
        secret_ref: None,
        created_at: now,
    };
    let input = Arc::new((event, [(DeliveryId(engine.rng.ulid(now)), subscriber.to_owned())]));
    let written = engine.db.write(move |tx| {
        let input = input.clone();
        Box::pin(async move { store::event::append(tx, tenant, &input.0, &input.1).await })
    });
    written.await.unwrap();
}

/// What is due in `lane`, which must be one piece.
async fn claim_one(engine: &Engine, lane: Lane) -> Work {
    let mut claimed = claim(engine, lane, &mut Slots::new(lane)).await.unwrap();
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

async fn states(database: &TestDatabase) -> Vec<String> {
    database.rows(STATES).await.unwrap().into_iter().map(|row| row.join(" ")).collect()
}

/// A subscriber that always fails, here the broker that this server does not have, is tried until three days have passed since the first try.
async fn what_always_fails_is_given_up_after_three_days(backend: Backend) {
    const FAILS: &str = "this server has no [nats]";
    let (engine, tenant, database) = one_shop(backend).await.unwrap();
    told(&engine, tenant.id, NATS).await;
    // Waiting for its first try is no failing.
    engine.clock.advance(Duration::from_hours(100));
    for (after, state) in [(0, "waiting 1"), (71, "waiting 2"), (2, "dead 3")] {
        engine.clock.advance(Duration::from_hours(after));
        carry_out(&engine, claim_one(&engine, Lane::Nats).await).await;
        assert_eq!(states(&database).await, [format!("{state} {FAILS}")], "{after} h later");
    }
    database.remove().await.unwrap();
}

#[tokio::test]
async fn what_always_fails_is_tried_at_71_hours_and_given_up_at_73_on_sqlite() {
    what_always_fails_is_given_up_after_three_days(Backend::Sqlite).await;
}

#[tokio::test]
async fn what_always_fails_is_tried_at_71_hours_and_given_up_at_73_on_postgres() {
    what_always_fails_is_given_up_after_three_days(Backend::Postgres).await;
}

#[tokio::test]
async fn tries_are_doubled_apart_up_to_an_hour_and_no_two_come_back_at_once() {
    let (engine, _, _database) = one_shop(Backend::Sqlite).await.unwrap();
    let engine = reopened(&engine, |_| {}).await.unwrap();
    let now = engine.clock.now();
    let draws = |attempts| (0..200).map(|_| retry_at(&engine, attempts, None).since(now).as_millis()).collect::<Vec<_>>();
    let nominal = [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600, 3_600];
    for (attempts, seconds) in (1..).zip(nominal).chain([(0, 5), (64, 3_600), (i64::MAX, 3_600)]) {
        let (least, most) = (seconds * 800, seconds * 1_200);
        let draws = draws(attempts);
        assert!(draws.iter().all(|wait| (least..=most).contains(wait)), "{attempts}: {draws:?}");
        // All of the fifth to either side is used.
        let edge = seconds * 20;
        assert!(draws.iter().any(|wait| *wait < least + edge) && draws.iter().any(|wait| *wait > most - edge), "{attempts}: {draws:?}");
    }
}

#[tokio::test]
async fn a_retry_after_is_honoured_from_the_own_wait_up_to_a_day() {
    let (engine, ..) = one_shop(Backend::Sqlite).await.unwrap();
    let wait = |asked| retry_at(&engine, 1, Some(asked)).since(engine.clock.now());
    let hours = Duration::from_hours;
    for (asked, kept) in [(hours(1), hours(1)), (hours(24), hours(24)), (hours(25), hours(24)), (Duration::MAX, hours(24))] {
        assert_eq!(wait(asked), kept, "{asked:?}");
    }
    assert!(wait(Duration::from_secs(1)) >= Duration::from_secs(4), "who asks for less is not called sooner");
}

/// What is waiting when its receiver is no more is dead, and says why.
async fn whose_receiver_is_gone_is_dead_and_says_so(backend: Backend) {
    let (engine, tenant, database) = one_shop(backend).await.unwrap();
    let hook = webhook(9);
    let engine = reopened(&engine, |config| config.tenants[0].webhooks = vec![hook.clone()]).await.unwrap();
    engine.clock.advance(TENANT_KNOWN);
    for (lane, subscriber, says) in [
        (Lane::Webhooks, "webhook:0", "the webhook was removed"),
        (Lane::Medusa, MEDUSA, "the bridge was removed"),
        (Lane::Mail, MAILER, "the shop has no mail for this event"),
        (Lane::Webhooks, &webhook_id(&hook), "the webhook is switched off"),
    ] {
        crate::testing::execute(&engine, "DELETE FROM deliveries").await.unwrap();
        told(&engine, tenant.id, subscriber).await;
        if says.ends_with("off") {
            ops::webhook::disable(&engine, &ops::tenant::by_slug(&engine, "acme").await.unwrap(), subscriber).await.unwrap();
        }
        carry_out(&engine, claim_one(&engine, lane).await).await;
        assert_eq!(states(&database).await, [format!("dead 1 {says}")]);
    }
    for (sql, says) in [("DELETE FROM events", "the event is gone"), ("", "the tenant was closed")] {
        crate::testing::execute(&engine, "DELETE FROM deliveries").await.unwrap();
        told(&engine, tenant.id, MEDUSA).await;
        if sql.is_empty() {
            ops::tenant::disable(&engine, &tenant).await.unwrap();
            engine.clock.advance(TENANT_KNOWN);
        } else {
            crate::testing::execute(&engine, sql).await.unwrap();
        }
        carry_out(&engine, claim_one(&engine, Lane::Medusa).await).await;
        assert_eq!(states(&database).await, [format!("dead 1 {says}")]);
    }
    database.remove().await.unwrap();
}

#[tokio::test]
async fn whose_receiver_is_gone_is_dead_and_says_so_on_sqlite() {
    whose_receiver_is_gone_is_dead_and_says_so(Backend::Sqlite).await;
}

#[tokio::test]
async fn whose_receiver_is_gone_is_dead_and_says_so_on_postgres() {
    whose_receiver_is_gone_is_dead_and_says_so(Backend::Postgres).await;
}

/// A webhook on this machine that hears of new customers.
fn webhook(port: u16) -> Webhook {
    Webhook {
        url: format!("http://127.0.0.1:{port}/hook").parse().unwrap(),
        secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        former_secret: None,
        events: vec!["customer.created".to_owned()],
    }
}

/// A shop whose webhook is the listener, and an event that waits for it.
async fn hooked(backend: Backend) -> (Arc<Engine>, TcpListener, TestDatabase) {
    let (engine, tenant, database) = one_shop(backend).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = webhook(listener.local_addr().unwrap().port());
    let id = webhook_id(&hook);
    let engine = reopened(&engine, |config| {
        config.outbound.allow_private = vec!["127.0.0.1/32".parse().unwrap()];
        config.tenants[0].webhooks = vec![hook];
    })
    .await
    .unwrap();
    engine.clock.advance(TENANT_KNOWN);
    told(&engine, tenant.id, &id).await;
    (engine, listener, database)
}

/// Takes one call and says that all is well.
async fn answer(listener: &TcpListener, calls: &mut usize) {
    let (mut stream, _) = listener.accept().await.unwrap();
    *calls += 1;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
}

async fn what_was_sent_is_written_down(backend: Backend) {
    let (engine, listener, database) = hooked(backend).await;
    let work = claim_one(&engine, Lane::Webhooks).await;
    engine.faults().arm(Fault::Commit, 1);
    let mut calls = 0;
    let health = tokio::select! {
        health = carry_out(&engine, work) => health,
        () = async { loop { answer(&listener, &mut calls).await } } => unreachable!(),
    };
    assert!(!engine.faults().strikes(Fault::Commit), "no commit was refused");
    assert_eq!((health, states(&database).await), (Health::Sound, vec!["delivered 1 200".to_owned()]));
    assert_eq!(calls, 1);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn what_was_sent_is_written_down_although_a_commit_is_refused_on_sqlite() {
    what_was_sent_is_written_down(Backend::Sqlite).await;
}

#[tokio::test]
async fn what_was_sent_is_written_down_although_a_commit_is_refused_on_postgres() {
    what_was_sent_is_written_down(Backend::Postgres).await;
}

/// What outlives its lease is done by another, too.
#[test]
fn a_lease_is_longer_than_the_longest_conversation() {
    for (lane, longest) in [
        (Lane::Mail, smtp::TOTAL_TIMEOUT * 2), // the server is reached for, and then it is given the mail
        (Lane::Webhooks, webhook::TIMEOUT),
        (Lane::Nats, nats::TIMEOUT * 3), // a stream that is missing is made, and then the event is published again
        (Lane::Medusa, medusa::TIMEOUT * 2),
    ] {
        assert!(lane.lease() > longest + Duration::from_secs(15), "{lane:?}");
    }
    assert_eq!(webhook::TIMEOUT, Duration::from_secs(15), "as docs/events.md says");
}

#[tokio::test]
async fn what_panics_gives_its_slot_back_and_counts_as_a_failure() {
    let party = Party { tenant: TenantId(ulid::Ulid::nil()), subscriber: "webhook:1".to_owned() };
    let (mut under_way, mut slots) = (JoinSet::new(), Slots::new(Lane::Webhooks));
    let free = slots.free();
    let task = under_way.spawn(async { panic!("on purpose") });
    slots.take(task.id(), party.clone());
    assert_eq!(slots.free(), free - 1);
    let (ended, health) = or_failing(under_way.join_next_with_id().await.unwrap());
    assert_eq!((ended, health), (task.id(), Health::Failing));
    slots.give_back(ended, health);
    assert_eq!((slots.free(), slots.shares(std::slice::from_ref(&party))), (free, vec![(party, 1)]));
}
