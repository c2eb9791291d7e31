//! The real binary under mixed writes, killed at random moments (F1, F26) or told to stop (F25). A ledger keeps what was acknowledged:
//! nothing of it may be lost, and every acknowledged reset is mailed.

pub mod ledger;
pub mod process;
pub mod stage;

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vestibule_engine::notify::sink::Mode;
use vestibule_engine::testing::Backend;

use crate::faults::report::Report;
use crate::faults::told;
use crate::support::app::customer;
use crate::support::client::Shop;
use crate::support::webhook_sink::WebhookSink;
use ledger::Workers;
use stage::{Stage, webhooks};

const HOST: &str = "acme.api.example.com";
/// A link of the first minute works when a long run ends.
const LONG_LINKS: &str = "[tenants.tokens]\nreset_ttl = \"1h\"\n";

pub fn is_reset(mail: &vestibule_engine::notify::sink::ReceivedMail) -> bool {
    mail.part("text/plain").is_some_and(|text| text.contains("token="))
}

#[expect(clippy::disallowed_methods, reason = "a longer run is asked for by the environment")]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// How often a fault happens: as often as the environment asks, or the `part`-th of it; a few times if it asks for nothing.
fn rounds(few: u64, part: u64) -> u64 {
    number("VESTIBULE_TEST_KILLS").map_or(few, |kills| kills.div_ceil(part))
}

/// Milliseconds as they are printed.
pub fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

/// A webhook has a call and the server is killed before it is told so: the call comes again under the same id.
async fn killed_before_the_acknowledgement(backend: Backend) {
    let sink = WebhookSink::start().await;
    let stage = Stage::set_with(backend, "", &webhooks(&[sink.webhook("/hook", &["customer.created"])])).await;
    sink.hang(true);
    let mut server = stage.start().await;
    customer(&Stage::shop(&server.base), "ann@example.com").await;
    sink.wait_for(1).await;
    server.kill();
    assert_eq!(stage.database.rows("SELECT state, attempts FROM deliveries").await.unwrap(), [["waiting", "1"]]);

    sink.hang(false);
    let engine = stage.open_later().await;
    let stop = CancellationToken::new();
    let dispatcher = vestibule_engine::outbox::run(engine.clone(), vestibule_engine::outbox::Lane::Webhooks, stop.clone());
    let (calls, ()) = tokio::join!(
        async {
            stage.drained(&engine).await;
            stop.cancel();
            sink.wait_for(2).await
        },
        dispatcher
    );
    assert!(calls.iter().all(|call| sink.verifies(call)));
    assert_eq!((calls[0].header("webhook-id"), &calls[0].body), (calls[1].header("webhook-id"), &calls[1].body));
    assert_eq!(stage.database.rows("SELECT state, attempts FROM deliveries").await.unwrap(), [["delivered", "2"]]);
    drop(engine);
    stage.database.remove().await.unwrap();
}

pub fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// How the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// kill -9.
    Killed,
    /// SIGTERM, and kill -9 within a second of it.
    Hurried,
}

/// Kills the server again and again while the workers write and a webhook hears of everything.
async fn killed_at_random_moments(backend: Backend, end: End) -> Report {
    let sink = WebhookSink::start().await;
    let hook = webhooks(&[sink.webhook("/hook", &["*"])]);
    let mut stage = Stage::set_with(backend, "", &format!("{LONG_LINKS}{hook}")).await;
    let kills = if end == End::Killed { rounds(6, 1) } else { rounds(3, 3) };
    let writes = u32::try_from(number("VESTIBULE_TEST_WRITES").unwrap_or(25)).unwrap();
    let mut report = Report { trials: kills, ..Report::on(&stage.database) };
    let mut server = stage.start().await;
    let mut workers = Workers::start(&server.base, &stage.mail, &stage.rng);
    for _ in 0..kills {
        workers.acknowledged(1 + stage.below(2 * writes)).await;
        if end == End::Hurried {
            server.signal("TERM");
            tokio::time::sleep(Duration::from_millis(stage.below(1_000).into())).await;
        }
        stage.logs += &server.kill();
        server = stage.start().await;
        report.recovery.push(server.ready().await);
        workers.go_on_at(&server.base);
    }
    workers.acknowledged(100).await;
    let ledger = workers.stop().await;
    stage.logs += &server.kill();
    println!("{kills} kills: {ledger}");
    stage.verify_with(ledger, report, async |stage, ledger, report| told::check(stage, ledger, &sink, report).await).await
}

