//! PostgreSQL's failures: what the server or the network ends is told as it is, and no connection goes back with a transaction on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::Fixture;
use crate::error::{Code, Error, Result};
use crate::store::{Patience, Tx};
use crate::testing::{Backend, Fault};

const INSERT: &str = "INSERT INTO backlogs (tenant_id, kind, waiting) VALUES ((SELECT MIN(id) FROM tenants), $1, 0)";
const ROWS: &str = "SELECT COUNT(*) FROM backlogs";
const CONFLICT: &str = "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '40001'; END $$";
/// How often the server is asked whether it has noticed that a connection has gone.
const LOOKS: usize = 2_000;

/// A connection of our own to the database under test.
struct Outsider {
    client: Client,
    _driver: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl Outsider {
    async fn connect(f: &Fixture) -> Self {
        let (client, connection) = tokio_postgres::connect(f.database.url(), NoTls).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Self { client, _driver: driver }
    }

    async fn kill(&self, pid: i64) {
        assert!(self.client.query_one("SELECT pg_terminate_backend($1::BIGINT::INT, 5000)", &[&pid]).await.unwrap().get::<_, bool>(0));
    }

    /// Runs `body` at each COMMIT that inserted into `backlogs`.
    async fn at_commit(&self, body: &str) {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;
             CREATE OR REPLACE FUNCTION nothing() RETURNS void LANGUAGE sql AS '';
             DROP TRIGGER IF EXISTS at_commit ON backlogs;
             CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON backlogs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit()"
        );
        self.client.batch_execute(&sql).await.unwrap();
    }

    /// Waits until none of the product's connections is inside a transaction.
    async fn expect_no_open_transaction(&self) {
        let open = "SELECT COUNT(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'vestibule' AND state <> 'idle'";
        for _ in 0..LOOKS {
            if self.client.query_one(open, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                return;
            }
        }
        panic!("a transaction was left open");
    }
}

async fn fixture() -> Fixture {
    Fixture::create(Backend::Postgres).await
}

async fn mark(tx: &mut Tx, name: &'static str) -> Result<()> {
    tx.exec(INSERT, &[name.into()]).await.map(|_| ())
}

fn counter() -> &'static AtomicUsize {
    Box::leak(Box::default())
}

/// Runs a transaction that inserts a row; its answer, and how often it was run.
async fn insert_once(f: &Fixture) -> (Result<()>, usize) {
    let runs = counter();
    let answer = f.db.write(move |tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        Box::pin(mark(tx, "one"))
    });
    (answer.await, runs.load(Ordering::SeqCst))
}

fn assert_unknown(told: &Error) {
    assert_eq!(told.code, Code::Busy, "{told}");
    assert!(told.message.contains("may or may not"), "{told}");
}

fn assert_undone(told: &Error) {
    assert_eq!(told.code, Code::Busy, "{told}");
    assert!(!told.message.contains("may or may not"), "{told}");
}

#[tokio::test]
async fn a_refused_begin_runs_nothing() {
    let f = fixture().await;
    f.db.faults().arm(Fault::Begin, 1);
    let (answer, runs) = insert_once(&f).await;
    assert_undone(&answer.unwrap_err());
    assert_eq!((runs, f.count(ROWS).await), (0, 0));
}

#[tokio::test]
async fn a_connection_that_is_killed_in_a_transaction_leaves_nothing() {
    let f = fixture().await;
    let (outsider, runs) = (Arc::new(Outsider::connect(&f).await), counter());
    let killed = f.db.write(move |tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        let outsider = Arc::clone(&outsider);
        Box::pin(async move {
            mark(tx, "one").await?;
            let pid = tx.one::<(i64,)>("SELECT pg_backend_pid()::BIGINT", &[]).await?.unwrap().0;
            outsider.kill(pid).await;
            mark(tx, "two").await
        })
    });
    assert_undone(&killed.await.unwrap_err());
    assert_eq!((runs.load(Ordering::SeqCst), f.count(ROWS).await), (1, 0));
    commit!(f, |tx| mark(tx, "later").await);
}

#[tokio::test]
async fn a_connection_that_dies_before_commit_arrives_is_unknown_and_not_tried_again() {
    let f = fixture().await;
    f.db.faults().arm(Fault::CommitLost, 1);
    let (answer, runs) = insert_once(&f).await;
    assert_unknown(&answer.unwrap_err());
    assert_eq!(runs, 1);
    commit!(f, |tx| mark(tx, "later").await);
}

