//! What carries a mail besides SMTP: a service of the shop's own, and `SendGrid`, as a local server plays them.

use std::time::Duration;

use serde_json::{Value, json};
use vestibule_engine::model::tenant::Secret;

use crate::support::app::{ADDRESS, NEW_PASSWORD, TestApp, customer};
use crate::support::at_rest::AtRest;
use crate::support::client::claims;
use crate::support::each_db;
use crate::support::webhook_sink::{Received, WebhookSink};

const LETTERS: &str = "SELECT state, attempts, answer FROM deliveries WHERE lease IS NULL ORDER BY id";

/// `acme`, whose own service sends; and a customer.
async fn served(app: &mut TestApp) -> WebhookSink {
    let sink = WebhookSink::start().await;
    let receiver = sink.webhook("/send?shop=acme", &[]);
    app.restart_acme(|acme| {
        acme.mail.transport = Some(Secret::new(receiver.url.as_str()));
        acme.mail.secret = Some(receiver.secret);
    })
    .await;
    sink
}

/// `acme` with an account at `SendGrid`, whose server is the sink.
async fn with_sendgrid(app: &mut TestApp) -> WebhookSink {
    let sink = WebhookSink::start().await;
    let origin = sink.webhook("/", &[]).url;
    let transport = format!("sendgrid:SG.key-of_acme.x@{}", origin.as_str().trim_end_matches('/'));
    app.restart_acme(|acme| acme.mail.transport = Some(Secret::new(transport))).await;
    sink
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {value}"))
}

/// The delivery's bare id, which is the idempotency key.
async fn key(app: &TestApp) -> String {
    app.rows("SELECT id FROM deliveries ORDER BY id").await.pop().unwrap()
}

fn ids(calls: &[Received]) -> Vec<&str> {
    calls.iter().map(|call| call.header("webhook-id")).collect()
}

