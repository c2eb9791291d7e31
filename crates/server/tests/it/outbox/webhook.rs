//! Webhooks: who hears what, how they are signed, and what their answers lead to.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use vestibule_engine::testing::PausedWorker;
use vestibule_engine::{ops, testing};

use crate::faults::report::Report;
use crate::faults::told::delivered;
use crate::support::app::{ADDRESS, NEW_PASSWORD, TestApp, customer, token_in};
use crate::support::client::claims;
use crate::support::each_db;
use crate::support::webhook_sink::{Answer, WebhookSink};

const HOOKS: &str = "SELECT state, attempts FROM deliveries WHERE subscriber <> 'mail' AND lease IS NULL ORDER BY id";
const LETTERS: &str = "SELECT state, attempts FROM deliveries WHERE subscriber = 'mail' ORDER BY id";

/// `acme` with one webhook for resets, and a customer.
async fn subscribed(app: &mut TestApp) -> WebhookSink {
    let sink = WebhookSink::start().await;
    let hook = sink.webhook("/hook", &["auth.password_reset"]);
    app.restart_acme(|acme| acme.webhooks = vec![hook]).await;
    customer(&app.acme(), ADDRESS).await;
    sink
}

/// Asks for a reset and waits for its mail: a clock that jumped past the lease would let another worker send it again.
async fn ask(app: &mut TestApp) {
    app.acme().request_reset(ADDRESS).await.expect_status(201);
    app.next_mail(ADDRESS).await;
    app.until(LETTERS, &["delivered 1"]).await;
}

