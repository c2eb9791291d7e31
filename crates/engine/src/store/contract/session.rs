//! Sessions: live until they end or expire, and only in their tenant.

use super::{ALMOST, Fixture, SECOND};
use crate::model::identity::ActorType;
use crate::model::ids::{IdentityId, SessionId};
use crate::store::{identity, session};

each_db! {
    a_session_lives_in_its_tenant
    r68_a_session_dies_at_its_end
    r56_ending_all_ends_the_live_ones_of_one_identity
    every_end_of_several_ends_the_tokens_without_a_session
    a_cookie_finds_its_live_session_in_its_tenant
    a_new_cookie_takes_the_place_of_the_old_one
    r65_the_session_that_is_replaced_in_a_browser_ends
    ending_one_or_the_others_ends_what_is_the_identitys_own
    a_list_shows_the_newest_live_ones
    a_sweep_takes_what_has_expired
}

async fn begin(f: &Fixture, identity: IdentityId) -> SessionId {
    let (tenant, id, end) = (f.acme, f.id(), f.in_a_minute());
    commit!(f, |tx| session::insert(tx, tenant, id, identity, end, Some("a browser")).await);
    id
}

async fn a_session_lives_in_its_tenant(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    let id = begin(f, ann).await;
    assert_eq!(look!(f, |r| session::live(r, acme, id).await), Some(ann));
    let row = look!(f, |r| session::find(r, acme, id).await).unwrap();
    assert_eq!((row.id, row.identity, row.created_at, row.expires_at), (id, ann, f.clock.now(), f.in_a_minute()));
    assert_eq!(row.user_agent.as_deref(), Some("a browser"));
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
    assert_eq!(commit!(f, |tx| session::end_all(tx, other, ann).await).len(), 0);
    assert_eq!(look!(f, |r| session::live(r, acme, one).await), Some(ann));
    assert_eq!(commit!(f, |tx| session::end_all(tx, acme, ann).await).len(), 2);
    for (id, live) in [(one, None), (two, None), (bobs, Some(bob))] {
        assert_eq!(look!(f, |r| session::live(r, acme, id).await), live);
        assert_eq!(look!(f, |r| session::find(r, acme, id).await).map(|row| row.identity), live);
    }
    assert_eq!(commit!(f, |tx| session::end_all(tx, acme, ann).await).len(), 0, "what has ended is not ended again");
}

