//! All SQL there is, on two databases: one text, operations written once as `async` over `&mut Tx`.
//!
//! A write gets a `Tx`, a read a `Reader`; what only reads cannot write. On SQLite one thread writes, many transactions under one commit
//! (`sqlite.rs`); on PostgreSQL each transaction has a pooled connection (`postgres.rs`). Write for READ COMMITTED on both.

pub mod address;
pub mod callback;
pub mod customer;
pub mod delivery;
pub mod event;
pub mod idempotency;
pub mod identity;
pub mod job;
pub mod limit;
pub mod password_reset;
pub mod sequence;
pub mod session;
pub mod signing_key;
pub mod template;
pub mod tenant;
pub mod user;
pub mod webhook;

pub mod api_key;
#[cfg(all(test, feature = "testing"))]
mod contract;
pub mod faults;
mod migrate;
mod postgres;
mod postgres_url;
#[cfg(feature = "testing")]
pub mod probe;
mod queue;
mod sqlite;
mod value;
mod wake;

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use queue::Class;
use value::{FromRow, Val};

use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;

pub type BoxFuture<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// Names SQL constants and lists them with their names, so that a test can prepare each on both databases.
macro_rules! statements {
    ($($name:ident = $sql:literal;)+) => {
        $(const $name: &str = $sql;)+
        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use statements;

/// A database.
#[derive(Clone)]
pub struct Db {
    backend: Backend,
    clock: Clock,
    #[cfg(feature = "testing")]
    faults: faults::Faults,
}

/// What an operation awaits of PostgreSQL is boxed, here and in `Connection`: it is large, and on SQLite, too, the operation's future would have room for it.
#[derive(Clone)]
enum Backend {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

/// Which of them a URL names.
enum Scheme<'u> {
    Sqlite(&'u Path),
    Postgres,
}

impl<'u> Scheme<'u> {
    fn of(url: &'u str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            Ok(Self::Sqlite(Path::new(path)))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres)
        } else {
            Err(Error::invalid("database.url must begin with sqlite:// or postgres://"))
        }
    }
}

/// How long to wait for what somebody else holds, and how much there is to hold. Tests make it less.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For another process (a command, a backup) that holds SQLite's file.
    pub file: Duration,
    /// How long SQLite's writer takes others into a commit.
    pub batch: Duration,
    /// How long nothing is written before SQLite's log is taken into the file.
    pub quiet: Duration,
    /// Connections to PostgreSQL per process.
    pub connections: usize,
    /// For one of these connections.
    pub connection: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            file: Duration::from_secs(5),
            batch: Duration::from_millis(5),
            // Tests search the log for what was ever written, so there it keeps all of it.
            quiet: if cfg!(feature = "testing") { Duration::from_hours(1) } else { Duration::from_secs(1) },
            connections: 32,
            connection: Duration::from_secs(3),
        }
    }
}

impl Db {
    /// Opens the database at `url` (`sqlite://FILE` or `postgres://…`) and brings its tables up to date.
    ///
    /// # Errors
    /// If it cannot be opened, is damaged, or was written by a newer version.
    pub async fn open(url: &str, clock: Clock) -> Result<Self> {
        Self::open_with(url, clock, Patience::default()).await
    }

    async fn open_with(url: &str, clock: Clock, patience: Patience) -> Result<Self> {
        let faults = faults::Faults::default();
        let backend = match Scheme::of(url)? {
            Scheme::Sqlite(path) => Backend::Sqlite(sqlite::Sqlite::open(path, clock.clone(), faults.clone(), patience)?),
            Scheme::Postgres => Backend::Postgres(postgres::Postgres::open(url, clock.clone(), faults.clone(), patience).await?),
        };
        Ok(Self {
            backend,
            clock,
            #[cfg(feature = "testing")]
            faults,
        })
    }

    /// The hosts to which everything goes unencrypted, if that is what `url` asks for.
    ///
    /// # Errors
    /// `InvalidData`, in words, if nothing could be opened there.
    pub fn plain_hosts(url: &str) -> Result<Vec<String>> {
        match Scheme::of(url)? {
            Scheme::Sqlite(_) => Ok(Vec::new()),
            Scheme::Postgres => Ok(postgres_url::Target::parse(url)?.plain_hosts()),
        }
    }

    /// Runs `work` in a transaction and returns once it is durable. An error means that nothing of it is stored,
    /// unless it says that the outcome is unknown. `work` may run again after a serialization conflict, so it draws no ids and no randomness.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T> + Send + Sync + 'static,
    {
        self.write_as(Class::Caller, work).await
    }

    /// As `write`, for work that nobody waits for: it lets callers go first.
    pub async fn write_behind<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T> + Send + Sync + 'static,
    {
        self.write_as(Class::Behind, work).await
    }

    async fn write_as<T, F>(&self, class: Class, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T> + Send + Sync + 'static,
    {
        #[cfg(feature = "testing")]
        if matches!(class, Class::Caller) && self.faults.strikes(faults::Fault::Conflict) {
            return Err(Error::conflict("on purpose"));
        }
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.write(class, work).await,
            Backend::Postgres(postgres) => Box::pin(postgres.write(class, work)).await,
        }
    }

