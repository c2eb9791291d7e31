//! Deliveries: claimed by one worker at a time, ended by the holder of the lease.

use std::collections::BTreeSet;

use super::{ALMOST, Fixture, MINUTE, RACERS, SECOND};
use crate::model::event::{Event, EventName};
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::model::time::Timestamp;
use crate::store::delivery::{self, Channel, ClaimedDelivery, DeliveryRow, Ending, Party, Which};
use crate::store::event;

each_db! {
    a_claimed_delivery_is_nobody_elses_until_its_lease_ends
    a_claim_takes_so_many_of_each_tenant
    a_claim_is_of_one_subscriber_of_one_tenant
    of_many_claims_no_delivery_is_claimed_twice
    only_the_holder_of_the_lease_ends_a_delivery
    each_ending_is_kept
    of_many_finishes_one_wins
    only_the_holder_of_the_lease_reschedules_a_delivery
    a_list_has_what_is_asked_for_newest_first
    only_the_dead_are_retried
    of_many_who_retry_one_does
    a_sweep_leaves_the_dead_longer
    a_backlog_keeps_neither_mail_nor_another_tenant_from_the_first_claim
}

pub(super) fn party(tenant: TenantId, subscriber: &str) -> &'static Party {
    Box::leak(Box::new(Party { tenant, subscriber: subscriber.to_owned() }))
}

async fn insert(f: &Fixture, tenant: TenantId) -> DeliveryId {
    let (id, event): (_, EventId) = (f.id(), f.id());
    commit!(f, |tx| delivery::insert(tx, tenant, id, event, "mail").await);
    id
}

async fn claim(f: &Fixture, lease: &'static str, most: i64) -> Vec<ClaimedDelivery> {
    claim_over(f, Channel::Mail, lease, most).await
}

/// Claims from everybody with due work, as the dispatcher does.
async fn claim_over(f: &Fixture, channel: Channel, lease: &'static str, most: i64) -> Vec<ClaimedDelivery> {
    let until = f.in_a_minute();
    let mut claimed = Vec::new();
    for found in due(f, channel).await {
        let found = party(found.tenant, &found.subscriber);
        claimed.extend(commit!(f, |tx| delivery::claim(tx, found, lease, until, most).await));
    }
    claimed
}

async fn due(f: &Fixture, channel: Channel) -> Vec<Party> {
    look!(f, |r| delivery::due(r, channel, None, 100).await)
}

async fn claim_one(f: &Fixture, lease: &'static str) -> &'static ClaimedDelivery {
    let mut claimed = claim(f, lease, 1).await;
    assert_eq!(claimed.len(), 1);
    Box::leak(Box::new(claimed.remove(0)))
}

async fn a_claimed_delivery_is_nobody_elses_until_its_lease_ends(f: &Fixture) {
    let (acme, event): (_, EventId) = (f.acme, f.id());
    let id = f.id();
    commit!(f, |tx| delivery::insert(tx, acme, id, event, "mail").await);
    assert_eq!(due(f, Channel::Mail).await, std::slice::from_ref(party(acme, "mail")));
    // While nobody could be asked no time ran: its three days begin with the first try.
    f.clock.advance(MINUTE);
    let begun = f.clock.now();
    let first = claim_one(f, "one").await;
    assert_eq!((first.tenant, first.id, first.event, first.subscriber.as_str()), (acme, id, event, "mail"));
    assert_eq!((first.attempts, first.begun_at, first.by_hand_at), (1, begun, None));
    assert!(due(f, Channel::Mail).await.is_empty());
    f.clock.advance(ALMOST);
    assert!(claim(f, "two", 1).await.is_empty());
    f.clock.advance(SECOND);
    let second = claim_one(f, "two").await;
    assert_eq!((second.attempts, second.begun_at), (2, begun));
}

async fn a_claim_takes_so_many_of_each_tenant(f: &Fixture) {
    let mut oldest = BTreeSet::new();
    for tenant in [f.acme, f.other] {
        for place in 0..4 {
            let id = insert(f, tenant).await;
            if place < 3 {
                oldest.insert(id);
            }
        }
    }
    assert_eq!(claim(f, "w", 3).await.iter().map(|delivery| delivery.id).collect::<BTreeSet<_>>(), oldest);
    assert_eq!(claim(f, "w", 3).await.len(), 2);
    assert_eq!(look!(f, |r| delivery::waiting(r).await), 8);
}

async fn of_many_claims_no_delivery_is_claimed_twice(f: &Fixture) {
    let mut all = BTreeSet::new();
    for _ in 0..30 {
        all.insert(insert(f, f.acme).await);
    }
    let (mail, until) = (party(f.acme, "mail"), f.in_a_minute());
    let claimed = f.race(move |tx| Box::pin(delivery::claim(tx, mail, "w", until, 2))).await;
    assert!(claimed.iter().all(|deliveries| deliveries.len() <= 2), "more than asked for");
    let ids: Vec<_> = claimed.into_iter().flatten().map(|delivery| delivery.id).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "claimed twice");
    let rest = claim(f, "w", 100).await;
    assert_eq!(ids.into_iter().chain(rest.into_iter().map(|delivery| delivery.id)).collect::<BTreeSet<_>>(), all);
}

