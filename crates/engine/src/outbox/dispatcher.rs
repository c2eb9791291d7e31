//! The dispatcher: claims what is due under a lease, does it, and acknowledges it.
//!
//! It wakes on commit and polls as a fallback. A lease ends by itself, so work of a process that died is claimed by the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lane::{Health, Lane, Slots};
use super::{Attempt, mail, medusa, nats, webhook};
use crate::Engine;
use crate::error::Result;
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::ops::event::{MAILER, MEDUSA, NATS, has_subscriber};
use crate::ops::{self, password_reset};
use crate::store::delivery::{Channel, ClaimedDelivery, Ending, Party};
use crate::store::job::ClaimedJob;
use crate::store::{self, Reader, Tx};

/// How many tenants, or subscribers, with work one look finds from where it begins.
const PARTIES: i64 = 256;
/// How often to look without having been woken.
const POLL: Duration = Duration::from_secs(1);
/// How long to rest at least between two looks that commits ask for, or four times what a look took: under load one look finds what many
/// commits wrote, and a look past a long backlog of the other channel does not fill the processor.
const REST: Duration = Duration::from_millis(10);
/// How often the end of a delivery is written down at most, a second apart.
const ACKNOWLEDGED_WITHIN: u32 = 30;
/// How long a delivery is tried.
const GIVE_UP: Duration = Duration::from_hours(72);

/// A piece of work, and the lease under which it is held.
#[derive(Debug)]
pub(crate) enum Work {
    Job(ClaimedJob, String),
    Delivery(ClaimedDelivery, String),
}

impl Work {
    /// Whose share it is of: a subscriber's, or of a job the tenant's.
    fn party(&self) -> Party {
        match self {
            Self::Job(job, _) => Party { tenant: job.tenant, subscriber: String::new() },
            Self::Delivery(delivery, _) => Party { tenant: delivery.tenant, subscriber: delivery.subscriber.clone() },
        }
    }
}

/// Does what is due in `lane` until `stop`; then finishes what is under way.
pub async fn run(engine: Arc<Engine>, lane: Lane, stop: CancellationToken) {
    // Tasks of their own: what only moved while this loop awaits it could hold the very connection that the loop waits for.
    let mut under_way = JoinSet::new();
    let mut slots = Slots::new(lane);
    let (mut look, mut rested, mut looked) = (true, Instant::now(), Instant::now());
    loop {
        if look && !stop.is_cancelled() && slots.roomy() {
            look = false;
            looked = Instant::now();
            for work in or_log(claim(&engine, lane, &mut slots).await) {
                let (engine, party) = (engine.clone(), work.party());
                let task = under_way.spawn(async move { carry_out(&engine, work).await });
                slots.take(task.id(), party);
            }
            rested = Instant::now() + REST.max(looked.elapsed() * 4);
        }
        if stop.is_cancelled() && under_way.is_empty() {
            return;
        }
        tokio::select! {
            Some(ended) = under_way.join_next_with_id() => {
                let (task, health) = or_failing(ended);
                look |= slots.give_back(task, health);
            }
            // The bell is heard after the rest, so that a rest that is broken off leaves it ringing.
            () = async { tokio::time::sleep_until(rested).await; engine.outbox.bell(lane).notified().await } => look = true,
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            // Counted from the last look: retries and leases that run out ring no bell, and must not wait for work that ends time and again.
            () = tokio::time::sleep_until(looked + POLL), if !look => look = true,
        }
    }
}

/// A panic ends one piece of work; its lease runs out and it is tried again.
fn or_failing(ended: std::result::Result<(Id, Health), JoinError>) -> (Id, Health) {
    ended.unwrap_or_else(|e| {
        tracing::error!(error = %e, "a piece of work panicked");
        (e.id(), Health::Failing)
    })
}

fn or_log<T: Default>(outcome: Result<T>) -> T {
    outcome.unwrap_or_else(|e| {
        tracing::warn!(error = %e, "the dispatcher could not reach the database");
        T::default()
    })
}

/// Claims what is due in `lane` to everybody in turn, each its share of the free slots, however much another has waiting.
pub(crate) async fn claim(engine: &Engine, lane: Lane, slots: &mut Slots) -> Result<Vec<Work>> {
    let last = slots.last.clone();
    // Finding nothing costs a read and no write.
    let due = engine.db.read(move |reader| Box::pin(due(reader, lane, last))).await?;
    let shares = slots.shares(&due);
    slots.more = shares.len() < due.len();
    // What waits for a broker that is away is left as it is: no try is used up, and it is due the moment that the broker is back.
    if shares.is_empty() || (lane == Lane::Nats && !engine.outbox.nats.is_there(engine).await) {
        return Ok(Vec::new());
    }
    let now = engine.clock.now();
    let input = Arc::new((shares, engine.rng.ulid(now).to_string(), now.after(lane.lease()), slots.free()));
    let claimed = engine
        .db
        .write_behind(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (shares, lease, until, mut free) = (&input.0, &input.1, input.2, input.3);
                let (mut claimed, mut last, mut more) = (Vec::new(), None, false);
                for (party, share) in shares {
                    let most = free.min(*share);
                    let found = if most == 0 { Vec::new() } else { claim_of(tx, lane, party, lease, until, most).await? };
                    free -= found.len();
                    // Who got all it may have got has more, maybe, or will be where the next claim begins.
                    more |= found.len() == most;
                    last = if most == 0 { last } else { Some(party.clone()) };
                    claimed.extend(found);
                }
                Ok((claimed, last, more))
            })
        })
        .await?;
    slots.last = claimed.1;
    slots.more |= claimed.2;
    Ok(claimed.0)
}

