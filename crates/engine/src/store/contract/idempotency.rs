//! Idempotency keys: claimed by one, settled once and only under the lease.

use std::time::Duration;

use super::{ALMOST, Fixture, SECOND};
use crate::model::ids::{SessionId, TenantId};
use crate::store::idempotency::{self, Claim};

each_db! {
    of_many_claims_exactly_one_wins
    r116_a_key_is_nothing_in_another_tenant
    a_claim_is_settled_once
    an_answer_is_kept_no_longer_than_it_is_good
    other_requests_are_counted_and_then_nothing_is_said
    a_lease_that_ran_out_is_taken_over_by_the_same_request_alone
    who_lost_the_lease_neither_settles_nor_releases
    of_a_settlement_and_a_takeover_exactly_one_wins
    an_expired_key_is_new_for_any_request
    a_sweep_takes_what_has_expired
}

const ALL: &str = "SELECT COUNT(*) FROM idempotency_keys";
const DAY: Duration = Duration::from_hours(24);

async fn claim(f: &Fixture, tenant: TenantId, request: &'static [u8], lease: &'static str) -> bool {
    let (lease_until, expires_at) = (f.in_a_minute(), f.clock.now().after(DAY));
    commit!(f, |tx| idempotency::claim(tx, tenant, Claim { id: b"key", request, lease, lease_until, expires_at }).await)
}

async fn settle(f: &Fixture, tenant: TenantId, lease: &'static str, session: Option<SessionId>) -> bool {
    let until = f.clock.now().after(DAY);
    commit!(f, |tx| idempotency::settle(tx, tenant, b"key", lease, b"sealed", session, until).await)
}

/// The answer, if there is one, of the key's row, if there is one.
async fn answer(f: &Fixture, tenant: TenantId) -> Option<Option<Vec<u8>>> {
    look!(f, |r| idempotency::find(r, tenant, b"key").await).map(|row| row.answer)
}

async fn of_many_claims_exactly_one_wins(f: &Fixture) {
    let (acme, expires_at) = (f.acme, f.clock.now().after(DAY));
    for _ in 0..2 {
        let lease_until = f.in_a_minute();
        let claim = Claim { id: b"key", request: b"one", lease: "a", lease_until, expires_at };
        let won = f.race(move |tx| Box::pin(idempotency::claim(tx, acme, claim))).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        // The second round finds a lease that ran out.
        f.clock.advance(ALMOST + SECOND);
        let claim = Claim { lease_until: f.in_a_minute(), ..claim };
        let won = f.race(move |tx| Box::pin(idempotency::claim(tx, acme, claim))).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        commit!(f, |tx| idempotency::release(tx, acme, b"key", "a").await);
    }
}

async fn r116_a_key_is_nothing_in_another_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    assert!(claim(f, acme, b"one", "a").await);
    assert!(!settle(f, other, "a", None).await);
    commit!(f, |tx| idempotency::release(tx, other, b"key", "a").await);
    assert_eq!((answer(f, acme).await, answer(f, other).await), (Some(None), None));
    assert!(claim(f, other, b"two", "b").await);
    assert!(settle(f, acme, "a", None).await);
    assert_eq!(answer(f, other).await, Some(None));
}

async fn a_claim_is_settled_once(f: &Fixture) {
    let acme = f.acme;
    let session = f.id::<SessionId>();
    assert!(!settle(f, acme, "a", None).await, "nothing is claimed");
    assert!(claim(f, acme, b"one", "a").await);
    let row = look!(f, |r| idempotency::find(r, acme, b"key").await).unwrap();
    assert_eq!((row.lease_until, row.answer, row.session, row.expires_at), (f.in_a_minute(), None, None, f.clock.now().after(DAY)));
    assert!(settle(f, acme, "a", Some(session)).await);
    assert!(!settle(f, acme, "a", None).await, "there is an answer");
    let row = look!(f, |r| idempotency::find(r, acme, b"key").await).unwrap();
    assert_eq!((row.answer.as_deref(), row.session), (Some(&b"sealed"[..]), Some(session)));
    commit!(f, |tx| idempotency::release(tx, acme, b"key", "a").await);
    assert!(answer(f, acme).await.flatten().is_some(), "what is answered is not let go");
    f.clock.advance(ALMOST + SECOND);
    assert!(!claim(f, acme, b"one", "b").await, "nor claimed again when the lease has run out");
}

async fn an_answer_is_kept_no_longer_than_it_is_good(f: &Fixture) {
    let acme = f.acme;
    for (until, kept) in [(SECOND, SECOND), (DAY * 2, DAY)] {
        assert!(claim(f, acme, b"one", "a").await);
        let until = f.clock.now().after(until);
        assert!(commit!(f, |tx| idempotency::settle(tx, acme, b"key", "a", b"sealed", None, until).await));
        f.clock.advance(kept.checked_sub(Duration::from_micros(1)).unwrap());
        assert!(answer(f, acme).await.is_some());
        f.clock.advance(Duration::from_micros(1));
        assert_eq!(answer(f, acme).await, None);
    }
}