each_db! {
    async fn a_service_of_the_shops_gets_the_whole_notification_signed(app: TestApp) {
        let sink = served(app).await;
        customer(&app.acme(), ADDRESS).await;
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        let calls = sink.wait_for(1).await;
        let (call, body) = (&calls[0], calls[0].json());
        assert!(sink.verifies(call));
        let mut forged = call.clone();
        forged.body.push(b' ');
        assert!(!sink.verifies(&forged), "the check can fail");
        assert_eq!((call.path.as_str(), call.header("content-type")), ("/send?shop=acme", "application/json"));
        assert_eq!(call.header("webhook-timestamp"), app.clock.now().seconds().to_string());
        let key = key(app).await;
        assert_eq!((call.header("webhook-id"), text(&body, "/data/idempotency_key")), (key.as_str(), key.as_str()));
        assert_eq!((&body["type"], &body["metadata"]), (&json!("notification.send"), &json!({"tenant": "acme"})));
        assert_eq!(body["timestamp"], app.clock.now().to_string());
        for (pointer, expected) in [
            ("/data/channel", "email"),
            ("/data/to", ADDRESS),
            ("/data/from", "Acme <no-reply@acme.example>"),
            ("/data/template", "password_reset"),
            ("/data/locale", "en"),
            ("/data/data/shop", "Acme"),
            ("/data/data/address", ADDRESS),
            ("/data/content/subject", "Choose a new password for Acme"),
        ] {
            assert_eq!(text(&body, pointer), expected, "{pointer}");
        }
        assert_eq!(body["data"]["data"]["minutes"], 15);
        let link = text(&body, "/data/data/url");
        assert!(text(&body, "/data/content/text").contains(link) && text(&body, "/data/content/html").contains(link));
        let token = link.split_once("token=").unwrap().1;
        assert_eq!(claims(token)["entity_id"], ADDRESS);
        app.acme().complete_reset(token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        let told = sink.wait_for(2).await.remove(1).json();
        assert_eq!(text(&told, "/data/template"), "password_changed");
        assert_eq!(app.rows(LETTERS).await, ["delivered 1 200", "delivered 1 200"]);
    }

    async fn what_the_service_answers_decides_and_the_key_stays(app: TestApp) {
        let sink = served(app).await;
        customer(&app.acme(), ADDRESS).await;
        sink.answer(&["503 Service Unavailable\r\nRetry-After: 600", "401 Unauthorized", "302 Found\r\nLocation: /elsewhere"]);
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        for (attempt, status) in [(1, 503), (2, 401), (3, 302)] {
            app.until(LETTERS, &[&format!("waiting {attempt} {status}")]).await;
            if attempt == 1 {
                // No sooner than the service said.
                app.advance(Duration::from_secs(599));
                assert_eq!(app.engine.ready().await.unwrap(), 1);
                app.advance(Duration::from_secs(1));
            } else {
                app.advance(Duration::from_secs(30));
            }
        }
        app.until(LETTERS, &["delivered 4 200"]).await;
        let calls = sink.wait_for(4).await;
        assert_eq!(ids(&calls), vec![key(app).await.as_str(); 4], "one that failed is repeated under its key");
        assert!(calls.iter().all(|call| sink.verifies(call) && call.path == "/send?shop=acme"));

        sink.answer(&["422 Unprocessable Content"]);
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.until(LETTERS, &["delivered 4 200", "dead 1 422"]).await;
        assert_ne!(sink.wait_for(5).await[4].header("webhook-id"), calls[0].header("webhook-id"));
    }

    async fn sendgrid_is_spoken_to_in_its_own_words(app: TestApp) {
        let sink = with_sendgrid(app).await;
        customer(&app.acme(), ADDRESS).await;
        sink.answer(&["429 Too Many Requests\r\nRetry-After: 30", "202 Accepted"]);
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.until(LETTERS, &["waiting 1 429"]).await;
        app.advance(Duration::from_secs(30));
        app.until(LETTERS, &["delivered 2 202"]).await;
        let calls = sink.wait_for(2).await;
        let key = key(app).await;
        for call in &calls {
            assert_eq!((call.path.as_str(), call.header("authorization")), ("/v3/mail/send", "Bearer SG.key-of_acme.x"));
            let body = call.json();
            assert_eq!(body["personalizations"], json!([{"to": [{"email": ADDRESS}]}]));
            assert_eq!(body["from"], json!({"email": "no-reply@acme.example", "name": "Acme"}));
            assert_eq!(body["subject"], "Choose a new password for Acme");
            assert_eq!((text(&body, "/content/0/type"), text(&body, "/content/1/type")), ("text/plain", "text/html"));
            assert!(text(&body, "/content/0/value").contains("token=") && text(&body, "/content/1/value").contains("token="));
            assert_eq!(body["custom_args"], json!({"idempotency_key": key}));
            // Links that lead past SendGrid would tell it the token.
            assert_eq!(body["tracking_settings"]["click_tracking"], json!({"enable": false, "enable_text": false}));
        }
        sink.answer(&["400 Bad Request"]);
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.until(LETTERS, &["delivered 2 202", "dead 1 400"]).await;
    }

    async fn what_a_transport_is_signed_and_paid_with_rests_sealed(app: TestApp) {
        let at_rest = AtRest::begin(app).await;
        customer(&app.acme(), ADDRESS).await;
        let _sink = served(app).await;
        let secret = app.config.tenants[0].mail.secret.as_ref().unwrap().expose().to_owned();
        let _sendgrid = with_sendgrid(app).await;
        let places = at_rest.places(app).await;
        AtRest::assert_absent(&places, "the secret of the calls", secret.as_bytes());
        AtRest::assert_absent(&places, "the key of the account", b"SG.key-of_acme.x");
        assert!(!AtRest::found(&places, ADDRESS.as_bytes()).is_empty(), "the search finds what is there");
    }
}
