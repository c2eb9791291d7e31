//! The mailer against a mail server that refuses, breaks off and hangs (F21).

use std::time::Duration;

use vestibule_engine::notify::sink::Mode;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, token_in};
use crate::support::each_db;

const LETTER: &str = "SELECT state, attempts FROM deliveries ORDER BY id";
const WAITING: &str = "SELECT state, attempts FROM deliveries WHERE lease IS NULL ORDER BY id";

/// How long until the only delivery is tried again.
async fn wait_of(app: &TestApp) -> Duration {
    let due: i64 = app.rows("SELECT due_at FROM deliveries WHERE state = 'waiting'").await[0].parse().unwrap();
    Duration::from_micros(u64::try_from(due - app.clock.now().micros()).unwrap())
}

each_db! {
    async fn a_temporary_refusal_is_tried_again_with_growing_pauses(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let refusals = [
            Mode::Reply("450 4.2.1 mailbox busy"),
            Mode::Reply("421 4.3.2 shutting down"),
            Mode::RejectRcpt("450 4.2.0 greylisted"),
            Mode::Reply("451 4.3.0 try later"),
        ];
        app.mail.set_mode(refusals[0]);
        acme.request_reset(ADDRESS).await.expect_status(201);
        let mut pause = 5_u32;
        for (attempt, next) in refusals.into_iter().skip(1).chain([Mode::Accept]).enumerate() {
            app.until(WAITING, &[&format!("waiting {}", attempt + 1)]).await;
            let wait = wait_of(app).await;
            assert!((pause * 800..=pause * 1200).contains(&u32::try_from(wait.as_millis()).unwrap()), "attempt {attempt}: {wait:?}");
            app.mail.set_mode(next);
            app.advance(wait);
            pause *= 2;
        }
        app.until(LETTER, &["delivered 5"]).await;
        let mail = app.next_mail(ADDRESS).await;
        let ids = mail.headers("Message-ID");
        assert_eq!(ids.len(), 1);
        assert_eq!(app.mail.refused().len(), 3);
        for refused in app.mail.refused() {
            assert_eq!(refused.headers("Message-ID"), ids, "one mail, one name");
        }
        acme.complete_reset(&token_in(&mail), NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        assert_ne!(app.next_mail(ADDRESS).await.headers("Message-ID"), ids);
    }

    async fn a_lasting_refusal_ends_it(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        for mode in [Mode::RejectRcpt("550 5.1.1 no such user"), Mode::Reply("554 5.7.1 not wanted")] {
            app.mail.set_mode(mode);
            acme.request_reset(ADDRESS).await.expect_status(201);
            app.settle().await;
        }
        assert_eq!(app.rows(LETTER).await, ["dead 1", "dead 1"]);
        assert!(app.rows("SELECT answer FROM deliveries ORDER BY id").await[0].contains("no such user"));
        app.mail.set_mode(Mode::Accept);
        app.reset_token(&acme, ADDRESS).await;
    }

    async fn r43_a_hanging_mail_server_holds_up_nobody(app: TestApp) {
        let acme = app.acme();
        let session = customer(&acme, ADDRESS).await;
        app.mail.set_mode(Mode::Hang);
        acme.request_reset(ADDRESS).await.expect_status(201);
        for _ in 0..2_000 {
            if app.mail.connections() > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(app.mail.connections() > 0, "nobody called the mail server");
        assert_eq!(app.rows(LETTER).await, ["waiting 1"]);
        // Known and unknown alike, and everything else.
        acme.request_reset("nobody@example.com").await.expect_status(201);
        acme.me(&session).await.expect_status(200);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        customer(&acme, "bob@example.com").await;
        assert_eq!(app.rows(LETTER).await, ["waiting 1"], "it still hangs");
        // A second shop's mail does not wait for the first's.
        app.mail.set_mode(Mode::Accept);
        let globex = app.globex();
        customer(&globex, "carol@example.com").await;
        globex.request_reset("carol@example.com").await.expect_status(201);
        app.next_mail("carol@example.com").await;
        app.mail.hang_up();
        app.until("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND lease IS NULL", &["1"]).await;
        app.advance(Duration::from_secs(10));
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn what_was_voided_while_it_waited_is_not_sent(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        app.mail.set_mode(Mode::Reply("451 4.3.0 try later"));
        acme.request_reset(ADDRESS).await.expect_status(201);
        app.until(WAITING, &["waiting 1"]).await;
        acme.request_reset(ADDRESS).await.expect_status(201);
        app.until(WAITING, &["waiting 1", "waiting 1"]).await;
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_secs(10));
        app.until(LETTER, &["superseded 2", "delivered 2"]).await;
        let token = token_in(&app.next_mail(ADDRESS).await);
        assert_eq!(token.split('.').nth(1), token_in(&app.mail.refused()[1]).split('.').nth(1), "the newer one was sent");
    }

    async fn a_late_attempt_carries_the_same_token_life(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        app.mail.set_mode(Mode::Reply("451 4.3.0 try later"));
        acme.request_reset(ADDRESS).await.expect_status(201);
        app.until(WAITING, &["waiting 1"]).await;
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_mins(13));
        app.settle().await;
        let mail = app.next_mail(ADDRESS).await;
        let claims = |token: &str| crate::support::client::claims(token);
        let (late, first) = (claims(&token_in(&mail)), claims(&token_in(&app.mail.refused()[0])));
        assert_eq!(late, first);
        assert!(mail.part("text/plain").unwrap().contains("2 minutes"), "{:?}", mail.part("text/plain"));
    }

    async fn a_closed_shop_writes_to_nobody_also_after_a_restart(app: TestApp) {
        customer(&app.acme(), ADDRESS).await;
        let ahead = app.ahead(Duration::from_mins(1)).await;
        ahead.request_reset("acme", ADDRESS).await.unwrap();
        let tenant = vestibule_engine::ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        vestibule_engine::ops::tenant::disable(&app.engine, &tenant).await.unwrap();
        app.restart(|_| ()).await;
        app.advance(Duration::from_mins(1));
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'").await, ["0"]);
        app.acme().sign_in(ADDRESS, PASSWORD).await.expect_status(404);
    }
}
