//! Sweeps up every minute, beside the lanes: much to sweep keeps no reset waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{Engine, ops};

/// How long to rest between two sweeps, by the clock that nobody sets.
const REST: Duration = Duration::from_mins(1);

/// Sweeps until `stop`. A sweep that is broken off is no loss: each of its transactions is whole.
pub async fn sweep(engine: Arc<Engine>, stop: CancellationToken) {
    sweep_every(REST, engine, stop).await;
}

async fn sweep_every(rest: Duration, engine: Arc<Engine>, stop: CancellationToken) {
    let sweeping = async {
        loop {
            sleep(rest).await;
            if let Err(e) = ops::sweep::sweep(&engine).await {
                tracing::warn!(error = %e, "what is over could not be swept up");
            }
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = stop.cancelled() => {}
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::testing::{Backend, Fault, execute, number, one_shop};

    #[tokio::test]
    async fn what_is_over_is_swept_also_after_a_sweep_that_failed_until_the_stop() {
        const OVER: &str =
            "INSERT INTO limits (tenant_id, name, subject, spent, strikes, resets_at) SELECT id, 'resets_per_client', x'00', 1, 0, 1 FROM tenants";
        const LEFT: &str = "SELECT COUNT(*) FROM limits";
        let (engine, _, database) = one_shop(Backend::Sqlite).await.unwrap();
        assert_eq!(execute(&engine, OVER).await.unwrap(), 1);
        engine.faults().arm(Fault::Begin, 1);
        let stop = CancellationToken::new();
        let swept = async {
            let mut tries = 0;
            while number(&engine, LEFT).await.unwrap() > 0 {
                assert!(tries < 2_000, "nothing was swept");
                tries += 1;
                sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        };
        tokio::join!(sweep_every(Duration::from_millis(1), engine.clone(), stop.clone()), swept);
        drop(engine);
        database.remove().await.unwrap();
    }
}