/// Kills the server when an effect is committed and nobody has read its answer: whoever asks again gets it, and nothing is done twice.
async fn killed_before_the_answer_is_read(backend: Backend) {
    let stage = Stage::set(backend).await;
    let mut server = stage.start().await;
    let token = customer(&Stage::shop(&server.base), "ann@example.com").await;
    let add =
        |shop: Shop| shop.post("/store/customers/me/addresses").bearer(&token).header("idempotency-key", "k-1").json(&json!({"city": "Bremen"}));
    let mut unread = JoinSet::new();
    unread.spawn({
        let call = add(Stage::shop(&server.base));
        async move { call.try_send().await.ok() }
    });
    for n in 0.. {
        assert!(n < 2_000, "the answer was never stored");
        if stage.database.rows("SELECT 1 FROM idempotency_keys WHERE answer IS NOT NULL").await.unwrap().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.kill();
    drop(unread.join_all().await);
    let server = stage.start().await;
    let again = add(Stage::shop(&server.base)).send().await.expect_status(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["customer"]["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(stage.database.rows("SELECT city FROM customer_addresses").await.unwrap(), [["Bremen"]]);
    server.terminate().await;
    stage.database.remove().await.unwrap();
}

/// Stops the server in order while the workers write.
async fn told_to_stop(backend: Backend) -> Report {
    const HELD: &str = "SELECT (SELECT COUNT(*) FROM deliveries WHERE lease IS NOT NULL) + (SELECT COUNT(*) FROM jobs WHERE lease IS NOT NULL)";
    let sink = WebhookSink::start().await;
    let hook = webhooks(&[sink.webhook("/hook", &["*"])]);
    let mut stage = Stage::set_with(backend, "", &format!("{LONG_LINKS}{hook}")).await;
    let (stops, mut exits) = (rounds(3, 3), Vec::new());
    let mut report = Report { trials: stops, ..Report::on(&stage.database) };
    let mut server = stage.start().await;
    let mut workers = Workers::start(&server.base, &stage.mail, &stage.rng);
    for _ in 0..stops {
        workers.acknowledged(1 + stage.below(40)).await;
        let asked = Instant::now();
        let (code, log) = server.terminate().await;
        exits.push(asked.elapsed());
        stage.logs += &log;
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(stage.column(HELD).await, ["0"], "who stops in order gives back what it holds");
        server = stage.start().await;
        report.recovery.push(server.ready().await);
        workers.go_on_at(&server.base);
    }
    workers.acknowledged(100).await;
    let ledger = workers.stop().await;
    let (code, log) = server.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    stage.logs += &log;
    exits.sort_unstable();
    println!("{stops} stops, of which the longest took {} ms: {ledger}", exits.last().map_or_else(String::new, |longest| ms(*longest)));
    stage.verify_with(ledger, report, async |stage, ledger, report| told::check(stage, ledger, &sink, report).await).await
}

#[test]
fn f1_nothing_acknowledged_is_lost_on_sqlite() {
    block_on(async { killed_at_random_moments(Backend::Sqlite, End::Killed).await.tell("F1 kill -9") });
}

#[test]
fn f1_nothing_acknowledged_is_lost_on_postgres() {
    block_on(async { killed_at_random_moments(Backend::Postgres, End::Killed).await.tell("F1 kill -9") });
}

#[test]
fn f26_who_is_killed_while_it_stops_loses_nothing_on_sqlite() {
    block_on(async { killed_at_random_moments(Backend::Sqlite, End::Hurried).await.tell("F26 SIGTERM, then SIGKILL") });
}

#[test]
fn f26_who_is_killed_while_it_stops_loses_nothing_on_postgres() {
    block_on(async { killed_at_random_moments(Backend::Postgres, End::Hurried).await.tell("F26 SIGTERM, then SIGKILL") });
}

#[test]
fn f41_a_lost_answer_is_given_again_on_sqlite() {
    block_on(killed_before_the_answer_is_read(Backend::Sqlite));
}

#[test]
fn f41_a_lost_answer_is_given_again_on_postgres() {
    block_on(killed_before_the_answer_is_read(Backend::Postgres));
}

#[test]
fn f1_a_webhook_is_called_again_under_its_id_on_sqlite() {
    block_on(killed_before_the_acknowledgement(Backend::Sqlite));
}

#[test]
fn f1_a_webhook_is_called_again_under_its_id_on_postgres() {
    block_on(killed_before_the_acknowledgement(Backend::Postgres));
}

#[test]
fn f25_an_orderly_stop_loses_nothing_on_sqlite() {
    block_on(async { told_to_stop(Backend::Sqlite).await.tell("F25 SIGTERM under load") });
}

#[test]
fn f25_an_orderly_stop_loses_nothing_on_postgres() {
    block_on(async { told_to_stop(Backend::Postgres).await.tell("F25 SIGTERM under load") });
}

/// The mail server hangs at the stop: the server does not wait for it for ever, and the mail goes out after the next start.
#[test]
fn f25_a_hanging_mail_server_does_not_hold_up_the_stop() {
    block_on(async {
        let mut stage = Stage::set(Backend::Sqlite).await;
        stage.mail.set_mode(Mode::Hang);
        let server = stage.start().await;
        let mut workers = Workers::start(&server.base, &stage.mail, &stage.rng);
        workers.acknowledged(100).await;
        let ledger = workers.stop().await;
        let (code, log) = server.terminate().await;
        assert_eq!(code, Some(0), "{log}");
        stage.logs += &log;
        assert!(stage.mail.mails().is_empty());
        stage.mail.set_mode(Mode::Accept);
        stage.mail.hang_up();
        let report = Report { trials: 1, ..Report::on(&stage.database) };
        stage.verify(ledger, report).await.tell("F25 SIGTERM while the mail server hangs");
    });
}
