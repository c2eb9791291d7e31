//! Events on their way into the outbox.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Engine;
use crate::config::Nats;
use crate::crypto::sha256;
use crate::error::{Code, Error, Result};
use crate::model::event::{Event, EventName, NumberedEvent};
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::model::tenant::{Message, Tenant, TenantSettings, Webhook};
use crate::store::delivery::DeliveryRow;
use crate::store::event::Range;
use crate::store::{self, Reader, Tx};

/// The subscriber id of the built-in mailer.
pub const MAILER: &str = "mail";
/// The subscriber id of `JetStream`.
pub const NATS: &str = "nats";
/// The subscriber id of the bridge to Medusa.
pub const MEDUSA: &str = "medusa";

/// How many numbers one look goes through, whatever it finds.
pub const SCANNED: i64 = 10_000;
/// Deliveries that one transaction of a replay makes.
const REPLAYED: i64 = 500;

/// An event with the deliveries that it makes, drawn before the transaction that writes them.
#[derive(Debug, Clone)]
pub struct Planned {
    event: Event,
    subscribers: Vec<(DeliveryId, String)>,
}

impl Planned {
    /// The ids of those who hear it.
    pub(crate) fn subscribers(&self) -> impl Iterator<Item = &str> {
        self.subscribers.iter().map(|(_, subscriber)| subscriber.as_str())
    }
}

/// Plans the event `name` for everybody in `tenant` who wants to hear it.
#[must_use]
pub fn plan(engine: &Engine, tenant: &Tenant, name: EventName, data: Map<String, Value>, secret_ref: Option<String>) -> Planned {
    debug_assert!(name.spec().fits(&data), "{} is described otherwise", name.as_str());
    let mut planned = draw(engine, tenant, name);
    planned.event.data = data;
    planned.event.secret_ref = secret_ref;
    planned
}

/// As `plan`, of an event whose data only the transaction finds: see `append_with`.
#[must_use]
pub fn draw(engine: &Engine, tenant: &Tenant, name: EventName) -> Planned {
    let now = engine.clock.now();
    let nats = engine.config.nats.as_ref();
    let subscribers = subscribers(&tenant.settings, nats, name).map(|id| (DeliveryId(engine.rng.ulid(now)), id)).collect();
    Planned { event: Event { id: EventId(engine.rng.ulid(now)), name, data: Map::new(), secret_ref: None, created_at: now }, subscribers }
}

/// Writes the event into the transaction of the change. Wake the outbox after the commit.
pub async fn append(tx: &mut Tx, tenant: &Arc<Tenant>, planned: &Planned) -> Result<()> {
    store::event::append(tx, tenant.id, &planned.event, &planned.subscribers).await
}

/// As `append`, of what `draw` gave.
pub async fn append_with(tx: &mut Tx, tenant: TenantId, drawn: &Planned, data: Map<String, Value>) -> Result<()> {
    let event = Event { data, ..drawn.event.clone() };
    debug_assert!(event.name.spec().fits(&event.data), "{} is described otherwise", event.name.as_str());
    store::event::append(tx, tenant, &event, &drawn.subscribers).await
}

/// Who hears `name`: the mailer, if it has a message for it and a way to send; and each webhook, `JetStream` and the bridge, by their patterns.
pub fn subscribers(settings: &TenantSettings, nats: Option<&Nats>, name: EventName) -> impl Iterator<Item = String> {
    let mail = &settings.mail;
    let mailer = mail.transport.is_some() && message_for(name).is_some_and(|message| mail.messages.contains(&message));
    let wants = move |patterns: &[String]| patterns.iter().any(|pattern| name.matches(pattern));
    let webhooks = settings.webhooks.iter().filter(move |hook| wants(&hook.events)).map(webhook_id);
    let nats = nats.is_some_and(|nats| wants(&nats.events));
    let medusa = settings.medusa.as_ref().is_some_and(|medusa| wants(&medusa.events));
    let built_in = [(mailer, MAILER), (nats, NATS), (medusa, MEDUSA)].into_iter().filter(|(hears, _)| *hears);
    built_in.map(|(_, id)| id.to_owned()).chain(webhooks)
}

