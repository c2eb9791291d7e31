//! Webhooks that are switched off, and on again.

use super::{Fixture, MINUTE, RACERS};
use crate::store::webhook::{self, Disabled};

each_db! {
    a_webhook_is_off_for_its_tenant_alone_until_it_is_switched_on
    of_many_who_switch_one_off_one_does
}

const HOOK: &str = "webhook:1";

async fn a_webhook_is_off_for_its_tenant_alone_until_it_is_switched_on(f: &Fixture) {
    let (acme, other, since) = (f.acme, f.other, f.clock.now());
    assert!(!commit!(f, |tx| webhook::enable(tx, acme, HOOK).await));
    assert!(commit!(f, |tx| webhook::disable(tx, acme, HOOK).await));
    f.clock.advance(MINUTE);
    assert!(!commit!(f, |tx| webhook::disable(tx, acme, HOOK).await), "it is off already");
    assert!(commit!(f, |tx| webhook::disable(tx, acme, "webhook:2").await));
    let off = |subscriber: &str, at| Disabled { subscriber: subscriber.to_owned(), at };
    assert_eq!(look!(f, |r| webhook::disabled(r, acme).await), [off(HOOK, since), off("webhook:2", f.clock.now())]);
    assert_eq!(look!(f, |r| webhook::disabled(r, other).await), []);
    for (tenant, hook, disabled) in [(acme, HOOK, true), (acme, "webhook:3", false), (other, HOOK, false)] {
        assert_eq!(look!(f, |r| webhook::is_disabled(r, tenant, hook).await), disabled, "{tenant} {hook}");
    }
    assert!(!commit!(f, |tx| webhook::enable(tx, other, HOOK).await));
    assert!(commit!(f, |tx| webhook::enable(tx, acme, HOOK).await));
    assert_eq!(look!(f, |r| webhook::disabled(r, acme).await), [off("webhook:2", f.clock.now())]);
}

async fn of_many_who_switch_one_off_one_does(f: &Fixture) {
    let acme = f.acme;
    let won = f.race(move |tx| Box::pin(webhook::disable(tx, acme, HOOK))).await;
    assert_eq!((won.len(), won.iter().filter(|won| **won).count()), (RACERS, 1));
}