#[tokio::test]
async fn a_connection_that_dies_during_commit_is_unknown_and_not_tried_again() {
    let f = fixture().await;
    Outsider::connect(&f).await.at_commit("PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM nothing();").await;
    let (answer, runs) = insert_once(&f).await;
    assert_unknown(&answer.unwrap_err());
    assert_eq!((runs, f.count(ROWS).await), (1, 0));
}

#[tokio::test]
async fn a_commit_that_the_server_refuses_has_failed() {
    let f = fixture().await;
    let outsider = Outsider::connect(&f).await;
    for (state, code, runs) in
        [("23514", Code::StorageFailed, 1), ("57014", Code::Busy, 1), ("40001", Code::Conflict, 3), ("40P01", Code::Conflict, 3)]
    {
        outsider.at_commit(&format!("RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}';")).await;
        let (answer, ran) = insert_once(&f).await;
        let told = answer.unwrap_err();
        assert_eq!((told.code, ran), (code, runs), "{state}: {told}");
        assert!(!told.message.contains("may or may not"), "{state}: {told}");
        assert_eq!(f.count(ROWS).await, 0);
    }
    // What a proxy says that lost its server while it committed.
    for state in ["08007", "40003"] {
        outsider.at_commit(&format!("RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}';")).await;
        assert_unknown(&insert_once(&f).await.0.unwrap_err());
    }
}

#[tokio::test]
async fn a_commit_that_was_a_rollback_is_not_taken_for_success() {
    let f = fixture().await;
    // The failing statement is dropped before its answer, so that the server alone knows of it.
    let answer = f.db.write(|tx| {
        Box::pin(async move {
            mark(tx, "one").await?;
            assert!(tx.exec("SELECT no_such_thing", &[]).now_or_never().is_none(), "it was answered at once");
            Ok(())
        })
    });
    assert_eq!(answer.await.unwrap_err().code, Code::StorageFailed);
    assert_eq!(f.count(ROWS).await, 0);
    commit!(f, |tx| mark(tx, "later").await);
}

#[tokio::test]
async fn a_conflict_is_tried_three_times() {
    for (failing, done) in [(2, true), (3, false)] {
        let (f, runs) = (fixture().await, counter());
        let answer = f.db.write(move |tx| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                mark(tx, "one").await?;
                if run < failing { tx.exec(CONFLICT, &[]).await.map(|_| ()) } else { Ok(()) }
            })
        });
        assert_eq!(answer.await.map_err(|e| e.code), if done { Ok(()) } else { Err(Code::Conflict) });
        assert_eq!((runs.load(Ordering::SeqCst), f.count(ROWS).await), (3, i64::from(done)));
    }
}

#[tokio::test]
async fn of_two_transactions_in_a_deadlock_both_are_done_in_the_end() {
    let f = fixture().await;
    let outsider = Outsider::connect(&f).await;
    let name: String = outsider.client.query_one("SELECT current_database()", &[]).await.unwrap().get(0);
    outsider.client.batch_execute(&format!("ALTER DATABASE {name} SET deadlock_timeout = '5ms'")).await.unwrap();
    // Connections that are made from now on.
    let db = crate::store::Db::open(f.database.url(), f.clock.clone()).await.unwrap();
    let (both, runs) = (Arc::new(Barrier::new(2)), counter());
    let mut writers = JoinSet::new();
    for turned in [false, true] {
        let (db, both) = (db.clone(), Arc::clone(&both));
        let tries = counter();
        let (first, second) = if turned { (f.other, f.acme) } else { (f.acme, f.other) };
        writers.spawn(async move {
            db.write(move |tx| {
                runs.fetch_add(1, Ordering::SeqCst);
                let (both, again) = (Arc::clone(&both), tries.fetch_add(1, Ordering::SeqCst) > 0);
                Box::pin(async move {
                    crate::store::tenant::bump(tx, first).await?;
                    if !again {
                        both.wait().await;
                    }
                    crate::store::tenant::bump(tx, second).await
                })
            })
            .await
        });
    }
    for answer in writers.join_all().await {
        answer.unwrap();
    }
    assert!(runs.load(Ordering::SeqCst) > 2, "there was no deadlock");
    let acme = f.acme;
    assert_eq!(look!(f, |r| crate::store::tenant::by_id(r, acme).await).map(|t| t.version), Some(3));
}

