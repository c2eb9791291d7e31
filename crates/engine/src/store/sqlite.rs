//! SQLite: one thread writes, many connections read.
//!
//! Strangers' transactions share a commit here, so the writer is held to rules. If BEGIN fails no job runs. Each job runs in a savepoint and
//! under `catch_unwind`; if SQLite has rolled back by itself, the whole batch fails and nothing more runs in it. A batch ends at 64 jobs or
//! 5 ms, and every answer is given after the commit. The queue is bounded.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rusqlite::OpenFlags;
use tokio::sync::{mpsc, oneshot};

use super::faults::{Fault, Faults};
use super::value::Val;
use super::{BoxFuture, Connection, Reader, Tx, migrate};
use crate::error::{Error, Result};
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;

const BATCH_JOBS: usize = 64;
const BATCH_TIME: Duration = Duration::from_millis(5);
/// Jobs that may wait; more are refused, because a longer queue only makes everybody late.
const QUEUE: usize = 4096;
/// How long to wait for another process (a command, a backup) that holds the file.
const BUSY: Duration = Duration::from_secs(5);

/// Tells a job's caller how the commit went.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;
/// A transaction's work. It is given the error instead of a transaction when none could be begun.
type Job = Box<dyn FnOnce(Result<&mut Tx>) -> Answer + Send>;

#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    writer: mpsc::Sender<Job>,
    readers: crossbeam_queue::ArrayQueue<rusqlite::Connection>,
    path: PathBuf,
}

impl Sqlite {
    pub fn open(path: &Path, clock: Clock, faults: Faults) -> Result<Self> {
        let connection = connect(path, false)?;
        migrate::sqlite(&connection, clock.now())?;
        let (writer, queue) = mpsc::channel(QUEUE);
        let mut thread = Writer { tx: transaction(connection), path: path.to_owned(), queue, clock, faults };
        std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || thread.run())
            .map_err(|e| Error::unexpected(format!("the writer thread did not start: {e}")))?;
        let count = std::thread::available_parallelism().map_or(4, |n| n.get() + 2);
        let readers = crossbeam_queue::ArrayQueue::new(count);
        for _ in 0..count {
            let _ = readers.push(connect(path, true)?);
        }
        Ok(Self { inner: Arc::new(Inner { writer, readers, path: path.to_owned() }) })
    }

    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T> + Send + Sync + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let outcome = tx.and_then(|tx| in_savepoint(tx, work));
            // A caller that has gone does not undo what was committed for it.
            Box::new(move |commit| drop(sender.send(commit.and(outcome))))
        });
        self.inner.writer.try_send(job).map_err(|_| Error::busy("the write queue is full"))?;
        receiver.await.map_err(|_| Error::outcome_unknown("the writer has ended"))?
    }

    pub async fn read<T: Send>(&self, now: Timestamp, work: impl for<'t> FnOnce(&'t mut Reader) -> BoxFuture<'t, T> + Send) -> Result<T> {
        // A read never pends, so no more run at once than there are threads. Waiting for a connection here could wait for a task that waits for us.
        let connection = match self.inner.readers.pop() {
            Some(connection) => connection,
            None => connect(&self.inner.path, true)?,
        };
        let mut reader = Reader { connection: Connection::Sqlite(connection), now };
        let outcome = poll_once(work(&mut reader));
        if let Connection::Sqlite(connection) = reader.connection {
            let _ = self.inner.readers.push(connection);
        }
        outcome
    }
}

/// The work of one job, undone if it fails.
fn in_savepoint<T>(tx: &mut Tx, work: impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T>) -> Result<T> {
    batch(tx, "SAVEPOINT job")?;
    let outcome = catch_unwind(AssertUnwindSafe(|| poll_once(work(tx)))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::unexpected(format!("a transaction panicked: {}", text.unwrap_or_default())))
    });
    if connection(tx).is_autocommit() {
        // SQLite has ended the transaction by itself, as it does when the disk is full: there is no savepoint to go back to.
        return outcome.and(Err(Error::storage("the transaction was rolled back by the database")));
    }
    if outcome.is_err() {
        batch(tx, "ROLLBACK TO job")?;
    }
    batch(tx, "RELEASE job").and(outcome)
}

