//! Sessions: live until they end or expire, and only in their tenant.

use super::{ALMOST, Fixture, SECOND};
use crate::model::ids::{IdentityId, SessionId};
use crate::store::session;

each_db! {
    a_session_lives_in_its_tenant
    r68_a_session_dies_at_its_end
    r56_ending_all_ends_the_live_ones_of_one_identity
    a_sweep_takes_what_has_expired
}

async fn begin(f: &Fixture, identity: IdentityId) -> SessionId {
    let (tenant, id, end) = (f.acme, f.id(), f.in_a_minute());
    commit!(f, |tx| session::insert(tx, tenant, id, identity, end).await);
    id
}

async fn a_session_lives_in_its_tenant(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    let id = begin(f, ann).await;
    assert_eq!(look!(f, |r| session::live(r, acme, id).await), Some(ann));
    let row = look!(f, |r| session::find(r, acme, id).await).unwrap();
    assert_eq!((row.identity, row.created_at, row.expires_at), (ann, f.clock.now(), f.in_a_minute()));
    assert!(look!(f, |r| session::find(r, other, id).await).is_none());
    assert_eq!(look!(f, |r| session::live(r, other, id).await), None);
    assert_eq!(look!(f, |r| session::live(r, acme, SessionId(acme.0)).await), None);
}

async fn r68_a_session_dies_at_its_end(f: &Fixture) {
    let (acme, ann) = (f.acme, f.identity("ann").await);
    let id = begin(f, ann).await;
    f.clock.advance(ALMOST);
    assert_eq!(look!(f, |r| session::live(r, acme, id).await), Some(ann));
    f.clock.advance(SECOND);
    assert_eq!(look!(f, |r| session::live(r, acme, id).await), None);
    assert!(look!(f, |r| session::find(r, acme, id).await).is_none());
}

async fn r56_ending_all_ends_the_live_ones_of_one_identity(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (ann, bob) = (f.identity("ann").await, f.identity("bob").await);
    let (one, two, bobs) = (begin(f, ann).await, begin(f, ann).await, begin(f, bob).await);
    assert_eq!(commit!(f, |tx| session::end_all(tx, other, ann).await), 0);
    assert_eq!(look!(f, |r| session::live(r, acme, one).await), Some(ann));
    assert_eq!(commit!(f, |tx| session::end_all(tx, acme, ann).await), 2);
    for (id, live) in [(one, None), (two, None), (bobs, Some(bob))] {
        assert_eq!(look!(f, |r| session::live(r, acme, id).await), live);
        assert_eq!(look!(f, |r| session::find(r, acme, id).await).map(|row| row.identity), live);
    }
    assert_eq!(commit!(f, |tx| session::end_all(tx, acme, ann).await), 0, "what has ended is not ended again");
}

async fn a_sweep_takes_what_has_expired(f: &Fixture) {
    const ALL: &str = "SELECT COUNT(*) FROM sessions";
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    begin(f, ann).await;
    f.clock.advance(ALMOST);
    let young = begin(f, ann).await;
    assert_eq!(commit!(f, |tx| session::sweep(tx, acme).await), 0);
    f.clock.advance(SECOND);
    assert_eq!(commit!(f, |tx| session::sweep(tx, other).await), 0);
    assert_eq!(f.count(ALL).await, 2);
    assert_eq!(commit!(f, |tx| session::sweep(tx, acme).await), 1);
    assert_eq!(look!(f, |r| session::live(r, acme, young).await), Some(ann));
}
