//! Events, and their deliveries in the same transaction.

use serde_json::{Map, json};

use super::{Fixture, on_purpose};
use crate::model::event::{Event, EventName};
use crate::model::ids::DeliveryId;
use crate::store::{delivery, event};

each_db! {
    an_event_is_found_by_its_tenant_alone
    every_subscriber_gets_a_delivery
    an_event_of_a_failed_transaction_is_not_there
}

fn sample(f: &Fixture) -> &'static Event {
    let data = Map::from_iter([("entity_id".to_owned(), json!("ann@x.test")), ("metadata".to_owned(), json!({"ü": [1, null]}))]);
    let event = Event { id: f.id(), name: EventName::PasswordReset, data, secret_ref: Some("jti".into()), created_at: f.clock.now() };
    Box::leak(Box::new(event))
}

async fn an_event_is_found_by_its_tenant_alone(f: &Fixture) {
    let (acme, other, sample) = (f.acme, f.other, sample(f));
    commit!(f, |tx| event::append(tx, acme, sample, &[]).await);
    let found = look!(f, |r| event::by_id(r, acme, sample.id).await).unwrap();
    assert_eq!((found.id, found.name, &found.data), (sample.id, sample.name, &sample.data));
    assert_eq!((found.secret_ref.as_deref(), found.created_at), (Some("jti"), sample.created_at));
    assert!(look!(f, |r| event::by_id(r, other, sample.id).await).is_none());
}

async fn every_subscriber_gets_a_delivery(f: &Fixture) {
    let (acme, sample) = (f.acme, sample(f));
    let ids: [DeliveryId; 2] = [f.id(), f.id()];
    commit!(f, |tx| event::append(tx, acme, sample, &[(ids[0], "mail".into()), (ids[1], "webhook:1".into())]).await);
    let until = f.in_a_minute();
    let mut claimed = commit!(f, |tx| delivery::claim(tx, "w", until, 9).await);
    claimed.sort_by_key(|delivery| delivery.id);
    let found: Vec<_> = claimed.iter().map(|d| (d.tenant, d.id, d.event, d.subscriber.as_str())).collect();
    assert_eq!(found, [(acme, ids[0], sample.id, "mail"), (acme, ids[1], sample.id, "webhook:1")]);
}

async fn an_event_of_a_failed_transaction_is_not_there(f: &Fixture) {
    let (acme, sample, id) = (f.acme, sample(f), f.id());
    let work = f.db.write(move |tx| {
        Box::pin(async move {
            event::append(tx, acme, sample, &[(id, "mail".into())]).await?;
            on_purpose::<()>()
        })
    });
    assert!(work.await.is_err());
    assert!(look!(f, |r| event::by_id(r, acme, sample.id).await).is_none());
    assert_eq!(look!(f, |r| delivery::waiting(r).await), 0);
}
