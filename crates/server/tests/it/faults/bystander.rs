//! Somebody whom the fault is no business of: looks at their account again and again, and notes how long each answer took.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::client::Shop;

const EVERY: Duration = Duration::from_millis(20);

pub struct Bystander {
    looking: JoinSet<Vec<Duration>>,
    end: CancellationToken,
}

impl Bystander {
    /// With the session of `token`.
    pub fn start(shop: &Shop, token: &str) -> Self {
        let (shop, token, end) = (shop.clone(), token.to_owned(), CancellationToken::new());
        let (mut looking, asked_to_end) = (JoinSet::new(), end.clone());
        looking.spawn(async move {
            let mut times = Vec::new();
            while !asked_to_end.is_cancelled() {
                let asked = Instant::now();
                shop.me(&token).await.expect_status(200);
                times.push(asked.elapsed());
                tokio::time::sleep(EVERY).await;
            }
            times
        });
        Self { looking, end }
    }

    /// How long each answer took.
    pub async fn stop(mut self) -> Vec<Duration> {
        self.end.cancel();
        self.looking.join_next().await.unwrap().unwrap()
    }
}
