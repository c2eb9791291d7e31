//! Two processes on one PostgreSQL: what one commits, the other hears of.

use std::time::Duration;

use tokio::task::JoinSet;
use vestibule_engine::outbox::Lane;
use vestibule_engine::testing::Backend;

use crate::support::app::{ADDRESS, run};

/// The other has no dispatcher, so that whatever wakes it was told by the app.
#[test]
fn what_the_app_commits_wakes_another_process() {
    run(Backend::Postgres, |app| {
        Box::pin(async move {
            let other = app.ahead(Duration::ZERO).await.0;
            let hears = async || {
                for lane in Lane::ALL {
                    tokio::time::timeout(Duration::from_secs(20), other.outbox.told(lane)).await.expect("nobody told");
                }
            };
            let (listener, mut listening) = (other.clone(), JoinSet::new());
            listening.spawn(async move { listener.listen().await });
            // It has begun to listen, and looks for what it missed.
            hears().await;
            app.acme().request_reset(ADDRESS).await.expect_status(201);
            hears().await;
            listening.shutdown().await;
        })
    });
}
