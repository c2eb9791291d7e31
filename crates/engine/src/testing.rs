//! Throw-away databases for tests.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Map;
use tempfile::TempDir;

use crate::config::{Config, Database, Keys, Outbound, Server};
use crate::crypto::password_hash::Cost;
use crate::error::{Error, Result};
use crate::model::identity::ActorType;
use crate::model::tenant::{Secret, Tenant, TenantSettings};
use crate::model::time::Timestamp;
use crate::ops::account::Arrival;
use crate::outbox::{Lane, Slots, Work};
use crate::ports::clock::Clock;
use crate::ports::rng::Rng;
use crate::provider::Claims;
pub use crate::store::faults::{Fault, Faults};
use crate::store::probe;
use crate::{Engine, Surroundings};

/// Runs `sql` on a SQLite file that nobody has open, past everything of ours. Afterwards there is no log beside the file.
pub fn run_on_file(path: &std::path::Path, sql: &str) -> Result<()> {
    crate::store::run_on_file(path, sql)
}

/// The first column of what `sql` selects from a SQLite file that nobody has open.
///
/// # Errors
/// If the file cannot be read.
pub async fn rows_of_file(path: &std::path::Path, sql: &str) -> Result<Vec<String>> {
    let rows = probe::rows(&format!("sqlite://{}", path.display()), sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next()).collect())
}

/// Where the tests' PostgreSQL is: any user that may create databases.
const POSTGRES: &str = "VESTIBULE_TEST_POSTGRES";

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// An empty database that goes when this is dropped.
pub struct TestDatabase {
    url: String,
    directory: Option<TempDir>,
    server: Option<String>,
}

impl TestDatabase {
    /// # Errors
    /// If there is no PostgreSQL to test on. A test that cannot run must fail, not pass.
    pub async fn create(backend: Backend) -> Result<Self> {
        if backend == Backend::Sqlite {
            let directory = tempfile::tempdir().map_err(|e| Error::unexpected(e.to_string()))?;
            let url = format!("sqlite://{}", directory.path().join("test.db").display());
            return Ok(Self { url, directory: Some(directory), server: None });
        }
        #[expect(clippy::disallowed_methods, reason = "tests are configured by their environment")]
        let server = std::env::var(POSTGRES).map_err(|_| Error::invalid(format!("{POSTGRES} is not set: run the tests with scripts/test.sh")))?;
        let name = format!("t{}", crate::ports::rng::Rng::os().uuid().replace('-', ""));
        crate::store::create_postgres_database(&server, &name).await?;
        let (base, _) = server.rsplit_once('/').ok_or_else(|| Error::invalid(format!("{POSTGRES} names no database")))?;
        Ok(Self { url: format!("{base}/{name}"), directory: None, server: Some(server) })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where SQLite keeps its files.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|d| d.path().to_owned())
    }

    /// What `sql` selects, each value as text; NULL is empty.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        probe::rows(&self.url, sql).await
    }

    /// Every value in every table, as text.
    pub async fn everything(&self) -> Result<String> {
        let mut out = String::new();
        for table in probe::tables(&self.url).await? {
            for row in self.rows(&format!("SELECT * FROM {table}")).await? {
                out.extend([&table, ": ", &row.join(" | "), "\n"]);
            }
        }
        Ok(out)
    }

    /// Drops a PostgreSQL database, whoever is still connected. SQLite's goes with its directory.
    pub async fn remove(self) -> Result<()> {
        let (Some(server), Some((_, name))) = (&self.server, self.url.rsplit_once('/')) else { return Ok(()) };
        crate::store::drop_postgres_database(server, name).await
    }
}

/// An engine whose clock stands still, with one shop, `acme`, on an empty database.
pub async fn one_shop(backend: Backend) -> Result<(Arc<Engine>, Arc<Tenant>, TestDatabase)> {
    let database = TestDatabase::create(backend).await?;
    let config = Config {
        server: Server::default(),
        database: Database { url: Secret::new(database.url()) },
        keys: Keys::default(),
        outbound: Outbound::default(),
        nats: None,
        tenants: vec![TenantSettings { slug: "acme".into(), ..TenantSettings::default() }],
    };
    let clock = Clock::frozen(Timestamp::from_seconds(1_795_447_000));
    let engine = Engine::open(config, Surroundings { clock, rng: Rng::os(), cost: Cost { memory_kib: 64, passes: 1 } }).await?;
    let tenant = crate::ops::tenant::by_slug(&engine, "acme").await?;
    Ok((engine, tenant, database))
}

/// The same database, served by an engine with `change` made to its configuration and a seeded generator.
pub async fn reopened(engine: &Engine, change: impl FnOnce(&mut Config)) -> Result<Arc<Engine>> {
    let mut config = engine.config.clone();
    change(&mut config);
    let cost = Cost { memory_kib: 64, passes: 1 };
    Engine::open(config, Surroundings { clock: engine.clock.clone(), rng: Rng::seeded(1), cost }).await
}

/// Somebody new whom the provider `google` vouches for.
#[must_use]
pub fn arrival(actor: ActorType, subject: &str) -> Arrival {
    let claims = Claims {
        issuer: "https://issuer.example".into(),
        subject: subject.into(),
        email: Some(format!("{subject}@example.com")),
        email_verified: true,
        given_name: None,
        family_name: None,
        user_metadata: Map::new(),
    };
    Arrival { actor, provider: "google".into(), claims }
}

/// What is stored of a one-time code and its state.
#[must_use]
pub fn code_id(code: &str, state: &str) -> [u8; 32] {
    crate::crypto::sha256(&[code.as_bytes(), b"\0", state.as_bytes()])
}

/// The number that a SELECT gives: for what a test must know and no answer says.
///
/// # Errors
/// If the statement fails or selects no number.
pub async fn number(engine: &Engine, sql: &'static str) -> Result<i64> {
    let found = engine.db.read(move |reader| Box::pin(reader.one::<(i64,)>(sql, &[]))).await?;
    found.map(|(number,)| number).ok_or_else(|| Error::unexpected("the statement selected nothing"))
}

/// Changes rows behind the product's back: damage, or what no route can do yet. The number of rows.
///
/// # Errors
/// If the statement fails.
pub async fn execute(engine: &Engine, sql: &'static str) -> Result<u64> {
    engine.db.write(move |tx| Box::pin(tx.exec(sql, &[]))).await
}

/// A worker that has claimed what was due and then paused.
pub struct PausedWorker {
    engine: Arc<Engine>,
    held: Vec<Work>,
}

impl PausedWorker {
    /// Claims what is due.
    pub async fn claim(engine: &Arc<Engine>) -> Result<Self> {
        let mut held = Vec::new();
        for lane in Lane::ALL {
            held.extend(crate::outbox::claim(engine, lane, &mut Slots::new(lane)).await?);
        }
        Ok(Self { engine: engine.clone(), held })
    }

    /// How many jobs and deliveries it holds, or held.
    #[must_use]
    pub fn holds(&self) -> (usize, usize) {
        let jobs = self.held.iter().filter(|work| matches!(work, Work::Job(..))).count();
        (jobs, self.held.len() - jobs)
    }

    /// Goes on where it stopped, as if no time had passed.
    pub async fn resume(self) {
        for work in self.held {
            let _ = crate::outbox::carry_out(&self.engine, work).await;
        }
    }
}

/// A password hash as Medusa would make it, at a cost for tests.
///
/// # Errors
/// If scrypt refuses the cost.
pub fn medusa_hash(password: &str) -> Result<String> {
    crate::crypto::medusa_scrypt::make(password, 4, 8, 1, [7; 32]).map_err(Error::unexpected)
}
