//! Password resets: one live row per login, spent once.

use super::{ALMOST, Fixture, MINUTE, RACERS, SECOND};
use crate::error::Code;
use crate::model::ids::IdentityId;
use crate::store::password_reset::{self, ResetRow};

each_db! {
    r49_a_reset_is_spent_once
    r49_of_many_uses_one_wins
    r48_a_reset_dies_at_its_end
    r51_a_voided_reset_cannot_be_spent
    voiding_leaves_the_spent_and_the_strangers_alone
    r51_a_login_has_at_most_one_live_reset
    what_is_good_is_known
    a_sweep_takes_what_expired_before
    what_stands_is_issued_anew_so_often_and_nothing_else_is
    of_many_who_issue_anew_one_does
    a_link_is_opened_first_once
}

async fn issue(f: &Fixture, jti: &'static str, identity: IdentityId) {
    let (tenant, asked, end) = (f.acme, f.clock.now().before(SECOND), f.in_a_minute());
    commit!(f, |tx| password_reset::insert(tx, tenant, jti, identity, asked, end).await);
}

async fn find(f: &Fixture, jti: &'static str) -> ResetRow {
    let tenant = f.acme;
    look!(f, |r| password_reset::find(r, tenant, jti).await).unwrap()
}

async fn r49_a_reset_is_spent_once(f: &Fixture) {
    let (acme, other, ann, issued) = (f.acme, f.other, f.identity("ann").await, f.clock.now());
    issue(f, "one", ann).await;
    f.clock.advance(SECOND);
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, other, "one").await), None, "another tenant's");
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "two").await), None, "unknown");
    let row = find(f, "one").await;
    assert_eq!((row.identity, row.issued_at, row.expires_at, row.used_at, row.voided_at), (ann, issued, issued.after(MINUTE), None, None));
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "one").await), Some(ann));
    assert_eq!(find(f, "one").await.used_at, Some(f.clock.now()));
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "one").await), None, "spent");
    assert!(look!(f, |r| password_reset::find(r, other, "one").await).is_none());
}

async fn what_is_good_is_known(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    let good = async |tenant, who| look!(f, |r| password_reset::has_good(r, tenant, who).await);
    assert!(!good(acme, ann).await, "none");
    issue(f, "one", ann).await;
    assert!(good(acme, ann).await);
    assert!(!good(other, ann).await && !good(acme, bob).await, "another's");
    commit!(f, |tx| password_reset::void(tx, acme, ann).await);
    assert!(!good(acme, ann).await, "voided");
    issue(f, "two", ann).await;
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "two").await), Some(ann));
    assert!(!good(acme, ann).await, "spent");
    issue(f, "three", ann).await;
    f.clock.advance(ALMOST);
    assert!(good(acme, ann).await);
    f.clock.advance(SECOND);
    assert!(!good(acme, ann).await, "expired");
}

async fn r49_of_many_uses_one_wins(f: &Fixture) {
    let (acme, ann) = (f.acme, f.identity("ann").await);
    issue(f, "one", ann).await;
    let won = f.race(move |tx| Box::pin(password_reset::consume(tx, acme, "one"))).await;
    assert_eq!(won.len(), RACERS);
    assert_eq!(won.into_iter().flatten().collect::<Vec<_>>(), [ann]);
}

async fn r48_a_reset_dies_at_its_end(f: &Fixture) {
    let (acme, ann, bob) = (f.acme, f.identity("ann").await, f.identity("bob").await);
    issue(f, "late", ann).await;
    issue(f, "in time", bob).await;
    f.clock.advance(ALMOST);
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "in time").await), Some(bob));
    f.clock.advance(SECOND);
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "late").await), None);
}

async fn r51_a_voided_reset_cannot_be_spent(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    issue(f, "ann's", ann).await;
    issue(f, "bob's", bob).await;
    commit!(f, |tx| password_reset::void(tx, other, ann).await);
    assert_eq!(find(f, "ann's").await.voided_at, None);
    commit!(f, |tx| password_reset::void(tx, acme, ann).await);
    assert_eq!(find(f, "ann's").await.voided_at, Some(f.clock.now()));
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "ann's").await), None);
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "bob's").await), Some(bob));
}

