//! Leases (F27): a worker that paused and wakes can neither issue nor mark what another took.

use std::time::Duration;

use vestibule_engine::notify::sink::Mode;
use vestibule_engine::testing::PausedWorker;

use crate::support::app::{ADDRESS, TestApp, customer};
use crate::support::each_db;

const ISSUED: &str =
    "SELECT (SELECT COUNT(*) FROM jobs), (SELECT COUNT(*) FROM password_resets), (SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset')";
const JOB_LEASE: Duration = Duration::from_secs(30);
const DELIVERY_LEASE: Duration = Duration::from_secs(150);

/// Two workers that claimed one job: the first paused until its lease ran out, and the second has it now.
/// They are another process's, whose clock is ahead, so that the app's own dispatcher stays out of it.
async fn two_workers(app: &TestApp) -> [PausedWorker; 2] {
    customer(&app.acme(), ADDRESS).await;
    let other = app.ahead(Duration::from_mins(1)).await;
    other.request_reset("acme", ADDRESS).await.unwrap();
    let late = PausedWorker::claim(&other.0).await.unwrap();
    assert_eq!(late.holds(), (1, 0));
    other.0.clock.advance(JOB_LEASE.checked_sub(Duration::from_micros(1)).unwrap());
    assert_eq!(PausedWorker::claim(&other.0).await.unwrap().holds(), (0, 0), "the lease holds");
    other.0.clock.advance(Duration::from_micros(1));
    let next = PausedWorker::claim(&other.0).await.unwrap();
    assert_eq!(next.holds(), (1, 0));
    [late, next]
}

async fn issued_once(app: &mut TestApp) {
    assert_eq!(app.rows(ISSUED).await, ["0 1 1"]);
    assert_eq!(app.rows("SELECT SUM(waiting) FROM backlogs").await, ["0"], "the backlog was counted down once");
    app.advance(Duration::from_mins(10));
    app.settle().await;
    app.next_mail(ADDRESS).await;
    assert_eq!(app.rows("SELECT state, attempts FROM deliveries").await, ["delivered 1"]);
}

each_db! {
    async fn a_worker_that_wakes_cannot_issue_a_second_time(app: TestApp) {
        let [late, next] = two_workers(app).await;
        next.resume().await;
        assert_eq!(app.rows(ISSUED).await, ["0 1 1"]);
        late.resume().await;
        issued_once(app).await;
    }

    async fn a_worker_that_wakes_cannot_issue_what_another_holds(app: TestApp) {
        let [late, next] = two_workers(app).await;
        late.resume().await;
        assert_eq!(app.rows(ISSUED).await, ["1 0 0"], "the job is the other's");
        next.resume().await;
        issued_once(app).await;
    }

    async fn a_worker_that_wakes_cannot_mark_what_another_delivered(app: TestApp) {
        customer(&app.acme(), ADDRESS).await;
        let other = app.ahead(Duration::from_mins(1)).await;
        other.request_reset("acme", ADDRESS).await.unwrap();
        PausedWorker::claim(&other.0).await.unwrap().resume().await;
        let late = PausedWorker::claim(&other.0).await.unwrap();
        assert_eq!(late.holds(), (0, 1));
        other.0.clock.advance(DELIVERY_LEASE.checked_sub(Duration::from_micros(1)).unwrap());
        assert_eq!(PausedWorker::claim(&other.0).await.unwrap().holds(), (0, 0), "the lease holds");
        other.0.clock.advance(Duration::from_micros(1));
        PausedWorker::claim(&other.0).await.unwrap().resume().await;
        assert_eq!(app.rows("SELECT state, attempts FROM deliveries").await, ["delivered 2"]);
        app.next_mail(ADDRESS).await;
        app.mail.set_mode(Mode::Reply("451 4.3.0 later"));
        late.resume().await;
        assert_eq!(app.rows("SELECT state, attempts FROM deliveries").await, ["delivered 2"], "a failure that comes late changes nothing");
    }

    async fn of_two_requests_that_wait_the_newer_is_issued(app: TestApp) {
        customer(&app.acme(), ADDRESS).await;
        let other = app.ahead(Duration::from_mins(1)).await;
        for address in [ADDRESS, "nobody@example.com", "ANN@example.com"] {
            other.request_reset("acme", address).await.unwrap();
            other.0.clock.advance(Duration::from_millis(1));
        }
        let worker = PausedWorker::claim(&other.0).await.unwrap();
        assert_eq!(worker.holds(), (3, 0));
        worker.resume().await;
        issued_once(app).await;
        // Whoever asks later is not forgotten.
        app.reset_token(&app.acme(), ADDRESS).await;
    }

    async fn workers_that_claim_at_once_share_the_work(app: TestApp) {
        let other = app.ahead(Duration::from_mins(1)).await;
        for n in 0..20 {
            other.request_reset("acme", &format!("nobody{n}@example.com")).await.unwrap();
        }
        let workers = futures_util::future::join_all((0..8).map(|_| PausedWorker::claim(&other.0))).await;
        let mut held = 0;
        for worker in workers {
            let worker = worker.unwrap();
            held += worker.holds().0;
            worker.resume().await;
        }
        assert_eq!(held, 20, "each job is held once");
        assert_eq!(app.rows("SELECT COUNT(*) FROM jobs").await, ["0"]);
    }
}
