//! Backlogs (I9): what waits for a broker that is away (F14), for a webhook that hangs (F16) or is dead (F19) delays nobody, fills no memory
//! and is gone when it was told.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use vestibule_engine::model::ids::EventId;
use vestibule_engine::testing::Backend;

use super::bystander::Bystander;
use super::report::Report;
use super::told::delivered;
use crate::crash::process::Server;
use crate::crash::stage::{Stage, webhooks};
use crate::crash::{block_on, ms, number};
use crate::support::app::customer;
use crate::support::client::Shop;
use crate::support::nats::NatsServer;
use crate::support::webhook_sink::{Received, WebhookSink};

const WAITING: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting'";
const CHANGED: &str = "SELECT id FROM events WHERE name = 'customer.updated'";
/// How long a backlog may take to grow or to drain, in looks of 20 ms: where the test gives up.
const PATIENCE: u64 = 15_000;

/// The server with some customers, whose changes are what happens.
struct Shoppers {
    server: Server,
    shop: Shop,
    sessions: Vec<String>,
    changes: usize,
}

impl Shoppers {
    async fn enter(stage: &Stage) -> Self {
        let server = stage.start().await;
        let (shop, mut sessions) = (Stage::shop(&server.base), Vec::new());
        for n in 0..8 {
            sessions.push(customer(&shop, &format!("{n}@example.com")).await);
        }
        Self { server, shop, sessions, changes: 0 }
    }

    /// So many changes, of each customer one at a time.
    async fn change(&mut self, more: usize) {
        let (shop, from) = (&self.shop, self.changes);
        let each = self.sessions.iter().enumerate().map(async |(at, session)| {
            for n in (from..from + more).skip(at).step_by(8) {
                let call = shop.post("/store/customers/me").bearer(session).json(&json!({"company_name": format!("company {n}")}));
                call.send().await.expect_status(200);
            }
        });
        futures_util::future::join_all(each).await;
        self.changes += more;
    }

    /// The ids of the changes' events: as many as were acknowledged.
    async fn told(&self, stage: &Stage) -> Vec<String> {
        let ids: Vec<String> = stage.column(CHANGED).await.into_iter().map(|id| format!("evt_{id}")).collect();
        assert_eq!(ids.len(), self.changes, "change and event");
        ids
    }

    async fn leave(self, stage: Stage) {
        let (code, log) = self.server.terminate().await;
        assert_eq!(code, Some(0), "{log}");
        stage.database.remove().await.unwrap();
    }
}

/// How large a backlog is.
fn events() -> usize {
    number("VESTIBULE_TEST_EVENTS").map_or(200, |events| events.try_into().unwrap())
}

/// How long after its event each call came.
fn delays(calls: &[Received]) -> Vec<Duration> {
    let delay = |call: &Received| {
        let event: EventId = call.header("webhook-id").parse().unwrap();
        Duration::from_millis(u64::try_from(call.at.millis()).unwrap().saturating_sub(event.0.timestamp_ms()))
    };
    calls.iter().map(delay).collect()
}

fn p99(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    ms(times[times.len() * 99 / 100])
}

/// Every path of `sink` was told of every change.
fn each_told(ids: &[String], sink: &WebhookSink, paths: usize, report: &mut Report) {
    let (ids, calls): (BTreeSet<&str>, _) = (ids.iter().map(String::as_str).collect(), sink.calls());
    for path in 0..paths {
        let of_path: Vec<_> = calls.iter().filter(|call| call.path == format!("/{path}")).cloned().collect();
        delivered(&ids, &of_path, report);
    }
}

/// The server's memory is what it may be without any backlog: 64 MiB, and 19 MiB for each core on which a password may be hashed. A connection for
/// each of some thousand deliveries would take more.
#[track_caller]
fn bounded(server: &Server, when: &str) {
    let (now, cores) = (server.anonymous_kib(), u64::try_from(std::thread::available_parallelism().unwrap().get()).unwrap());
    println!("RssAnon {when}: {now} KiB");
    assert!(now < (64 + 19 * cores) * 1_024, "the server has {now} KiB {when}");
}

async fn a_broker_is_away(backend: Backend) {
    let mut nats = NatsServer::start().await;
    let stage = Stage::set_with(backend, &format!("[nats]\nurl = \"{}\"\n", nats.url()), "").await;
    let mut shoppers = Shoppers::enter(&stage).await;
    shoppers.change(40).await;
    stage.until(WAITING, "0", PATIENCE).await;
    bounded(&shoppers.server, "before");
    let mut report = Report { trials: 1, ..Report::on(&stage.database) };
    nats.kill();
    let bystander = Bystander::start(&shoppers.shop, &shoppers.sessions[0]);
    shoppers.change(events()).await;
    stage.until(WAITING, &events().to_string(), PATIENCE).await;
    bounded(&shoppers.server, "with the backlog");
    nats.restart().await;
    let back = Instant::now();
    stage.until(WAITING, "0", PATIENCE).await;
    report.recovery.push(back.elapsed());
    report.bystanders = bystander.stop().await;
    bounded(&shoppers.server, "after it");
    let (mut ids, stored) = (shoppers.told(&stage).await, nats.messages().await);
    report.acknowledged = ids.len();
    let stored: Vec<_> = stored.into_iter().filter(|message| message.subject.ends_with("customer.updated")).map(|message| message.id).collect();
    let known: BTreeSet<_> = stored.iter().collect();
    report.duplicates = stored.len() - known.len();
    ids.retain(|id| !known.contains(id));
    report.lost = ids;
    shoppers.leave(stage).await;
    report.tell("F14 NATS away");
}

