//! Sweeping up: rows that can no longer matter are deleted.

use std::time::Duration;

use crate::Engine;
use crate::error::Result;
use crate::model::ids::TenantId;
use crate::model::time::Timestamp;
use crate::{limits, store};

/// How long a spent or expired reset is kept, so that its link can still say in words what became of it.
const RESETS_KEPT: Duration = Duration::from_hours(168);
/// How long deliveries are kept from their end, so that an operator can see what became of a mail.
pub(super) const DELIVERIES_KEPT: Duration = Duration::from_hours(14 * 24);
/// The same of those that were given up. Until then an operator can have them tried again, for which the event must be there: it is kept three
/// days longer, as long as the tries took.
const DEAD_KEPT: Duration = Duration::from_hours(27 * 24);
/// How long events are kept.
const EVENTS_KEPT: Duration = Duration::from_hours(30 * 24);
/// What a sweep of the store deletes at once. One that deletes as much may have left some.
const BATCH: u64 = 500;
/// Transactions for one tenant per sweep: the rest is for the next, because jobs wait meanwhile.
const ROUNDS: usize = 20;

/// Before which time rows are of no more use.
#[derive(Clone, Copy)]
struct Bounds {
    limits: Timestamp,
    resets: Timestamp,
    deliveries: Timestamp,
    dead: Timestamp,
    events: Timestamp,
}

/// Sweeps every tenant, in transactions so short that they hold nobody up. What fails for one tenant is tried again at the next sweep.
pub async fn sweep(engine: &Engine) -> Result<()> {
    let tenants = engine.db.read(|reader| Box::pin(store::tenant::list(reader))).await?;
    let now = engine.clock.now();
    let bounds = Bounds {
        limits: limits::sweep_before(&engine.clock),
        resets: now.before(RESETS_KEPT),
        deliveries: now.before(DELIVERIES_KEPT),
        dead: now.before(DEAD_KEPT),
        events: now.before(EVENTS_KEPT),
    };
    for tenant in tenants {
        for _ in 0..ROUNDS {
            match batch(engine, tenant.id, bounds).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    tracing::warn!(error = %e, tenant = tenant.slug, "a store could not be swept");
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Deletes some rows of a tenant. True: there may be more.
async fn batch(engine: &Engine, tenant: TenantId, bounds: Bounds) -> Result<bool> {
    let work = engine.db.write_behind(move |tx| {
        Box::pin(async move {
            // Each table in each round, so that much of one keeps none from its turn. Deliveries before their events.
            let swept = [
                store::limit::sweep(tx, tenant, bounds.limits).await?,
                store::password_reset::sweep(tx, tenant, bounds.resets).await?,
                store::session::sweep(tx, tenant).await?,
                store::callback::sweep(tx, tenant).await?,
                store::idempotency::sweep(tx, tenant).await?,
                store::delivery::sweep(tx, tenant, bounds.deliveries, bounds.dead).await?,
                store::event::sweep(tx, tenant, bounds.events).await?,
            ];
            Ok(swept.into_iter().any(|rows| rows >= BATCH))
        })
    });
    work.await
}