/// Who has work that is due, from behind `last` on and then from the start.
async fn due(reader: &mut Reader, lane: Lane, last: Option<Party>) -> Result<Vec<Party>> {
    let mut parties: Vec<Party> = Vec::new();
    for after in [last.as_ref(), None].into_iter().skip(usize::from(last.is_none())) {
        let found = match lane {
            Lane::Jobs => {
                let tenants = store::job::due(reader, after.map(|party| party.tenant), PARTIES).await?;
                tenants.into_iter().map(|tenant| Party { tenant, subscriber: String::new() }).collect()
            }
            Lane::Mail => store::delivery::due(reader, Channel::Mail, after, PARTIES).await?,
            Lane::Webhooks => store::delivery::due(reader, Channel::Webhooks, after, PARTIES).await?,
            Lane::Nats => store::delivery::due(reader, Channel::Nats, after, PARTIES).await?,
            Lane::Medusa => store::delivery::due(reader, Channel::Medusa, after, PARTIES).await?,
        };
        for party in found {
            if !parties.contains(&party) {
                parties.push(party);
            }
        }
    }
    Ok(parties)
}

async fn claim_of(tx: &mut Tx, lane: Lane, party: &Party, lease: &str, until: Timestamp, most: usize) -> Result<Vec<Work>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    if lane == Lane::Jobs {
        let jobs = store::job::claim(tx, party.tenant, lease, until, most).await?;
        return Ok(jobs.into_iter().map(|job| Work::Job(job, lease.to_owned())).collect());
    }
    let deliveries = store::delivery::claim(tx, party, lease, until, most).await?;
    Ok(deliveries.into_iter().map(|delivery| Work::Delivery(delivery, lease.to_owned())).collect())
}

/// Does one piece and acknowledges it, or has it tried again.
pub(crate) async fn carry_out(engine: &Engine, work: Work) -> Health {
    match work {
        Work::Job(job, lease) => {
            do_job(engine, job, lease).await;
            Health::Unknown
        }
        Work::Delivery(delivery, lease) => do_delivery(engine, delivery, lease).await,
    }
}

async fn do_job(engine: &Engine, job: ClaimedJob, lease: String) {
    let outcome = match ops::tenant::by_id(engine, job.tenant).await {
        Ok(Some(tenant)) if job.kind == password_reset::JOB => password_reset::issue(engine, &tenant, job.clone(), &lease).await,
        // A tenant that was closed, or a kind that this version does not know: nothing can come of it.
        Ok(_) => drop_job(engine, job.clone(), lease.clone()).await,
        Err(e) => Err(e),
    };
    engine.outbox.ring();
    if let Err(e) = outcome {
        tracing::warn!(error = %e, job = %job.id, attempts = job.attempts, "a job failed and will be tried again");
        let due = retry_at(engine, job.attempts, None);
        let released = engine
            .db
            .write_behind(move |tx| {
                let (job, lease) = (job.clone(), lease.clone());
                Box::pin(async move { store::job::reschedule(tx, &job, &lease, due).await })
            })
            .await;
        or_log(released);
    }
}

async fn drop_job(engine: &Engine, job: ClaimedJob, lease: String) -> Result<()> {
    tracing::warn!(job = %job.id, kind = job.kind, "a job of a closed tenant or an unknown kind is dropped");
    engine
        .db
        .write_behind(move |tx| {
            let (job, lease) = (job.clone(), lease.clone());
            Box::pin(async move { store::job::finish(tx, &job, &lease).await })
        })
        .await?;
    Ok(())
}

