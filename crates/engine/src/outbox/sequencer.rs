//! The sequencer: gives events their numbers after their commit, 1, 2, 3 … for each tenant.
//!
//! No writer waits for a counter: whoever commits late gets a later number. One worker numbers a tenant at a time, under a lease.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::error::Result;
use crate::model::ids::TenantId;
use crate::store;

/// How many tenants one look finds.
const TENANTS: usize = 256;
/// Tenants that are numbered at once: on SQLite they share a commit.
const ABREAST: usize = 16;
/// Events that one transaction numbers.
const BATCH: i64 = 1_000;
/// Transactions for one tenant before the others have their turn.
const TURNS: usize = 8;
/// How often to look without having been woken.
const POLL: Duration = Duration::from_secs(1);
/// How long to rest at least between two looks that commits ask for, so that one look numbers what many commits wrote: each is two commits of its own.
/// Whoever is alone waits for nothing.
const REST: Duration = Duration::from_millis(100);
/// After which another may number the tenants of a worker that died.
const LEASE: Duration = Duration::from_secs(10);

/// Numbers events until `stop`, and then what was written before it.
pub async fn number(engine: Arc<Engine>, stop: CancellationToken) {
    loop {
        let last = stop.is_cancelled();
        let rested = Instant::now() + REST;
        if let Err(e) = round(&engine).await {
            tracing::warn!(error = %e, "events could not be numbered");
        }
        if last {
            return;
        }
        tokio::select! {
            () = async { sleep_until(rested).await; engine.outbox.numbers.notified().await } => {}
            () = stop.cancelled() => {}
            () = sleep(POLL) => {}
        }
    }
}

/// Numbers what every tenant has.
async fn round(engine: &Engine) -> Result<()> {
    let mut after = None;
    loop {
        let most = i64::try_from(TENANTS).unwrap_or(i64::MAX);
        // Finding nothing costs a read and no write.
        let due = engine.db.read(move |reader| Box::pin(store::sequence::due(reader, after, most))).await?;
        for few in due.chunks(ABREAST) {
            for (tenant, outcome) in few.iter().zip(join_all(few.iter().map(|tenant| tenant_turns(engine, *tenant))).await) {
                // One whose row is held by a process that was paused keeps nobody else waiting.
                if let Err(e) = outcome {
                    tracing::warn!(error = %e, %tenant, "events of a tenant could not be numbered");
                }
            }
        }
        after = due.last().copied();
        if due.len() < TENANTS {
            return Ok(());
        }
    }
}

async fn tenant_turns(engine: &Engine, tenant: TenantId) -> Result<()> {
    for _ in 0..TURNS {
        let Some(claim) = claim(engine, tenant).await? else { return Ok(()) };
        let given = claim.number(engine).await?;
        if given.is_some_and(|given| given > 0) {
            engine.outbox.numbered(tenant);
        }
        if given.is_none_or(|given| given < BATCH) {
            return Ok(());
        }
    }
    // The rest is for the next look, which need not wait for a commit.
    engine.outbox.numbers.notify_one();
    Ok(())
}

/// The right to number a tenant's events, as long as its lease.
struct Claim {
    tenant: TenantId,
    lease: String,
    last: i64,
}

/// Claims the numbering of a tenant. `None`: somebody else is at it.
async fn claim(engine: &Engine, tenant: TenantId) -> Result<Option<Claim>> {
    let now = engine.clock.now();
    let (lease, until) = (engine.rng.ulid(now).to_string(), now.after(LEASE));
    let held = lease.clone();
    let last = engine
        .db
        .write_behind(move |tx| {
            let lease = held.clone();
            Box::pin(async move { store::sequence::claim(tx, tenant, &lease, until).await })
        })
        .await?;
    Ok(last.map(|last| Claim { tenant, lease, last }))
}

impl Claim {
    /// Numbers a batch; how many. `None`: the claim ran out meanwhile, and nothing was changed.
    async fn number(self, engine: &Engine) -> Result<Option<i64>> {
        let claim = Arc::new(self);
        engine
            .db
            .write_behind(move |tx| {
                let claim = claim.clone();
                Box::pin(async move { store::sequence::number(tx, claim.tenant, &claim.lease, claim.last, BATCH).await })
            })
            .await
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::model::tenant::TenantSettings;
    use crate::ops;
    use crate::testing::{Backend, Fault, execute, number as count, one_shop};

    async fn one_fails(backend: Backend) {
        const EACH: &str = "INSERT INTO events (tenant_id, id, name, data, created_at, subject, place)
            SELECT id, '01M84S77XJ8BVH81B179KQ8Y5B', 'customer.created', '{}', 1, '', 1 FROM tenants";
        const UNNUMBERED: &str = "SELECT COUNT(*) FROM events WHERE number IS NULL";
        let (engine, _, database) = one_shop(backend).await.unwrap();
        // More than are numbered at once.
        for place in 0..=ABREAST {
            ops::tenant::create(&engine, &TenantSettings { slug: format!("shop-{place}"), ..TenantSettings::default() }).await.unwrap();
        }
        let all = execute(&engine, EACH).await.unwrap();
        assert!(all > ABREAST as u64, "{all}");
        engine.faults().arm(Fault::Begin, 1);
        round(&engine).await.unwrap();
        let left = count(&engine, UNNUMBERED).await.unwrap();
        // Those whose work waited behind the one that was refused share its fate on SQLite.
        assert!((1..=ABREAST).contains(&usize::try_from(left).unwrap()), "{left}");
        round(&engine).await.unwrap();
        assert_eq!(count(&engine, UNNUMBERED).await.unwrap(), 0);
        drop(engine);
        database.remove().await.unwrap();
    }

    #[tokio::test]
    async fn what_fails_for_one_tenant_leaves_the_others_numbered_on_sqlite() {
        one_fails(Backend::Sqlite).await;
    }

    #[tokio::test]
    async fn what_fails_for_one_tenant_leaves_the_others_numbered_on_postgres() {
        one_fails(Backend::Postgres).await;
    }
}
