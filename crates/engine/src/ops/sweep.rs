//! Sweeping up: rows that can no longer matter are deleted.

use std::time::Duration;

use crate::Engine;
use crate::error::Result;
use crate::{limits, store};

/// How long a spent or expired reset is kept, so that its link can still say in words what became of it.
const RESETS_KEPT: Duration = Duration::from_hours(168);

/// Sweeps every tenant, each in a transaction of its own.
pub async fn sweep(engine: &Engine) -> Result<()> {
    let tenants = engine.db.read(|reader| Box::pin(store::tenant::list(reader))).await?;
    let limits_before = limits::sweep_before(&engine.clock);
    let resets_before = engine.clock.now().before(RESETS_KEPT);
    for tenant in tenants {
        let id = tenant.id;
        engine
            .db
            .write(move |tx| {
                Box::pin(async move {
                    store::limit::sweep(tx, id, limits_before).await?;
                    store::password_reset::sweep(tx, id, resets_before).await?;
                    store::session::sweep(tx, id).await
                })
            })
            .await?;
    }
    Ok(())
}
