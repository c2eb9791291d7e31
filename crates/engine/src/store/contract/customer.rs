//! Customers.

use serde_json::{Map, json};

use super::{Fixture, SECOND};
use crate::error::Result;
use crate::model::address::Address;
use crate::model::customer::{Customer, Search, ids_between};
use crate::model::ids::{CustomerId, IdentityId, SessionId, TenantId};
use crate::store::{Reader, address, customer, session};

each_db! {
    r1_an_address_has_one_account_in_a_tenant
    of_many_customers_with_one_address_one_is_made
    a_customer_is_read_as_it_was_written
    a_deleted_customer_is_neither_read_nor_changed
    another_tenants_customer_is_neither_read_nor_changed
    a_merge_under_the_lock_loses_nothing
    a_customer_who_is_held_is_not_changed
    a_profile_is_read_by_its_owners_live_session_alone
    a_profile_says_whether_it_has_addresses
    a_customer_is_deleted_once_by_its_tenant
    customers_are_listed_in_the_order_of_their_ids
    customers_are_found_by_their_addresses
    of_many_who_come_and_go_as_many_are_counted_as_stay
    a_profile_is_read_by_its_login_until_the_sessions_are_ended
}

fn sample(f: &Fixture, id: CustomerId) -> &'static Customer {
    Box::leak(Box::new(Customer {
        id,
        email: Some("Ann@x.test".into()),
        company_name: Some("Änn & Co".into()),
        first_name: Some(String::new()),
        last_name: None,
        phone: Some("+49".into()),
        metadata: Some(Map::from_iter([("z".to_owned(), json!(1)), ("a".to_owned(), json!({"b": null}))])),
        has_account: true,
        created_at: f.clock.now(),
        updated_at: f.clock.now(),
        deleted_at: None,
    }))
}

/// A customer that is not deleted.
pub(super) async fn stored(reader: &mut Reader, tenant: TenantId, id: CustomerId) -> Result<Option<Customer>> {
    const SQL: &str =
        "SELECT id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at FROM customers
        WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
    reader.one(SQL, &[tenant.into(), id.into()]).await
}

pub(super) async fn inserted(f: &Fixture) -> &'static Customer {
    let (tenant, sample) = (f.acme, sample(f, f.id()));
    assert!(commit!(f, |tx| customer::insert(tx, tenant, sample, "ann@x.test").await));
    sample
}

async fn delete(f: &Fixture, id: CustomerId) {
    let acme = f.acme;
    assert!(commit!(f, |tx| customer::delete(tx, acme, id).await));
}

async fn r1_an_address_has_one_account_in_a_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let first = inserted(f).await;
    let guest: &'static Customer = Box::leak(Box::new(Customer { id: f.id(), has_account: false, ..first.clone() }));
    let again = sample(f, f.id());
    assert!(!commit!(f, |tx| customer::insert(tx, acme, again, "ann@x.test").await));
    assert!(commit!(f, |tx| customer::insert(tx, acme, guest, "ann@x.test").await), "a guest is no account");
    assert!(commit!(f, |tx| customer::insert(tx, other, again, "ann@x.test").await), "another tenant");
    let found = look!(f, |r| customer::by_address(r, acme, "ann@x.test").await);
    assert_eq!(found, Some(first.id), "the guest is not found");
    assert_eq!(look!(f, |r| customer::by_address(r, acme, "bob@x.test").await), None);
    delete(f, first.id).await;
    assert_eq!(look!(f, |r| customer::by_address(r, acme, "ann@x.test").await), None, "deleted");
    assert_eq!(look!(f, |r| customer::by_address(r, other, "ann@x.test").await), Some(again.id), "each tenant has its own");
    assert!(commit!(f, |tx| customer::insert(tx, acme, again, "ann@x.test").await), "the first was deleted");
}

async fn of_many_customers_with_one_address_one_is_made(f: &Fixture) {
    let acme = f.acme;
    let samples: &'static [&'static Customer] = Vec::leak((0..super::RACERS).map(|_| sample(f, f.id())).collect());
    let next: &'static std::sync::atomic::AtomicUsize = Box::leak(Box::default());
    let won = f
        .race(move |tx| {
            let mine = samples[next.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % samples.len()];
            Box::pin(customer::insert(tx, acme, mine, "ann@x.test"))
        })
        .await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
}

