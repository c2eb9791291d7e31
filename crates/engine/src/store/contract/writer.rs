//! SQLite's writer, where strangers share a commit: "failed" means no row, "done" means a row, also when the file is opened again.

use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use futures_util::FutureExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::{Fixture, MINUTE, on_purpose};
use crate::error::{Code, Error, Result};
use crate::store::{Patience, Tx};
use crate::testing::{Backend, Fault};

each_db! {
    a_failed_transaction_leaves_nothing
    a_transaction_that_went_on_after_a_failed_statement_is_not_committed
}

const INSERT: &str = "INSERT INTO backlogs (tenant_id, kind, waiting) VALUES ((SELECT MIN(id) FROM tenants), $1, 0)";
const MARKS: &str = "SELECT kind FROM backlogs ORDER BY kind";
/// SQLite ends the whole transaction when this meets its own row.
const INSERT_OR_ROLLBACK: &str = "INSERT OR ROLLBACK INTO backlogs (tenant_id, kind, waiting) SELECT tenant_id, kind, 1 FROM backlogs";
/// Its frames in the log: a page and a header each.
const FRAME: u64 = 4096 + 24;

/// Set in the process whose files may not grow.
const IN_THE_CHILD: &str = "VESTIBULE_TEST_FILES_MAY_NOT_GROW";

type Writing<'f> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'f>>;

/// A batch lasts as long as there is something to take into it.
async fn grouping() -> Fixture {
    Fixture::patient(Backend::Sqlite, Patience { batch: MINUTE, ..Patience::default() }).await
}

/// Each transaction is a batch of its own.
async fn alone() -> Fixture {
    Fixture::patient(Backend::Sqlite, Patience { batch: Duration::ZERO, file: Duration::from_millis(20), ..Patience::default() }).await
}

async fn mark(tx: &mut Tx, name: &'static str) -> Result<()> {
    tx.exec(INSERT, &[name.into()]).await.map(|_| ())
}

/// Queues a transaction that writes `name`.
fn queue_mark<'f>(f: &'f Fixture, name: &'static str) -> Writing<'f> {
    queue(f.db.write(move |tx| Box::pin(mark(tx, name))))
}

/// Starts `writing` without waiting for it.
fn queue<'f>(writing: impl Future<Output = Result<()>> + Send + 'f) -> Writing<'f> {
    let mut writing: Writing = Box::pin(writing);
    assert!(writing.as_mut().now_or_never().is_none(), "the writer was not held");
    writing
}

/// A transaction that keeps the writer until it is let go.
struct Held {
    barrier: Arc<Barrier>,
    task: JoinSet<Result<()>>,
}

impl Held {
    fn hold(f: &Fixture) -> Self {
        let barrier = Arc::new(Barrier::new(2));
        let (inside, db) = (Arc::clone(&barrier), f.db.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            db.write(move |_| {
                let inside = Arc::clone(&inside);
                Box::pin(async move {
                    inside.wait();
                    inside.wait();
                    Ok(())
                })
            })
            .await
        });
        barrier.wait();
        Self { barrier, task }
    }

    async fn let_go(mut self) -> Result<()> {
        self.barrier.wait();
        self.task.join_next().await.unwrap().unwrap()
    }
}

fn path(f: &Fixture) -> &Path {
    Path::new(f.database.url().strip_prefix("sqlite://").unwrap())
}