async fn only_the_holder_of_the_lease_ends_a_delivery(f: &Fixture) {
    let other = f.other;
    insert(f, f.acme).await;
    let asleep = claim_one(f, "asleep").await;
    f.clock.advance(MINUTE);
    let awake = claim_one(f, "awake").await;
    let strangers: &'static ClaimedDelivery = Box::leak(Box::new(ClaimedDelivery { tenant: other, ..awake.clone() }));
    assert!(!commit!(f, |tx| delivery::finish(tx, asleep, "asleep", Ending::Delivered, "250").await));
    assert!(!commit!(f, |tx| delivery::finish(tx, strangers, "awake", Ending::Delivered, "250").await));
    assert_eq!(look!(f, |r| delivery::waiting(r).await), 1);
    assert!(commit!(f, |tx| delivery::finish(tx, awake, "awake", Ending::Delivered, "250").await));
    assert!(!commit!(f, |tx| delivery::finish(tx, awake, "awake", Ending::Dead, "twice").await));
    f.clock.advance(MINUTE);
    assert!(claim(f, "w", 1).await.is_empty(), "what has ended is not claimed again");
    assert_eq!(look!(f, |r| delivery::waiting(r).await), 0);
    assert!(due(f, Channel::Mail).await.is_empty());
}

async fn each_ending_is_kept(f: &Fixture) {
    const ENDINGS: [(Ending, &str); 4] =
        [(Ending::Delivered, "delivered"), (Ending::Superseded, "superseded"), (Ending::Expired, "expired"), (Ending::Dead, "dead")];
    for (ending, name) in ENDINGS {
        insert(f, f.acme).await;
        let held = claim_one(f, "w").await;
        assert!(commit!(f, |tx| delivery::finish(tx, held, "w", ending, name).await));
        let id = held.id.bare();
        let sql = "SELECT state, answer, lease, done_at FROM deliveries WHERE id = $1";
        let row = look!(f, |r| r.one::<(String, String, Option<String>, i64)>(sql, &[id.into()]).await).unwrap();
        assert_eq!(row, (name.to_owned(), name.to_owned(), None, f.clock.now().micros()));
    }
}

async fn of_many_finishes_one_wins(f: &Fixture) {
    insert(f, f.acme).await;
    let held = claim_one(f, "w").await;
    let won = f.race(move |tx| Box::pin(delivery::finish(tx, held, "w", Ending::Delivered, "250"))).await;
    assert_eq!((won.len(), won.iter().filter(|won| **won).count()), (RACERS, 1));
}

async fn only_the_holder_of_the_lease_reschedules_a_delivery(f: &Fixture) {
    let other = f.other;
    insert(f, f.acme).await;
    let held = claim_one(f, "w").await;
    let strangers: &'static ClaimedDelivery = Box::leak(Box::new(ClaimedDelivery { tenant: other, ..held.clone() }));
    let due = f.clock.now().after(SECOND);
    assert!(!commit!(f, |tx| delivery::reschedule(tx, held, "another", due, "450").await));
    assert!(!commit!(f, |tx| delivery::reschedule(tx, strangers, "w", due, "450").await));
    assert!(commit!(f, |tx| delivery::reschedule(tx, held, "w", due, "450").await));
    assert!(!commit!(f, |tx| delivery::finish(tx, held, "w", Ending::Delivered, "250").await), "the lease was given back");
    assert!(claim(f, "w", 1).await.is_empty());
    f.clock.advance(SECOND);
    let again = claim_one(f, "w").await;
    assert_eq!(again.attempts, 2);
    assert!(commit!(f, |tx| delivery::finish(tx, again, "w", Ending::Dead, "550").await));
    assert!(!commit!(f, |tx| delivery::reschedule(tx, again, "w", due, "450").await), "it has ended");
}

