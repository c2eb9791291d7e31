//! No shop's backlog keeps another's, or its own mail, waiting.

use std::time::Duration;

use crate::support::app::{TestApp, customer};
use crate::support::each_db;
use crate::support::webhook_sink::WebhookSink;

const HOOKS: usize = 60;
const CUSTOMERS: usize = 5;
const CARL: &str = "carl@example.com";
const WAITING: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND subscriber <> 'mail'";

each_db! {
    async fn a_webhook_that_hangs_delays_nobodys_mail_and_no_other_shops_webhooks(app: TestApp) {
        let (hung, sound) = (WebhookSink::start().await, WebhookSink::start().await);
        let hooks = (0..HOOKS).map(|n| hung.webhook(&format!("/{n}"), &["customer.created"])).collect();
        let fine = sound.webhook("/", &["auth.password_reset"]);
        app.restart(|config| {
            config.tenants[0].webhooks = hooks;
            config.tenants[1].webhooks = vec![fine];
        }).await;
        let (acme, globex) = (app.acme(), app.globex());
        hung.hang(true);
        for n in 0..CUSTOMERS {
            customer(&acme, &format!("{n}@example.com")).await;
        }
        let all = (HOOKS * CUSTOMERS).to_string();
        assert_eq!(app.rows(WAITING).await, [all.as_str()]);
        customer(&globex, CARL).await;
        globex.request_reset(CARL).await.expect_status(201);
        app.next_mail(CARL).await;
        sound.wait_for(1).await;
        acme.request_reset("0@example.com").await.expect_status(201);
        app.next_mail("0@example.com").await;
        app.until(WAITING, &[&all]).await;
        assert!(!hung.calls().is_empty() && hung.calls().len() < HOOKS * CUSTOMERS, "it hangs, and not all it will get is under way");

        hung.hang(false);
        app.until("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND (lease IS NOT NULL OR attempts = 0)", &["0"]).await;
        // What gave up in the meantime is tried again.
        app.advance(Duration::from_secs(10));
        app.settle().await;
        assert_eq!(app.rows("SELECT DISTINCT state FROM deliveries").await, ["delivered"]);
    }

    async fn a_webhook_that_hangs_and_one_that_always_fails_delay_none_of_the_shops_other_18(app: TestApp) {
        let (hung, poisoned, sound) = (WebhookSink::start().await, WebhookSink::start().await, WebhookSink::start().await);
        let (hanging, failing) = (hung.webhook("/", &["customer.created"]), poisoned.webhook("/", &["customer.created"]));
        let others = (0..18).map(|n| sound.webhook(&format!("/{n}"), &["customer.created"]));
        // The first and the last of them: wherever a claim begins, it meets one.
        let hooks = std::iter::once(hanging).chain(others).chain([failing]).collect();
        app.restart_acme(|acme| {
            acme.webhooks = hooks;
            acme.limits.enabled = false;
        }).await;
        hung.hang(true);
        poisoned.always("500 Internal Server Error");
        let acme = app.acme();
        // More than the share of one: what hangs keeps all that it may have.
        for n in 0..30 {
            customer(&acme, &format!("{n}@example.com")).await;
        }
        sound.wait_for(18 * 30).await;
        app.until("SELECT COUNT(*) FROM deliveries WHERE state = 'delivered'", &["540"]).await;
        let (held, failed) = (hung.calls().len(), poisoned.calls().len());
        assert!((1..30).contains(&held), "it hangs, and keeps no more than its share: {held}");
        assert!(failed > 0);
        app.until("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting'", &["60"]).await;

        hung.hang(false);
        poisoned.always("200 OK");
        app.until("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND (lease IS NOT NULL OR attempts = 0)", &["0"]).await;
        for _ in 0..3 {
            app.advance(Duration::from_mins(1));
        }
        app.settle().await;
        assert_eq!(app.rows("SELECT DISTINCT state FROM deliveries").await, ["delivered"]);
    }
}
