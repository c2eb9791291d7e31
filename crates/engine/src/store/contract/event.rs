//! Events, and their deliveries in the same transaction.

use serde_json::{Map, json};

use super::delivery::party;
use super::{Fixture, MINUTE, SECOND, on_purpose};
use crate::model::event::{Event, EventName};
use crate::model::ids::DeliveryId;
use crate::store::delivery::{self, Ending};
use crate::store::event;

each_db! {
    an_event_is_found_by_its_tenant_alone
    every_subscriber_gets_a_delivery
    an_event_of_a_failed_transaction_is_not_there
    a_sweep_takes_old_events_that_nobody_waits_for
    a_sweep_takes_a_batch
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
    let (mail, hook) = (party(acme, "mail"), party(acme, "webhook:1"));
    let mut claimed = commit!(f, |tx| delivery::claim(tx, mail, "w", until, 9).await);
    claimed.extend(commit!(f, |tx| delivery::claim(tx, hook, "w", until, 9).await));
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

async fn a_sweep_takes_old_events_that_nobody_waits_for(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (told, waiting, unheard) = (sample(f), sample(f), sample(f));
    let ids: [DeliveryId; 2] = [f.id(), f.id()];
    commit!(f, |tx| event::append(tx, acme, told, &[(ids[0], "mail".into())]).await);
    commit!(f, |tx| event::append(tx, acme, unheard, &[]).await);
    let until = f.in_a_minute();
    let mail = party(acme, "mail");
    let held: &'static delivery::ClaimedDelivery = Box::leak(Box::new(commit!(f, |tx| delivery::claim(tx, mail, "w", until, 9).await).remove(0)));
    assert!(commit!(f, |tx| delivery::finish(tx, held, "w", Ending::Delivered, "250").await));
    commit!(f, |tx| event::append(tx, acme, waiting, &[(ids[1], "mail".into())]).await);
    let made = f.clock.now();
    f.clock.advance(MINUTE);
    let young = sample(f);
    commit!(f, |tx| event::append(tx, acme, young, &[]).await);
    let after = made.after(SECOND);
    assert_eq!(commit!(f, |tx| Ok((delivery::sweep(tx, acme, made, made).await?, event::sweep(tx, acme, made).await?))), (0, 0));
    assert_eq!(commit!(f, |tx| Ok((delivery::sweep(tx, other, after, after).await?, event::sweep(tx, other, after).await?))), (0, 0));
    assert_eq!(commit!(f, |tx| Ok((delivery::sweep(tx, acme, after, after).await?, event::sweep(tx, acme, after).await?))), (1, 2));
    assert_eq!(look!(f, |r| delivery::waiting(r).await), 1);
    for (event, stays) in [(told, false), (unheard, false), (waiting, true), (young, true)] {
        assert_eq!(look!(f, |r| event::by_id(r, acme, event.id).await).is_some(), stays);
    }
}

async fn a_sweep_takes_a_batch(f: &Fixture) {
    let acme = f.acme;
    let events: &'static [Event] = Box::leak((0..501).map(|_| sample(f).clone()).collect::<Vec<_>>().into_boxed_slice());
    commit!(f, |tx| {
        for event in events {
            event::append(tx, acme, event, &[]).await?;
        }
        Ok(())
    });
    let after = f.in_a_minute();
    assert_eq!(commit!(f, |tx| event::sweep(tx, acme, after).await), 500);
    assert_eq!(commit!(f, |tx| event::sweep(tx, acme, after).await), 1);
}