async fn a_backlog_keeps_neither_mail_nor_another_tenant_from_the_first_claim(f: &Fixture) {
    let (acme, other, event): (_, _, EventId) = (f.acme, f.other, f.id());
    let ids: &'static [DeliveryId] = Box::leak((0..2_000).map(|_| f.id()).collect());
    commit!(f, |tx| {
        for id in ids {
            delivery::insert(tx, acme, *id, event, "webhook:1").await?;
        }
        Ok(())
    });
    assert!(due(f, Channel::Mail).await.is_empty());
    f.clock.advance(SECOND);
    let (mail, others, hook) = (insert(f, acme).await, insert(f, other).await, f.id());
    commit!(f, |tx| delivery::insert(tx, other, hook, event, "webhook:2").await);
    let claimed = claim_over(f, Channel::Mail, "m", 16).await;
    assert_eq!(claimed.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [mail, others]);
    let claimed = claim_over(f, Channel::Webhooks, "w", 16).await;
    let first: BTreeSet<_> = ids[..16].iter().copied().chain([hook]).collect();
    assert_eq!(claimed.iter().map(|delivery| delivery.id).collect::<BTreeSet<_>>(), first);
    let (first, last) = (party(acme, "webhook:1"), party(other, "webhook:2"));
    assert_eq!(look!(f, |r| delivery::due(r, Channel::Webhooks, Some(first), 100).await), []);
    assert_eq!(due(f, Channel::Webhooks).await, std::slice::from_ref(first));
    f.clock.advance(MINUTE);
    assert_eq!(due(f, Channel::Webhooks).await, [first.clone(), last.clone()]);
    assert_eq!(look!(f, |r| delivery::due(r, Channel::Webhooks, Some(first), 100).await), std::slice::from_ref(last));
    assert_eq!(look!(f, |r| delivery::due(r, Channel::Webhooks, None, 1).await), std::slice::from_ref(first));
}

async fn a_claim_is_of_one_subscriber_of_one_tenant(f: &Fixture) {
    let (acme, other, until, event): (_, _, _, EventId) = (f.acme, f.other, f.in_a_minute(), f.id());
    let ids: [DeliveryId; 3] = [f.id(), f.id(), f.id()];
    commit!(f, |tx| {
        delivery::insert(tx, acme, ids[0], event, "webhook:1").await?;
        delivery::insert(tx, acme, ids[1], event, "webhook:2").await?;
        delivery::insert(tx, other, ids[2], event, "webhook:2").await
    });
    let wanted = party(acme, "webhook:2");
    let claimed = commit!(f, |tx| delivery::claim(tx, wanted, "w", until, 9).await);
    assert_eq!(claimed.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(due(f, Channel::Webhooks).await, [party(acme, "webhook:1").clone(), party(other, "webhook:2").clone()]);
}

const ANY: Which = Which {
    from: DeliveryId(ulid::Ulid(0)),
    to: DeliveryId(ulid::Ulid(u128::MAX)),
    since: Timestamp::from_micros(i64::MIN),
    until: Timestamp::from_micros(i64::MAX),
    state: "",
    subscriber: String::new(),
    event: "",
};

async fn list(f: &Fixture, tenant: TenantId, which: Which) -> Vec<DeliveryRow> {
    look!(f, |r| delivery::list(r, tenant, &which, 100).await)
}

/// An event with a delivery to the mailer and one to a webhook.
async fn told(f: &Fixture, name: EventName) -> [DeliveryId; 2] {
    let (acme, ids): (_, [DeliveryId; 2]) = (f.acme, [f.id(), f.id()]);
    let fresh = Event { id: f.id(), name, data: serde_json::Map::new(), secret_ref: None, created_at: f.clock.now() };
    let fresh: &'static Event = Box::leak(Box::new(fresh));
    commit!(f, |tx| event::append(tx, acme, fresh, &[(ids[0], "mail".into()), (ids[1], "webhook:1".into())]).await);
    ids
}

async fn end(f: &Fixture, channel: Channel, ending: Ending) -> DeliveryId {
    let held: &'static ClaimedDelivery = Box::leak(Box::new(claim_over(f, channel, "w", 1).await.remove(0)));
    assert!(commit!(f, |tx| delivery::finish(tx, held, "w", ending, "said").await));
    held.id
}

async fn a_list_has_what_is_asked_for_newest_first(f: &Fixture) {
    let [mail, hook] = told(f, EventName::PasswordReset).await;
    end(f, Channel::Mail, Ending::Dead).await;
    f.clock.advance(SECOND);
    let [later, last] = told(f, EventName::CustomerCreated).await;
    let ids = async |which| list(f, f.acme, which).await.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(ANY).await, [last, later, hook, mail]);
    for (which, found) in [
        (Which { state: "dead", ..ANY }, vec![mail]),
        (Which { state: "waiting", ..ANY }, vec![last, later, hook]),
        (Which { subscriber: "mail".into(), ..ANY }, vec![later, mail]),
        (Which { event: "customer.created", ..ANY }, vec![last, later]),
        (Which { from: hook, to: later, ..ANY }, vec![later, hook]),
        (Which { from: later, to: hook, ..ANY }, vec![]),
        (Which { since: f.clock.now(), ..ANY }, vec![last, later]),
        (Which { until: f.clock.now().before(SECOND), ..ANY }, vec![hook, mail]),
        (Which { state: "dead", event: "customer.created", ..ANY }, vec![]),
    ] {
        assert_eq!(ids(which.clone()).await, found, "{which:?}");
    }
    let acme = f.acme;
    assert_eq!(look!(f, |r| delivery::list(r, acme, &ANY, 1).await).len(), 1);
    assert_eq!(list(f, f.other, ANY).await, []);
    let row = list(f, f.acme, Which { from: mail, to: mail, ..ANY }).await.remove(0);
    assert_eq!((row.subscriber.as_str(), row.state.as_str(), row.attempts, row.held), ("mail", "dead", 1, false));
    assert_eq!((row.event_name.as_deref(), row.answer.as_deref()), (Some("auth.password_reset"), Some("said")));
    assert_eq!((row.created_at, row.done_at), (f.clock.now().before(SECOND), Some(f.clock.now().before(SECOND))));
}