    /// Runs `work` on a connection that cannot write.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send,
        F: for<'t> FnOnce(&'t mut Reader) -> BoxFuture<'t, T> + Send,
    {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.read(self.clock.now(), work),
            Backend::Postgres(postgres) => Box::pin(postgres.read(self.clock.now(), work)).await,
        }
    }

    /// Tells the other processes on this database each time that `told` rings, and calls `heard` when one of them tells. Never ends on
    /// PostgreSQL; on SQLite, whose file is one process's, it ends at once.
    pub async fn relay(&self, told: &Notify, heard: impl Fn() + Send + Sync) {
        match &self.backend {
            Backend::Sqlite(_) => {}
            Backend::Postgres(postgres) => wake::relay(postgres.target(), told, heard).await,
        }
    }

    /// Whether the database answers and can be written.
    pub async fn check(&self) -> Result<()> {
        self.write(|tx| Box::pin(async move { tx.touch().await })).await
    }

    #[cfg(feature = "testing")]
    #[must_use]
    pub fn faults(&self) -> &faults::Faults {
        &self.faults
    }
}

/// A connection that reads.
pub struct Reader {
    connection: Connection,
    now: Timestamp,
    /// Whether a statement has failed.
    failed: bool,
}

/// A transaction.
pub struct Tx {
    reader: Reader,
    /// Whether what it did can no longer be told from what others did in the same batch (SQLite).
    doomed: bool,
}

enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(postgres::Pooled),
}

impl Deref for Tx {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}
impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }
}

statements! {
    TOUCH = "UPDATE store_state SET generation = generation + 1 WHERE id = 1";
    GENERATION = "SELECT generation FROM store_state WHERE id = 1";
}

impl Reader {
    /// The time at which this piece of work began.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    fn is_postgres(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// The first row; SQLite does not look for another.
    pub async fn one<T: FromRow>(&mut self, sql: &'static str, values: &[Val]) -> Result<Option<T>> {
        debug_assert!(sql.trim_start().starts_with("SELECT"), "a Reader reads: {sql}");
        let mut first = None;
        self.fetch(sql, values, |row| {
            first = Some(row);
            false
        })
        .await?;
        Ok(first)
    }

    pub async fn all<T: FromRow>(&mut self, sql: &'static str, values: &[Val]) -> Result<Vec<T>> {
        debug_assert!(sql.trim_start().starts_with("SELECT"), "a Reader reads: {sql}");
        self.rows(sql, values).await
    }

    async fn rows<T: FromRow>(&mut self, sql: &'static str, values: &[Val]) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        self.fetch(sql, values, |row| {
            rows.push(row);
            true
        })
        .await?;
        Ok(rows)
    }

    /// Gives `each` the rows, until it wants no more.
    async fn fetch<T: FromRow>(&mut self, sql: &'static str, values: &[Val], each: impl FnMut(T) -> bool + Send) -> Result<()> {
        let outcome = match &mut self.connection {
            Connection::Sqlite(connection) => sqlite::fetch(connection, sql, values, each),
            Connection::Postgres(connection) => Box::pin(connection.fetch(sql, values, each)).await,
        };
        self.failed |= outcome.is_err();
        outcome
    }
}

impl Tx {
    /// Runs a statement that returns no rows; the number of rows it changed.
    pub async fn exec(&mut self, sql: &'static str, values: &[Val]) -> Result<u64> {
        let outcome = match &mut self.reader.connection {
            Connection::Sqlite(connection) => sqlite::execute(connection, sql, values),
            Connection::Postgres(connection) => Box::pin(connection.execute(sql, values)).await,
        };
        self.reader.failed |= outcome.is_err();
        outcome
    }

    /// Runs a writing statement with RETURNING; its first row.
    pub async fn returning<T: FromRow>(&mut self, sql: &'static str, values: &[Val]) -> Result<Option<T>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs a writing statement with RETURNING; all its rows.
    pub async fn returning_all<T: FromRow>(&mut self, sql: &'static str, values: &[Val]) -> Result<Vec<T>> {
        self.rows(sql, values).await
    }

    /// What the work's outcome is worth. PostgreSQL keeps nothing of a transaction in which a statement failed, even if the work went on,
    /// so SQLite keeps nothing of it either.
    fn verdict<T>(&self, outcome: Result<T>) -> Result<T> {
        if self.reader.failed { outcome.and(Err(Error::storage("a statement failed, and the transaction went on"))) } else { outcome }
    }

    async fn touch(&mut self) -> Result<()> {
        self.exec(TOUCH, &[]).await?;
        let generation: Option<(i64,)> = self.one(GENERATION, &[]).await?;
        generation.map(|_| ()).ok_or_else(|| Error::storage("the state row is missing"))
    }
}

/// Runs `sql` on a SQLite file that nobody has open. Afterwards the file is all there is: its log has been taken in.
#[cfg(feature = "testing")]
pub(crate) fn run_on_file(path: &Path, sql: &str) -> Result<()> {
    Ok(rusqlite::Connection::open(path)?.execute_batch(sql)?)
}

/// Makes an empty database on the tests' PostgreSQL.
#[cfg(feature = "testing")]
pub(crate) async fn create_postgres_database(server: &str, name: &str) -> Result<()> {
    postgres::administer(server, &format!("CREATE DATABASE {name}")).await
}

/// Drops a database of the tests'.
#[cfg(feature = "testing")]
pub(crate) async fn drop_postgres_database(server: &str, name: &str) -> Result<()> {
    postgres::administer(server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
}
