//! SQLite: one thread writes, many connections read.
//!
//! Strangers' transactions share a commit here, so the writer is held to rules. If BEGIN fails no job runs. Each job runs in a savepoint and
//! under `catch_unwind`; if SQLite has rolled back by itself, the whole batch fails and nothing more runs in it. A batch ends at 64 jobs or
//! 5 ms, and every answer is given after the commit.

use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::OpenFlags;
use tokio::sync::oneshot;

use super::faults::{Fault, Faults};
use super::queue::{Class, First, Queue, Taken};
use super::value::{FromRow, Row, Val};
use super::{BoxFuture, Connection, Patience, Reader, Tx, migrate};
use crate::error::{Error, Result};
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;

const BATCH_JOBS: usize = 64;
/// How long a process that ends waits for readers of other processes.
const CLOSING: Duration = Duration::from_millis(50);

/// Tells a job's caller how the commit went.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;
/// A transaction's work. It is given the error instead of a transaction when none could be begun.
type Job = Box<dyn FnOnce(Result<&mut Tx>) -> Answer + Send>;

#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue<Job>>,
    readers: crossbeam_queue::ArrayQueue<rusqlite::Connection>,
    file: File,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    /// Waits for the writer: a process that ended before would leave the log beside the file.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// The database's file, and how long to wait for another process that holds it.
#[derive(Clone)]
struct File {
    path: PathBuf,
    wait: Duration,
}

impl Sqlite {
    pub fn open(path: &Path, clock: Clock, faults: Faults, patience: Patience) -> Result<Self> {
        let file = File { path: path.to_owned(), wait: patience.file };
        file.create();
        let connection = file.connect(false)?;
        migrate::sqlite(&connection, clock.now())?;
        let queue = Arc::new(Queue::new());
        let holder = Holder::new(file.connect(true)?)?;
        holder.hold();
        let mut thread = Writer { tx: transaction(connection), holder, file: file.clone(), patience, queue: queue.clone(), clock, faults };
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || thread.run())
            .map_err(|e| Error::unexpected(format!("the writer thread did not start: {e}")))?;
        let count = std::thread::available_parallelism().map_or(4, |n| n.get() + 2);
        let readers = crossbeam_queue::ArrayQueue::new(count);
        for _ in 0..count {
            let _ = readers.push(file.connect(true)?);
        }
        Ok(Self { inner: Arc::new(Inner { queue, readers, file, thread: Some(thread) }) })
    }

    pub async fn write<T, F>(&self, class: Class, work: F) -> Result<T>
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
        if !self.inner.queue.push(class, job) {
            return Err(Error::busy("the write queue is full"));
        }
        receiver.await.map_err(|_| Error::outcome_unknown("the writer has ended"))?
    }

    pub fn read<T: Send>(&self, now: Timestamp, work: impl for<'t> FnOnce(&'t mut Reader) -> BoxFuture<'t, T> + Send) -> Result<T> {
        // A read never pends, so no more run at once than there are threads. Waiting for a connection here could wait for a task that waits for us.
        let connection = match self.inner.readers.pop() {
            Some(connection) => connection,
            None => self.inner.file.connect(true)?,
        };
        let mut reader = Reader { connection: Connection::Sqlite(connection), now, failed: false };
        let outcome = poll_once(work(&mut reader));
        if let Connection::Sqlite(connection) = reader.connection {
            let _ = self.inner.readers.push(connection);
        }
        outcome
    }
}

/// The work of one job, undone if it fails.
fn in_savepoint<T>(tx: &mut Tx, work: impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, T>) -> Result<T> {
    execute(connection(tx), "SAVEPOINT job", &[])?;
    tx.reader.failed = false;
    let outcome = catch_unwind(AssertUnwindSafe(|| poll_once(work(tx)))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::unexpected(format!("a transaction panicked: {}", text.unwrap_or_default())))
    });
    if connection(tx).is_autocommit() {
        // SQLite has ended the transaction by itself, as it does when the disk is full: there is no savepoint to go back to.
        return outcome.and(Err(Error::storage("the transaction was rolled back by the database")));
    }
    let outcome = tx.verdict(outcome);
    let undone = if outcome.is_err() { execute(connection(tx), "ROLLBACK TO job", &[]) } else { Ok(0) };
    if let Err(failure) = undone.and_then(|_| execute(connection(tx), "RELEASE job", &[])) {
        // What this job wrote would be committed with the batch, although its caller is told that it failed.
        tx.doomed = true;
        return Err(failure);
    }
    outcome
}

/// Database calls never pend on SQLite. What does pend awaits something else, and nothing else may be awaited inside a transaction.
fn poll_once<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(Error::unexpected("a transaction awaited something other than the database")),
    }
}

/// Holds the newest snapshot while nothing is written. SQLite locks a snapshot in the file once per process and counts the rest: as long as
/// somebody here holds it, a read costs no system call.
struct Holder(rusqlite::Connection);