/// Whether the tenant has this subscriber. Of `JetStream` the server knows, not the tenant.
#[must_use]
pub fn has_subscriber(settings: &TenantSettings, id: &str) -> bool {
    match id {
        MAILER => settings.mail.transport.is_some(),
        NATS => true,
        MEDUSA => settings.medusa.is_some(),
        webhook => settings.webhooks.iter().any(|hook| webhook_id(hook) == webhook),
    }
}

/// The message that the mailer sends for an event.
#[must_use]
pub fn message_for(name: EventName) -> Option<Message> {
    match name {
        EventName::PasswordReset => Some(Message::PasswordReset),
        EventName::PasswordUpdated => Some(Message::PasswordChanged),
        EventName::SignedIn
        | EventName::SessionEnded
        | EventName::SignInFailed
        | EventName::IdentityLinked
        | EventName::IdentityUnlinked
        | EventName::CustomerCreated
        | EventName::CustomerUpdated
        | EventName::CustomerDeleted => None,
    }
}

/// The subscriber id of a webhook: stable as long as its URL is.
#[must_use]
pub fn webhook_id(hook: &Webhook) -> String {
    let digest = sha256(&[hook.url.as_str().as_bytes()]);
    format!("webhook:{}", crate::model::hex(digest.get(..8).unwrap_or_default()))
}

/// Everybody but the mailer, by id, and whether they name the event exactly: only then do they get its secret.
fn others<'s>(settings: &'s TenantSettings, nats: Option<&'s Nats>, name: EventName) -> impl Iterator<Item = (String, bool)> {
    let webhooks = settings.webhooks.iter().map(|hook| (webhook_id(hook), &hook.events));
    let medusa = settings.medusa.iter().map(|medusa| (MEDUSA.to_owned(), &medusa.events));
    let nats = nats.into_iter().map(|nats| (NATS.to_owned(), &nats.events));
    let named = move |patterns: &[String]| patterns.iter().any(|pattern| pattern == name.as_str());
    webhooks.chain(medusa).chain(nats).map(move |(id, patterns)| (id, named(patterns)))
}

/// The subscribers that would hear `name` without its secret.
#[must_use]
pub fn without_secret(settings: &TenantSettings, nats: Option<&Nats>, name: EventName) -> Vec<String> {
    others(settings, nats, name).filter(|(_, named)| !named).map(|(id, _)| id).collect()
}

/// What an operator should mend: an event with a secret that nobody hears, or that the mailer and another both hear.
#[must_use]
pub fn warnings(settings: &TenantSettings, nats: Option<&Nats>) -> Vec<String> {
    let secret_bearing = EventName::ALL.into_iter().filter(|name| name.secret_fields().next().is_some());
    secret_bearing
        .filter_map(|name| {
            let mailer = subscribers(settings, nats, name).any(|id| id == MAILER);
            let others = others(settings, nats, name).any(|(_, named)| named);
            let what = match (mailer, others) {
                (false, false) => "has no subscriber: nobody will send the customer anything",
                (true, true) => "is heard by the mailer and by another: the customer may be written to twice",
                _ => return None,
            };
            Some(format!("tenant {}: {} {what}", settings.slug, name.as_str()))
        })
        .collect()
}

/// Which events of a tenant are asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Those with a higher number than this one; from the oldest that is kept on if nothing is said.
    pub after: Option<i64>,
    /// The id of the event with the number `after`, if the caller knows it: so that one who knows of events that are no more hears of it.
    pub after_id: Option<EventId>,
    pub names: Vec<EventName>,
    /// How many at most.
    pub most: i64,
}

/// Events in the order of their numbers.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<NumberedEvent>,
    /// The number up to which everything that was asked for is here.
    pub next: i64,
    /// The id of the event with that number, if it is still kept.
    pub next_id: Option<EventId>,
    /// The tenant's last number.
    pub last: i64,
}