async fn a_webhook_hangs(backend: Backend) {
    const SOUND: usize = 2;
    let (hung, sound) = (WebhookSink::start().await, WebhookSink::start().await);
    let mut hooks: Vec<_> = (0..SOUND).map(|n| sound.webhook(&format!("/{n}"), &["customer.updated"])).collect();
    hooks.push(hung.webhook("/0", &["customer.updated"]));
    let stage = Stage::set_with(backend, "", &webhooks(&hooks)).await;
    let mut shoppers = Shoppers::enter(&stage).await;
    shoppers.change(40).await;
    stage.until(WAITING, "0", PATIENCE).await;
    bounded(&shoppers.server, "before");
    let sound_before = sound.calls().len();
    hung.hang(true);
    let bystander = Bystander::start(&shoppers.shop, &shoppers.sessions[0]);
    shoppers.change(events()).await;
    stage.until(WAITING, &events().to_string(), PATIENCE).await;
    let under_way: usize = stage.column("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND lease IS NOT NULL").await[0].parse().unwrap();
    bounded(&shoppers.server, "with the backlog");
    assert!((1..=16).contains(&under_way), "{under_way} of what hangs are under way");
    let delays = [delays(&sound.calls()[..sound_before]), delays(&sound.calls()[sound_before..])];
    println!("p99 of the sound webhooks: {} ms with all sound", p99(delays[0].clone()));
    println!("p99 of session checks meanwhile: {} ms", p99(bystander.stop().await));
    let [_, bystanders] = delays;
    hung.hang(false);
    let back = Instant::now();
    stage.until(WAITING, "0", PATIENCE).await;
    let recovery = vec![back.elapsed()];
    bounded(&shoppers.server, "after it");
    let ids = shoppers.told(&stage).await;
    let mut report = Report { trials: 1, acknowledged: ids.len(), recovery, bystanders, ..Report::on(&stage.database) };
    each_told(&ids, &hung, 1, &mut report);
    each_told(&ids, &sound, SOUND, &mut report);
    shoppers.leave(stage).await;
    report.tell("F16 a webhook hangs");
}

async fn one_of_100_is_dead(backend: Backend) {
    const SOUND: usize = 99;
    let sink = WebhookSink::start().await;
    let mut hooks: Vec<_> = (0..SOUND).map(|n| sink.webhook(&format!("/{n}"), &["customer.updated"])).collect();
    // Nobody listens at port 1.
    let mut dead = sink.webhook("/dead", &["customer.updated"]);
    dead.url.set_port(Some(1)).unwrap();
    hooks.insert(SOUND / 2, dead);
    let stage = Stage::set_with(backend, "", &webhooks(&hooks)).await;
    let mut shoppers = Shoppers::enter(&stage).await;
    shoppers.change(events() / 40).await;
    let changes = shoppers.changes;
    stage.until("SELECT COUNT(*) FROM deliveries WHERE state = 'delivered'", &(changes * SOUND).to_string(), PATIENCE).await;
    stage.until(WAITING, &changes.to_string(), PATIENCE).await;
    let tried = stage.column("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND attempts > 0").await;
    assert_ne!(tried, ["0"], "the dead one is called, too");
    let ids = shoppers.told(&stage).await;
    let mut report = Report { trials: 1, acknowledged: ids.len(), bystanders: delays(&sink.calls()), ..Report::on(&stage.database) };
    each_told(&ids, &sink, SOUND, &mut report);
    shoppers.leave(stage).await;
    report.tell("F19 one dead of 100 webhooks");
}

#[test]
fn f14_a_backlog_for_a_broker_that_is_away_fills_no_memory_and_drains_on_sqlite() {
    block_on(a_broker_is_away(Backend::Sqlite));
}

#[test]
fn f14_a_backlog_for_a_broker_that_is_away_fills_no_memory_and_drains_on_postgres() {
    block_on(a_broker_is_away(Backend::Postgres));
}

#[test]
fn f16_a_webhook_that_hangs_delays_no_other_and_fills_no_memory_on_sqlite() {
    block_on(a_webhook_hangs(Backend::Sqlite));
}

#[test]
fn f16_a_webhook_that_hangs_delays_no_other_and_fills_no_memory_on_postgres() {
    block_on(a_webhook_hangs(Backend::Postgres));
}

#[test]
fn f19_one_dead_of_100_webhooks_holds_up_none_on_sqlite() {
    block_on(one_of_100_is_dead(Backend::Sqlite));
}

#[test]
fn f19_one_dead_of_100_webhooks_holds_up_none_on_postgres() {
    block_on(one_of_100_is_dead(Backend::Postgres));
}