impl Holder {
    /// It reads one row: what SQLite maps it would unmap and map anew after every commit.
    fn new(connection: rusqlite::Connection) -> Result<Self> {
        connection.execute_batch("PRAGMA mmap_size = 0")?;
        Ok(Self(connection))
    }

    fn hold(&self) {
        // Without it reads are only slower.
        drop(execute(&self.0, "BEGIN", &[]).and_then(|_| Ok(prepare(&self.0, super::GENERATION, &[])?.raw_query().next()?.is_some())));
    }

    /// Before a transaction, so that the log can begin anew.
    fn release(&self) {
        if !self.0.is_autocommit() {
            drop(execute(&self.0, "COMMIT", &[]));
        }
    }
}

struct Writer {
    tx: Tx,
    holder: Holder,
    file: File,
    patience: Patience,
    queue: Arc<Queue<Job>>,
    clock: Clock,
    faults: Faults,
}

impl Writer {
    fn run(&mut self) {
        let mut unsettled = true;
        loop {
            let mut taken = Taken::default();
            let first = match self.queue.first(&mut taken, unsettled.then_some(self.patience.quiet)) {
                First::Item(job) => job,
                First::Quiet => {
                    unsettled = !self.settle();
                    continue;
                }
                First::Closed => break,
            };
            unsettled = true;
            self.holder.release();
            if let Err(refused) = self.begin() {
                self.refuse(first, &refused);
                self.holder.hold();
                continue;
            }
            let answers = self.batch(first, taken);
            let outcome = self.commit();
            self.holder.hold();
            for answer in answers {
                answer(outcome.clone());
            }
        }
        self.holder.release();
        // Nobody is left to write. The file is made whole by itself, so that copying it alone copies everything. Where another process has it open
        // that is for the last of them to do, and nobody waits for it.
        drop(connection(&self.tx).busy_timeout(CLOSING));
        if let Err(e) = connection(&self.tx).execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(error = %e, "the log beside the database could not be taken into it");
        }
    }

    /// Takes the log into the file: as long as there is something in it, every page that is read is looked for there first. False: a reader who began before
    /// the last commit is still at it, and what it does not see yet must wait.
    fn settle(&self) -> bool {
        self.holder.release();
        let taken = connection(&self.tx).query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        self.holder.hold();
        match taken {
            Ok((in_log, taken)) => in_log == taken,
            // The next commits try again, and say what is wrong.
            Err(_) => true,
        }
    }

    fn begin(&mut self) -> Result<()> {
        if self.faults.strikes(Fault::Begin) {
            return Err(Error::busy("BEGIN was refused on purpose"));
        }
        if !connection(&self.tx).is_autocommit() {
            // A batch could be neither committed nor rolled back. A new connection knows nothing of it.
            self.tx = transaction(self.file.connect(false)?);
        }
        run(&self.tx, "BEGIN IMMEDIATE")
    }

    /// Refuses `first` and whoever waits behind it now: if each waited again for its own BEGIN, the last would wait for hours.
    fn refuse(&mut self, first: Job, refused: &Error) {
        for job in std::iter::once(first).chain(self.queue.take_all()) {
            job(Err(refused.clone()))(Err(refused.clone()));
        }
    }

    /// Runs `first` and what else waits, until the batch is full or late, or SQLite has ended the transaction.
    fn batch(&mut self, first: Job, mut taken: Taken) -> Vec<Answer> {
        let began = Instant::now();
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            self.tx.reader.now = self.clock.now();
            answers.push(job(Ok(&mut self.tx)));
            let broken = self.tx.doomed || connection(&self.tx).is_autocommit();
            if taken.len() < BATCH_JOBS && began.elapsed() < self.patience.batch && !broken {
                next = self.queue.next(&mut taken);
            }
        }
        answers
    }

    /// Commits the batch. After a failure nothing of the batch may come back from the log when the file is opened again.
    fn commit(&mut self) -> Result<()> {
        if connection(&self.tx).is_autocommit() {
            self.tx.doomed = false;
            return Err(Error::storage("the transaction was rolled back by the database"));
        }
        if std::mem::take(&mut self.tx.doomed) {
            let _ = run(&self.tx, "ROLLBACK");
            return Err(Error::storage("a transaction of the batch could not be undone"));
        }
        let outcome = if self.faults.strikes(Fault::Commit) {
            Err(Error::storage("COMMIT was refused on purpose"))
        } else if self.faults.strikes(Fault::CommitLost) {
            // The commit is in the log, but its caller is told that it is not known.
            run(&self.tx, "COMMIT").and_then(|()| Err(Error::outcome_unknown("the answer to COMMIT was lost on purpose")))
        } else {
            run(&self.tx, "COMMIT")
        };
        let Err(failure) = outcome else { return Ok(()) };
        tracing::error!(error = %failure, "a commit failed");
        if !connection(&self.tx).is_autocommit() {
            let _ = run(&self.tx, "ROLLBACK");
        }
        // The failed batch may stand in the log without being valid to us. A small commit of our own takes its place there;
        // only when that is durable is "failed" the truth.
        if run(&self.tx, super::TOUCH).is_ok() {
            return Err(failure);
        }
        if let Ok(fresh) = self.file.connect(false) {
            self.tx = transaction(fresh);
        }
        Err(Error::outcome_unknown(failure.to_string()))
    }
}