fn marks_in(file: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection.prepare(MARKS).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// What is stored: as another connection sees it, and as it is after a crash, when the log is read anew.
fn stored(f: &Fixture) -> Vec<String> {
    let crashed = tempfile::tempdir().unwrap();
    let copy = crashed.path().join("test.db");
    std::fs::copy(path(f), &copy).unwrap();
    std::fs::copy(path(f).with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    let marks = marks_in(path(f));
    assert_eq!(marks_in(&copy), marks, "after a crash");
    marks
}

async fn a_failed_transaction_leaves_nothing(f: &Fixture) {
    let failed = f.db.write(|tx| {
        Box::pin(async move {
            mark(tx, "one").await?;
            on_purpose::<()>()
        })
    });
    assert_eq!(failed.await.unwrap_err().code, Code::InvalidData);
    assert_eq!(f.count("SELECT COUNT(*) FROM backlogs").await, 0);
}

async fn a_transaction_that_went_on_after_a_failed_statement_is_not_committed(f: &Fixture) {
    commit!(f, |tx| mark(tx, "taken").await);
    let went_on = f.db.write(|tx| {
        Box::pin(async move {
            mark(tx, "one").await?;
            assert!(mark(tx, "taken").await.is_err());
            Ok(())
        })
    });
    assert_eq!(went_on.await.unwrap_err().code, Code::StorageFailed);
    assert_eq!(f.count("SELECT COUNT(*) FROM backlogs").await, 1);
    commit!(f, |tx| mark(tx, "later").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_begin_runs_nothing() {
    let f = alone().await;
    let held = Held::hold(&f);
    let runs: &'static AtomicUsize = Box::leak(Box::default());
    let count = || {
        queue(f.db.write(move |_| {
            runs.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        }))
    };
    let waiting = [count(), count(), count()];
    f.db.faults().arm(Fault::Begin, 1);
    held.let_go().await.unwrap();
    for answer in waiting {
        // Those behind the first are refused with it: each would have to wait for the same lock again.
        assert_eq!(answer.await.unwrap_err().code, Code::Busy);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    f.db.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_fails_the_whole_batch() {
    let f = grouping().await;
    let held = Held::hold(&f);
    let waiting = [queue_mark(&f, "one"), queue_mark(&f, "two")];
    f.db.faults().arm(Fault::Commit, 1);
    assert_eq!(held.let_go().await.unwrap_err().code, Code::StorageFailed);
    for answer in waiting {
        assert_eq!(answer.await.unwrap_err().code, Code::StorageFailed);
    }
    assert!(stored(&f).is_empty());
    commit!(f, |tx| mark(tx, "later").await);
    assert_eq!(stored(&f), ["later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_called_unknown() {
    let f = grouping().await;
    f.db.faults().arm(Fault::CommitLost, 1);
    let unknown = f.db.write(|tx| Box::pin(mark(tx, "one"))).await.unwrap_err();
    assert_eq!(unknown.code, Code::Busy);
    assert!(unknown.message.contains("may or may not"), "{}", unknown.message);
    f.db.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_those_who_share_the_batch_and_nobody_later() {
    let f = grouping().await;
    // The file may not grow from here on.
    let pages = commit!(f, |tx| tx.returning::<(i64,)>("PRAGMA max_page_count = 1", &[]).await);
    assert!(pages.unwrap().0 > 1, "SQLite raises the limit to the file's size");
    let held = Held::hold(&f);
    let before = queue_mark(&f, "before");
    let filler = queue(f.db.write(|tx| {
        Box::pin(async move {
            let full = tx.exec(INSERT, &["x".repeat(100_000).into()]).await;
            assert!(full.is_err_and(|e| e.detail.unwrap_or_default().contains("full")));
            Ok(())
        })
    }));
    let after = queue_mark(&f, "after");
    assert_eq!(held.let_go().await.unwrap_err().code, Code::StorageFailed);
    assert_eq!(before.await.unwrap_err().code, Code::StorageFailed);
    assert_eq!(filler.await.unwrap_err().code, Code::StorageFailed);
    after.await.unwrap();
    assert_eq!(stored(&f), ["after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_sqlite_rolls_back_by_itself_the_batch_fails_and_ends() {
    let f = grouping().await;
    let held = Held::hold(&f);
    let before = queue_mark(&f, "before");
    let culprit = queue(f.db.write(|tx| {
        Box::pin(async move {
            assert!(tx.exec(INSERT_OR_ROLLBACK, &[]).await.is_err());
            Ok(())
        })
    }));
    let after = queue_mark(&f, "after");
    assert!(held.let_go().await.is_err());
    assert!(before.await.is_err());
    assert!(culprit.await.is_err());
    after.await.unwrap();
    assert_eq!(stored(&f), ["after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_cannot_be_undone_takes_its_batch_with_it() {
    let f = grouping().await;
    for fails in [true, false] {
        let held = Held::hold(&f);
        let before = queue_mark(&f, "before");
        let culprit = queue(f.db.write(move |tx| {
            Box::pin(async move {
                mark(tx, "culprit").await?;
                // The savepoint that would undo it is gone.
                tx.exec("RELEASE job", &[]).await?;
                if fails { on_purpose() } else { Ok(()) }
            })
        }));
        let after = queue_mark(&f, "after");
        assert!(held.let_go().await.is_err());
        assert!(before.await.is_err());
        assert!(culprit.await.is_err());
        after.await.unwrap();
        assert_eq!(stored(&f), ["after"]);
        commit!(f, |tx| tx.exec("DELETE FROM backlogs WHERE kind = 'after'", &[]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_harms_no_stranger() {
    let f = grouping().await;
    let held = Held::hold(&f);
    let before = queue_mark(&f, "before");
    let culprit = queue(f.db.write(|tx| {
        Box::pin(async move {
            mark(tx, "culprit").await?;
            panic!("on purpose");
        })
    }));
    let after = queue_mark(&f, "after");
    held.let_go().await.unwrap();
    before.await.unwrap();
    let told = culprit.await.unwrap_err();
    assert_eq!(told.code, Code::Unexpected);
    assert!(told.detail.unwrap().contains("on purpose"));
    after.await.unwrap();
    assert_eq!(stored(&f), ["after", "before"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_began_is_written_when_it_has_gone() {
    let f = grouping().await;
    let held = Held::hold(&f);
    drop(queue_mark(&f, "one"));
    held.let_go().await.unwrap();
    commit!(f, |tx| mark(tx, "two").await);
    assert_eq!(stored(&f), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_awaits_something_else_is_undone_at_once() {
    let f = grouping().await;
    let waits = f.db.write(|tx| {
        Box::pin(async move {
            mark(tx, "one").await?;
            std::future::pending::<Result<()>>().await
        })
    });
    assert_eq!(waits.await.unwrap_err().code, Code::Unexpected);
    let reads = f.db.read(|_| Box::pin(std::future::pending::<Result<()>>()));
    assert_eq!(reads.await.unwrap_err().code, Code::Unexpected);
    commit!(f, |tx| mark(tx, "two").await);
    assert_eq!(stored(&f), ["two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_ends_after_a_slow_transaction() {
    let f = alone().await;
    let held = Held::hold(&f);
    let slow = queue_mark(&f, "slow");
    let file = path(&f).to_owned();
    let next = queue(f.db.write(move |_| {
        // Committed before this one began, so another connection sees it.
        let seen = marks_in(&file);
        Box::pin(async move { if seen == ["slow"] { Ok(()) } else { on_purpose() } })
    }));
    held.let_go().await.unwrap();
    slow.await.unwrap();
    next.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_sixty_four() {
    let f = grouping().await;
    let seen: Arc<std::sync::Mutex<Vec<usize>>> = Arc::default();
    let held = Held::hold(&f);
    let waiting: Vec<_> = (0..130)
        .map(|n| {
            let (file, seen, name) = (path(&f).to_owned(), Arc::clone(&seen), &*Box::leak(format!("{n}").into_boxed_str()));
            queue(f.db.write(move |tx| {
                seen.lock().unwrap().push(marks_in(&file).len());
                Box::pin(mark(tx, name))
            }))
        })
        .collect();
    held.let_go().await.unwrap();
    for answer in waiting {
        answer.await.unwrap();
    }
    // The first batch has the holder, too.
    let expected: Vec<_> = (0..130)
        .map(|n| {
            if n < 63 {
                0
            } else if n < 127 {
                63
            } else {
                127
            }
        })
        .collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_more() {
    let f = grouping().await;
    let held = Held::hold(&f);
    let write = || f.db.write(|tx| Box::pin(async move { tx.exec("UPDATE store_state SET generation = generation + 1", &[]).await.map(|_| ()) }));
    let waiting: Vec<_> = (0..4096).map(|_| queue(write())).collect();
    let refused = write().now_or_never().unwrap().unwrap_err();
    assert_eq!((refused.code, refused.retry_after), (Code::Busy, Some(Duration::from_secs(1))));
    held.let_go().await.unwrap();
    for answer in waiting {
        answer.await.unwrap();
    }
    assert_eq!(f.count("SELECT generation FROM store_state").await, 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_that_writes_makes_the_first_wait_or_try_again() {
    let f = alone().await;
    let other = rusqlite::Connection::open(path(&f)).unwrap();
    let insert = "BEGIN IMMEDIATE; INSERT INTO backlogs (tenant_id, kind, waiting) SELECT MIN(id), 'other', 0 FROM tenants";
    other.execute_batch(insert).unwrap();
    let refused = f.db.write(|tx| Box::pin(mark(tx, "refused"))).await.unwrap_err();
    assert_eq!(refused.code, Code::Busy);
    other.execute_batch("COMMIT").unwrap();
    commit!(f, |tx| mark(tx, "ours").await);
    assert_eq!(stored(&f), ["other", "ours"]);
    // One that is done in time is waited for.
    let patient = crate::store::Db::open(f.database.url(), f.clock.clone()).await.unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = queue(patient.write(|tx| Box::pin(mark(tx, "waited"))));
    other.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap();
    assert_eq!(stored(&f), ["other", "ours", "waited"]);
}

/// A real failure of the disk: the process may not make its files longer. The signal that comes with it would end the process, so a
/// shell starts this very test in one that ignores it.
#[test]
fn after_a_real_write_error_an_answer_is_true() {
    #[expect(clippy::disallowed_methods, reason = "so the child knows that it is the child")]
    if std::env::var(IN_THE_CHILD).is_ok() {
        return tokio::runtime::Runtime::new().unwrap().block_on(in_a_process_whose_files_may_not_grow());
    }
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::contract::writer::after_a_real_write_error_an_answer_is_true", "--nocapture"])
        .env(IN_THE_CHILD, "1")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

async fn in_a_process_whose_files_may_not_grow() {
    let unlimited = getrlimit(Resource::Fsize);
    // How many frames of the commit are written before the error; and whether one of our own fits in their place.
    for (room, known) in [(0, false), (1, true), (8, true), (20, true)] {
        let f = grouping().await;
        commit!(f, |tx| mark(tx, "before").await);
        let log = path(&f).with_extension("db-wal").metadata().unwrap().len();
        let held = Held::hold(&f);
        let large = queue(f.db.write(|tx| {
            let text = "x".repeat(200_000);
            Box::pin(async move { tx.exec(INSERT, &[text.into()]).await.map(|_| ()) })
        }));
        let stranger = queue_mark(&f, "stranger");
        setrlimit(Resource::Fsize, Rlimit { current: Some(log + room * FRAME), ..unlimited }).unwrap();
        let answers: [Error; 3] = [held.let_go().await.unwrap_err(), large.await.unwrap_err(), stranger.await.unwrap_err()];
        setrlimit(Resource::Fsize, unlimited).unwrap();
        for answer in answers {
            assert_eq!(answer.code, if known { Code::StorageFailed } else { Code::Busy }, "{answer}");
            assert_eq!(answer.message.contains("may or may not"), !known, "{answer}");
        }
        let expected: &[&str] = if known { &["before"] } else { &["before", "later"] };
        if !known {
            commit!(f, |tx| mark(tx, "later").await);
        }
        assert_eq!(stored(&f), expected, "with room for {room} frames");
    }
}