async fn do_delivery(engine: &Engine, delivery: ClaimedDelivery, lease: String) -> Health {
    let attempt = attempt(engine, &delivery).await.unwrap_or_else(|e| {
        tracing::warn!(error = %e, delivery = %delivery.id, "a delivery met a failure of our own");
        // A shop's staff reads this answer, and the detail is for the log alone.
        Attempt::Retry(e.message.into_owned(), None)
    });
    let health = match &attempt {
        Attempt::Retry(..) => Health::Failing,
        // One that is gone or refused is forgotten, so that only who is still there is remembered.
        Attempt::Done(Ending::Delivered | Ending::Dead, _) | Attempt::Gone(_) => Health::Sound,
        Attempt::Done(Ending::Superseded | Ending::Expired, _) => Health::Unknown,
    };
    let given_up = engine.clock.now().since(delivery.begun_at) > GIVE_UP;
    let attempt = match attempt {
        Attempt::Retry(reason, _) if given_up => Attempt::Done(Ending::Dead, reason),
        other => other,
    };
    let due = match &attempt {
        Attempt::Retry(reason, after) => {
            tracing::info!(delivery = %delivery.id, subscriber = delivery.subscriber, attempts = delivery.attempts, reason, "a delivery will be tried again");
            retry_at(engine, delivery.attempts, *after)
        }
        Attempt::Done(Ending::Dead, reason) => {
            tracing::warn!(delivery = %delivery.id, subscriber = delivery.subscriber, attempts = delivery.attempts, reason, "a delivery is given up");
            engine.clock.now()
        }
        Attempt::Done(ending, reason) => {
            tracing::debug!(delivery = %delivery.id, subscriber = delivery.subscriber, ?ending, reason, "a delivery has ended");
            engine.clock.now()
        }
        Attempt::Gone(reason) => {
            tracing::warn!(delivery = %delivery.id, subscriber = delivery.subscriber, reason, "a webhook is gone and is switched off");
            engine.clock.now()
        }
    };
    let input = Arc::new((delivery, lease, attempt));
    // What was sent and is not written down is sent again, so the database is asked more than once. The lease says whether it is still ours.
    for tries in 1..=ACKNOWLEDGED_WITHIN {
        let input = input.clone();
        let acknowledged = engine.db.write_behind(move |tx| {
            let input = input.clone();
            Box::pin(async move { acknowledge(tx, &input.0, &input.1, &input.2, due).await })
        });
        match acknowledged.await {
            Ok(_) => break,
            Err(e) if tries == ACKNOWLEDGED_WITHIN => tracing::warn!(error = %e, "how a delivery ended could not be written down"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
    health
}

/// Writes down how an attempt ended. False: the lease is no longer ours, and nothing of it may be written.
async fn acknowledge(tx: &mut Tx, delivery: &ClaimedDelivery, lease: &str, attempt: &Attempt, due: Timestamp) -> Result<bool> {
    match attempt {
        Attempt::Done(ending, answer) => store::delivery::finish(tx, delivery, lease, *ending, &printable(answer)).await,
        Attempt::Retry(answer, _) => store::delivery::reschedule(tx, delivery, lease, due, &printable(answer)).await,
        Attempt::Gone(answer) => {
            let ours = store::delivery::finish(tx, delivery, lease, Ending::Dead, answer).await?;
            Ok(ours && store::webhook::disable(tx, delivery.tenant, &delivery.subscriber).await?)
        }
    }
}

/// The tenant of a delivery, with its subscriber if it has that: another process may have been told of the subscriber a moment before us.
async fn tenant_of(engine: &Engine, delivery: &ClaimedDelivery) -> Result<Option<Arc<Tenant>>> {
    let known = ops::tenant::by_id(engine, delivery.tenant).await?;
    if known.as_ref().is_some_and(|tenant| has_subscriber(&tenant.settings, &delivery.subscriber)) {
        return Ok(known);
    }
    ops::tenant::anew(engine, delivery.tenant).await
}

async fn attempt(engine: &Engine, delivery: &ClaimedDelivery) -> Result<Attempt> {
    let Some(tenant) = tenant_of(engine, delivery).await? else {
        return Ok(Attempt::Done(Ending::Dead, "the tenant was closed".into()));
    };
    let (tenant_id, event_id, subscriber) = (delivery.tenant, delivery.event, delivery.subscriber.clone());
    let read = engine.db.read(move |reader| {
        Box::pin(async move {
            // Only a webhook is ever switched off.
            let is_webhook = ![MAILER, NATS, MEDUSA].contains(&subscriber.as_str());
            let off = is_webhook && store::webhook::is_disabled(reader, tenant_id, &subscriber).await?;
            Ok((store::event::by_id(reader, tenant_id, event_id).await?, off))
        })
    });
    let event = match read.await? {
        (_, true) => return Ok(Attempt::Done(Ending::Dead, "the webhook is switched off".into())),
        (None, _) => return Ok(Attempt::Done(Ending::Dead, "the event is gone".into())),
        (Some(event), _) => event,
    };
    match delivery.subscriber.as_str() {
        MAILER => mail::deliver(engine, &tenant, delivery, &event).await,
        NATS => nats::deliver(engine, &tenant, &event).await,
        MEDUSA => medusa::deliver(engine, &tenant, delivery, &event).await,
        _ => webhook::deliver(engine, &tenant, delivery, &event).await,
    }
}

/// When to try again: 5 s, doubling to an hour, within a fifth to either side so that a crowd does not come back at once.
fn retry_at(engine: &Engine, attempts: i64, asked: Option<Duration>) -> Timestamp {
    let doubled = 5_u64.saturating_mul(1 << attempts.clamp(1, 12).unsigned_abs().saturating_sub(1)).min(3_600);
    let spread = u64::from(u16::from_be_bytes(engine.rng.bytes())) * 400 / 65_536;
    let wait = Duration::from_millis(doubled * (800 + spread));
    engine.clock.now().after(wait.max(asked.unwrap_or_default().min(Duration::from_hours(24))))
}

/// What a stranger's server said, cut to what is worth keeping. PostgreSQL takes no NUL, and an operator's terminal should get no commands.
fn printable(answer: &str) -> String {
    answer.chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
