//! The bridge to Medusa: events are put into the Redis queue of its event bus, as its own producer does.
//!
//! Medusa 2 keeps the queue with `BullMQ` 5. The keys below are what a worker of 5.13 reads; `e2e/medusa_bridge.test.mjs` holds them to a real one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use super::{Attempt, payload};
use crate::Engine;
use crate::error::Result;
use crate::model::event::Event;
use crate::model::tenant::{Medusa, Tenant};
use crate::store::delivery::{ClaimedDelivery, Ending};

/// How long Redis may take to connect, and to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// As Medusa queues events that nobody gave another priority.
const PRIORITY: u32 = 100;
/// For how long a delivery is known to have been queued, in seconds: longer than one is tried. The worker deletes the job itself when it is done.
const KNOWN: u32 = 73 * 3_600;

/// Adds a job with a priority, once. What a script of Redis wrote before it fails stays written, so that it is known is written last.
const ADD: &str = r"
local known, job, prioritized, counter, meta, active, marker, events = unpack(KEYS)
local id, name, data, opts, timestamp, priority, seconds = unpack(ARGV)
if redis.call('EXISTS', known) == 1 then return 0 end
redis.call('HSET', job, 'name', name, 'data', data, 'opts', opts, 'timestamp', timestamp, 'delay', 0, 'priority', priority)
local most = redis.call('HGET', meta, 'opts.maxLenEvents') or 10000
redis.call('XADD', events, 'MAXLEN', '~', most, '*', 'event', 'added', 'jobId', id, 'name', name)
local place = redis.call('INCR', counter) % 4294967296
redis.call('ZADD', prioritized, priority * 4294967296 + place, id)
local limit = redis.call('HGET', meta, 'concurrency')
local full = limit and redis.call('LLEN', active) >= tonumber(limit)
if redis.call('HEXISTS', meta, 'paused') == 0 and not full then redis.call('ZADD', marker, 0, '0') end
redis.call('XADD', events, 'MAXLEN', '~', most, '*', 'event', 'waiting', 'jobId', id)
redis.call('SET', known, '1', 'EX', seconds)
return 1";

/// A connection per shop, with the URL that it was made by.
#[derive(Clone, Default)]
pub(super) struct Links(Arc<Mutex<HashMap<String, (String, MultiplexedConnection)>>>);

impl Links {
    async fn get(&self, slug: &str, url: &str) -> redis::RedisResult<MultiplexedConnection> {
        let known = self.all().get(slug).filter(|(made_by, _)| made_by == url).map(|(_, connection)| connection.clone());
        if let Some(connection) = known {
            return Ok(connection);
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(TIMEOUT));
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
        self.all().insert(slug.to_owned(), (url.to_owned(), connection.clone()));
        Ok(connection)
    }

    /// The next attempt connects anew.
    fn forget(&self, slug: &str) {
        self.all().remove(slug);
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, (String, MultiplexedConnection)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues `event` for the workers of the shop's Medusa.
pub(super) async fn deliver(engine: &Engine, tenant: &Arc<Tenant>, delivery: &ClaimedDelivery, event: &Event) -> Result<Attempt> {
    let Some(settings) = &tenant.settings.medusa else { return Ok(Attempt::Done(Ending::Dead, "the bridge was removed".into())) };
    let data = match payload::data(engine, tenant, &settings.events, event).await? {
        Ok(data) => data,
        Err(ending) => return Ok(Attempt::Done(ending, String::new())),
    };
    let now = engine.clock.now();
    let metadata = json!({"created_at": event.created_at.to_string(), "published_at": now.to_string()});
    let job = json!({"data": data, "metadata": metadata}).to_string();
    let (links, id, name) = (&engine.outbox.medusa, delivery.id.to_string(), event.name.as_str());
    Ok(match add(links, tenant, settings, (&id, name, &job), now.millis()).await {
        Ok(true) => Attempt::Done(Ending::Delivered, "queued".into()),
        Ok(false) => Attempt::Done(Ending::Delivered, "queued before".into()),
        Err(e) => {
            engine.outbox.medusa.forget(&tenant.slug);
            Attempt::Retry(e.to_string(), None)
        }
    })
}

/// Adds a job: its id, the event's name and the data. The id is the delivery's, so that an event that is replayed makes another job.
/// False: it has been queued already.
async fn add(links: &Links, tenant: &Tenant, settings: &Medusa, (id, name, job): (&str, &str, &str), timestamp: i64) -> redis::RedisResult<bool> {
    let mut connection = links.get(&tenant.slug, settings.redis.expose()).await?;
    let options = json!({"removeOnComplete": true, "attempts": 1, "priority": PRIORITY, "delay": 0, "jobId": id}).to_string();
    let mut command = redis::cmd("EVAL");
    command.arg(ADD).arg(8);
    for key in [format!("vestibule:{id}").as_str(), id, "prioritized", "pc", "meta", "active", "marker", "events"] {
        command.arg(format!("{}:{}:{key}", settings.prefix, settings.queue));
    }
    command.arg(id).arg(name).arg(job).arg(options).arg(timestamp).arg(PRIORITY).arg(KNOWN);
    command.query_async::<i64>(&mut connection).await.map(|added| added == 1)
}
