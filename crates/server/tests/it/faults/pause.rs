//! F27 with real processes: one is stopped while it holds deliveries, another takes them over when their leases have run out, and the first
//! goes on. What it learns then is written nowhere.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;
use vestibule_engine::notify::sink::Mode;
use vestibule_engine::outbox::{Lane, run};
use vestibule_engine::testing::Backend;

use super::report::Report;
use super::told::delivered;
use crate::crash::block_on;
use crate::crash::stage::{Stage, webhooks};
use crate::support::app::customer;
use crate::support::webhook_sink::WebhookSink;

const CUSTOMERS: usize = 5;
const HELD: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND lease IS NOT NULL AND attempts = 1";
const ROWS: &str = "SELECT id, state, attempts, answer, done_at FROM deliveries WHERE attempts > 1 ORDER BY id";

/// Another process, later, until everything is done.
async fn taken_over(stage: &Stage) {
    let (other, stop) = (stage.open_later().await, CancellationToken::new());
    let lanes = [Lane::Webhooks, Lane::Mail].map(|lane| run(other.clone(), lane, stop.clone()));
    let drained = async {
        stage.drained(&other).await;
        stop.cancel();
    };
    tokio::join!(futures_util::future::join_all(lanes), drained);
}

async fn paused(backend: Backend) {
    let sink = WebhookSink::start().await;
    let stage = Stage::set_with(backend, "", &webhooks(&[sink.webhook("/hook", &["customer.created"])])).await;
    let node = stage.start().await;
    let shop = Stage::shop(&node.base);
    sink.hang(true);
    stage.mail.set_mode(Mode::Hang);
    let addresses: Vec<String> = (0..CUSTOMERS).map(|n| format!("{n}@example.com")).collect();
    for address in &addresses {
        customer(&shop, address).await;
        shop.request_reset(address).await.expect_status(201);
    }
    stage.until(HELD, &(2 * CUSTOMERS).to_string(), 1_000).await;
    sink.wait_for(CUSTOMERS).await;
    node.signal("STOP");
    sink.hang(false);
    stage.mail.set_mode(Mode::Accept);
    taken_over(&stage).await;
    let rows = stage.database.rows(ROWS).await.unwrap();
    assert!(rows.len() == 2 * CUSTOMERS && rows.iter().all(|row| row[1..3] == ["delivered", "2"]), "{rows:?}");

    // What hung is answered now: the calls that the paused one made with 200, and its mails not at all.
    stage.mail.hang_up();
    node.signal("CONT");
    customer(&shop, "late@example.com").await;
    stage.until("SELECT COUNT(*) FROM deliveries WHERE state = 'delivered' AND attempts = 1", "1", 1_000).await;
    let (code, log) = node.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(stage.database.rows(ROWS).await.unwrap(), rows, "a worker that woke wrote over what another did");

    let mut report = Report { trials: 1, acknowledged: 2 * CUSTOMERS + 1, ..Report::on(&stage.database) };
    let created = stage.column("SELECT id FROM events WHERE name = 'customer.created'").await;
    let created: Vec<String> = created.into_iter().map(|id| format!("evt_{id}")).collect();
    delivered(&created.iter().map(String::as_str).collect::<BTreeSet<_>>(), &sink.calls(), &mut report);
    let mut mails: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in stage.mail.mails() {
        mails.entry(mail.to[0].clone()).or_default().extend(mail.headers("Message-ID"));
    }
    for address in &addresses {
        let ids = mails.remove(address).unwrap_or_default();
        assert!(ids.iter().all(|id| *id == ids[0]), "{address} has one mail, however often: {ids:?}");
        report.duplicates += ids.len().saturating_sub(1);
        report.lost.extend(ids.is_empty().then(|| format!("the mail to {address}")));
    }
    assert!(mails.is_empty(), "nobody asked for {mails:?}");
    stage.database.remove().await.unwrap();
    report.tell("F27 SIGSTOP of one of two, then CONT");
}

#[test]
fn f27_a_process_that_wakes_cannot_mark_what_another_sent_on_sqlite() {
    block_on(paused(Backend::Sqlite));
}

#[test]
fn f27_a_process_that_wakes_cannot_mark_what_another_sent_on_postgres() {
    block_on(paused(Backend::Postgres));
}
