//! Signing keys.

use super::{Fixture, SECOND};
use crate::model::ids::KeyId;
use crate::store::signing_key;

each_db! {
    r85_retired_keys_stay_listed
}

async fn r85_retired_keys_stay_listed(f: &Fixture) {
    let (acme, other, first) = (f.acme, f.other, f.clock.now());
    let ids: [KeyId; 3] = std::array::from_fn(|_| f.id());
    commit!(f, |tx| signing_key::insert(tx, acme, ids[0], "EdDSA", b"one").await);
    commit!(f, |tx| signing_key::insert(tx, other, ids[1], "HS256", b"two").await);
    commit!(f, |tx| signing_key::retire(tx, acme).await);
    f.clock.advance(SECOND);
    commit!(f, |tx| signing_key::insert(tx, acme, ids[2], "EdDSA", b"three").await);
    let keys = async |tenant| {
        let rows = look!(f, |r| signing_key::list(r, tenant).await);
        rows.into_iter().map(|k| (k.id, k.algorithm, k.material, k.retired_at)).collect::<Vec<_>>()
    };
    let (newest, oldest) = ((ids[2], "EdDSA".to_owned(), b"three".to_vec()), (ids[0], "EdDSA".to_owned(), b"one".to_vec()));
    let (a, b) = (newest.clone(), oldest.clone());
    assert_eq!(keys(acme).await, [(a.0, a.1, a.2, None), (b.0, b.1, b.2, Some(first))]);
    assert_eq!(keys(other).await, [(ids[1], "HS256".to_owned(), b"two".to_vec(), None)]);
    commit!(f, |tx| signing_key::retire(tx, acme).await);
    let retired = [(newest.0, newest.1, newest.2, Some(f.clock.now())), (oldest.0, oldest.1, oldest.2, Some(first))];
    assert_eq!(keys(acme).await, retired, "the first time stands");
}
