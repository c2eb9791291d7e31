//! The real binary under mixed writes, killed at random moments (F1, F26) or told to stop (F25). A ledger keeps what was acknowledged:
//! nothing of it may be lost, and every acknowledged reset is mailed.

pub mod ledger;
pub mod process;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vestibule_engine::notify::sink::{Mode, SmtpSink};
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::ports::rng::Rng;
use vestibule_engine::testing::{Backend, TestDatabase};
use vestibule_engine::{Engine, Surroundings};

use crate::support::app::{customer, publishable_key, token_in};
use crate::support::client::Shop;
use crate::support::webhook_sink::WebhookSink;
use ledger::{Ledger, Workers};
use process::Server;

const HOST: &str = "acme.api.example.com";
/// Longer than any lease, shorter than a token lives.
const LATER: Duration = Duration::from_secs(200);

/// A database, a mail server, and a configuration that names both.
pub struct Stage {
    pub database: TestDatabase,
    pub mail: Arc<SmtpSink>,
    folder: TempDir,
    pub rng: Rng,
    pub logs: String,
}

impl Stage {
    async fn set(backend: Backend) -> Self {
        Self::set_with(backend, "").await
    }

    /// With `settings` in the configuration besides.
    pub async fn set_with(backend: Backend, settings: &str) -> Self {
        let (database, mail, folder) = (TestDatabase::create(backend).await.unwrap(), Arc::new(SmtpSink::start()), tempfile::tempdir().unwrap());
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ntenant_domain = \"api.example.com\"\n[database]\nurl = \"{}\"\n{settings}\
             [[tenants]]\nslug = \"acme\"\npublishable_keys = [\"{}\"]\n[tenants.limits]\nenabled = false\n\
             [tenants.mail]\nfrom = \"Acme <no-reply@acme.example>\"\ntransport = \"smtp://{}\"\n",
            database.url(),
            publishable_key("acme"),
            mail.address(),
        );
        std::fs::write(folder.path().join("vestibule.toml"), config).unwrap();
        let seed = number("VESTIBULE_TEST_SEED").unwrap_or_else(|| u64::from_be_bytes(Rng::os().bytes()));
        println!("VESTIBULE_TEST_SEED={seed}");
        Self { database, mail, folder, rng: Rng::seeded(seed), logs: String::new() }
    }

    pub async fn start(&self) -> Server {
        Server::start(&self.folder.path().join("vestibule.toml")).await
    }

    pub fn below(&self, most: u32) -> u32 {
        u32::from_be_bytes(self.rng.bytes()) % most
    }

    /// Lets time pass for everything that a dead process held, and holds the ledger against what is there.
    async fn verify(self, ledger: Ledger) {
        self.verify_with(ledger, async |_, _| ()).await;
    }

    /// The same, and `look`s at what is there when everything is done.
    pub async fn verify_with(mut self, ledger: Ledger, look: impl AsyncFnOnce(&Self, &Ledger)) {
        let tokens: Vec<String> = self.mail.mails().iter().filter(|mail| is_reset(mail)).map(token_in).collect();
        for word in tokens.iter().map(String::as_str).chain(["panicked"]) {
            assert!(!self.logs.contains(word), "the log holds {word}: {}", self.logs);
        }
        let config = vestibule::config::load(&self.folder.path().join("vestibule.toml"), std::iter::empty()).unwrap();
        let clock = Clock::frozen(Clock::System.now().after(LATER));
        let engine = Engine::open(config, Surroundings { clock, ..Surroundings::default() }).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the test is its own runtime")]
        let server = tokio::spawn(vestibule::app::serve(engine.clone(), listener, stop.clone()));
        self.drained(&engine).await;
        self.numbered().await;
        look(&self, &ledger).await;
        let acme = Shop::new(&base, HOST, &publishable_key("acme"));
        ledger.send_again(&acme, &self.database).await;
        ledger.verify(&acme, &self.mail.mails()).await;
        stop.cancel();
        server.await.unwrap();
        drop(engine);
        self.logs.clear();
        self.database.remove().await.unwrap();
    }
}