/// Database calls never pend on SQLite. What does pend awaits something else, and nothing else may be awaited inside a transaction.
fn poll_once<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(Error::unexpected("a transaction awaited something other than the database")),
    }
}

struct Writer {
    tx: Tx,
    path: PathBuf,
    queue: mpsc::Receiver<Job>,
    clock: Clock,
    faults: Faults,
}

impl Writer {
    fn run(&mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            if let Err(refused) = self.begin() {
                first(Err(refused.clone()))(Err(refused));
                continue;
            }
            let answers = self.batch(first);
            let outcome = self.commit();
            for answer in answers {
                answer(outcome.clone());
            }
        }
    }

    fn begin(&mut self) -> Result<()> {
        if self.faults.strikes(Fault::Begin) {
            return Err(Error::busy("BEGIN was refused on purpose"));
        }
        batch(&self.tx, "BEGIN IMMEDIATE")
    }

    /// Runs `first` and what else waits, until the batch is full or late, or SQLite has ended the transaction.
    fn batch(&mut self, first: Job) -> Vec<Answer> {
        let began = Instant::now();
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            self.tx.reader.now = self.clock.now();
            answers.push(job(Ok(&mut self.tx)));
            if answers.len() < BATCH_JOBS && began.elapsed() < BATCH_TIME && !connection(&self.tx).is_autocommit() {
                next = self.queue.try_recv().ok();
            }
        }
        answers
    }

    /// Commits the batch. After a failure nothing of the batch may come back from the log when the file is opened again.
    fn commit(&mut self) -> Result<()> {
        if connection(&self.tx).is_autocommit() {
            return Err(Error::storage("the transaction was rolled back by the database"));
        }
        let outcome = if self.faults.strikes(Fault::Commit) {
            Err(Error::storage("COMMIT was refused on purpose"))
        } else if self.faults.strikes(Fault::CommitLost) {
            // The commit is in the log, but its caller is told that it is not known.
            batch(&self.tx, "COMMIT").and_then(|()| Err(Error::outcome_unknown("the answer to COMMIT was lost on purpose")))
        } else {
            batch(&self.tx, "COMMIT")
        };
        let Err(failure) = outcome else { return Ok(()) };
        tracing::error!(error = %failure, "a commit failed");
        if !connection(&self.tx).is_autocommit() {
            let _ = batch(&self.tx, "ROLLBACK");
        }
        // The failed batch may stand in the log without being valid to us. A small commit of our own takes its place there;
        // only when that is durable is "failed" the truth.
        if batch(&self.tx, "UPDATE store_state SET generation = generation + 1 WHERE id = 1").is_ok() {
            return Err(failure);
        }
        if let Ok(fresh) = connect(&self.path, false) {
            self.tx = transaction(fresh);
        }
        Err(Error::outcome_unknown(failure.to_string()))
    }
}

fn transaction(connection: rusqlite::Connection) -> Tx {
    Tx { reader: Reader { connection: Connection::Sqlite(connection), now: Timestamp::from_micros(0) } }
}

fn connection(tx: &Tx) -> &rusqlite::Connection {
    match &tx.reader.connection {
        Connection::Sqlite(connection) => connection,
        Connection::Postgres(_) => unreachable!("the writer thread owns a SQLite connection"),
    }
}

fn batch(tx: &Tx, sql: &str) -> Result<()> {
    Ok(connection(tx).execute_batch(sql)?)
}

/// Prepares `sql` from the cache and binds `values`. To SQLite `$2` is a name, so values are bound by the number in it, not by order.
pub(super) fn prepare<'c>(connection: &'c rusqlite::Connection, sql: &str, values: &[Val]) -> Result<rusqlite::CachedStatement<'c>> {
    let mut statement = connection.prepare_cached(sql)?;
    for index in 1..=statement.parameter_count() {
        let number: usize = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse().ok()).unwrap_or(index);
        let value = number.checked_sub(1).and_then(|n| values.get(n)).ok_or_else(|| Error::unexpected(format!("no value for ${number} in {sql}")))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(statement)
}

fn connect(path: &Path, read_only: bool) -> Result<rusqlite::Connection> {
    let access = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE };
    let connection = rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_NO_MUTEX | access)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(256);
    if !read_only {
        // FULL: a "session ended" that a power cut forgets is a security fault.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;",
        )?;
    }
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA cache_size = -2000; PRAGMA mmap_size = 268435456; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}
