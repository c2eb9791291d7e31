//! PostgreSQL: each transaction has a pooled connection, which is thrown away unless the transaction ended as it should.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::sync::Semaphore;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;

use super::faults::{Fault, Faults};
use super::postgres_url::Target;
use super::queue::Class;
use super::value::{FromRow, Row, Val};
use super::{BoxFuture, Connection, Patience, Reader, Tx, migrate};
use crate::error::{Code, Error, Result};
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;

/// How often a transaction is run before a serialization conflict is the caller's.
const TRIES: u32 = 3;

#[derive(Clone)]
pub struct Postgres {
    pool: Pool,
    /// For a connection of one's own.
    target: Arc<Target>,
    /// What nobody waits for gets a quarter of the connections at most.
    behind: Arc<Semaphore>,
    clock: Clock,
    faults: Faults,
}

/// A connection of the pool. It goes back only when no transaction is open on it; otherwise the server ends the transaction with the connection.
pub struct Pooled {
    object: Option<Object>,
    in_transaction: bool,
}

impl Postgres {
    pub async fn open(url: &str, clock: Clock, faults: Faults, patience: Patience) -> Result<Self> {
        let mut target = Target::parse(url)?;
        target.config.connect_timeout(patience.connection);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(target.config.clone(), target.tls.clone(), recycling);
        let pool = Pool::builder(manager)
            .max_size(patience.connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(patience.connection))
            .create_timeout(Some(patience.connection))
            .build()
            .map_err(|e| Error::unexpected(e.to_string()))?;
        let mut first = pool.get().await?;
        migrate::postgres(&mut first, clock.now()).await?;
        drop(first);
        let behind = Arc::new(Semaphore::new((patience.connections / 4).max(1)));
        Ok(Self { pool, target: Arc::new(target), behind, clock, faults })
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub async fn write<T, F>(&self, class: Class, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T> + Send + Sync,
    {
        let _permit = match class {
            Class::Caller => None,
            Class::Behind => self.behind.acquire().await.ok(),
        };
        let mut tries = 1;
        loop {
            let outcome = self.attempt(&work).await;
            match outcome {
                Err(e) if e.code == Code::Conflict && tries < TRIES => {
                    tracing::debug!(error = %e, "a transaction is run again");
                    // Jitter from the clock: only to keep two losers apart.
                    let spread = self.clock.now().micros().rem_euclid(10).unsigned_abs();
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * 5 + spread)).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn attempt<T>(&self, work: &(impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T> + Send + Sync)) -> Result<T> {
        if self.faults.strikes(Fault::Begin) {
            return Err(Error::busy("BEGIN was refused on purpose"));
        }
        let mut pooled = Pooled { object: Some(self.pool.get().await?), in_transaction: true };
        pooled.object()?.batch_execute("BEGIN").await?;
        let mut tx = Tx { reader: Reader { connection: Connection::Postgres(pooled), now: self.clock.now(), failed: false }, doomed: false };
        let outcome = work(&mut tx).await;
        let outcome = tx.verdict(outcome);
        let Connection::Postgres(mut pooled) = tx.reader.connection else { unreachable!("a PostgreSQL transaction has a PostgreSQL connection") };
        if let Err(failure) = outcome {
            if pooled.object()?.batch_execute("ROLLBACK").await.is_ok() {
                pooled.in_transaction = false;
            }
            return Err(failure);
        }
        self.commit(&mut pooled).await?;
        outcome
    }

    async fn commit(&self, pooled: &mut Pooled) -> Result<()> {
        if self.faults.strikes(Fault::Commit) {
            return Err(Error::storage("COMMIT was refused on purpose"));
        }
        if self.faults.strikes(Fault::CommitLost) {
            let _ = pooled.object()?.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await;
        }
        // COMMIT of a failed transaction is answered with ROLLBACK, not with an error. The SELECT before it, in the same message, does
        // fail then, and the server skips the rest.
        match pooled.object()?.batch_execute("SELECT; COMMIT").await {
            Ok(()) => {
                pooled.in_transaction = false;
                Ok(())
            }
            Err(e) if is_refusal(&e) => Err(e.into()),
            // The server may have committed before it went. Running the work again could do it twice.
            Err(e) => Err(Error::outcome_unknown(e.to_string())),
        }
    }

    pub async fn read<T>(&self, now: Timestamp, work: impl for<'t> FnOnce(&'t mut Reader) -> BoxFuture<'t, T> + Send) -> Result<T> {
        let pooled = Pooled { object: Some(self.pool.get().await?), in_transaction: false };
        let mut reader = Reader { connection: Connection::Postgres(pooled), now, failed: false };
        work(&mut reader).await
    }
}

/// Whether the server said that it has not committed. One that goes away (FATAL, PANIC) may have done so before; a proxy that lost
/// its server says 08007 or 40003.
fn is_refusal(e: &tokio_postgres::Error) -> bool {
    let Some(db) = e.as_db_error() else { return false };
    db.parsed_severity() == Some(Severity::Error) && !matches!(db.code().code(), "08007" | "40003")
}

impl Pooled {
    fn object(&mut self) -> Result<&mut Object> {
        self.object.as_mut().ok_or_else(|| Error::unexpected("the connection was given back"))
    }

    pub async fn fetch<T: FromRow>(&mut self, sql: &str, values: &[Val], mut each: impl FnMut(T) -> bool) -> Result<()> {
        let object = self.object()?;
        let statement = object.prepare_cached(sql).await?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| v as _).collect();
        for row in object.query(&statement, &values).await? {
            if !each(T::from_row(&Row::Postgres(&row))?) {
                break;
            }
        }
        Ok(())
    }

    pub async fn execute(&mut self, sql: &str, values: &[Val]) -> Result<u64> {
        let object = self.object()?;
        let statement = object.prepare_cached(sql).await?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| v as _).collect();
        Ok(object.execute(&statement, &values).await?)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.in_transaction
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}

/// Runs one statement on a connection of its own. For tests.
#[cfg(feature = "testing")]
pub async fn administer(url: &str, statement: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let work = async { client.batch_execute(statement).await };
    tokio::select! {
        outcome = work => Ok(outcome?),
        ended = connection => Err(ended.err().map_or_else(|| Error::busy("the connection ended"), Into::into)),
    }
}