/// A page of the tenant's events. Numbers have no gap, so whoever goes on from `next` misses nothing.
///
/// # Errors
/// `Gone` if events behind `after` are no longer kept, `InvalidData` if there is no event `after` yet, or another than the caller knows: the database
/// was restored from a backup.
pub async fn list(engine: &Engine, tenant: &Tenant, wanted: &Wanted) -> Result<Page> {
    let (tenant_id, wanted) = (tenant.id, wanted.clone());
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let before = store::sequence::state(reader, tenant_id).await?;
                let after = wanted.after.unwrap_or(before.swept);
                if after > before.last {
                    return Err(Error::invalid(format!("There is no event with number {after} yet")));
                }
                let there = if wanted.after_id.is_some() { numbered(reader, tenant_id, after).await? } else { None };
                if there.is_some_and(|there| wanted.after_id.is_some_and(|known| known != there)) {
                    return Err(Error::invalid(format!("The event with number {after} is another one: the database was restored from a backup")));
                }
                let until = before.last.min(after.saturating_add(SCANNED));
                let events = store::event::page(reader, tenant_id, Range { after, until, names: &wanted.names, most: wanted.most }).await?;
                // Asked again: a sweep may have come between.
                let swept = store::sequence::state(reader, tenant_id).await?.swept;
                if after < swept {
                    return Err(Error::new(Code::Gone, format!("Events up to number {swept} are no longer kept")));
                }
                let full = i64::try_from(events.len()).is_ok_and(|found| found >= wanted.most);
                let next = events.last().filter(|_| full).and_then(|event| event.number).unwrap_or(until);
                let next_id = match events.last().filter(|found| found.number == Some(next)) {
                    Some(found) => Some(found.event.id),
                    None => numbered(reader, tenant_id, next).await?,
                };
                Ok(Page { events, next, next_id, last: before.last })
            })
        })
        .await
}

/// The id of the event with this number, if it is still kept.
async fn numbered(reader: &mut Reader, tenant: TenantId, number: i64) -> Result<Option<EventId>> {
    let range = Range { after: number.saturating_sub(1), until: number, names: &EventName::ALL, most: 1 };
    Ok(store::event::page(reader, tenant, range).await?.first().map(|found| found.event.id))
}

/// An event, and what became of its deliveries. `None`: the tenant has no such event.
pub async fn show(engine: &Engine, tenant: &Tenant, id: EventId) -> Result<Option<(NumberedEvent, Vec<DeliveryRow>)>> {
    let tenant = tenant.id;
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let Some(event) = store::event::numbered(reader, tenant, id).await? else { return Ok(None) };
                Ok(Some((event, store::delivery::of_event(reader, tenant, id).await?)))
            })
        })
        .await
}

/// The subscribers that the tenant has: the id of each, and what it is.
#[must_use]
pub fn all_subscribers(settings: &TenantSettings, nats: Option<&Nats>) -> Vec<(String, String)> {
    let mailer = (settings.mail.transport.is_some(), MAILER, "the mailer");
    let built_in = [mailer, (nats.is_some(), NATS, "NATS JetStream"), (settings.medusa.is_some(), MEDUSA, "Medusa's event bus")];
    let built_in = built_in.into_iter().filter(|(there, ..)| *there).map(|(_, id, what)| (id.to_owned(), what.to_owned()));
    built_in.chain(settings.webhooks.iter().map(|hook| (webhook_id(hook), hook.url.to_string()))).collect()
}

/// Tells `subscriber`, an id or the URL of a webhook, once more of the events numbered `from` to `until` that it hears. How many deliveries that made:
/// one that waits already is not made twice. What held a secret that was replaced, used or has expired meanwhile is not sent to who would get the secret.
///
/// # Errors
/// `InvalidData` for an unknown subscriber or a range that is no range; `Gone`.
pub async fn replay(engine: &Engine, tenant: &Tenant, subscriber: &str, from: i64, until: i64) -> Result<u64> {
    let nats = engine.config.nats.as_ref();
    let known = all_subscribers(&tenant.settings, nats);
    let Some((subscriber, _)) = known.iter().find(|(id, what)| id == subscriber || what == subscriber) else {
        let known: Vec<_> = known.iter().map(|(id, what)| format!("{id} ({what})")).collect();
        return Err(Error::invalid(format!("tenant {} has no subscriber {subscriber}; it has: {}", tenant.slug, known.join(", "))));
    };
    if from < 1 || until < from || until - from >= SCANNED {
        return Err(Error::invalid(format!("a range begins at 1 or later and holds 1 to {SCANNED} numbers")));
    }
    let names = EventName::ALL.into_iter().filter(|name| subscribers(&tenant.settings, nats, *name).any(|id| id == *subscriber)).collect();
    let mut wanted = Wanted { after: Some(from - 1), after_id: None, names, most: REPLAYED };
    let mut made = 0;
    while wanted.after.is_some_and(|after| after < until) {
        let page = list(engine, tenant, &wanted).await?;
        let events: Vec<EventId> = page.events.iter().filter(|found| found.number.is_some_and(|n| n <= until)).map(|found| found.event.id).collect();
        made += make_deliveries(engine, tenant, subscriber, &events).await?;
        if page.next >= page.last {
            break;
        }
        wanted.after = Some(page.next);
    }
    engine.outbox.wake();
    Ok(made)
}

