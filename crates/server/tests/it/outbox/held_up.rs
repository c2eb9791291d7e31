//! A mail that was held up until its link was about to expire: the link is issued anew.

use std::time::Duration;

use vestibule_engine::notify::sink::Mode;

use crate::support::app::{ADDRESS, NEW_PASSWORD, TestApp, customer, token_in};
use crate::support::client::claims;
use crate::support::each_db;

const LETTERS: &str = "SELECT state, attempts FROM deliveries ORDER BY id";
const STATES: &str = "SELECT state FROM deliveries ORDER BY id";
const RESTING: &str = "SELECT state, attempts FROM deliveries WHERE lease IS NULL ORDER BY id";
const RESETS: &str = "SELECT COUNT(*), COUNT(voided_at), COUNT(used_at) FROM password_resets";
const LATER: Mode = Mode::Reply("451 4.3.0 try later");

/// Moves the clock to the next attempt, and waits until nothing is left to do at that time.
async fn next_attempt(app: &TestApp) {
    let due: i64 = app.rows("SELECT due_at FROM deliveries WHERE state = 'waiting'").await[0].parse().unwrap();
    app.advance(Duration::from_micros(u64::try_from((due - app.clock.now().micros()).max(0)).unwrap()));
    let now = app.clock.now().micros();
    app.until(&format!("SELECT COUNT(*) FROM deliveries WHERE lease IS NOT NULL OR (state = 'waiting' AND due_at <= {now})"), &["0"]).await;
}

/// A request whose mail waits because the server is in `mode`.
async fn held_up(app: &TestApp, mode: Mode) {
    customer(&app.acme(), ADDRESS).await;
    app.mail.set_mode(mode);
    app.acme().request_reset(ADDRESS).await.expect_status(201);
    app.until(RESTING, &["waiting 1"]).await;
}

each_db! {
    async fn after_an_hour_without_a_mail_server_the_mail_has_a_link_that_works(app: TestApp) {
        held_up(app, Mode::Away).await;
        let start = app.clock.now();
        while app.clock.now().since(start) < Duration::from_hours(1) {
            next_attempt(app).await;
        }
        assert_eq!(app.rows(RESETS).await, ["1 0 0"], "nothing is issued while nobody takes a mail");
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_hours(2));
        app.settle().await;
        assert_eq!(app.rows(STATES).await, ["superseded", "delivered"]);
        let mail = app.next_mail(ADDRESS).await;
        assert!(mail.part("text/plain").unwrap().contains("15 minutes"));
        app.acme().complete_reset(&token_in(&mail), NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        assert_eq!(app.rows(RESETS).await, ["2 1 1"]);
    }

    async fn less_than_two_minutes_are_too_few_and_two_are_enough(app: TestApp) {
        held_up(app, LATER).await;
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_mins(13));
        app.settle().await;
        assert_eq!(app.rows(LETTERS).await, ["delivered 2"]);
        let first = token_in(&app.next_mail(ADDRESS).await);
        app.mail.set_mode(LATER);
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.until(RESTING, &["delivered 2", "waiting 1"]).await;
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_mins(13) + Duration::from_secs(1));
        app.settle().await;
        assert_eq!(app.rows(STATES).await, ["delivered", "superseded", "delivered"]);
        let second = token_in(&app.next_mail(ADDRESS).await);
        let held = token_in(app.mail.refused().last().unwrap());
        assert_ne!(claims(&held)["jti"], claims(&second)["jti"]);
        let life = |token: &str| claims(token)["exp"].as_i64().unwrap() - app.clock.now().seconds();
        assert_eq!(life(&second), 900, "its life counts from now");
        for dead in [first, held] {
            app.acme().complete_reset(&dead, NEW_PASSWORD).await.expect_status(401);
        }
        app.acme().complete_reset(&second, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
    }

    async fn a_link_of_a_short_life_is_not_late_from_the_start(app: TestApp) {
        app.restart_acme(|acme| acme.tokens.reset_ttl.0 = Duration::from_mins(1)).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        app.reset_token(&acme, ADDRESS).await;
        assert_eq!(app.rows(RESETS).await, ["1 0 0"]);
    }

    async fn a_request_is_issued_anew_three_times_at_most(app: TestApp) {
        held_up(app, LATER).await;
        while app.rows("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting'").await != ["0"] {
            next_attempt(app).await;
        }
        assert_eq!(app.rows(STATES).await, ["superseded", "superseded", "superseded", "expired"]);
        assert_eq!(app.rows(RESETS).await, ["4 3 0"]);
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'").await, ["4"]);
        // Each that was issued anew counts from its own issue: more than an hour is bridged also where the server answers and refuses.
        let ends = app.rows("SELECT (MAX(expires_at) - MIN(issued_at)) / 60000000 FROM password_resets").await;
        assert!(ends[0].parse::<i64>().unwrap() > 60, "{ends:?}");
        app.mail.set_mode(Mode::Accept);
    }

    async fn what_was_used_or_replaced_is_not_issued_anew(app: TestApp) {
        held_up(app, LATER).await;
        // The server kept nothing, and yet the owner has the mail: so it is when a server takes a mail and breaks off.
        let used = token_in(app.mail.refused().last().unwrap());
        app.acme().complete_reset(&used, NEW_PASSWORD).await.expect_status(200);
        app.until(RESTING, &["waiting 1", "waiting 1"]).await;
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_mins(20));
        app.settle().await;
        assert_eq!(app.rows(STATES).await, ["superseded", "delivered"]);
        assert_eq!(app.rows(RESETS).await, ["1 0 1"]);
        app.next_mail(ADDRESS).await;

        app.mail.set_mode(LATER);
        for waiting in [&["superseded 2", "delivered 2", "waiting 1"][..], &["superseded 2", "delivered 2", "waiting 1", "waiting 1"]] {
            app.acme().request_reset(ADDRESS).await.expect_status(201);
            app.until(RESTING, waiting).await;
        }
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_mins(20));
        app.settle().await;
        // The older of the two was replaced by the newer, and that alone is issued anew.
        assert_eq!(app.rows(STATES).await, ["superseded", "delivered", "superseded", "superseded", "delivered"]);
        assert_eq!(app.rows(RESETS).await, ["4 2 1"]);
        let link = token_in(&app.next_mail(ADDRESS).await);
        app.acme().complete_reset(&link, "a-Third-pass-7").await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }
}
