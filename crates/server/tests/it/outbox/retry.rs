//! What was given up, and tried again by an operator.

use std::time::Duration;

use vestibule_engine::error::Code;
use vestibule_engine::model::ids::DeliveryId;
use vestibule_engine::notify::sink::Mode;
use vestibule_engine::ops;
use vestibule_engine::ops::delivery::Filter;

use crate::faults::report::Report;
use crate::faults::told::delivered;
use crate::support::app::{ADDRESS, TestApp, customer, token_in};
use crate::support::client::claims;
use crate::support::each_db;
use crate::support::webhook_sink::WebhookSink;

const HOOKS: &str = "SELECT state, attempts FROM deliveries WHERE subscriber <> 'mail' AND lease IS NULL ORDER BY id";

/// `acme` with a webhook that fails at first, a customer, and a delivery of `event` whose three days are over.
async fn given_up(app: &mut TestApp, event: &'static str) -> (WebhookSink, DeliveryId) {
    let sink = WebhookSink::start().await;
    let hook = sink.webhook("/hook", &[event]);
    customer(&app.acme(), ADDRESS).await;
    app.restart_acme(|acme| {
        acme.webhooks = vec![hook];
        acme.mail.messages.clear();
    })
    .await;
    sink.answer(&["500 Internal Server Error", "500 Internal Server Error"]);
    match event {
        "auth.password_reset" => drop(app.acme().request_reset(ADDRESS).await.expect_status(201)),
        _ => drop(customer(&app.acme(), "bob@example.com").await),
    }
    app.until(HOOKS, &["waiting 1"]).await;
    let id = app.rows("SELECT id FROM deliveries WHERE subscriber <> 'mail'").await[0].parse().unwrap();
    (sink, id)
}

async fn retry(app: &TestApp, slug: &str, id: DeliveryId) -> Result<(), (Code, String)> {
    let tenant = ops::tenant::by_slug(&app.engine, slug).await.unwrap();
    ops::delivery::retry(&app.engine, &tenant, id).await.map_err(|e| (e.code, e.message.into_owned()))
}

