//! Addresses of customers.

use serde_json::{Map, json};

use super::{Fixture, SECOND};
use crate::model::address::Address;
use crate::model::ids::{AddressId, CustomerId, TenantId};
use crate::store::{address, customer};

each_db! {
    an_address_is_read_as_it_was_written
    an_address_belongs_to_one_customer_of_one_tenant
    a_customer_has_one_default_of_each_kind
    of_many_that_become_the_default_one_is_it
}

fn sample(f: &Fixture, id: AddressId, owner: CustomerId) -> &'static Address {
    let mut sample = Address::empty(id, owner, f.clock.now());
    for (number, text) in sample.texts.iter_mut().enumerate() {
        *text = (number != 4).then(|| format!("Ä{number}"));
    }
    sample.metadata = Some(Map::from_iter([("z".to_owned(), json!(1)), ("a".to_owned(), json!({"b": null}))]));
    Box::leak(Box::new(sample))
}

async fn inserted(f: &Fixture, owner: CustomerId) -> &'static Address {
    let (tenant, sample) = (f.acme, sample(f, f.id(), owner));
    commit!(f, |tx| address::insert(tx, tenant, sample).await);
    sample
}

async fn read(f: &Fixture, tenant: TenantId, owner: CustomerId, id: AddressId) -> Option<Address> {
    look!(f, |r| address::by_id(r, tenant, owner, id).await)
}

async fn an_address_is_read_as_it_was_written(f: &Fixture) {
    let (acme, ann): (_, CustomerId) = (f.acme, f.id());
    let first = inserted(f, ann).await;
    f.clock.advance(SECOND);
    let second = inserted(f, ann).await;
    assert_eq!(read(f, acme, ann, first.id).await.as_ref(), Some(first));
    assert_eq!(look!(f, |r| address::of_customer(r, acme, ann).await), [first.clone(), second.clone()], "the oldest first");
    assert_eq!(look!(f, |r| address::count(r, acme, ann).await), 2);
    let mut changed = Address { is_default_shipping: true, is_default_billing: true, metadata: None, updated_at: f.clock.now(), ..first.clone() };
    changed.texts = std::array::from_fn(|number| (number == 4).then(|| "changed".to_owned()));
    let changed: &'static Address = Box::leak(Box::new(changed));
    assert!(commit!(f, |tx| address::update(tx, acme, changed).await));
    assert_eq!(look!(f, |r| address::of_customer(r, acme, ann).await), [changed.clone(), second.clone()]);
    assert!(commit!(f, |tx| address::delete(tx, acme, ann, first.id).await));
    assert!(!commit!(f, |tx| address::delete(tx, acme, ann, first.id).await), "it is gone");
    assert_eq!(look!(f, |r| address::of_customer(r, acme, ann).await), std::slice::from_ref(second));
    assert!(!commit!(f, |tx| address::update(tx, acme, changed).await), "what is gone is not changed");
}

async fn an_address_belongs_to_one_customer_of_one_tenant(f: &Fixture) {
    let (acme, ann, bob): (_, CustomerId, CustomerId) = (f.acme, f.id(), f.id());
    let mine = inserted(f, ann).await;
    for (tenant, owner) in [(acme, bob), (f.other, ann)] {
        assert_eq!(read(f, tenant, owner, mine.id).await, None);
        assert_eq!(look!(f, |r| address::of_customer(r, tenant, owner).await), []);
        assert_eq!(look!(f, |r| address::count(r, tenant, owner).await), 0);
        let stolen: &'static Address = Box::leak(Box::new(Address { customer: owner, metadata: None, ..mine.clone() }));
        assert!(!commit!(f, |tx| address::update(tx, tenant, stolen).await));
        assert!(!commit!(f, |tx| address::delete(tx, tenant, owner, mine.id).await));
    }
    assert_eq!(read(f, acme, ann, mine.id).await.as_ref(), Some(mine));
}

async fn a_customer_has_one_default_of_each_kind(f: &Fixture) {
    let (acme, other, ann, bob): (_, _, CustomerId, CustomerId) = (f.acme, f.other, f.id(), f.id());
    let default_of = async |tenant: TenantId, owner: CustomerId| {
        let made = Address { is_default_shipping: true, is_default_billing: true, ..sample(f, f.id(), owner).clone() };
        let made: &'static Address = Box::leak(Box::new(made));
        f.db.write(move |tx| Box::pin(address::insert(tx, tenant, made))).await.map(|()| made)
    };
    let first = default_of(acme, ann).await.unwrap();
    let untouched = [default_of(acme, bob).await.unwrap(), default_of(other, ann).await.unwrap()];
    default_of(acme, ann).await.unwrap_err();
    let second = inserted(f, ann).await;
    for half in [Address { is_default_shipping: true, ..second.clone() }, Address { is_default_billing: true, ..second.clone() }] {
        let half: &'static Address = Box::leak(Box::new(half));
        f.db.write(move |tx| Box::pin(address::update(tx, acme, half))).await.unwrap_err();
    }
    f.clock.advance(SECOND);
    // The address itself keeps its mark.
    commit!(f, |tx| address::clear_default_shipping(tx, acme, ann, first.id).await);
    commit!(f, |tx| address::clear_default_billing(tx, acme, ann, first.id).await);
    assert_eq!(read(f, acme, ann, first.id).await.as_ref(), Some(first));
    commit!(f, |tx| address::clear_default_shipping(tx, acme, ann, second.id).await);
    let expected = Address { is_default_shipping: false, updated_at: f.clock.now(), ..first.clone() };
    assert_eq!(read(f, acme, ann, first.id).await, Some(expected.clone()));
    commit!(f, |tx| address::clear_default_billing(tx, acme, ann, second.id).await);
    assert_eq!(read(f, acme, ann, first.id).await, Some(Address { is_default_billing: false, ..expected }));
    assert_eq!(read(f, acme, ann, second.id).await.as_ref(), Some(second), "what was no default is not touched");
    assert_eq!(read(f, acme, bob, untouched[0].id).await.as_ref(), Some(untouched[0]));
    assert_eq!(read(f, other, ann, untouched[1].id).await.as_ref(), Some(untouched[1]));
}

async fn of_many_that_become_the_default_one_is_it(f: &Fixture) {
    let acme = f.acme;
    let ann = super::customer::inserted(f).await.id;
    let samples: Vec<_> =
        (0..super::RACERS).map(|_| &*Box::leak(Box::new(Address { is_default_shipping: true, ..sample(f, f.id(), ann).clone() }))).collect();
    let samples: &'static [&'static Address] = Vec::leak(samples);
    let next: &'static std::sync::atomic::AtomicUsize = Box::leak(Box::default());
    f.race(move |tx| {
        let mine = samples[next.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % samples.len()];
        Box::pin(async move {
            customer::hold(tx, acme, ann).await?.unwrap();
            address::clear_default_shipping(tx, acme, ann, mine.id).await?;
            address::insert(tx, acme, mine).await
        })
    })
    .await;
    let all = look!(f, |r| address::of_customer(r, acme, ann).await);
    assert_eq!((all.len(), all.iter().filter(|a| a.is_default_shipping).count()), (super::RACERS, 1));
}
