//! Everything Vestibule does, apart from HTTP: rules, storage, outbox, notification and crypto.

pub mod config;
pub mod crypto;
pub mod error;
pub mod limits;
pub mod model;
pub mod notify;
pub mod ops;
pub mod outbox;
pub mod ports;
pub mod provider;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::Config;
use crypto::keyring::MasterKey;
use crypto::password_hash::{Cost, PasswordHasher};
use crypto::token::TokenVerifier;
use error::{Error, Result};
use model::time::Timestamp;
use notify::inbox::Inbox;
use ops::console::Links;
use ops::failed_sign_in::Tally;
use ops::password_reset::Newest;
use ops::tenant::Tenants;
use outbox::Outbox;
use ports::clock::Clock;
use ports::http::Http;
use ports::pause::Pause;
use ports::rng::Rng;
use provider::Providers;
use store::Db;

/// How long a write says that the next would succeed, too.
const CHECKED: Duration = Duration::from_secs(1);

/// The one bag of capabilities. It is built once and shared.
pub struct Engine {
    pub config: Config,
    pub clock: Clock,
    pub rng: Rng,
    pub pause: Pause,
    pub hasher: PasswordHasher,
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub(crate) db: Db,
    pub(crate) master: MasterKey,
    pub(crate) tokens: TokenVerifier,
    pub(crate) tenants: Tenants,
    pub(crate) resets: Newest,
    pub(crate) failed_sign_ins: Tally,
    pub(crate) console_links: Links,
    pub(crate) http: Http,
    pub(crate) providers: Providers,
    /// When the database last took a write that was made to see whether it does.
    written_at: Mutex<Option<Timestamp>>,
}

/// What differs between the product and a test of it.
pub struct Surroundings {
    pub clock: Clock,
    pub rng: Rng,
    pub cost: Cost,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: Clock::System, rng: Rng::os(), cost: Cost::STANDARD }
    }
}

impl Engine {
    /// Opens the database, brings it up to date and creates or updates the declared tenants.
    ///
    /// # Errors
    /// If the database cannot be opened, the master key is malformed or is not the one that sealed this database, or a declared tenant is refused.
    pub async fn open(config: Config, surroundings: Surroundings) -> Result<Arc<Self>> {
        let Surroundings { clock, rng, cost } = surroundings;
        let master = match &config.keys.master {
            Some(text) => MasterKey::from_base64(text.expose()).map_err(|e| Error::invalid(format!("keys.master: {e}")))?,
            None => MasterKey::development(),
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let engine = Arc::new(Self {
            db: Db::open(config.database.url.expose(), clock.clone()).await?,
            hasher: PasswordHasher::new(cost, threads),
            inbox: Inbox::new(clock.clone()),
            outbox: Outbox::default(),
            tokens: TokenVerifier::default(),
            tenants: Tenants::default(),
            resets: Newest::default(),
            failed_sign_ins: Tally::default(),
            console_links: Links::default(),
            providers: Providers::default(),
            http: Http::new(config.outbound.allow_private.clone())?,
            written_at: Mutex::default(),
            pause: Pause::beside(&clock),
            config,
            clock,
            rng,
            master,
        });
        ops::tenant::check_master_key(&engine).await?;
        for declared in &engine.config.tenants {
            ops::tenant::declare(&engine, declared).await?;
        }
        Ok(engine)
    }

    /// The hosts of the database to which everything goes unencrypted, if that is what its URL asks for.
    ///
    /// # Errors
    /// `InvalidData`, in words, if nothing could be opened there.
    pub fn plain_hosts(database_url: &str) -> Result<Vec<String>> {
        Db::plain_hosts(database_url)
    }

    /// What an operator should mend in the declared tenants.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let nats = self.config.nats.as_ref();
        self.config.tenants.iter().flat_map(|tenant| [ops::event::warnings(tenant, nats), ops::callback::warnings(tenant)]).flatten().collect()
    }

    /// The switches that make the database fail.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn faults(&self) -> &testing::Faults {
        self.db.faults()
    }

    /// Whether the database can be written, and how many jobs and deliveries are not done.
    pub async fn ready(&self) -> Result<i64> {
        self.check().await?;
        self.db.read(|reader| Box::pin(async move { Ok(store::job::waiting(reader).await? + store::delivery::waiting(reader).await?) })).await
    }

    /// Whether the database can be written. Strangers may ask, and a write costs the disk's time, so one answers for a second.
    async fn check(&self) -> Result<()> {
        let now = self.clock.now();
        let last = *self.written_at.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|at| at <= now && now.since(at) < CHECKED) {
            return Ok(());
        }
        self.db.check().await?;
        *self.written_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }
}