async fn a_customer_is_read_as_it_was_written(f: &Fixture) {
    let acme = f.acme;
    let first = inserted(f).await;
    assert_eq!(look!(f, |r| stored(r, acme, first.id).await).as_ref(), Some(first));
    f.clock.advance(SECOND);
    let now = f.clock.now();
    let mut changed = Customer { company_name: None, last_name: Some("Lee".into()), metadata: None, updated_at: now, ..first.clone() };
    // The address and the kind of account are not a profile's to change.
    changed.email = Some("eve@x.test".into());
    changed.has_account = false;
    let changed: &'static Customer = Box::leak(Box::new(changed));
    commit!(f, |tx| customer::update(tx, acme, changed).await);
    let expected = Customer { email: first.email.clone(), has_account: true, ..changed.clone() };
    assert_eq!(look!(f, |r| stored(r, acme, first.id).await), Some(expected));
}

async fn a_deleted_customer_is_neither_read_nor_changed(f: &Fixture) {
    let acme = f.acme;
    let first = inserted(f).await;
    delete(f, first.id).await;
    f.clock.advance(SECOND);
    assert_eq!(look!(f, |r| stored(r, acme, first.id).await), None);
    assert_eq!(look!(f, |r| customer::by_id(r, acme, first.id).await), None);
    assert_eq!(commit!(f, |tx| customer::lock(tx, acme, first.id).await), None);
    let renamed: &'static Customer = Box::leak(Box::new(Customer { phone: Some("changed".into()), ..first.clone() }));
    commit!(f, |tx| customer::update(tx, acme, renamed).await);
    assert_eq!(f.count("SELECT COUNT(*) FROM customers WHERE phone = 'changed' OR updated_at <> created_at").await, 0);
}

async fn another_tenants_customer_is_neither_read_nor_changed(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let first = inserted(f).await;
    f.clock.advance(SECOND);
    assert_eq!(look!(f, |r| stored(r, other, first.id).await), None);
    assert_eq!(look!(f, |r| customer::by_id(r, other, first.id).await), None);
    assert_eq!(look!(f, |r| customer::by_id(r, acme, first.id).await).as_ref(), Some(first));
    assert_eq!(commit!(f, |tx| customer::lock(tx, other, first.id).await), None);
    let renamed: &'static Customer = Box::leak(Box::new(Customer { phone: Some("stolen".into()), ..first.clone() }));
    commit!(f, |tx| customer::update(tx, other, renamed).await);
    assert_eq!(look!(f, |r| stored(r, acme, first.id).await).as_ref(), Some(first));
}

async fn a_merge_under_the_lock_loses_nothing(f: &Fixture) {
    let acme = f.acme;
    let first = inserted(f).await;
    let next: &'static std::sync::atomic::AtomicUsize = Box::leak(Box::default());
    f.race(move |tx| {
        let mine = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move {
            let mut locked = customer::lock(tx, acme, first.id).await?.unwrap();
            locked.metadata.get_or_insert_default().insert(mine.to_string(), json!(mine));
            customer::update(tx, acme, &locked).await
        })
    })
    .await;
    let merged = look!(f, |r| stored(r, acme, first.id).await).unwrap().metadata.unwrap();
    assert_eq!(merged.len(), 2 + super::RACERS);
}

async fn a_customer_who_is_held_is_not_changed(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let first = inserted(f).await;
    f.clock.advance(SECOND);
    assert_eq!(commit!(f, |tx| customer::hold(tx, acme, first.id).await).as_ref(), Some(first));
    assert_eq!(look!(f, |r| stored(r, acme, first.id).await).as_ref(), Some(first));
    assert_eq!(commit!(f, |tx| customer::hold(tx, other, first.id).await), None);
    delete(f, first.id).await;
    assert_eq!(commit!(f, |tx| customer::hold(tx, acme, first.id).await), None);
}

async fn a_profile_says_whether_it_has_addresses(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    let customer = inserted(f).await;
    let (session, end): (SessionId, _) = (f.id(), f.clock.now().after(SECOND));
    commit!(f, |tx| session::insert(tx, acme, session, ann, end, None).await);
    let has = async || look!(f, |r| customer::by_session(r, acme, session, ann, customer.id).await).map(|signed| signed.has_addresses);
    let lives = async |tenant: TenantId, owner: CustomerId| {
        let address: &'static Address = Box::leak(Box::new(Address::empty(f.id(), owner, f.clock.now())));
        commit!(f, |tx| address::insert(tx, tenant, address).await);
    };
    lives(acme, f.id()).await;
    lives(other, customer.id).await;
    assert_eq!(has().await, Some(false), "of nobody else, and at no other tenant");
    lives(acme, customer.id).await;
    assert_eq!(has().await, Some(true));
}

