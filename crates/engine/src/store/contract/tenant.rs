//! Tenants and their hosts.

use super::{Fixture, SECOND, on_purpose};
use crate::model::ids::TenantId;
use crate::store::tenant::{self, TenantRow};

each_db! {
    a_slug_belongs_to_one_tenant
    of_many_tenants_with_one_slug_one_is_made
    every_change_raises_the_version_of_that_tenant_alone
    a_tenant_is_disabled_once
    r115_a_host_leads_to_one_tenant
    a_host_of_another_tenant_is_refused
}

async fn row(f: &Fixture, id: TenantId) -> TenantRow {
    look!(f, |r| tenant::by_id(r, id).await).unwrap()
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

async fn a_slug_belongs_to_one_tenant(f: &Fixture) {
    let id = f.id();
    assert!(!commit!(f, |tx| tenant::insert(tx, id, "acme", b"stolen").await));
    let found = look!(f, |r| tenant::by_slug(r, "acme").await).unwrap();
    assert_eq!((found.id, found.slug.as_str(), found.settings.as_slice()), (f.acme, "acme", &b"sealed"[..]));
    assert_eq!((found.version, found.disabled_at, found.created_at), (1, None, f.clock.now()));
    assert!(look!(f, |r| tenant::by_slug(r, "nobody").await).is_none());
    assert!(look!(f, |r| tenant::by_id(r, id).await).is_none());
    let all = look!(f, |r| tenant::list(r).await);
    assert_eq!(all.iter().map(|t| t.slug.as_str()).collect::<Vec<_>>(), ["acme", "other"]);
}

async fn of_many_tenants_with_one_slug_one_is_made(f: &Fixture) {
    let now = f.clock.now();
    let rng: &'static crate::ports::rng::Rng = Box::leak(Box::new(f.rng.clone()));
    let won = f
        .race(move |tx| {
            let id = TenantId(rng.ulid(now));
            Box::pin(tenant::insert(tx, id, "new", b"sealed"))
        })
        .await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
}

async fn every_change_raises_the_version_of_that_tenant_alone(f: &Fixture) {
    let acme = f.acme;
    f.clock.advance(SECOND);
    assert!(commit!(f, |tx| tenant::update(tx, acme, 1, b"changed").await));
    assert!(!commit!(f, |tx| tenant::update(tx, acme, 1, b"by somebody who read before").await));
    assert_eq!(look!(f, |r| tenant::by_id(r, acme).await).map(|t| t.version), Some(2));
    commit!(f, |tx| tenant::bump(tx, acme).await);
    let (changed, other) = (row(f, acme).await, row(f, f.other).await);
    assert_eq!((changed.version, changed.settings.as_slice()), (3, &b"changed"[..]));
    assert_eq!((other.version, other.settings.as_slice()), (1, &b"sealed"[..]));
    let nobody = f.id();
    assert_eq!(look!(f, |r| tenant::by_id(r, nobody).await).map(|t| t.version), None);
}

async fn a_tenant_is_disabled_once(f: &Fixture) {
    let (acme, nobody, first) = (f.acme, f.id(), f.clock.now());
    assert!(commit!(f, |tx| tenant::disable(tx, acme).await));
    f.clock.advance(SECOND);
    assert!(!commit!(f, |tx| tenant::disable(tx, acme).await));
    assert!(!commit!(f, |tx| tenant::disable(tx, nobody).await));
    let disabled = row(f, acme).await;
    assert_eq!((disabled.disabled_at, disabled.version), (Some(first), 2), "the first time stands");
    assert_eq!(row(f, f.other).await.disabled_at, None);
}

async fn r115_a_host_leads_to_one_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    assert_eq!(commit!(f, |tx| tenant::set_hosts(tx, acme, &hosts(&["b.test", "a.test"])).await), None);
    assert_eq!(commit!(f, |tx| tenant::set_hosts(tx, other, &hosts(&["c.test"])).await), None);
    assert_eq!(look!(f, |r| tenant::hosts(r, acme).await), ["a.test", "b.test"]);
    assert_eq!(look!(f, |r| tenant::by_host(r, "c.test").await).unwrap().id, other);
    assert!(look!(f, |r| tenant::by_host(r, "d.test").await).is_none());
    assert_eq!(commit!(f, |tx| tenant::set_hosts(tx, acme, &hosts(&["a.test"])).await), None);
    assert!(look!(f, |r| tenant::by_host(r, "b.test").await).is_none(), "no longer listed");
    assert_eq!(look!(f, |r| tenant::by_host(r, "a.test").await).unwrap().id, acme);
    assert_eq!(look!(f, |r| tenant::hosts(r, other).await), ["c.test"]);
}

async fn a_host_of_another_tenant_is_refused(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    commit!(f, |tx| tenant::set_hosts(tx, acme, &hosts(&["a.test"])).await);
    commit!(f, |tx| tenant::set_hosts(tx, other, &hosts(&["b.test"])).await);
    let stolen = f.db.write(move |tx| {
        Box::pin(async move {
            assert_eq!(tenant::set_hosts(tx, other, &hosts(&["c.test", "a.test"])).await?.as_deref(), Some("a.test"));
            on_purpose::<()>()
        })
    });
    assert!(stolen.await.is_err());
    assert_eq!(look!(f, |r| tenant::hosts(r, other).await), ["b.test"]);
    assert_eq!(look!(f, |r| tenant::by_host(r, "a.test").await).unwrap().id, acme);
}