impl Stage {
    /// Every event has a number: from 1 on, none twice, none left out.
    async fn numbered(&self) {
        const NUMBERS: &str =
            "SELECT COUNT(*) > 0 AND COUNT(*) = COUNT(number) AND COUNT(*) = COUNT(DISTINCT number) AND MIN(number) = 1 AND COUNT(*) = MAX(number)
            AND MAX(number) = (SELECT last FROM sequences) FROM events";
        let mut found = Vec::new();
        for _ in 0..1_500 {
            found = self.database.rows(NUMBERS).await.unwrap();
            if matches!(found.first().and_then(|row| row.first()).map(String::as_str), Some("1" | "t" | "true")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{found:?} {:?}", self.database.rows("SELECT COUNT(*), COUNT(number), MIN(number), MAX(number) FROM events").await);
    }

    async fn drained(&self, engine: &Engine) {
        let mut found = Ok(0);
        for _ in 0..1_500 {
            found = engine.ready().await;
            if matches!(found, Ok(0)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let deliveries = "SELECT state, due_at, attempts, answer, lease FROM deliveries WHERE state = 'waiting'";
        let left = [self.database.rows("SELECT due_at, attempts, lease FROM jobs").await, self.database.rows(deliveries).await];
        panic!("the outbox did not empty at {}: {found:?} {left:?}", engine.clock.now().micros());
    }
}

pub fn is_reset(mail: &vestibule_engine::notify::sink::ReceivedMail) -> bool {
    mail.part("text/plain").is_some_and(|text| text.contains("token="))
}

#[expect(clippy::disallowed_methods, reason = "a longer run is asked for by the environment")]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// A webhook has a call and the server is killed before it is told so: the call comes again under the same id.
async fn killed_before_the_acknowledgement(backend: Backend) {
    let stage = Stage::set(backend).await;
    let sink = WebhookSink::start().await;
    let hook = sink.webhook("/hook", &["customer.created"]);
    let path = stage.folder.path().join("vestibule.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (url, secret) = (&hook.url, hook.secret.expose());
    let added = format!(
        "[[tenants.webhooks]]\nurl = \"{url}\"\nsecret = \"{secret}\"\nevents = [\"customer.created\"]\n[outbound]\nallow_private = [\"127.0.0.1/32\"]\n"
    );
    std::fs::write(&path, config + &added).unwrap();
    sink.hang(true);
    let mut server = stage.start().await;
    customer(&Shop::new(&server.base, HOST, &publishable_key("acme")), "ann@example.com").await;
    sink.wait_for(1).await;
    server.kill();
    assert_eq!(stage.database.rows("SELECT state, attempts FROM deliveries").await.unwrap(), [["waiting", "1"]]);

    sink.hang(false);
    let config = vestibule::config::load(&path, std::iter::empty()).unwrap();
    let clock = Clock::frozen(Clock::System.now().after(LATER));
    let engine = Engine::open(config, Surroundings { clock, ..Surroundings::default() }).await.unwrap();
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

/// Kills the server again and again while the workers write.
async fn killed_at_random_moments(backend: Backend) {
    let mut stage = Stage::set(backend).await;
    let kills = number("VESTIBULE_TEST_KILLS").unwrap_or(6);
    let mut server = stage.start().await;
    let mut workers = Workers::start(&server.base, &stage.mail, &stage.rng);
    for _ in 0..kills {
        workers.acknowledged(1 + stage.below(50)).await;
        stage.logs += &server.kill();
        server = stage.start().await;
        workers.go_on_at(&server.base);
    }
    workers.acknowledged(10).await;
    let ledger = workers.stop().await;
    stage.logs += &server.kill();
    println!("{kills} kills: {ledger}");
    stage.verify(ledger).await;
}

/// Kills the server when an effect is committed and nobody has read its answer: whoever asks again gets it, and nothing is done twice.
async fn killed_before_the_answer_is_read(backend: Backend) {
    let stage = Stage::set(backend).await;
    let mut server = stage.start().await;
    let shop = |server: &Server| Shop::new(&server.base, HOST, &publishable_key("acme"));
    let token = customer(&shop(&server), "ann@example.com").await;
    let add =
        |shop: Shop| shop.post("/store/customers/me/addresses").bearer(&token).header("idempotency-key", "k-1").json(&json!({"city": "Bremen"}));
    let mut unread = JoinSet::new();
    unread.spawn({
        let call = add(shop(&server));
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
    let again = add(shop(&server)).send().await.expect_status(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["customer"]["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(stage.database.rows("SELECT city FROM customer_addresses").await.unwrap(), [["Bremen"]]);
    server.terminate().await;
    stage.database.remove().await.unwrap();
}

/// Stops the server in order while the workers write.
async fn told_to_stop(backend: Backend) {
    let mut stage = Stage::set(backend).await;
    let mut server = stage.start().await;
    let mut workers = Workers::start(&server.base, &stage.mail, &stage.rng);
    for _ in 0..3 {
        workers.acknowledged(1 + stage.below(40)).await;
        let (code, log) = server.terminate().await;
        stage.logs += &log;
        assert_eq!(code, Some(0), "{log}");
        server = stage.start().await;
        workers.go_on_at(&server.base);
    }
    let ledger = workers.stop().await;
    let (code, log) = server.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    stage.logs += &log;
    stage.verify(ledger).await;
}

#[test]
fn f1_nothing_acknowledged_is_lost_on_sqlite() {
    block_on(killed_at_random_moments(Backend::Sqlite));
}

#[test]
fn f1_nothing_acknowledged_is_lost_on_postgres() {
    block_on(killed_at_random_moments(Backend::Postgres));
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
    block_on(told_to_stop(Backend::Sqlite));
}

#[test]
fn f25_an_orderly_stop_loses_nothing_on_postgres() {
    block_on(told_to_stop(Backend::Postgres));
}

/// The mail server hangs at the stop: the server does not wait for it for ever, and the mail goes out after the next start.
#[test]
fn f25_a_hanging_mail_server_does_not_hold_up_the_stop() {
    block_on(async {
        let mut stage = Stage::set(Backend::Sqlite).await;
        stage.mail.set_mode(Mode::Hang);
        let server = stage.start().await;
        let mut workers = Workers::start(&server.base, &stage.mail, &stage.rng);
        workers.acknowledged(40).await;
        let ledger = workers.stop().await;
        let (code, log) = server.terminate().await;
        assert_eq!(code, Some(0), "{log}");
        stage.logs += &log;
        assert!(stage.mail.mails().is_empty());
        stage.mail.set_mode(Mode::Accept);
        stage.mail.hang_up();
        stage.verify(ledger).await;
    });
}
