//! API keys.

use super::{Fixture, SECOND};
use crate::store::api_key::{self, ApiKeyRow};

each_db! {
    a_key_is_unique_within_its_tenant
    r122_a_key_is_revoked_once_by_its_tenant
    r122_a_secret_key_is_found_by_its_hash_while_it_lives
}

fn sample(f: &Fixture) -> &'static ApiKeyRow {
    Box::leak(Box::new(ApiKeyRow {
        id: f.id(),
        kind: "publishable".into(),
        token_hash: b"digest".to_vec(),
        redacted: "pk_***".into(),
        title: "Shop".into(),
        created_at: f.clock.now(),
        revoked_at: None,
    }))
}

async fn a_key_is_unique_within_its_tenant(f: &Fixture) {
    let (acme, other, key, again) = (f.acme, f.other, sample(f), sample(f));
    assert!(commit!(f, |tx| api_key::insert(tx, acme, key).await));
    assert!(!commit!(f, |tx| api_key::insert(tx, acme, again).await));
    assert!(commit!(f, |tx| api_key::insert(tx, other, again).await));
    let listed = look!(f, |r| api_key::list(r, acme).await);
    assert_eq!(listed.len(), 1);
    let found = &listed[0];
    assert_eq!((found.id, &found.kind, &found.token_hash), (key.id, &key.kind, &key.token_hash));
    assert_eq!((&found.redacted, &found.title), (&key.redacted, &key.title));
    assert_eq!((found.created_at, found.revoked_at), (key.created_at, None));
}

async fn r122_a_key_is_revoked_once_by_its_tenant(f: &Fixture) {
    let (acme, other, key) = (f.acme, f.other, sample(f));
    commit!(f, |tx| api_key::insert(tx, acme, key).await);
    assert!(!commit!(f, |tx| api_key::revoke(tx, other, key.id).await));
    let first = f.clock.now();
    assert!(commit!(f, |tx| api_key::revoke(tx, acme, key.id).await));
    f.clock.advance(SECOND);
    assert!(!commit!(f, |tx| api_key::revoke(tx, acme, key.id).await));
    assert_eq!(look!(f, |r| api_key::list(r, acme).await)[0].revoked_at, Some(first), "the first time stands");
}

async fn r122_a_secret_key_is_found_by_its_hash_while_it_lives(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let mut key = sample(f).clone();
    (key.kind, key.token_hash) = ("secret".into(), b"of a secret".to_vec());
    let key: &'static ApiKeyRow = Box::leak(Box::new(key));
    let publishable = sample(f);
    commit!(f, |tx| api_key::insert(tx, acme, key).await);
    commit!(f, |tx| api_key::insert(tx, acme, publishable).await);
    assert_eq!(look!(f, |r| api_key::secret(r, acme, b"of a secret").await), Some(key.id));
    assert_eq!(look!(f, |r| api_key::secret(r, other, b"of a secret").await), None, "another tenant");
    assert_eq!(look!(f, |r| api_key::secret(r, acme, b"digest").await), None, "a publishable key");
    assert_eq!(look!(f, |r| api_key::secret(r, acme, b"of nothing").await), None);
    commit!(f, |tx| api_key::revoke(tx, acme, key.id).await);
    assert_eq!(look!(f, |r| api_key::secret(r, acme, b"of a secret").await), None, "revoked");
}
