//! The dispatcher: claims what is due under a lease, does it, and acknowledges it.
//!
//! It wakes on commit and polls as a fallback. A lease ends by itself, so work of a process that died is claimed by the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Attempt, mail, webhook};
use crate::Engine;
use crate::error::Result;
use crate::model::time::Timestamp;
use crate::ops::{self, event::MAILER, password_reset};
use crate::store::delivery::{ClaimedDelivery, Ending};
use crate::store::job::ClaimedJob;
use crate::store::{self};

/// How long a worker may hold a job before another takes it.
const JOB_LEASE: Duration = Duration::from_secs(30);
/// As above for a delivery: longer than the longest conversation with a mail server.
const DELIVERY_LEASE: Duration = Duration::from_secs(150);
/// How many of one tenant's are claimed at once, so that a busy shop leaves room for the others.
const PER_TENANT: i64 = 64;
/// How many are under way at once.
const IN_FLIGHT: usize = 128;
/// How often to look without having been woken.
const POLL: Duration = Duration::from_secs(1);
/// How often expired rows are swept.
const SWEEP: Duration = Duration::from_mins(1);
/// How long a delivery is tried.
const GIVE_UP: Duration = Duration::from_hours(72);

/// How long background work steps back for callers at a time; then it takes its turn, so that it never starves.
const STEP_BACK: Duration = Duration::from_millis(50);

/// Lets those who wait for an answer go first.
async fn step_back(engine: &Engine) {
    for _ in 0..10 {
        if !engine.db.is_pressed() {
            return;
        }
        tokio::time::sleep(STEP_BACK / 10).await;
    }
}

