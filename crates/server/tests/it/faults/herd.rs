//! F20: after an outage a crowd does not come back at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vestibule_engine::notify::sink::Mode;

use super::report::Report;
use crate::support::app::{TestApp, customer};
use crate::support::each_db;
use crate::support::webhook_sink::WebhookSink;

const CROWD: usize = 24;
const WAITING: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND attempts = 1 AND lease IS NULL";

each_db! {
    async fn f20_who_was_refused_at_once_comes_back_at_times_of_their_own(app: TestApp) {
        let sink = WebhookSink::start().await;
        let hook = sink.webhook("/hook", &["customer.created"]);
        app.restart_acme(|acme| {
            acme.webhooks = vec![hook];
            acme.limits.enabled = false;
        }).await;
        sink.always("503 Service Unavailable");
        app.mail.set_mode(Mode::Reply("421 4.3.2 shutting down"));
        for n in 0..CROWD {
            let address = format!("{n}@example.com");
            customer(&app.acme(), &address).await;
            app.acme().request_reset(&address).await.expect_status(201);
        }
        app.until(WAITING, &[&(2 * CROWD).to_string()]).await;
        // The clock stands still: all were refused in the same instant, and only what was drawn for each tells them apart.
        let mut peak = 0;
        for subscriber in ["subscriber = 'mail'", "subscriber <> 'mail'"] {
            let now = app.clock.now().micros();
            let due = app.rows(&format!("SELECT due_at - {now} FROM deliveries WHERE {subscriber}")).await;
            let mut each_half_second: BTreeMap<i64, usize> = BTreeMap::new();
            for wait in due.iter().map(|wait| wait.parse::<i64>().unwrap()) {
                assert!((4_000_000..=6_000_000).contains(&wait), "{subscriber}: {wait} µs");
                *each_half_second.entry(wait / 500_000).or_default() += 1;
            }
            peak = each_half_second.values().copied().max().unwrap_or_default().max(peak);
            // A quarter is expected in each of the four. With three quarters in one, they were not drawn evenly.
            assert!(due.len() == CROWD && peak <= CROWD * 3 / 4, "{subscriber}: {each_half_second:?}");
        }
        println!("peak: {} attempts a second", peak * 2);
        sink.always("200 OK");
        app.mail.set_mode(Mode::Accept);
        app.advance(Duration::from_secs(6));
        app.until("SELECT state, attempts, COUNT(*) FROM deliveries GROUP BY state, attempts", &["delivered 2 48"]).await;
        let mailed: BTreeSet<_> = app.mail.mails().into_iter().flat_map(|mail| mail.to).collect();
        let lost = (0..CROWD).map(|n| format!("{n}@example.com")).filter(|address| !mailed.contains(address)).collect();
        let duplicates = app.mail.mails().len() - mailed.len();
        app.take_all_mail().await;
        Report { trials: 1, acknowledged: 2 * CROWD, lost, duplicates, ..Report::on(&app.database) }.tell("F20 thundering herd");
    }
}