async fn a_profile_is_read_by_its_owners_live_session_alone(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    let customer = inserted(f).await;
    let begun = |identity: IdentityId| async move {
        let (id, end): (SessionId, _) = (f.id(), f.clock.now().after(SECOND * 10));
        commit!(f, |tx| session::insert(tx, acme, id, identity, end, None).await);
        id
    };
    let read = |tenant: TenantId, id: SessionId, identity: IdentityId| async move {
        look!(f, |r| customer::by_session(r, tenant, id, identity, customer.id).await).is_some()
    };
    let session = begun(ann).await;
    assert!(read(acme, session, ann).await);
    assert!(!read(acme, session, bob).await, "another login's session");
    assert!(!read(other, session, ann).await, "another tenant");
    assert!(!read(acme, f.id(), ann).await, "no session");
    f.clock.advance(SECOND * 10);
    assert!(!read(acme, session, ann).await, "expired");
    let session = begun(ann).await;
    commit!(f, |tx| session::end_all(tx, acme, ann).await);
    assert!(!read(acme, session, ann).await, "ended");
    let session = begun(ann).await;
    delete(f, customer.id).await;
    assert!(!read(acme, session, ann).await, "the customer is deleted");
}

async fn a_customer_is_deleted_once_by_its_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let first = inserted(f).await;
    f.clock.advance(SECOND);
    assert!(!commit!(f, |tx| customer::delete(tx, other, first.id).await), "another tenant");
    assert_eq!(look!(f, |r| customer::count(r, acme).await), 1);
    assert!(commit!(f, |tx| customer::delete(tx, acme, first.id).await));
    assert!(!commit!(f, |tx| customer::delete(tx, acme, first.id).await), "again");
    assert!(!commit!(f, |tx| customer::delete(tx, acme, nobody()).await), "unknown");
    assert_eq!(look!(f, |r| customer::count(r, acme).await), 0, "one less, once");
    let at = f.clock.now().micros();
    assert_eq!(look!(f, |r| r.one::<(i64,)>("SELECT deleted_at FROM customers", &[]).await), Some((at,)));
}

/// An id that nobody has.
fn nobody() -> CustomerId {
    CustomerId(ulid::Ulid(7))
}

