//! Budgets: exact, also when many take at once.

use std::time::Duration;

use super::{Fixture, MINUTE, RACERS, SECOND};
use crate::model::ids::TenantId;
use crate::store::limit::{self, Budget};

each_db! {
    r32_of_many_tries_a_budget_grants_its_number
    r37_budgets_are_apart
    r31_windows_lengthen_after_a_spent_one
    a_window_that_was_not_used_up_forgives
    clearing_gives_the_whole_budget_back
    one_try_of_a_running_window_is_given_back
    what_is_granted_is_spent_within_its_window
    each_try_is_remembered_for_its_share
    a_sweep_takes_windows_that_have_ended
}

const MOST: i64 = 5;
const BUDGET: Budget = Budget { most: MOST, window: 60_000_000, second_window: 120_000_000, later_window: 300_000_000, growth: 0 };
/// Each try is remembered for a minute longer.
const GROWING: Budget = Budget { second_window: 60_000_000, later_window: 60_000_000, growth: 60_000_000, ..BUDGET };

async fn take(f: &Fixture, tenant: TenantId, name: &'static str, subject: &'static [u8]) -> bool {
    commit!(f, |tx| limit::take(tx, tenant, name, subject, BUDGET).await)
}

/// How many of `tries` are granted.
async fn granted(f: &Fixture, tries: i64) -> i64 {
    let mut granted = 0;
    for _ in 0..tries {
        granted += i64::from(take(f, f.acme, "login", b"ann").await);
    }
    granted
}

/// How long the running window lasts from now.
async fn remaining(f: &Fixture) -> Duration {
    let tenant = f.acme;
    look!(f, |r| limit::resets_at(r, tenant, "login", b"ann").await).unwrap().since(f.clock.now())
}

async fn r32_of_many_tries_a_budget_grants_its_number(f: &Fixture) {
    let acme = f.acme;
    // The first round finds no row, the second an ended window, the third a window that strikes lengthened.
    for _ in 0..3 {
        let won = f.race(move |tx| Box::pin(limit::take(tx, acme, "login", b"ann", BUDGET))).await;
        assert_eq!(won.len(), RACERS);
        assert_eq!(won.iter().filter(|won| **won).count(), usize::try_from(MOST).unwrap());
        f.clock.advance(remaining(f).await);
    }
}

async fn r37_budgets_are_apart(f: &Fixture) {
    assert_eq!(granted(f, MOST + 3).await, MOST);
    assert!(take(f, f.other, "login", b"ann").await, "another tenant");
    assert!(take(f, f.acme, "reset", b"ann").await, "another limit");
    assert!(take(f, f.acme, "login", b"bob").await, "another subject");
    assert!(!take(f, f.acme, "login", b"ann").await);
    let (acme, other) = (f.acme, f.other);
    assert_eq!(look!(f, |r| limit::resets_at(r, acme, "login", b"eve").await), None);
    assert_eq!(look!(f, |r| limit::resets_at(r, other, "reset", b"ann").await), None);
}

async fn r31_windows_lengthen_after_a_spent_one(f: &Fixture) {
    for minutes in [1, 2, 5, 5] {
        assert_eq!(granted(f, MOST).await, MOST);
        assert_eq!(remaining(f).await, MINUTE * minutes);
        f.clock.advance((MINUTE * minutes).saturating_sub(SECOND));
        assert_eq!(granted(f, 2).await, 0, "a refused try changes nothing, and the window is not over");
        assert_eq!(remaining(f).await, SECOND);
        f.clock.advance(SECOND);
    }
}

async fn a_window_that_was_not_used_up_forgives(f: &Fixture) {
    assert_eq!(granted(f, MOST).await, MOST);
    f.clock.advance(MINUTE);
    assert_eq!(granted(f, MOST - 1).await, MOST - 1);
    assert_eq!(remaining(f).await, MINUTE * 2);
    f.clock.advance(MINUTE * 2);
    assert_eq!(granted(f, MOST).await, MOST);
    assert_eq!(remaining(f).await, MINUTE, "the strikes are forgotten");
    f.clock.advance(MINUTE);
    assert_eq!(granted(f, 1).await, 1);
    assert_eq!(remaining(f).await, MINUTE * 2);
}

async fn clearing_gives_the_whole_budget_back(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    assert_eq!(granted(f, MOST).await, MOST);
    commit!(f, |tx| limit::clear(tx, other, "login", b"ann").await);
    commit!(f, |tx| limit::clear(tx, acme, "reset", b"ann").await);
    commit!(f, |tx| limit::clear(tx, acme, "login", b"bob").await);
    assert_eq!(granted(f, 1).await, 0);
    commit!(f, |tx| limit::clear(tx, acme, "login", b"ann").await);
    assert_eq!(granted(f, MOST + 1).await, MOST);
}