async fn every_end_of_several_ends_the_tokens_without_a_session(f: &Fixture) {
    let (acme, other, actor) = (f.acme, f.other, &*Box::leak(Box::new(ActorType::customer())));
    let (ann, bob) = (f.identity("ann").await, f.identity("bob").await);
    let kept = begin(f, ann).await;
    for way in 0..3 {
        let issued = f.clock.now();
        let stands = async |login| look!(f, |r| identity::stands(r, acme, login, actor, "", issued).await);
        commit!(f, |tx| session::note_end(tx, other, ann).await);
        assert!(stands(ann).await, "another tenant's");
        match way {
            0 => commit!(f, |tx| session::note_end(tx, acme, ann).await),
            1 => assert_eq!(commit!(f, |tx| session::end_others(tx, acme, ann, kept).await).len(), 0),
            _ => assert_eq!(commit!(f, |tx| session::end_all(tx, acme, ann).await).len(), 1),
        }
        assert!(!stands(ann).await && stands(bob).await, "{way}");
        assert_eq!(look!(f, |r| session::live(r, acme, kept).await).is_some(), way < 2);
        f.clock.advance(SECOND);
    }
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

async fn cookie(f: &Fixture, session: SessionId, identity: IdentityId, hash: [u8; 32]) -> bool {
    let tenant = f.acme;
    commit!(f, |tx| session::set_cookie(tx, tenant, session, identity, &hash).await).is_some()
}

async fn by_cookie(f: &Fixture, hash: [u8; 32]) -> Option<SessionId> {
    let tenant = f.acme;
    look!(f, |r| session::by_cookie(r, tenant, &hash).await).map(|row| row.id)
}

async fn a_cookie_finds_its_live_session_in_its_tenant(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    let id = begin(f, ann).await;
    let end = f.in_a_minute();
    assert_eq!(commit!(f, |tx| session::set_cookie(tx, acme, id, ann, &[1; 32]).await), Some(end));
    assert_eq!(by_cookie(f, [1; 32]).await, Some(id));
    assert_eq!(by_cookie(f, [2; 32]).await, None);
    assert!(look!(f, |r| session::by_cookie(r, other, &[1; 32]).await).is_none(), "another tenant");
    assert!(commit!(f, |tx| session::set_cookie(tx, other, id, ann, &[2; 32]).await).is_none(), "another tenant");
    assert!(!cookie(f, id, bob, [2; 32]).await, "another's session");
    f.clock.advance(ALMOST);
    assert_eq!(by_cookie(f, [1; 32]).await, Some(id));
    f.clock.advance(SECOND);
    assert_eq!(by_cookie(f, [1; 32]).await, None, "expired");
    assert!(!cookie(f, id, ann, [2; 32]).await, "expired");
    let ended = begin(f, ann).await;
    assert!(cookie(f, ended, ann, [3; 32]).await);
    assert_eq!(commit!(f, |tx| session::end_all(tx, acme, ann).await), [ended], "the other had run out: nobody ended it");
    assert_eq!(by_cookie(f, [3; 32]).await, None, "ended");
    assert!(!cookie(f, ended, ann, [4; 32]).await, "ended");
}

async fn a_new_cookie_takes_the_place_of_the_old_one(f: &Fixture) {
    let ann = f.identity("ann").await;
    let id = begin(f, ann).await;
    assert!(cookie(f, id, ann, [1; 32]).await && cookie(f, id, ann, [2; 32]).await);
    assert_eq!((by_cookie(f, [1; 32]).await, by_cookie(f, [2; 32]).await), (None, Some(id)));
}

async fn r65_the_session_that_is_replaced_in_a_browser_ends(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    let (old, new) = (begin(f, ann).await, begin(f, ann).await);
    assert!(cookie(f, old, ann, [1; 32]).await);
    for (tenant, hash, by) in [(other, [1; 32], new), (acme, [2; 32], new), (acme, [1; 32], old)] {
        commit!(f, |tx| session::end_replaced(tx, tenant, &hash, by).await);
        assert_eq!(by_cookie(f, [1; 32]).await, Some(old), "another tenant's, another cookie, its own");
    }
    commit!(f, |tx| session::end_replaced(tx, acme, &[1; 32], new).await);
    assert_eq!(look!(f, |r| session::live(r, acme, old).await), None);
    assert_eq!(look!(f, |r| session::live(r, acme, new).await), Some(ann));
}

async fn ending_one_or_the_others_ends_what_is_the_identitys_own(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    let (one, two, three, bobs) = (begin(f, ann).await, begin(f, ann).await, begin(f, ann).await, begin(f, bob).await);
    assert!(!commit!(f, |tx| session::end(tx, other, one, ann).await), "another tenant");
    assert!(!commit!(f, |tx| session::end(tx, acme, bobs, ann).await), "another's");
    assert!(commit!(f, |tx| session::end(tx, acme, one, ann).await));
    assert!(!commit!(f, |tx| session::end(tx, acme, one, ann).await), "it has ended");
    assert_eq!(commit!(f, |tx| session::end_others(tx, other, ann, two).await).len(), 0, "another tenant");
    assert_eq!(commit!(f, |tx| session::end_others(tx, acme, ann, two).await).len(), 1);
    for (id, live) in [(one, None), (two, Some(ann)), (three, None), (bobs, Some(bob))] {
        assert_eq!(look!(f, |r| session::live(r, acme, id).await), live);
    }
    f.clock.advance(super::MINUTE);
    assert!(!commit!(f, |tx| session::end(tx, acme, two, ann).await), "expired");
}

async fn a_list_shows_the_newest_live_ones(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    begin(f, ann).await;
    f.clock.advance(ALMOST);
    let (one, two, three) = (begin(f, ann).await, begin(f, ann).await, begin(f, ann).await);
    begin(f, bob).await;
    f.clock.advance(SECOND);
    commit!(f, |tx| session::end(tx, acme, two, ann).await);
    let rows = look!(f, |r| session::of_identity(r, acme, ann, 9).await);
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [three, one], "neither ended nor expired nor another's");
    let newest = look!(f, |r| session::of_identity(r, acme, ann, 1).await);
    assert_eq!(newest.iter().map(|row| row.id).collect::<Vec<_>>(), [three]);
    assert!(look!(f, |r| session::of_identity(r, other, ann, 9).await).is_empty());
}