async fn voiding_leaves_the_spent_and_the_strangers_alone(f: &Fixture) {
    let (acme, ann, start) = (f.acme, f.identity("ann").await, f.clock.now());
    issue(f, "voided", ann).await;
    commit!(f, |tx| password_reset::void(tx, acme, ann).await);
    issue(f, "spent", ann).await;
    commit!(f, |tx| password_reset::consume(tx, acme, "spent").await);
    f.clock.advance(SECOND);
    commit!(f, |tx| password_reset::void(tx, acme, ann).await);
    assert_eq!(find(f, "voided").await.voided_at, Some(start), "the first time stands");
    assert_eq!(find(f, "spent").await.voided_at, None);
}

async fn r51_a_login_has_at_most_one_live_reset(f: &Fixture) {
    let (acme, ann, end) = (f.acme, f.identity("ann").await, f.in_a_minute());
    issue(f, "one", ann).await;
    let second = f.db.write(move |tx| Box::pin(password_reset::insert(tx, acme, "two", ann, end, end))).await;
    assert_eq!(second.unwrap_err().code, Code::StorageFailed);
    commit!(f, |tx| password_reset::void(tx, acme, ann).await);
    issue(f, "two", ann).await;
}

async fn a_sweep_takes_what_expired_before(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    issue(f, "old", ann).await;
    let first_end = f.in_a_minute();
    f.clock.advance(SECOND);
    issue(f, "young", bob).await;
    assert_eq!(commit!(f, |tx| password_reset::sweep(tx, acme, first_end.before(SECOND)).await), 0);
    assert_eq!(commit!(f, |tx| password_reset::sweep(tx, other, first_end).await), 0);
    assert_eq!(commit!(f, |tx| password_reset::sweep(tx, acme, first_end).await), 1);
    assert_eq!(find(f, "young").await.identity, bob);
}

async fn what_stands_is_issued_anew_so_often_and_nothing_else_is(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    issue(f, "one", ann).await;
    // Its end has come: that is what it is issued anew for.
    f.clock.advance(MINUTE * 2);
    let end = f.in_a_minute();
    assert!(!commit!(f, |tx| password_reset::reissue(tx, other, "one", "two", end, 2).await), "another tenant's");
    assert!(!commit!(f, |tx| password_reset::reissue(tx, acme, "two", "three", end, 2).await), "unknown");
    assert_eq!(find(f, "one").await.voided_at, None);
    assert!(commit!(f, |tx| password_reset::reissue(tx, acme, "one", "two", end, 2).await));
    assert_eq!(find(f, "one").await.voided_at, Some(f.clock.now()));
    let row = find(f, "two").await;
    assert_eq!((row.identity, row.issued_at, row.expires_at, row.used_at, row.voided_at), (ann, f.clock.now(), end, None, None));
    assert!(!commit!(f, |tx| password_reset::reissue(tx, acme, "one", "three", end, 2).await), "voided");
    assert!(commit!(f, |tx| password_reset::reissue(tx, acme, "two", "three", end, 2).await));
    assert!(!commit!(f, |tx| password_reset::reissue(tx, acme, "three", "four", end, 2).await), "it was twice already");
    assert_eq!(commit!(f, |tx| password_reset::consume(tx, acme, "three").await), Some(ann), "and stands");
    assert!(!commit!(f, |tx| password_reset::reissue(tx, acme, "three", "four", end, 9).await), "spent");
}

async fn of_many_who_issue_anew_one_does(f: &Fixture) {
    let (acme, ann, end) = (f.acme, f.identity("ann").await, f.in_a_minute());
    issue(f, "one", ann).await;
    let won = f.race(move |tx| Box::pin(password_reset::reissue(tx, acme, "one", "two", end, 3))).await;
    assert_eq!((won.len(), won.into_iter().filter(|won| *won).count()), (RACERS, 1));
    assert_eq!(find(f, "two").await.voided_at, None);
}

async fn a_link_is_opened_first_once(f: &Fixture) {
    let (acme, other, ann, issued) = (f.acme, f.other, f.identity("ann").await, f.clock.now());
    issue(f, "one", ann).await;
    assert_eq!((find(f, "one").await.asked_at, find(f, "one").await.opened_at), (issued.before(SECOND), None));
    assert!(!commit!(f, |tx| password_reset::open(tx, other, "one").await));
    assert!(!commit!(f, |tx| password_reset::open(tx, acme, "two").await));
    assert!(commit!(f, |tx| password_reset::open(tx, acme, "one").await));
    f.clock.advance(SECOND);
    assert!(!commit!(f, |tx| password_reset::open(tx, acme, "one").await));
    assert_eq!(find(f, "one").await.opened_at, Some(issued));
}