async fn one_try_of_a_running_window_is_given_back(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    commit!(f, |tx| limit::give_back_one(tx, acme, "login", b"ann", BUDGET).await);
    assert_eq!(granted(f, MOST + 1).await, MOST, "where nothing was taken nothing is given");
    commit!(f, |tx| limit::give_back_one(tx, other, "login", b"ann", BUDGET).await);
    commit!(f, |tx| limit::give_back_one(tx, acme, "reset", b"ann", BUDGET).await);
    commit!(f, |tx| limit::give_back_one(tx, acme, "login", b"bob", BUDGET).await);
    assert_eq!(granted(f, 1).await, 0);
    f.race(move |tx| Box::pin(limit::give_back_one(tx, acme, "login", b"ann", BUDGET))).await;
    assert_eq!(granted(f, MOST + 1).await, MOST, "never below zero");
    commit!(f, |tx| limit::give_back_one(tx, acme, "login", b"ann", BUDGET).await);
    assert_eq!(granted(f, 2).await, 1);
    assert_eq!(remaining(f).await, MINUTE);
    // A window that has ended keeps what it was, so the next one is longer.
    f.clock.advance(MINUTE);
    commit!(f, |tx| limit::give_back_one(tx, acme, "login", b"ann", BUDGET).await);
    assert_eq!(granted(f, MOST + 1).await, MOST);
    assert_eq!(remaining(f).await, MINUTE * 2);
}

async fn what_is_granted_is_spent_within_its_window(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let spend = async |tenant, name, subject: &'static [u8]| commit!(f, |tx| limit::spend_granted(tx, tenant, name, subject, BUDGET).await);
    assert!(!spend(acme, "login", b"ann").await, "nothing was granted");
    for _ in 0..2 {
        commit!(f, |tx| limit::grant(tx, acme, "login", b"ann", BUDGET).await);
        for _ in 0..MOST {
            assert!(spend(acme, "login", b"ann").await);
        }
        assert!(!spend(acme, "login", b"ann").await);
    }
    commit!(f, |tx| limit::grant(tx, acme, "login", b"ann", BUDGET).await);
    assert!(!spend(other, "login", b"ann").await && !spend(acme, "reset", b"ann").await && !spend(acme, "login", b"bob").await);
    f.clock.advance(MINUTE.saturating_sub(SECOND));
    assert!(spend(acme, "login", b"ann").await);
    f.clock.advance(SECOND);
    assert!(!spend(acme, "login", b"ann").await, "over");
    commit!(f, |tx| limit::grant(tx, acme, "login", b"ann", BUDGET).await);
    let won = f.race(move |tx| Box::pin(limit::spend_granted(tx, acme, "login", b"ann", BUDGET))).await;
    assert_eq!(won.into_iter().filter(|won| *won).count(), usize::try_from(MOST).unwrap());
}

async fn each_try_is_remembered_for_its_share(f: &Fixture) {
    let acme = f.acme;
    let take = async || commit!(f, |tx| limit::take(tx, acme, "login", b"ann", GROWING).await);
    let give_back = async || commit!(f, |tx| limit::give_back_one(tx, acme, "login", b"ann", GROWING).await);
    for minutes in [1, 2, 3] {
        assert!(take().await);
        assert_eq!(remaining(f).await, MINUTE * minutes);
    }
    give_back().await;
    assert_eq!(remaining(f).await, MINUTE * 2, "what is given back is not remembered");
    for _ in 2..MOST {
        assert!(take().await);
    }
    assert!(!take().await);
    assert_eq!(remaining(f).await, MINUTE * 5, "a refused try lengthens nothing");
    f.clock.advance(MINUTE * 5);
    assert!(take().await);
    assert_eq!(remaining(f).await, MINUTE, "and none of it is remembered after");
    give_back().await;
    assert_eq!(remaining(f).await, Duration::ZERO, "of none nothing is remembered");
    // One in each share of the time is never refused; a little faster, and they add up.
    for _ in 0..3 * MOST {
        assert!(take().await);
        f.clock.advance(MINUTE);
    }
    for _ in 0..MOST {
        assert!(take().await);
        f.clock.advance(MINUTE.saturating_sub(SECOND));
    }
    assert!(!take().await);
}

async fn a_sweep_takes_windows_that_have_ended(f: &Fixture) {
    let (acme, other, end) = (f.acme, f.other, f.in_a_minute());
    take(f, acme, "login", b"ann").await;
    f.clock.advance(SECOND);
    take(f, acme, "login", b"bob").await;
    assert_eq!(commit!(f, |tx| limit::sweep(tx, acme, end.before(SECOND)).await), 0);
    assert_eq!(commit!(f, |tx| limit::sweep(tx, other, end).await), 0);
    assert_eq!(commit!(f, |tx| limit::sweep(tx, acme, end).await), 1);
    assert!(look!(f, |r| limit::resets_at(r, acme, "login", b"bob").await).is_some());
}
