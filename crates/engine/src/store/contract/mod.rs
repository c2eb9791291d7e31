//! What the SQL promises, checked on both databases.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

/// Runs the body in a transaction that must succeed. What it captures is `Copy`.
macro_rules! commit {
    ($fixture:expr, |$tx:ident| $body:expr) => {
        $fixture.db.write(move |$tx| Box::pin(async move { $body })).await.unwrap()
    };
}

/// Runs the body on a reader.
macro_rules! look {
    ($fixture:expr, |$reader:ident| $body:expr) => {
        $fixture.db.read(move |$reader| Box::pin(async move { $body })).await.unwrap()
    };
}

/// Makes of each function two tests, one per database.
macro_rules! each_db {
    ($($name:ident)+) => {$(
        mod $name {
            use crate::store::contract::Fixture;
            use crate::testing::Backend;

            async fn on(backend: Backend) {
                let fixture = Fixture::create(backend).await;
                super::$name(&fixture).await;
                fixture.database.remove().await.unwrap();
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                on(Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                on(Backend::Postgres).await;
            }
        }
    )+};
}

mod address;
mod api_key;
mod callback;
mod customer;
mod delivery;
mod event;
mod first_tenant;
mod history;
mod idempotency;
mod identity;
mod job;
mod limit;
mod password_reset;
mod plans;
mod postgres_faults;
mod postgres_url;
mod sequence;
mod session;
mod signing_key;
mod statements;
mod template;
mod tenant;
mod user;
mod wake;
mod webhook;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::model::identity::{ActorType, Identity, IdentityKey};
use crate::model::ids::{IdentityId, TenantId};
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::rng::Rng;
use crate::store::{self, Db, Patience, Tx};
use crate::testing::{Backend, TestDatabase};

/// How many tasks want the same thing in a race.
const RACERS: usize = 50;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// A second less than a minute.
const ALMOST: Duration = Duration::from_secs(59);

/// A database with two tenants.
struct Fixture {
    db: Db,
    clock: Clock,
    rng: Rng,
    database: TestDatabase,
    acme: TenantId,
    /// Everything of `acme` must mean nothing here.
    other: TenantId,
}

impl Fixture {
    async fn create(backend: Backend) -> Self {
        Self::patient(backend, Patience::default()).await
    }

    async fn patient(backend: Backend, patience: Patience) -> Self {
        let database = TestDatabase::create(backend).await.unwrap();
        let clock = Clock::frozen(Timestamp::from_seconds(1_800_000_000));
        let db = Db::open_with(database.url(), clock.clone(), patience).await.unwrap();
        let rng = Rng::seeded(1);
        let [acme, other] = ["acme", "other"].map(|slug| (slug, TenantId(rng.ulid(clock.now()))));
        for (slug, id) in [acme, other] {
            assert!(db.write(move |tx| Box::pin(store::tenant::insert(tx, id, slug, b"sealed"))).await.unwrap());
        }
        Self { db, clock, rng, database, acme: acme.1, other: other.1 }
    }

    /// A fresh id, above every one before.
    fn id<T: FromUlid>(&self) -> T {
        T::from_ulid(self.rng.ulid(self.clock.now()))
    }

    fn in_a_minute(&self) -> Timestamp {
        self.clock.now().after(MINUTE)
    }

    /// An identity of `acme`.
    async fn identity(&self, name: &'static str) -> IdentityId {
        let (id, tenant) = (self.id(), self.acme);
        assert!(commit!(self, |tx| store::identity::insert(tx, tenant, &login(id, key(name), name, "hash")).await));
        id
    }

    /// The number that `SELECT COUNT(*) …` finds.
    async fn count(&self, sql: &'static str) -> i64 {
        look!(self, |reader| reader.one::<(i64,)>(sql, &[]).await).unwrap().0
    }

    /// Runs `work` in fifty transactions at once; what each said.
    async fn race<T: Send + 'static>(&self, work: impl for<'t> Fn(&'t mut Tx) -> super::BoxFuture<'t, T> + Send + Sync + Copy + 'static) -> Vec<T> {
        let start = Arc::new(Barrier::new(RACERS));
        let mut racers = JoinSet::new();
        for _ in 0..RACERS {
            let (db, start) = (self.db.clone(), Arc::clone(&start));
            racers.spawn(async move {
                start.wait().await;
                db.write(work).await.unwrap()
            });
        }
        racers.join_all().await
    }
}

/// A transaction of another worker that has done its work and is still open.
struct Open {
    go: Arc<Notify>,
    worker: JoinSet<()>,
}

impl Open {
    /// Runs `work` and stays open.
    async fn begin<T: Send + 'static>(
        f: &Fixture,
        work: impl for<'t> Fn(&'t mut Tx) -> super::BoxFuture<'t, T> + Send + Sync + Copy + 'static,
    ) -> Self {
        let (done, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let signals = (done.clone(), go.clone());
        let (db, mut worker) = (f.db.clone(), JoinSet::new());
        worker.spawn(async move {
            let work = db.write(move |tx| {
                let (done, go) = signals.clone();
                Box::pin(async move {
                    work(tx).await?;
                    done.notify_one();
                    go.notified().await;
                    Ok(())
                })
            });
            work.await.unwrap();
        });
        done.notified().await;
        Self { go, worker }
    }

    async fn commit(self) {
        self.go.notify_one();
        self.worker.join_all().await;
    }
}

/// Waits until a transaction on PostgreSQL waits for another's row.
async fn somebody_waits(f: &Fixture) {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..2_000 {
        if f.count(WAITING).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody waits");
}

/// Ids, by their random part.
trait FromUlid {
    fn from_ulid(ulid: ulid::Ulid) -> Self;
}
macro_rules! ids {
    ($($id:ident)+) => {$(impl FromUlid for crate::model::ids::$id {
        fn from_ulid(ulid: ulid::Ulid) -> Self {
            Self(ulid)
        }
    })+};
}
ids!(TenantId IdentityId CustomerId AddressId UserId SessionId KeyId ApiKeyId JobId EventId DeliveryId);

/// The e-mail login of a customer called `name`.
fn key(name: &str) -> IdentityKey {
    IdentityKey { actor_type: ActorType::customer(), provider: "emailpass".into(), issuer: String::new(), entity_id: format!("{name}@x.test") }
}

/// A login with a password.
fn login(id: IdentityId, key: IdentityKey, address: &str, hash: &str) -> Identity {
    Identity::with_password(id, key, address, hash.to_owned(), Timestamp::from_micros(0))
}

/// A failure that a test causes.
fn on_purpose<T>() -> Result<T> {
    Err(Error::invalid("on purpose"))
}
