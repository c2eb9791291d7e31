//! Events, and their deliveries in the same transaction.

use serde_json::{Map, json};

use super::delivery::party;
use super::{Fixture, MINUTE, SECOND, on_purpose};
use crate::model::event::{Event, EventName};
use crate::model::ids::DeliveryId;
use crate::store::delivery::{self, Ending};
use crate::store::event::Range;
use crate::store::{event, sequence};

each_db! {
    an_event_is_found_by_its_tenant_alone
    every_subscriber_gets_a_delivery
    an_event_of_a_failed_transaction_is_not_there
    a_sweep_takes_old_events_that_nobody_waits_for
    a_sweep_takes_a_batch
    events_are_found_by_whom_they_are_of
    a_page_holds_the_numbers_and_names_that_were_asked_for
    an_event_is_delivered_once_more_unless_it_waits_already
}

/// Gives everything a number, without which nothing is swept.
async fn number(f: &Fixture) {
    let (acme, until) = (f.acme, f.in_a_minute());
    commit!(f, |tx| {
        let last = sequence::claim(tx, acme, "w", until).await?.unwrap();
        sequence::number(tx, acme, "w", last, 1_000).await
    });
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
    number(f).await;
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
    number(f).await;
    let after = f.in_a_minute();
    assert_eq!(commit!(f, |tx| event::sweep(tx, acme, after).await), 500);
    assert_eq!(commit!(f, |tx| event::sweep(tx, acme, after).await), 1);
}

const RESETS: &[EventName] = &[EventName::PasswordReset];

async fn a_page_holds_the_numbers_and_names_that_were_asked_for(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (reset, changed) = (sample(f), sample(f));
    let changed: &'static Event = Box::leak(Box::new(Event { name: EventName::CustomerUpdated, ..changed.clone() }));
    for (tenant, event) in [(acme, reset), (acme, changed), (other, reset), (acme, sample(f)), (acme, sample(f))] {
        commit!(f, |tx| event::append(tx, tenant, event, &[]).await);
    }
    assert_eq!(look!(f, |r| event::numbered(r, acme, changed.id).await).unwrap().number, None);
    number(f).await;
    let found = look!(f, |r| event::numbered(r, acme, changed.id).await).unwrap();
    assert_eq!((found.number, found.event.id, found.event.name), (Some(2), changed.id, EventName::CustomerUpdated));
    assert!(look!(f, |r| event::numbered(r, other, changed.id).await).is_none());
    let page = async |tenant, after, until, names: &'static [EventName], most| {
        let found = look!(f, |r| event::page(r, tenant, Range { after, until, names, most }).await);
        found.into_iter().map(|found| found.number.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(page(acme, 0, 9, &EventName::ALL, 9).await, [1, 2, 3, 4]);
    assert_eq!(page(acme, 1, 3, &EventName::ALL, 9).await, [2, 3]);
    assert_eq!(page(acme, 0, 9, RESETS, 2).await, [1, 3]);
    assert_eq!(page(acme, 0, 9, &[EventName::CustomerUpdated, EventName::PasswordUpdated], 9).await, [2]);
    assert!(page(acme, 0, 9, &[], 9).await.is_empty());
    assert!(page(other, 0, 9, &EventName::ALL, 9).await.is_empty(), "what has no number yet is not there");
}

async fn an_event_is_delivered_once_more_unless_it_waits_already(f: &Fixture) {
    let (acme, other, sample) = (f.acme, f.other, sample(f));
    let ids: [DeliveryId; 4] = [f.id(), f.id(), f.id(), f.id()];
    commit!(f, |tx| event::append(tx, acme, sample, &[(ids[0], "mail".into())]).await);
    number(f).await;
    let replay = async |tenant, id, subscriber: &'static str| {
        commit!(f, |tx| {
            sequence::lock(tx, tenant).await?;
            delivery::replay(tx, tenant, id, sample.id, subscriber).await
        })
    };
    assert!(!replay(acme, ids[1], "mail").await, "one waits");
    assert!(!replay(other, ids[1], "webhook:1").await, "another tenant's event");
    assert!(replay(acme, ids[1], "webhook:1").await);
    let until = f.in_a_minute();
    let held: &'static delivery::ClaimedDelivery =
        Box::leak(Box::new(commit!(f, |tx| delivery::claim(tx, super::delivery::party(acme, "mail"), "w", until, 9).await).remove(0)));
    assert!(commit!(f, |tx| delivery::finish(tx, held, "w", Ending::Dead, "550 no").await));
    assert!(replay(acme, ids[2], "mail").await);
    assert!(!replay(acme, ids[3], "mail").await);
    let told = look!(f, |r| delivery::of_event(r, acme, sample.id).await);
    let states: Vec<_> = told.iter().map(|told| (told.id, told.subscriber.as_str(), told.state.as_str(), told.attempts)).collect();
    assert_eq!(states, [(ids[0], "mail", "dead", 1), (ids[1], "webhook:1", "waiting", 0), (ids[2], "mail", "waiting", 0)]);
    assert_eq!((told[0].answer.as_deref(), told[0].done_at, told[2].done_at), (Some("550 no"), Some(f.clock.now()), None));
    assert_eq!(told[0].created_at, f.clock.now());
    assert!(look!(f, |r| delivery::of_event(r, other, sample.id).await).is_empty());
    // Of many at once exactly one makes it.
    let racer = f.race(move |tx| {
        Box::pin(async move {
            sequence::lock(tx, acme).await?;
            delivery::replay(tx, acme, ids[3], sample.id, "webhook:2").await
        })
    });
    assert_eq!(racer.await.into_iter().filter(|made| *made).count(), 1);
}

async fn events_are_found_by_whom_they_are_of(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let of = |data: serde_json::Value| {
        let serde_json::Value::Object(data) = data else { panic!("{data}") };
        &*Box::leak(Box::new(Event { id: f.id(), name: EventName::PasswordUpdated, data, secret_ref: None, created_at: f.clock.now() }))
    };
    let asked = of(json!({"actor_type": "customer", "entity_id": "ann@x.test", "metadata": {}}));
    let updated = of(json!({"auth_identity_id": "authid_1", "actor_type": "customer", "entity_id": "ann@x.test"}));
    let deleted = of(json!({"id": "cus_1"}));
    let nobodys = of(json!({}));
    assert_eq!([asked, updated, deleted, nobodys].map(Event::subject), ["customer:ann@x.test", "authid_1", "cus_1", ""]);
    let start = f.clock.now();
    for event in [asked, updated, deleted, nobodys] {
        commit!(f, |tx| event::append(tx, acme, event, &[]).await);
    }
    f.clock.advance(SECOND);
    let later = f.clock.now();
    let second = of(json!({"id": "cus_1"}));
    commit!(f, |tx| event::append(tx, acme, second, &[]).await);
    let found = async |tenant, subject: &'static str, from, most| {
        let found = look!(f, |r| event::of_subject(r, tenant, subject, from, most).await);
        found.into_iter().map(|found| found.event.id).collect::<Vec<_>>()
    };
    assert_eq!(found(acme, "customer:ann@x.test", start, 9).await, [asked.id]);
    assert_eq!(found(acme, "authid_1", start, 9).await, [updated.id]);
    assert_eq!(found(acme, "cus_1", start, 9).await, [second.id, deleted.id]);
    assert_eq!(found(acme, "cus_1", start, 1).await, [second.id]);
    assert_eq!(found(acme, "cus_1", later, 9).await, [second.id]);
    assert!(found(other, "cus_1", start, 9).await.is_empty());
}