async fn make_deliveries(engine: &Engine, tenant: &Tenant, subscriber: &str, events: &[EventId]) -> Result<u64> {
    let now = engine.clock.now();
    let drawn: Vec<_> = events.iter().map(|event| (DeliveryId(engine.rng.ulid(now)), *event)).collect();
    let input = Arc::new((tenant.id, subscriber.to_owned(), drawn));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, subscriber, drawn) = &*input;
                store::sequence::lock(tx, *tenant).await?;
                let mut made = 0;
                for (id, event) in drawn {
                    made += u64::from(store::delivery::replay(tx, *tenant, *id, *event, subscriber).await?);
                }
                Ok(made)
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tenant::Secret;

    /// As many numbered events of the shop: every thousandth, from the 500th on, is a new customer, and the others are changes.
    #[cfg(feature = "testing")]
    async fn numbered() -> (Arc<Engine>, Arc<Tenant>, crate::testing::TestDatabase) {
        const EVENTS: &str = "INSERT INTO events (tenant_id, id, name, subject, data, created_at, place, number)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
            SELECT tenants.id, SUBSTR('00000000000000000000000000' || i, -26), CASE i % 1000 WHEN 500 THEN 'customer.created' ELSE 'customer.updated' END,
                'cus_1', '{\"id\":\"cus_1\"}', 1, i, i FROM n, tenants";
        const SEQUENCE: &str = "INSERT INTO sequences (tenant_id, last, swept, lease_ends_at) SELECT id, 12000, 0, 0 FROM tenants";
        let (engine, _, database) = crate::testing::one_shop(crate::testing::Backend::Sqlite).await.unwrap();
        let changed = crate::ops::tenant::change(&engine, "acme", |acme| {
            let hook = |url, events| serde_json::json!({"url": url, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "events": [events]});
            let hooks = serde_json::json!([hook("https://all.example/", "*"), hook("https://new.example/", "customer.created")]);
            acme.webhooks = serde_json::from_value(hooks).unwrap();
        });
        changed.await.unwrap();
        for sql in [EVENTS, SEQUENCE] {
            crate::testing::execute(&engine, sql).await.unwrap();
        }
        let tenant = crate::ops::tenant::by_slug(&engine, "acme").await.unwrap();
        (engine, tenant, database)
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn one_look_goes_through_10_000_numbers_and_whoever_goes_on_from_it_misses_nothing() {
        let (engine, tenant, _database) = numbered().await;
        let look = async |after, most| {
            let page = list(&engine, &tenant, &Wanted { after, after_id: None, names: vec![EventName::CustomerCreated], most }).await.unwrap();
            (page.events.iter().filter_map(|found| found.number).collect::<Vec<_>>(), page.next, page.last)
        };
        let created = |from: i64, count: i64| (0..count).map(|n| from + n * 1_000).collect::<Vec<_>>();
        assert_eq!(look(None, 500).await, (created(500, 10), 10_000, 12_000));
        assert_eq!(look(Some(10_000), 500).await, (created(10_500, 2), 12_000, 12_000));
        assert_eq!(look(Some(500), 3).await, (created(1_500, 3), 3_500, 12_000));
        assert_eq!(look(Some(12_000), 500).await, (vec![], 12_000, 12_000));
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn a_replay_is_of_its_range_alone_however_long_and_of_what_the_subscriber_hears() {
        let (engine, tenant, database) = numbered().await;
        for (subscriber, from, until, made) in [
            ("https://all.example/", 7, 7, 1),
            ("https://all.example/", 100, 1_349, 1_250),
            ("https://all.example/", 2_001, 12_000, 10_000),
            ("https://new.example/", 501, 2_500, 2),
            ("https://new.example/", 501, 1_499, 0),
            // Past the last there is nothing.
            ("https://new.example/", 11_500, 20_000, 1),
        ] {
            crate::testing::execute(&engine, "DELETE FROM deliveries").await.unwrap();
            assert_eq!(replay(&engine, &tenant, subscriber, from, until).await.unwrap(), made, "{subscriber} {from} {until}");
            let ends = "SELECT COUNT(*), COUNT(DISTINCT event_id), COALESCE(MIN(number), 0), COALESCE(MAX(number), 0) FROM deliveries
                JOIN events ON events.id = event_id";
            let found: Vec<i64> = database.rows(ends).await.unwrap()[0].iter().map(|value| value.parse().unwrap()).collect();
            let made = i64::try_from(made).unwrap();
            assert_eq!(found[..2], [made, made], "{subscriber} {from} {until}");
            assert!(made == 0 || (found[2] >= from && found[3] <= until), "{found:?}");
            assert_eq!(replay(&engine, &tenant, subscriber, from, until).await.unwrap(), 0, "all of them wait already");
        }
        for (from, until) in [(0, 5), (5, 4), (1, 10_001)] {
            assert!(replay(&engine, &tenant, "https://all.example/", from, until).await.is_err(), "{from} {until}");
        }
    }

    /// Two who replay meet at a gate, behind the look for what waits already. On SQLite one transaction writes at a time.
    #[cfg(feature = "testing")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_postgres_of_two_replays_at_once_each_delivery_is_made_once() {
        use crate::testing::{Backend, execute, number, one_shop};
        const EVENTS: &str = "INSERT INTO events (tenant_id, id, name, subject, data, created_at, number)
            SELECT id, '0000000000000000000000000' || n, 'customer.created', 'cus_1', '{\"id\":\"cus_1\"}', 1, n FROM tenants, generate_series(1, 3) AS n";
        const SEQUENCE: &str = "INSERT INTO sequences (tenant_id, last, swept, lease_ends_at) SELECT id, 3, 0, 0 FROM tenants";
        const GATE: &str = "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END'";
        const GUARDED: &str = "CREATE TRIGGER gate BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION gate()";
        const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let (engine, _, database) = one_shop(Backend::Postgres).await.unwrap();
        crate::ops::tenant::change(&engine, "acme", |acme| {
            let hook = serde_json::json!({"url": "https://shop.example/hook", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "events": ["*"]});
            acme.webhooks = vec![serde_json::from_value(hook).unwrap()];
        })
        .await
        .unwrap();
        let tenant = crate::ops::tenant::by_slug(&engine, "acme").await.unwrap();
        for sql in [EVENTS, SEQUENCE, GATE, GUARDED] {
            execute(&engine, sql).await.unwrap();
        }
        let (shut, open) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let keeper = async {
            let signals = (shut.clone(), open.clone());
            let kept = engine.db.write(move |tx| {
                let (shut, open) = signals.clone();
                Box::pin(async move {
                    tx.exec("SELECT pg_advisory_xact_lock(1)", &[]).await?;
                    shut.notify_one();
                    open.notified().await;
                    Ok(())
                })
            });
            kept.await.unwrap();
        };
        let opener = async {
            for _ in 0..2_000 {
                if number(&engine, WAITING).await.unwrap() == 2 {
                    return open.notify_one();
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            panic!("nobody waits");
        };
        let replays = async {
            shut.notified().await;
            let one = || replay(&engine, &tenant, "https://shop.example/hook", 1, 3);
            let ((), one, other) = tokio::join!(opener, one(), one());
            one.unwrap() + other.unwrap()
        };
        assert_eq!(tokio::join!(keeper, replays).1, 3);
        assert_eq!(number(&engine, "SELECT COUNT(*) FROM deliveries").await.unwrap(), 3);
        database.remove().await.unwrap();
    }

    #[test]
    fn the_mailer_hears_what_it_has_a_message_for_and_a_way_to_send() {
        let mut settings = TenantSettings::default();
        let heard = |settings: &TenantSettings| {
            EventName::ALL.into_iter().filter(|name| subscribers(settings, None, *name).any(|id| id == MAILER)).collect::<Vec<_>>()
        };
        assert!(heard(&settings).is_empty());
        settings.mail.transport = Some(Secret::new("inbox"));
        assert_eq!(heard(&settings), [EventName::PasswordReset, EventName::PasswordUpdated]);
        settings.mail.messages = vec![Message::PasswordChanged];
        assert_eq!(heard(&settings), [EventName::PasswordUpdated]);
    }
}
