//! A shop's staff.

use super::Fixture;
use crate::model::email::Email;
use crate::model::ids::UserId;
use crate::store::user;

each_db! {
    an_address_has_one_member_in_a_tenant
}

async fn an_address_has_one_member_in_a_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let ids: [UserId; 3] = std::array::from_fn(|_| f.id());
    let insert = async |tenant, id, text| commit!(f, |tx| user::insert(tx, tenant, id, &Email::parse(text).unwrap()).await);
    assert!(insert(acme, ids[0], "Ann@x.test").await);
    assert!(!insert(acme, ids[1], "ann@X.test").await);
    assert!(insert(other, ids[2], "ann@x.test").await);
    let address = async |tenant, id| look!(f, |r| user::address(r, tenant, id).await);
    assert_eq!(address(acme, ids[0]).await.as_deref(), Some("Ann@x.test"), "as it was written");
    assert_eq!((address(other, ids[0]).await, address(acme, ids[1]).await), (None, None), "another tenant's, nobody's");
    assert_eq!(f.count("SELECT COUNT(*) FROM users WHERE email = 'Ann@x.test' AND email_key = 'ann@x.test'").await, 1);
    commit!(f, |tx| tx.exec("UPDATE users SET deleted_at = 1 WHERE email_key = 'ann@x.test'", &[]).await);
    assert_eq!(address(acme, ids[0]).await, None, "deleted");
    assert!(insert(acme, ids[1], "ann@x.test").await, "the first was deleted");
}
