//! What a test does behind the product's back: looks into the database, waits for it to say something, runs a second process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use vestibule_engine::config::Config;
use vestibule_engine::crypto::password_hash::Cost;
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::model::tenant::TenantSettings;
use vestibule_engine::model::time::Timestamp;
use vestibule_engine::ops;
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::ports::rng::Rng;
use vestibule_engine::provider::emailpass;
use vestibule_engine::{Engine, Surroundings};

use super::app::TestApp;

/// Another process on the same database, whose clock is ahead. It accepts requests and has no dispatcher; what it writes is due only when
/// the app's clock has caught up.
pub struct Ahead(pub Arc<Engine>);

impl Ahead {
    /// A reset request of a stranger.
    pub async fn request_reset(&self, slug: &str, address: &str) -> vestibule_engine::error::Result<()> {
        let tenant = ops::tenant::by_slug(&self.0, slug).await?;
        let client = ops::Client { ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), user_agent: None };
        ops::password_reset::request(&self.0, &tenant, &client, &ActorType::customer(), &emailpass::address(address)?, Map::new(), &Receipt::none())
            .await
    }
}

impl TestApp {
    pub async fn ahead(&self, by: Duration) -> Ahead {
        let clock = Clock::frozen(Timestamp::from_micros(self.clock.now().micros()));
        clock.advance(by);
        Ahead(self.second(clock, |_| ()).await)
    }

    /// Another process on the same database, without a dispatcher, and with a configuration of its own.
    pub async fn second(&self, clock: Clock, change: impl FnOnce(&mut Config)) -> Arc<Engine> {
        let surroundings = Surroundings { clock, rng: Rng::os(), cost: Cost { memory_kib: 64, passes: 1 } };
        let mut config = self.config.clone();
        change(&mut config);
        Engine::open(config, surroundings).await.unwrap()
    }

    /// Moves the clock and lets the dispatcher know.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.engine.outbox.wake();
    }

    /// The rows that `sql` selects, their columns parted by a space.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.database.rows(sql).await.unwrap().into_iter().map(|row| row.join(" ")).collect()
    }

    /// Waits until every event has its number.
    #[track_caller]
    pub fn numbered(&self) -> impl Future<Output = ()> {
        self.until("SELECT COUNT(*) FROM events WHERE number IS NULL", &["0"])
    }

    /// Why sessions were ended, and how many each time, as the events tell it.
    pub async fn ends_told(&self) -> Vec<(String, u64)> {
        // Their numbers are their order; the place of one without a number is only among those without.
        self.numbered().await;
        let told = self.rows("SELECT data FROM events WHERE name = 'auth.session_ended' ORDER BY tenant_id, number").await;
        let said = |data: String| serde_json::from_str::<serde_json::Value>(&data).unwrap();
        told.into_iter().map(said).map(|data| (data["reason"].as_str().unwrap().to_owned(), data["count"].as_u64().unwrap())).collect()
    }

    /// Waits until `sql` selects exactly `expected`.
    #[track_caller]
    pub fn until(&self, sql: &str, expected: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let mut found = Vec::new();
            for _ in 0..2_000 {
                found = self.rows(sql).await;
                if found == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("{caller}: {sql} selects {found:?}, not {expected:?}");
        }
    }

    /// Restarts with `change` made to the settings of the first shop, `acme`.
    pub async fn restart_acme(&mut self, change: impl FnOnce(&mut TenantSettings)) {
        self.restart(|config: &mut Config| change(&mut config.tenants[0])).await;
    }
}