fn transaction(connection: rusqlite::Connection) -> Tx {
    Tx { reader: Reader { connection: Connection::Sqlite(connection), now: Timestamp::from_micros(0), failed: false }, doomed: false }
}

fn connection(tx: &Tx) -> &rusqlite::Connection {
    match &tx.reader.connection {
        Connection::Sqlite(connection) => connection,
        Connection::Postgres(_) => unreachable!("the writer thread owns a SQLite connection"),
    }
}

fn run(tx: &Tx, sql: &str) -> Result<()> {
    execute(connection(tx), sql, &[]).map(drop)
}

pub(super) fn execute(connection: &rusqlite::Connection, sql: &str, values: &[Val]) -> Result<u64> {
    Ok(prepare(connection, sql, values)?.raw_execute()? as u64)
}

pub(super) fn fetch<T: FromRow>(connection: &rusqlite::Connection, sql: &str, values: &[Val], mut each: impl FnMut(T) -> bool) -> Result<()> {
    let mut statement = prepare(connection, sql, values)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if !each(T::from_row(&Row::Sqlite(row))?) {
            break;
        }
    }
    Ok(())
}

/// Prepares `sql` from the cache and binds `values`. To SQLite `$2` is a name, so values are bound by the number in it, not by order.
fn prepare<'c>(connection: &'c rusqlite::Connection, sql: &str, values: &[Val]) -> Result<rusqlite::CachedStatement<'c>> {
    let mut statement = connection.prepare_cached(sql)?;
    for index in 1..=statement.parameter_count() {
        let number: usize = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse().ok()).unwrap_or(index);
        let value = number.checked_sub(1).and_then(|n| values.get(n)).ok_or_else(|| Error::unexpected(format!("no value for ${number} in {sql}")))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(statement)
}

impl File {
    /// Makes the file readable to nobody else; what SQLite puts beside it is as readable as the file. One that is there is left as it is,
    /// and what cannot be made SQLite reports.
    fn create(&self) {
        drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path));
    }

    fn connect(&self, read_only: bool) -> Result<rusqlite::Connection> {
        let access = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE };
        let connection = rusqlite::Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_NO_MUTEX | access)?;
        connection.busy_timeout(self.wait)?;
        connection.set_prepared_statement_cache_capacity(256);
        // A plan is for the statement, not for its values: otherwise a new time in `expires_at > $1` compiles the statement anew at every use.
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        if !read_only {
            // FULL: a "session ended" that a power cut forgets is a security fault.
            connection.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;",
            )?;
        }
        connection
            .execute_batch("PRAGMA foreign_keys = ON; PRAGMA mmap_size = 268435456; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;")?;
        // In KiB. The writer keeps what it changes until the commit; with less room it would write pages out early, and again.
        connection.execute_batch(if read_only { "PRAGMA cache_size = -2000" } else { "PRAGMA cache_size = -16000" })?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MARK: &str = "UPDATE store_state SET generation = 7 WHERE id = 1";

    fn open(path: &Path) -> Sqlite {
        Sqlite::open(path, Clock::System, Faults::default(), Patience::default()).unwrap()
    }

    #[tokio::test]
    async fn nobody_else_may_read_what_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.db");
        let sqlite = open(&path);
        sqlite.write(Class::Caller, |tx| Box::pin(tx.exec(MARK, &[]))).await.unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
        }
        drop(sqlite);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        drop(open(&path));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640, "the operator's choice stays");
    }

    /// What a copy of the file alone says.
    fn mark_in(file: &Path) -> Option<i64> {
        let copy = file.with_extension("copy");
        std::fs::copy(file, &copy).unwrap();
        rusqlite::Connection::open(&copy).unwrap().query_row("SELECT generation FROM store_state", [], |row| row.get(0)).ok()
    }

    #[tokio::test]
    async fn what_was_written_is_in_the_file_once_nothing_more_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.db");
        let patience = Patience { quiet: Duration::from_millis(10), ..Patience::default() };
        let sqlite = Sqlite::open(&path, Clock::System, Faults::default(), patience).unwrap();
        sqlite.write(Class::Caller, |tx| Box::pin(tx.exec(MARK, &[]))).await.unwrap();
        for _ in 0..200 {
            if mark_in(&path) == Some(7) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it stayed in the log");
    }

    #[tokio::test]
    async fn a_closed_database_is_whole_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.db");
        let sqlite = open(&path);
        // Another process that has it open keeps SQLite from tidying up by itself.
        let other = rusqlite::Connection::open(&path).unwrap();
        other.query_row("SELECT generation FROM store_state", [], |row| row.get::<_, i64>(0)).unwrap();
        sqlite.write(Class::Caller, |tx| Box::pin(tx.exec(MARK, &[]))).await.unwrap();
        drop(sqlite);
        assert_eq!(mark_in(&path), Some(7));
        drop(other);
    }
}