/// Does jobs until `stop`; then finishes what is under way.
pub async fn run_jobs(engine: Arc<Engine>, stop: CancellationToken) {
    let mut swept_at = engine.clock.now();
    // Tasks of their own: what only moved while this loop awaits it could hold the very connection that the loop waits for.
    let mut under_way = JoinSet::new();
    loop {
        if !stop.is_cancelled() && under_way.len() < IN_FLIGHT / 2 {
            step_back(&engine).await;
            for (job, lease) in or_log(claim_jobs(&engine).await) {
                let engine = engine.clone();
                under_way.spawn(async move { do_job(&engine, job, lease).await });
            }
        }
        if engine.clock.now().since(swept_at) >= SWEEP {
            swept_at = engine.clock.now();
            or_log(ops::sweep::sweep(&engine).await);
        }
        if stop.is_cancelled() && under_way.is_empty() {
            return;
        }
        tokio::select! {
            Some(ended) = under_way.join_next() => or_log_panic(ended),
            () = engine.outbox.jobs.notified() => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Makes deliveries until `stop`; then finishes what is under way.
pub async fn run_deliveries(engine: Arc<Engine>, stop: CancellationToken) {
    let mut under_way = JoinSet::new();
    loop {
        if !stop.is_cancelled() && under_way.len() < IN_FLIGHT / 2 {
            step_back(&engine).await;
            for (delivery, lease) in or_log(claim_deliveries(&engine).await) {
                let engine = engine.clone();
                under_way.spawn(async move { do_delivery(&engine, delivery, lease).await });
            }
        }
        if stop.is_cancelled() && under_way.is_empty() {
            return;
        }
        tokio::select! {
            Some(ended) = under_way.join_next() => or_log_panic(ended),
            () = engine.outbox.deliveries.notified() => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Does what is due now, and what that makes due, until nothing is. For tests; true if anything was done.
pub async fn settle(engine: &Arc<Engine>) -> Result<bool> {
    let mut any = false;
    loop {
        let jobs = claim_jobs(engine).await?;
        let deliveries = claim_deliveries(engine).await?;
        if jobs.is_empty() && deliveries.is_empty() {
            return Ok(any);
        }
        any = true;
        for (job, lease) in jobs {
            do_job(engine, job, lease).await;
        }
        for (delivery, lease) in deliveries {
            do_delivery(engine, delivery, lease).await;
        }
    }
}

/// A panic ends one piece of work; its lease runs out and it is tried again.
fn or_log_panic(ended: std::result::Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended {
        tracing::error!(error = %e, "a piece of work panicked");
    }
}

fn or_log<T: Default>(outcome: Result<T>) -> T {
    outcome.unwrap_or_else(|e| {
        tracing::warn!(error = %e, "the dispatcher could not reach the database");
        T::default()
    })
}

/// Each with the lease under which it is held.
pub(crate) type ClaimedJobs = Vec<(ClaimedJob, String)>;
pub(crate) type ClaimedDeliveries = Vec<(ClaimedDelivery, String)>;

pub(crate) async fn claim_jobs(engine: &Engine) -> Result<ClaimedJobs> {
    let now = engine.clock.now();
    let (lease, until) = (engine.rng.ulid(now).to_string(), now.after(JOB_LEASE));
    let due = engine.db.read(move |reader| Box::pin(store::job::next_due(reader))).await?;
    if due.is_none_or(|due| due > now) {
        return Ok(Vec::new());
    }
    let held = lease.clone();
    let jobs = engine
        .db
        .write(move |tx| {
            let lease = lease.clone();
            Box::pin(async move { store::job::claim(tx, &lease, until, PER_TENANT).await })
        })
        .await?;
    Ok(jobs.into_iter().map(|job| (job, held.clone())).collect())
}

pub(crate) async fn claim_deliveries(engine: &Engine) -> Result<ClaimedDeliveries> {
    let now = engine.clock.now();
    let (lease, until) = (engine.rng.ulid(now).to_string(), now.after(DELIVERY_LEASE));
    let due = engine.db.read(move |reader| Box::pin(store::delivery::next_due(reader))).await?;
    if due.is_none_or(|due| due > now) {
        return Ok(Vec::new());
    }
    let held = lease.clone();
    let deliveries = engine
        .db
        .write(move |tx| {
            let lease = lease.clone();
            Box::pin(async move { store::delivery::claim(tx, &lease, until, PER_TENANT).await })
        })
        .await?;
    Ok(deliveries.into_iter().map(|delivery| (delivery, held.clone())).collect())
}

pub(crate) async fn do_job(engine: &Engine, job: ClaimedJob, lease: String) {
    let outcome = match ops::tenant::by_id(engine, job.tenant).await {
        Ok(Some(tenant)) if job.kind == password_reset::JOB => password_reset::issue(engine, &tenant, job.clone(), &lease).await,
        // A tenant that was closed, or a kind that this version does not know: nothing can come of it.
        Ok(_) => drop_job(engine, job.clone(), lease.clone()).await,
        Err(e) => Err(e),
    };
    engine.outbox.deliveries.notify_one();
    if let Err(e) = outcome {
        tracing::warn!(error = %e, job = %job.id, attempts = job.attempts, "a job failed and will be tried again");
        let due = retry_at(engine, job.attempts, None);
        let released = engine
            .db
            .write(move |tx| {
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
        .write(move |tx| {
            let (job, lease) = (job.clone(), lease.clone());
            Box::pin(async move { store::job::finish(tx, &job, &lease).await })
        })
        .await?;
    Ok(())
}

pub(crate) async fn do_delivery(engine: &Engine, delivery: ClaimedDelivery, lease: String) {
    let attempt = attempt(engine, &delivery).await.unwrap_or_else(|e| Attempt::Retry(e.to_string(), None));
    let given_up = engine.clock.now().since(delivery.created_at) > GIVE_UP;
    let attempt = match attempt {
        Attempt::Retry(reason, _) if given_up => Attempt::Done(Ending::Dead, reason),
        other => other,
    };
    let due = match &attempt {
        Attempt::Retry(reason, after) => {
            tracing::info!(delivery = %delivery.id, subscriber = delivery.subscriber, attempts = delivery.attempts, reason, "a delivery will be tried again");
            retry_at(engine, delivery.attempts, *after)
        }
        Attempt::Done(ending, reason) => {
            tracing::debug!(delivery = %delivery.id, subscriber = delivery.subscriber, ?ending, reason, "a delivery has ended");
            engine.clock.now()
        }
    };
    let input = Arc::new((delivery, lease, attempt));
    let acknowledged = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (delivery, lease, attempt) = &*input;
                match attempt {
                    Attempt::Done(ending, answer) => store::delivery::finish(tx, delivery, lease, *ending, shorten(answer)).await,
                    Attempt::Retry(answer, _) => store::delivery::reschedule(tx, delivery, lease, due, shorten(answer)).await,
                }
            })
        })
        .await;
    or_log(acknowledged);
}

async fn attempt(engine: &Engine, delivery: &ClaimedDelivery) -> Result<Attempt> {
    let Some(tenant) = ops::tenant::by_id(engine, delivery.tenant).await? else {
        return Ok(Attempt::Done(Ending::Dead, "the tenant was closed".into()));
    };
    let (tenant_id, event_id) = (delivery.tenant, delivery.event);
    let event = engine.db.read(move |reader| Box::pin(store::event::by_id(reader, tenant_id, event_id))).await?;
    let Some(event) = event else { return Ok(Attempt::Done(Ending::Dead, "the event is gone".into())) };
    if delivery.subscriber == MAILER {
        mail::deliver(engine, &tenant, delivery, &event).await
    } else {
        webhook::deliver(engine, &tenant, delivery, &event).await
    }
}

/// When to try again: 5 s, doubling to an hour, within a fifth to either side so that a crowd does not come back at once.
fn retry_at(engine: &Engine, attempts: i64, asked: Option<Duration>) -> Timestamp {
    let doubled = 5_u64.saturating_mul(1 << attempts.clamp(1, 12).unsigned_abs().saturating_sub(1)).min(3_600);
    let spread = u64::from(u16::from_be_bytes(engine.rng.bytes())) * 400 / 65_536;
    let wait = Duration::from_millis(doubled * (800 + spread));
    engine.clock.now().after(wait.max(asked.unwrap_or_default().min(Duration::from_hours(24))))
}

/// What a stranger's server said, cut to what is worth keeping.
fn shorten(answer: &str) -> &str {
    let end = answer.char_indices().nth(500).map_or(answer.len(), |(at, _)| at);
    answer.get(..end).unwrap_or_default()
}