each_db! {
    async fn r137_what_fails_for_three_days_is_dead_and_a_retry_gives_it_three_more(app: TestApp) {
        let (sink, id) = given_up(app, "customer.created").await;
        let waits = retry(app, "acme", id).await.unwrap_err();
        assert!(waits.0 == Code::NotAllowed && waits.1.contains("is waiting"), "{waits:?}");
        app.advance(Duration::from_hours(73));
        app.until(HOOKS, &["dead 2"]).await;
        assert_eq!(retry(app, "globex", id).await.unwrap_err().0, Code::NotFound);
        assert_eq!(app.rows(HOOKS).await, ["dead 2"]);

        sink.answer(&["500 Internal Server Error"]);
        retry(app, "acme", id).await.unwrap();
        app.until(HOOKS, &["waiting 1"]).await;
        app.advance(Duration::from_secs(10));
        app.until(HOOKS, &["delivered 2"]).await;
        let calls = sink.wait_for(4).await;
        assert!(calls.windows(2).all(|pair| pair[0].header("webhook-id") == pair[1].header("webhook-id")));
        let done = retry(app, "acme", id).await.unwrap_err();
        assert!(done.0 == Code::NotAllowed && done.1.contains("was delivered"), "{done:?}");
        assert_eq!(app.rows(HOOKS).await, ["delivered 2"]);
    }

    async fn f18_an_event_that_always_fails_is_dead_in_the_end_and_keeps_no_later_one_waiting(app: TestApp) {
        let (sink, _) = given_up(app, "customer.created").await;
        let states = "SELECT state, attempts FROM deliveries WHERE subscriber <> 'mail' AND lease IS NULL ORDER BY attempts, state";
        // The second failure that it still owes goes to the poisonous one.
        app.advance(Duration::from_secs(10));
        app.until(states, &["waiting 2"]).await;
        for name in ["carol", "dora"] {
            customer(&app.acme(), &format!("{name}@example.com")).await;
        }
        app.until(states, &["delivered 1", "delivered 1", "waiting 2"]).await;
        sink.answer(&["500 Internal Server Error"]);
        app.advance(Duration::from_hours(73));
        app.until(states, &["delivered 1", "delivered 1", "dead 3"]).await;
        let mut report = Report { trials: 1, acknowledged: 3, ..Report::on(&app.database) };
        let ids = app.rows("SELECT event_id FROM deliveries WHERE subscriber <> 'mail'").await.into_iter().map(|id| format!("evt_{id}"));
        let ids: Vec<String> = ids.collect();
        assert_eq!(ids.len(), report.acknowledged);
        delivered(&ids.iter().map(String::as_str).collect(), &sink.calls(), &mut report);
        report.tell("F18 an event that always fails");
    }

    async fn a_secret_that_has_expired_is_not_sent_by_a_retry(app: TestApp) {
        let (sink, id) = given_up(app, "auth.password_reset").await;
        // Gone before the secret was: by hand, as three days are longer than any secret lives.
        vestibule_engine::testing::execute(&app.engine, "UPDATE deliveries SET state = 'dead' WHERE state = 'waiting'").await.unwrap();
        app.clock.advance(Duration::from_mins(15));
        retry(app, "acme", id).await.unwrap();
        app.until(HOOKS, &["expired 1"]).await;
        let expired = retry(app, "acme", id).await.unwrap_err();
        assert!(expired.0 == Code::NotAllowed && expired.1.contains("expired"), "{expired:?}");
        assert_eq!(sink.calls().len(), 1);
    }

    async fn what_is_asked_for_by_hand_makes_no_new_link(app: TestApp) {
        const MAILS: &str = "SELECT state FROM deliveries WHERE subscriber = 'mail' ORDER BY id";
        customer(&app.acme(), ADDRESS).await;
        app.mail.set_mode(Mode::Reply("550 5.1.1 nobody here"));
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.until(MAILS, &["dead"]).await;
        let id = app.rows("SELECT id FROM deliveries WHERE subscriber = 'mail'").await[0].parse().unwrap();
        app.mail.set_mode(Mode::Accept);
        // Its last minutes, in which a mail that was only held up would have the link issued anew.
        app.clock.advance(Duration::from_secs(13 * 60 + 30));
        retry(app, "acme", id).await.unwrap();
        app.until(MAILS, &["delivered"]).await;
        let token = token_in(&app.next_mail(ADDRESS).await);
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        app.numbered().await;
        assert_eq!(ops::event::replay(&app.engine, &tenant, "mail", 1, 100).await.unwrap(), 1);
        app.until(MAILS, &["delivered", "delivered"]).await;
        assert_eq!(claims(&token_in(&app.next_mail(ADDRESS).await))["jti"], claims(&token)["jti"], "one link");
        // Days later there is nothing to send any more.
        vestibule_engine::testing::execute(&app.engine, "UPDATE deliveries SET state = 'dead' WHERE subscriber = 'mail'").await.unwrap();
        app.clock.advance(Duration::from_hours(48));
        retry(app, "acme", id).await.unwrap();
        app.until("SELECT state FROM deliveries WHERE state <> 'dead' AND subscriber = 'mail'", &["expired"]).await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM password_resets").await, ["1"]);
    }

    async fn what_is_done_is_swept_up_after_14_days_and_what_is_dead_after_27(app: TestApp) {
        let (sink, id) = given_up(app, "customer.created").await;
        app.advance(Duration::from_hours(73));
        app.until(HOOKS, &["dead 2"]).await;
        let day = Duration::from_hours(24);
        customer(&app.acme(), "carol@example.com").await;
        app.until(HOOKS, &["dead 2", "delivered 1"]).await;
        app.advance(13 * day);
        ops::sweep::sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows(HOOKS).await, ["dead 2", "delivered 1"]);
        app.advance(2 * day);
        ops::sweep::sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows(HOOKS).await, ["dead 2"]);
        app.advance(11 * day);
        ops::sweep::sweep(&app.engine).await.unwrap();
        // Its event is there still, and from now on it is as young as any that was delivered today.
        retry(app, "acme", id).await.unwrap();
        app.until(HOOKS, &["delivered 1"]).await;
        assert_eq!(sink.calls().len(), 4);
        app.advance(13 * day);
        ops::sweep::sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows(HOOKS).await, ["delivered 1"]);
    }

    async fn a_range_is_retried_whole_however_long_it_is(app: TestApp) {
        const DEAD: &str = "INSERT INTO deliveries (tenant_id, id, event_id, subscriber, state, due_at, attempts, begun_at, created_at)
            WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 1700)
            SELECT tenants.id, '0000000000000000000000' || i, '00000000000000000000000000', 'webhook:gone', 'dead', 1, 9, 1, 1 FROM n, tenants WHERE tenants.slug = 'acme'";
        vestibule_engine::testing::execute(&app.engine, DEAD).await.unwrap();
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let filter = Filter { to: Some("00000000000000000000001600".parse().unwrap()), ..Filter::default() };
        assert_eq!(ops::delivery::retry_all(&app.engine, &tenant, &filter).await.unwrap(), 601);
        app.settle().await;
        assert_eq!(app.rows("SELECT state, attempts, COUNT(*) FROM deliveries GROUP BY state, attempts ORDER BY attempts").await, ["dead 1 601", "dead 9 100"]);
    }
}