/// Customers with these addresses, a second apart.
async fn with_addresses(f: &Fixture, addresses: &[&'static str]) -> Vec<CustomerId> {
    let (acme, mut ids) = (f.acme, Vec::new());
    for &address in addresses {
        f.clock.advance(SECOND);
        let made = sample(f, f.id());
        assert!(commit!(f, |tx| customer::insert(tx, acme, made, address).await));
        ids.push(made.id);
    }
    ids
}

async fn customers_are_listed_in_the_order_of_their_ids(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let ids = with_addresses(f, &["a@x.test", "b@x.test", "c@x.test", "d@x.test"]).await;
    delete(f, ids[1]).await;
    let all = Search { ids: None, addresses: None, address_start: None, between: ids_between(None, None), newest_first: false, offset: 0, limit: 50 };
    let all: &'static Search = Box::leak(Box::new(all));
    let page = |tenant: TenantId, change: &dyn Fn(&mut Search)| {
        let mut search = all.clone();
        change(&mut search);
        let search: &'static Search = Box::leak(Box::new(search));
        async move { look!(f, |r| customer::page(r, tenant, search).await).iter().map(|c| c.id).collect::<Vec<_>>() }
    };
    assert_eq!(page(acme, &|_| ()).await, [ids[0], ids[2], ids[3]]);
    assert_eq!(page(acme, &|s| s.newest_first = true).await, [ids[3], ids[2], ids[0]]);
    assert_eq!(page(acme, &|s| (s.offset, s.limit) = (1, 1)).await, [ids[2]]);
    assert_eq!(page(acme, &|s| (s.newest_first, s.offset, s.limit) = (true, 2, 9)).await, [ids[0]]);
    assert_eq!(page(other, &|_| ()).await, []);
    let (first, third) = (ids[0], ids[2]);
    assert_eq!(page(acme, &move |s| s.between = (first, third)).await, [ids[0], ids[2]]);
    let counted = |tenant: TenantId, between: (CustomerId, CustomerId), most: i64| async move {
        look!(f, |r| customer::count_between(r, tenant, between, most).await)
    };
    assert_eq!(counted(acme, (first, third), 9).await, 2);
    assert_eq!(counted(acme, (first, third), 1).await, 1, "no further");
    assert_eq!(counted(other, (first, third), 9).await, 0);
    assert_eq!((look!(f, |r| customer::count(r, acme).await), look!(f, |r| customer::count(r, other).await)), (3, 0));
}

async fn customers_are_found_by_their_addresses(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    // By their bytes, on both databases: a database's own order may know better.
    let ids = with_addresses(f, &["a-b@x.test", "ab@x.test", "ac@x.test", "b@x.test", "äb@x.test"]).await;
    let found = |tenant: TenantId, first: &'static str, last: &'static str, most: i64| async move {
        look!(f, |r| customer::with_addresses_between(r, tenant, first, last, most).await)
    };
    assert_eq!(found(acme, "a", "a\u{10FFFF}", 9).await, ids[..3]);
    assert_eq!(found(acme, "ab", "ab\u{10FFFF}", 9).await, [ids[1]]);
    assert_eq!(found(acme, "ä", "ä\u{10FFFF}", 9).await, [ids[4]]);
    assert_eq!(found(acme, "ab@x.test", "ab@x.test", 9).await, [ids[1]]);
    assert_eq!(found(acme, "a", "a\u{10FFFF}", 2).await, ids[..2], "no further");
    assert_eq!(found(other, "a", "a\u{10FFFF}", 9).await, []);
    delete(f, ids[1]).await;
    assert_eq!(found(acme, "ab", "ab\u{10FFFF}", 9).await, []);
}

async fn of_many_who_come_and_go_as_many_are_counted_as_stay(f: &Fixture) {
    let acme = f.acme;
    let ids: &'static [CustomerId] = Vec::leak((0..super::RACERS).map(|_| f.id()).collect());
    let samples: &'static [&'static Customer] = Vec::leak(ids.iter().map(|id| sample(f, *id)).collect());
    let next: &'static std::sync::atomic::AtomicUsize = Box::leak(Box::default());
    f.race(move |tx| {
        let mine = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % samples.len();
        Box::pin(async move {
            customer::insert(tx, acme, samples[mine], &format!("{mine}@x.test")).await?;
            if mine.is_multiple_of(2) { customer::delete(tx, acme, ids[mine]).await } else { Ok(false) }
        })
    })
    .await;
    let live = f.count("SELECT COUNT(*) FROM customers WHERE deleted_at IS NULL").await;
    assert_eq!(look!(f, |r| customer::count(r, acme).await), live);
}

async fn a_profile_is_read_by_its_login_until_the_sessions_are_ended(f: &Fixture) {
    let (acme, other, now) = (f.acme, f.other, f.clock.now());
    let (ann, bob, me) = (f.identity("ann").await, f.identity("bob").await, inserted(f).await.id);
    let found = async |tenant, login, id, at| look!(f, |r| customer::by_login(r, tenant, login, id, at).await).map(|found| found.customer.id);
    assert_eq!(found(acme, ann, me, now).await, None, "not linked");
    commit!(f, |tx| crate::store::identity::link(tx, acme, ann, Box::leak(me.bare().into_boxed_str())).await);
    assert_eq!(found(acme, ann, me, now).await, Some(me));
    assert_eq!(found(other, ann, me, now).await, None, "another tenant's");
    assert_eq!(found(acme, bob, me, now).await, None, "another login's");
    assert_eq!(found(acme, ann, CustomerId(acme.0), now).await, None, "another customer");
    commit!(f, |tx| session::end_all(tx, acme, ann).await);
    assert_eq!(found(acme, ann, me, now).await, None, "ended");
    assert_eq!(found(acme, ann, me, now.after(SECOND)).await, Some(me), "issued since");
    commit!(f, |tx| tx.exec("UPDATE identities SET actor_type = 'user' WHERE tenant_id = $1", &[acme.into()]).await);
    assert_eq!(found(acme, ann, me, now.after(SECOND)).await, None, "no customer's login");
    commit!(f, |tx| tx.exec("UPDATE identities SET actor_type = 'customer' WHERE tenant_id = $1", &[acme.into()]).await);
    delete(f, me).await;
    assert_eq!(found(acme, ann, me, now.after(SECOND)).await, None, "deleted");
}