each_db! {
    async fn a_webhook_of_which_another_process_heard_first_is_called(app: TestApp) {
        let sink = WebhookSink::start().await;
        // What the app knows of its shop is as old as this, because its clock stands still.
        let token = customer(&app.acme(), ADDRESS).await;
        let hook = sink.webhook("/hook", &["customer.deleted"]);
        let other = app.second(app.clock.clone(), |config| config.tenants[0].webhooks = vec![hook]).await;
        let acme = ops::tenant::by_slug(&other, "acme").await.unwrap();
        assert!(ops::customer::delete(&other, &acme, claims(&token)["actor_id"].as_str().unwrap().parse().unwrap()).await.unwrap());
        app.engine.outbox.wake();
        sink.wait_for(1).await;
        app.until(HOOKS, &["delivered 1"]).await;
    }

    async fn what_went_wrong_in_our_own_house_is_for_the_log_alone(app: TestApp) {
        let sink = WebhookSink::start().await;
        let hook = sink.webhook("/hook", &["customer.created"]);
        app.restart_acme(|acme| acme.webhooks = vec![hook]).await;
        sink.answer(&["500 Internal Server Error"]);
        customer(&app.acme(), ADDRESS).await;
        app.until(HOOKS, &["waiting 1"]).await;
        let damage = |data| testing::execute(&app.engine, data);
        assert_eq!(damage("UPDATE events SET data = '{' WHERE name = 'customer.created'").await.unwrap(), 1);
        app.advance(Duration::from_secs(10));
        app.until(HOOKS, &["waiting 2"]).await;
        assert_eq!(app.rows("SELECT answer FROM deliveries WHERE subscriber <> 'mail'").await, ["An error occurred while accessing the database"]);
        damage("UPDATE events SET data = '{}' WHERE name = 'customer.created'").await.unwrap();
        app.advance(Duration::from_secs(20));
        app.until(HOOKS, &["delivered 3"]).await;
    }

    async fn r62_only_who_names_the_event_gets_the_token(app: TestApp) {
        let sink = WebhookSink::start().await;
        let hooks = vec![
            sink.webhook("/named", &["auth.password_reset"]),
            sink.webhook("/all", &["*"]),
            sink.webhook("/some", &["auth.*"]),
            sink.webhook("/other", &["customer.*"]),
        ];
        app.restart_acme(|acme| acme.webhooks = hooks).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        app.settle().await;
        let customers: Vec<String> = sink.wait_for(4).await.into_iter().map(|call| call.path).collect();
        assert!(customers.contains(&"/other".to_owned()) && customers.contains(&"/all".to_owned()), "{customers:?}");

        let body = json!({"identifier": ADDRESS, "metadata": {"locale": "en", "from": "checkout"}});
        acme.post("/auth/customer/emailpass/reset-password").json(&body).send().await.expect_status(201);
        app.settle().await;
        let mailed = token_in(&app.next_mail(ADDRESS).await);
        let calls = sink.wait_for(7).await.split_off(4);
        let at = |path: &str| calls.iter().find(|call| call.path == path).unwrap_or_else(|| panic!("{path}: {calls:?}"));
        let mut named = at("/named").json();
        let token = named["data"].as_object_mut().unwrap().remove("token").unwrap();
        assert_eq!(claims(token.as_str().unwrap())["jti"], claims(&mailed)["jti"]);
        assert_eq!((&named["type"], &named["metadata"]["tenant"]), (&json!("auth.password_reset"), &json!("acme")));
        assert_eq!(named["timestamp"], app.clock.now().to_string());
        assert_eq!(named["data"], json!({"entity_id": ADDRESS, "actor_type": "customer", "metadata": {"locale": "en", "from": "checkout"}}));
        for path in ["/all", "/some"] {
            assert_eq!(at(path).json(), named, "{path}: the same without the token");
            assert!(!String::from_utf8_lossy(&at(path).body).contains(mailed.split('.').nth(2).unwrap()));
        }
        for call in &calls {
            assert!(sink.verifies(call), "{call:?}");
            assert_eq!(call.header("webhook-timestamp"), app.clock.now().seconds().to_string());
            assert_eq!(call.header("content-type"), "application/json");
            assert!(!call.header("webhook-id").contains('.'));
            // R140
            assert!(call.body.len() < 20_000);
        }
        let mut forged = calls[0].clone();
        forged.body.push(b' ');
        assert!(!sink.verifies(&forged), "the check can fail");
        // One delivery per subscriber.
        assert_eq!(app.rows("SELECT COUNT(*), COUNT(DISTINCT subscriber) FROM deliveries WHERE event_id IN (SELECT id FROM events WHERE name = 'auth.password_reset')").await, ["4 4"]);
        acme.complete_reset(token.as_str().unwrap(), NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        let told: Vec<_> = sink.wait_for(11).await.split_off(7);
        let mut types: Vec<_> = told.iter().map(|call| call.json()["type"].as_str().unwrap().to_owned()).collect();
        types.sort_unstable();
        assert_eq!(types, ["auth.password_updated", "auth.password_updated", "auth.session_ended", "auth.session_ended"]);
        for call in told {
            assert!(!String::from_utf8_lossy(&call.body).contains(NEW_PASSWORD));
        }
    }

    async fn r134_a_failure_is_tried_again_under_the_same_id_and_re_sends_no_mail(app: TestApp) {
        let sink = subscribed(app).await;
        sink.answer(&["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"]);
        ask(app).await;
        for attempt in 1..=3 {
            app.until(HOOKS, &[&format!("waiting {attempt}")]).await;
            app.advance(Duration::from_secs(30));
        }
        app.until(HOOKS, &["delivered 4"]).await;
        let calls = sink.wait_for(4).await;
        for pair in calls.windows(2) {
            assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
            let at = |n: usize| pair[n].header("webhook-timestamp").parse::<i64>().unwrap();
            assert_eq!(at(1) - at(0), 30, "the timestamp is the attempt's");
            assert_eq!(claims(pair[0].json()["data"]["token"].as_str().unwrap()), claims(pair[1].json()["data"]["token"].as_str().unwrap()));
        }
        assert!(calls.iter().all(|call| sink.verifies(call)));
        assert_eq!(app.rows(LETTERS).await, ["delivered 1"]);
    }

    async fn r136_a_redirect_is_a_failure_and_is_not_followed(app: TestApp) {
        let sink = subscribed(app).await;
        for head in ["302 Found\r\nLocation: /elsewhere", "307 Temporary Redirect\r\nLocation: /elsewhere", "304 Not Modified"] {
            sink.answer(&[head]);
        }
        ask(app).await;
        for attempt in 1..=3 {
            app.until(HOOKS, &[&format!("waiting {attempt}")]).await;
            app.advance(Duration::from_mins(1));
        }
        app.until(HOOKS, &["delivered 4"]).await;
        assert!(sink.wait_for(4).await.iter().all(|call| call.path == "/hook"));
    }

    async fn r136_gone_switches_the_webhook_off_and_no_other(app: TestApp) {
        let (gone, sound) = (WebhookSink::start().await, WebhookSink::start().await);
        let hooks = vec![gone.webhook("/hook", &["customer.created"]), sound.webhook("/hook", &["customer.created"])];
        app.restart_acme(|acme| acme.webhooks = hooks).await;
        gone.answer(&["500 Internal Server Error", "410 Gone"]);
        customer(&app.acme(), ADDRESS).await;
        let hooks = "SELECT state, attempts FROM deliveries WHERE lease IS NULL ORDER BY state, attempts";
        app.until(hooks, &["delivered 1", "waiting 1"]).await;
        app.advance(Duration::from_secs(10));
        app.until(hooks, &["dead 2", "delivered 1"]).await;
        for name in ["bob", "carol"] {
            customer(&app.acme(), &format!("{name}@example.com")).await;
        }
        app.settle().await;
        gone.wait_for(2).await;
        sound.wait_for(3).await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM deliveries WHERE state = 'dead' AND answer = 'the webhook is switched off'").await, ["2"]);
        assert_eq!(app.rows("SELECT COUNT(*) FROM disabled_webhooks").await, ["1"]);
        // Of another shop it is another webhook, though the address is the same.
        let same = gone.webhook("/hook", &["customer.created"]);
        app.restart(|config| config.tenants[1].webhooks = vec![same]).await;
        customer(&app.globex(), ADDRESS).await;
        gone.wait_for(3).await;
        app.settle().await;
    }

    async fn f27_a_worker_that_wakes_cannot_switch_off_what_another_reached(app: TestApp) {
        let sink = WebhookSink::start().await;
        let hook = sink.webhook("/hook", &["customer.created"]);
        app.restart_acme(|acme| acme.webhooks = vec![hook]).await;
        sink.answer(&["500 Internal Server Error"]);
        customer(&app.acme(), ADDRESS).await;
        app.until(HOOKS, &["waiting 1"]).await;
        // Another process, whose clock is ahead, so that the app's own dispatcher stays out of it.
        let other = app.ahead(Duration::from_mins(1)).await;
        let late = PausedWorker::claim(&other.0).await.unwrap();
        assert_eq!(late.holds(), (0, 1));
        other.0.clock.advance(Duration::from_secs(150));
        PausedWorker::claim(&other.0).await.unwrap().resume().await;
        assert_eq!(app.rows(HOOKS).await, ["delivered 3"]);
        sink.answer(&["410 Gone"]);
        late.resume().await;
        sink.wait_for(3).await;
        assert_eq!(app.rows(HOOKS).await, ["delivered 3"]);
        assert_eq!(app.rows("SELECT COUNT(*) FROM disabled_webhooks").await, ["0"]);
    }

    async fn r135_while_a_secret_is_replaced_both_sign(app: TestApp) {
        let (new, old, none) = (WebhookSink::start().await, WebhookSink::with_secret(100).await, WebhookSink::with_secret(200).await);
        let mut hook = new.webhook("/hook", &["customer.created"]);
        hook.former_secret = Some(old.webhook("/", &[]).secret);
        app.restart_acme(|acme| acme.webhooks = vec![hook]).await;
        customer(&app.acme(), ADDRESS).await;
        let call = new.wait_for(1).await.remove(0);
        assert_eq!(call.header("webhook-signature").split(' ').count(), 2);
        assert!(new.verifies(&call) && old.verifies(&call) && !none.verifies(&call));
        app.settle().await;
        app.restart_acme(|acme| acme.webhooks[0].former_secret = None).await;
        customer(&app.acme(), "bob@example.com").await;
        let call = new.wait_for(2).await.remove(1);
        assert!(new.verifies(&call) && !old.verifies(&call));
    }

    async fn r136_retry_after_is_honoured(app: TestApp) {
        let sink = subscribed(app).await;
        sink.answer(&["429 Too Many Requests\r\nRetry-After: 600"]);
        ask(app).await;
        app.until(HOOKS, &["waiting 1"]).await;
        let due: i64 = app.rows("SELECT due_at FROM deliveries WHERE state = 'waiting' AND subscriber <> 'mail'").await[0].parse().unwrap();
        assert_eq!(due - app.clock.now().micros(), 600_000_000);
        app.advance(Duration::from_mins(10));
        app.until(HOOKS, &["delivered 2"]).await;
        app.settle().await;
    }

    async fn r136_retry_after_is_believed_up_to_a_day(app: TestApp) {
        let sink = subscribed(app).await;
        sink.answer(&["503 Service Unavailable\r\nRetry-After: 18446744073709551615"]);
        ask(app).await;
        app.until(HOOKS, &["waiting 1"]).await;
        let due: i64 = app.rows("SELECT due_at FROM deliveries WHERE state = 'waiting' AND subscriber <> 'mail'").await[0].parse().unwrap();
        assert_eq!(due - app.clock.now().micros(), 86_400_000_000);
        app.advance(Duration::from_hours(24));
        app.until(HOOKS, &["expired 2"]).await;
    }

    async fn f17_whatever_a_webhook_does_to_its_answer_only_a_status_of_2xx_counts(app: TestApp) {
        let sink = WebhookSink::start().await;
        let hook = sink.webhook("/hook", &["customer.created"]);
        app.restart_acme(|acme| acme.webhooks = vec![hook]).await;
        let line = "x-filler: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
        let broken = [
            Answer::Cut(""),
            Answer::Cut("HTTP/1.1 20"),
            Answer::Cut("HTTP/1.1 200 OK\r\nContent-Le"),
            Answer::Cut("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            Answer::Endless("HTTP/1.1 200 OK\r\n", line),
            Answer::Head("500 Internal Server Error"),
        ];
        let tries = broken.len();
        for answer in broken {
            sink.misbehave(answer);
        }
        // The status is known, and the rest is nobody's business.
        sink.misbehave(Answer::Endless("HTTP/1.1 200 OK\r\n\r\n", line));
        customer(&app.acme(), ADDRESS).await;
        for attempt in 1..=tries {
            app.until(HOOKS, &[&format!("waiting {attempt}")]).await;
            app.advance(Duration::from_hours(2));
        }
        app.until(HOOKS, &[&format!("delivered {}", tries + 1)]).await;
        sink.wait_for(tries + 1).await;
        sink.hung_up(2).await;
        let mut report = Report { trials: tries.try_into().unwrap(), acknowledged: 1, ..Report::on(&app.database) };
        let id = format!("evt_{}", app.rows("SELECT id FROM events WHERE name = 'customer.created'").await[0]);
        delivered(&BTreeSet::from([id.as_str()]), &sink.calls(), &mut report);
        assert_eq!(report.duplicates, tries);
        report.tell("F17 a webhook answers with errors");
    }

    async fn a_subscriber_without_the_token_is_told_however_late(app: TestApp) {
        let sink = WebhookSink::start().await;
        let hooks = vec![sink.webhook("/named", &["auth.password_reset"]), sink.webhook("/all", &["*"])];
        customer(&app.acme(), ADDRESS).await;
        app.restart_acme(|acme| acme.webhooks = hooks).await;
        sink.answer(&["500 Internal Server Error", "500 Internal Server Error"]);
        ask(app).await;
        app.until(HOOKS, &["waiting 1", "waiting 1"]).await;
        app.advance(Duration::from_mins(15));
        app.settle().await;
        let mut ends = app.rows("SELECT state FROM deliveries WHERE subscriber <> 'mail'").await;
        ends.sort();
        assert_eq!(ends, ["delivered", "expired"]);
        assert_eq!(sink.wait_for(3).await[2].path, "/all");
    }

    async fn r138_a_target_that_is_not_allowed_is_never_called(app: TestApp) {
        let sink = WebhookSink::start().await;
        let mut hook = sink.webhook("/hook", &["auth.password_reset"]);
        hook.url.set_host(Some("127.0.0.2")).unwrap();
        app.restart_acme(|acme| acme.webhooks = vec![hook]).await;
        customer(&app.acme(), ADDRESS).await;
        ask(app).await;
        app.settle().await;
        assert_eq!(app.rows(HOOKS).await, ["dead 1"]);
        assert!(sink.calls().is_empty());
    }
}
