//! Tells of failed sign-ins every few seconds, off the path of any answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::ops::failed_sign_in;

/// How long tries at a login are gathered for one event.
const WINDOW: Duration = Duration::from_secs(5);

/// Tells until `stop`, and then what was tried before it.
pub async fn tell_failures(engine: Arc<Engine>, stop: CancellationToken) {
    loop {
        let last = stop.is_cancelled();
        failed_sign_in::tell(&engine).await;
        if last {
            return;
        }
        tokio::select! {
            () = sleep(WINDOW) => {}
            () = stop.cancelled() => {}
        }
    }
}