async fn compare(f: &Fixture, tenant: TenantId, request: &'static [u8]) -> Option<bool> {
    commit!(f, |tx| idempotency::compare(tx, tenant, b"key", request, 2).await)
}

async fn other_requests_are_counted_and_then_nothing_is_said(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    assert_eq!(compare(f, acme, b"one").await, None, "nothing is claimed");
    assert!(claim(f, acme, b"one", "a").await && claim(f, other, b"two", "a").await);
    for _ in 0..3 {
        assert_eq!(compare(f, acme, b"one").await, Some(true));
    }
    let said = f.race(move |tx| Box::pin(idempotency::compare(tx, acme, b"key", b"two", 2))).await;
    assert_eq!(said.iter().filter(|said| **said == Some(false)).count(), 2);
    assert!(said.iter().all(|said| *said != Some(true)));
    assert_eq!((compare(f, acme, b"one").await, compare(f, other, b"two").await), (None, Some(true)));
    // As good as new for whoever claims it after its end.
    f.clock.advance(DAY);
    assert_eq!(compare(f, other, b"two").await, None);
    assert!(claim(f, acme, b"two", "b").await);
    assert_eq!(compare(f, acme, b"two").await, Some(true));
}

async fn a_lease_that_ran_out_is_taken_over_by_the_same_request_alone(f: &Fixture) {
    let acme = f.acme;
    assert!(claim(f, acme, b"one", "a").await);
    f.clock.advance(ALMOST);
    assert!(!claim(f, acme, b"one", "b").await, "a second before its end");
    f.clock.advance(SECOND);
    assert!(!claim(f, acme, b"two", "b").await, "another request");
    assert!(claim(f, acme, b"one", "b").await);
    assert!(!claim(f, acme, b"one", "c").await);
}

async fn who_lost_the_lease_neither_settles_nor_releases(f: &Fixture) {
    let acme = f.acme;
    assert!(claim(f, acme, b"one", "a").await);
    f.clock.advance(ALMOST + SECOND);
    assert!(claim(f, acme, b"one", "b").await);
    assert!(!settle(f, acme, "a", None).await);
    commit!(f, |tx| idempotency::release(tx, acme, b"key", "a").await);
    assert_eq!(answer(f, acme).await, Some(None));
    assert!(settle(f, acme, "b", None).await);
}

async fn of_a_settlement_and_a_takeover_exactly_one_wins(f: &Fixture) {
    let acme = f.acme;
    for _ in 0..5 {
        assert!(claim(f, acme, b"one", "a").await);
        f.clock.advance(ALMOST + SECOND);
        let (settled, taken) = tokio::join!(settle(f, acme, "a", None), claim(f, acme, b"one", "b"));
        assert_ne!(settled, taken);
        assert_eq!(answer(f, acme).await.flatten().is_some(), settled);
        f.clock.advance(DAY);
    }
}

async fn an_expired_key_is_new_for_any_request(f: &Fixture) {
    let acme = f.acme;
    assert!(claim(f, acme, b"one", "a").await && settle(f, acme, "a", Some(f.id())).await);
    f.clock.advance(DAY.checked_sub(SECOND).unwrap());
    assert!(answer(f, acme).await.flatten().is_some() && !claim(f, acme, b"two", "b").await);
    f.clock.advance(SECOND);
    assert_eq!(answer(f, acme).await, None);
    assert!(claim(f, acme, b"two", "b").await);
    let row = look!(f, |r| idempotency::find(r, acme, b"key").await).unwrap();
    assert_eq!((row.answer, row.session), (None, None));
    assert_eq!(compare(f, acme, b"two").await, Some(true));
}

async fn a_sweep_takes_what_has_expired(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    assert!(claim(f, acme, b"one", "a").await && settle(f, acme, "a", None).await);
    f.clock.advance(SECOND);
    assert!(claim(f, other, b"one", "a").await);
    f.clock.advance(DAY.checked_sub(SECOND * 2).unwrap());
    assert_eq!(commit!(f, |tx| idempotency::sweep(tx, acme).await), 0);
    f.clock.advance(SECOND);
    assert_eq!(commit!(f, |tx| idempotency::sweep(tx, other).await), 0);
    assert_eq!(f.count(ALL).await, 2);
    assert_eq!(commit!(f, |tx| idempotency::sweep(tx, acme).await), 1);
    assert_eq!(f.count(ALL).await, 1);
}
