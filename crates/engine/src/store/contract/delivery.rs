//! Deliveries: claimed by one worker at a time, ended by the holder of the lease.

use std::collections::BTreeSet;

use super::{ALMOST, Fixture, MINUTE, RACERS, SECOND};
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::store::delivery::{self, Channel, ClaimedDelivery, Ending};

each_db! {
    a_claimed_delivery_is_nobody_elses_until_its_lease_ends
    a_claim_takes_so_many_of_each_tenant
    of_many_claims_no_delivery_is_claimed_twice
    only_the_holder_of_the_lease_ends_a_delivery
    each_ending_is_kept
    of_many_finishes_one_wins
    only_the_holder_of_the_lease_reschedules_a_delivery
    a_backlog_keeps_neither_mail_nor_another_tenant_from_the_first_claim
}

async fn insert(f: &Fixture, tenant: TenantId) -> DeliveryId {
    let (id, event): (_, EventId) = (f.id(), f.id());
    commit!(f, |tx| delivery::insert(tx, tenant, id, event, "mail").await);
    id
}

async fn claim(f: &Fixture, lease: &'static str, most: i64) -> Vec<ClaimedDelivery> {
    claim_over(f, Channel::Mail, lease, most).await
}

/// Claims from every tenant with due work, as the dispatcher does.
async fn claim_over(f: &Fixture, channel: Channel, lease: &'static str, most: i64) -> Vec<ClaimedDelivery> {
    let until = f.in_a_minute();
    let mut claimed = Vec::new();
    for tenant in due(f, channel).await {
        claimed.extend(commit!(f, |tx| delivery::claim(tx, channel, tenant, lease, until, most).await));
    }
    claimed
}

async fn due(f: &Fixture, channel: Channel) -> Vec<TenantId> {
    look!(f, |r| delivery::due(r, channel, None, 100).await)
}

async fn claim_one(f: &Fixture, lease: &'static str) -> &'static ClaimedDelivery {
    let mut claimed = claim(f, lease, 1).await;
    assert_eq!(claimed.len(), 1);
    Box::leak(Box::new(claimed.remove(0)))
}

async fn a_claimed_delivery_is_nobody_elses_until_its_lease_ends(f: &Fixture) {
    let (acme, now, event): (_, _, EventId) = (f.acme, f.clock.now(), f.id());
    let id = f.id();
    commit!(f, |tx| delivery::insert(tx, acme, id, event, "mail").await);
    assert_eq!(due(f, Channel::Mail).await, [acme]);
    let first = claim_one(f, "one").await;
    assert_eq!((first.tenant, first.id, first.event, first.subscriber.as_str()), (acme, id, event, "mail"));
    assert_eq!((first.attempts, first.created_at), (1, now));
    assert!(due(f, Channel::Mail).await.is_empty());
    f.clock.advance(ALMOST);
    assert!(claim(f, "two", 1).await.is_empty());
    f.clock.advance(SECOND);
    assert_eq!(claim_one(f, "two").await.attempts, 2);
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
    let (acme, until) = (f.acme, f.in_a_minute());
    let claimed = f.race(move |tx| Box::pin(delivery::claim(tx, Channel::Mail, acme, "w", until, 2))).await;
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
    assert_eq!(look!(f, |r| delivery::due(r, Channel::Webhooks, Some(acme), 100).await), [] as [TenantId; 0]);
    assert_eq!(due(f, Channel::Webhooks).await, [acme]);
}
