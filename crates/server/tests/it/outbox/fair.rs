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
}