#[tokio::test]
async fn a_transaction_that_is_dropped_ends_with_its_connection() {
    let f = fixture().await;
    let (outsider, inside) = (Outsider::connect(&f).await, Arc::new(Notify::new()));
    let (db, entered) = (f.db.clone(), Arc::clone(&inside));
    let mut task = JoinSet::new();
    task.spawn(async move {
        db.write(move |tx| {
            let entered = Arc::clone(&entered);
            Box::pin(async move {
                mark(tx, "one").await?;
                entered.notify_one();
                std::future::pending::<Result<()>>().await
            })
        })
        .await
    });
    inside.notified().await;
    task.shutdown().await;
    outsider.expect_no_open_transaction().await;
    assert_eq!(f.count(ROWS).await, 0);
    commit!(f, |tx| mark(tx, "one").await);
}

#[tokio::test]
async fn a_transaction_may_be_dropped_at_any_moment() {
    // One connection: whatever is left on it, the next one meets.
    let f = Fixture::patient(Backend::Postgres, Patience { connections: 1, ..Patience::default() }).await;
    let outsider = Outsider::connect(&f).await;
    for polls in 0..40_usize {
        let mut left = polls;
        let mut work = Box::pin(f.db.write(|tx| {
            Box::pin(async move {
                mark(tx, "half").await?;
                tx.exec("DELETE FROM backlogs WHERE kind = 'half'", &[]).await?;
                mark(tx, "other half").await?;
                tx.exec("DELETE FROM backlogs WHERE kind = 'other half'", &[]).await
            })
        }));
        let some_polls = std::future::poll_fn(|context| {
            let done = work.as_mut().poll(context).is_ready();
            left = if done { 0 } else { left };
            match left.checked_sub(1) {
                Some(rest) => {
                    left = rest;
                    std::task::Poll::Pending
                }
                None => std::task::Poll::Ready(()),
            }
        });
        some_polls.await;
        drop(work);
        f.db.check().await.unwrap();
        outsider.expect_no_open_transaction().await;
        assert_eq!(f.count(ROWS).await, 0, "after {polls} polls");
    }
}

#[tokio::test]
async fn a_panic_gives_no_connection_back() {
    let f = Fixture::patient(Backend::Postgres, Patience { connections: 1, ..Patience::default() }).await;
    let (outsider, db) = (Outsider::connect(&f).await, f.db.clone());
    let mut task: JoinSet<Result<()>> = JoinSet::new();
    task.spawn(async move {
        db.write(|tx| {
            Box::pin(async move {
                mark(tx, "one").await?;
                panic!("on purpose")
            })
        })
        .await
    });
    assert!(!matches!(task.join_next().await, Some(Ok(Ok(())))));
    outsider.expect_no_open_transaction().await;
    assert_eq!(f.count(ROWS).await, 0);
    f.db.check().await.unwrap();
}

#[tokio::test]
async fn without_a_free_connection_the_caller_is_told_to_come_back() {
    let patience = Patience { connections: 1, connection: Duration::from_millis(300), ..Patience::default() };
    let f = Fixture::patient(Backend::Postgres, patience).await;
    let (inside, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (db, entered, wait) = (f.db.clone(), Arc::clone(&inside), Arc::clone(&let_go));
    let mut holder = JoinSet::new();
    holder.spawn(async move {
        db.write(move |tx| {
            let (entered, wait) = (Arc::clone(&entered), Arc::clone(&wait));
            Box::pin(async move {
                entered.notify_one();
                wait.notified().await;
                mark(tx, "holder").await
            })
        })
        .await
    });
    inside.notified().await;
    let (answer, runs) = insert_once(&f).await;
    assert_undone(&answer.unwrap_err());
    assert_eq!(runs, 0);
    assert_undone(&f.db.read(|r| Box::pin(async move { r.all::<(String,)>("SELECT kind FROM backlogs", &[]).await })).await.unwrap_err());
    let_go.notify_one();
    holder.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(f.count(ROWS).await, 1);
}

#[tokio::test]
async fn a_lock_that_somebody_keeps_is_worth_another_try() {
    let f = fixture().await;
    for state in ["55P03", "57014", "53300", "25006"] {
        let sql: &'static str = format!("DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$").leak();
        let told = f.db.write(move |tx| Box::pin(async move { tx.exec(sql, &[]).await })).await.unwrap_err();
        assert_eq!(told.code, Code::Busy, "{state}: {told}");
    }
}