async fn only_the_dead_are_retried(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let mut ended = Vec::new();
    for ending in [Ending::Delivered, Ending::Superseded, Ending::Expired, Ending::Dead, Ending::Dead, Ending::Dead] {
        told(f, EventName::CustomerCreated).await;
        ended.push(end(f, Channel::Mail, ending).await);
    }
    let before = list(f, acme, ANY).await;
    assert_eq!(commit!(f, |tx| delivery::retry(tx, other, &ANY, 9).await), []);
    for nothing in [
        Which { to: ended[2], ..ANY },
        Which { subscriber: "webhook:1".into(), ..ANY },
        Which { event: "auth.password_reset", ..ANY },
        Which { until: f.clock.now().before(SECOND), ..ANY },
        Which { since: f.clock.now().after(SECOND), ..ANY },
    ] {
        let nothing: &'static Which = Box::leak(Box::new(nothing));
        assert_eq!(commit!(f, |tx| delivery::retry(tx, acme, nothing, 9).await), [], "{nothing:?}");
    }
    assert_eq!(list(f, acme, ANY).await, before);
    f.clock.advance(MINUTE);
    let named: &'static Which = Box::leak(Box::new(Which { from: ended[3], subscriber: "mail".into(), event: "customer.created", ..ANY }));
    assert_eq!(commit!(f, |tx| delivery::retry(tx, acme, named, 2).await).len(), 2, "so many at most");
    let states = list(f, acme, Which { subscriber: "mail".into(), ..ANY }).await;
    let states: Vec<_> = states.iter().rev().map(|row| (row.state.as_str(), row.attempts, row.done_at.is_some())).collect();
    assert_eq!(states[..3], [("delivered", 1, true), ("superseded", 1, true), ("expired", 1, true)]);
    assert_eq!(states[3..], [("waiting", 0, false), ("waiting", 0, false), ("dead", 1, true)], "the oldest first");
    let again = claim(f, "again", 1).await.remove(0);
    assert_eq!((again.id, again.attempts, again.begun_at), (ended[3], 1, f.clock.now()), "its three days begin anew");
}

async fn of_many_who_retry_one_does(f: &Fixture) {
    told(f, EventName::CustomerCreated).await;
    end(f, Channel::Mail, Ending::Dead).await;
    let (acme, all): (_, &'static Which) = (f.acme, Box::leak(Box::new(ANY)));
    let won = f.race(move |tx| Box::pin(delivery::retry(tx, acme, all, 9))).await;
    assert_eq!((won.len(), won.iter().map(Vec::len).sum::<usize>()), (RACERS, 1));
}

async fn a_sweep_leaves_the_dead_longer(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    for ending in [Ending::Delivered, Ending::Superseded, Ending::Expired, Ending::Dead] {
        told(f, EventName::CustomerCreated).await;
        end(f, Channel::Mail, ending).await;
    }
    let (made, after) = (f.clock.now(), f.clock.now().after(SECOND));
    assert_eq!(commit!(f, |tx| delivery::sweep(tx, acme, made, made).await), 0);
    assert_eq!(commit!(f, |tx| delivery::sweep(tx, other, after, after).await), 0);
    assert_eq!(commit!(f, |tx| delivery::sweep(tx, acme, after, made).await), 1);
    let left = async || list(f, acme, Which { subscriber: "mail".into(), ..ANY }).await.into_iter().map(|row| row.state).collect::<Vec<_>>();
    assert_eq!(left().await, ["dead"]);
    assert_eq!(commit!(f, |tx| delivery::sweep(tx, acme, after, after).await), 1);
    assert_eq!(left().await, [] as [String; 0]);
    assert_eq!(list(f, acme, ANY).await.len(), 4, "what waits stays, however old");
}
