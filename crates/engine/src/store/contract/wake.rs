//! What one process commits wakes the others on PostgreSQL; SQLite has no others.

use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::Fixture;
use crate::store::Db;
use crate::testing::{Backend, TestDatabase};

const PATIENCE: Duration = Duration::from_secs(20);

/// A process on the database, as the others hear it and it hears them.
struct Process {
    told: &'static Notify,
    heard: mpsc::UnboundedReceiver<()>,
}

impl Process {
    /// Begins to listen; that is told like something heard, because what came before was missed.
    async fn start(f: &Fixture, tasks: &mut JoinSet<()>) -> Self {
        let db = Db::open(f.database.url(), f.clock.clone()).await.unwrap();
        let (told, (sender, heard)) = (&*Box::leak(Box::new(Notify::new())), mpsc::unbounded_channel());
        tasks.spawn(async move { db.relay(told, move || sender.send(()).unwrap()).await });
        let mut process = Self { told, heard };
        process.hears().await;
        process
    }

    async fn hears(&mut self) {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap();
    }
}

async fn two(f: &Fixture) -> ([Process; 2], JoinSet<()>) {
    let mut tasks = JoinSet::new();
    ([Process::start(f, &mut tasks).await, Process::start(f, &mut tasks).await], tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_hears_the_other_and_not_itself() {
    let f = Fixture::create(Backend::Postgres).await;
    let ([mut a, mut b], _tasks) = two(&f).await;
    for _ in 0..10 {
        a.told.notify_one();
        b.hears().await;
    }
    b.told.notify_one();
    a.hears().await;
    // What it told itself would have come before the other's.
    assert!(a.heard.is_empty(), "it hears itself");
    f.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_lost_is_made_anew() {
    let f = Fixture::create(Backend::Postgres).await;
    let ([a, mut b], _tasks) = two(&f).await;
    // CASE: only so is nothing ended before the rest was looked at.
    let kill = "SELECT COUNT(*) FROM pg_stat_activity WHERE CASE
        WHEN datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%vestibule_outbox%' THEN pg_terminate_backend(pid) ELSE FALSE END";
    assert_eq!(f.database.rows(kill).await.unwrap(), [["2"]]);
    // It listens again, and looks at once.
    b.hears().await;
    a.told.notify_one();
    b.hears().await;
    f.database.remove().await.unwrap();
}

#[tokio::test]
async fn nothing_is_told_on_sqlite() {
    let database = TestDatabase::create(Backend::Sqlite).await.unwrap();
    let db = Db::open(database.url(), crate::ports::clock::Clock::System).await.unwrap();
    let told = Notify::new();
    told.notify_one();
    tokio::time::timeout(PATIENCE, db.relay(&told, || unreachable!("nobody tells"))).await.unwrap();
}
