//! What the server stands on: a database, a mail server, and a configuration that names both.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vestibule_engine::config::Config;
use vestibule_engine::model::tenant::Webhook;
use vestibule_engine::notify::sink::SmtpSink;
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::ports::rng::Rng;
use vestibule_engine::testing::{Backend, TestDatabase};
use vestibule_engine::{Engine, Surroundings};

use super::ledger::Ledger;
use super::process::Server;
use super::{HOST, is_reset, number};
use crate::faults::report::Report;
use crate::support::app::{publishable_key, token_in};
use crate::support::client::Shop;

/// Longer than any lease, shorter than a token lives.
pub const LATER: Duration = Duration::from_secs(200);

pub struct Stage {
    pub database: TestDatabase,
    pub mail: Arc<SmtpSink>,
    folder: TempDir,
    pub rng: Rng,
    pub logs: String,
}

/// Webhooks as the configuration has them, at the end of the tenant.
pub fn webhooks(hooks: &[Webhook]) -> String {
    hooks.iter().fold(String::new(), |mut text, hook| {
        let (url, secret, events) = (&hook.url, hook.secret.expose(), &hook.events);
        write!(text, "[[tenants.webhooks]]\nurl = \"{url}\"\nsecret = \"{secret}\"\nevents = {events:?}\n").unwrap();
        text
    })
}

impl Stage {
    pub async fn set(backend: Backend) -> Self {
        Self::set_with(backend, "", "").await
    }

    /// With `settings` in the configuration besides, and `of_tenant` in the tenant's part of it.
    pub async fn set_with(backend: Backend, settings: &str, of_tenant: &str) -> Self {
        let (database, mail, folder) = (TestDatabase::create(backend).await.unwrap(), Arc::new(SmtpSink::start()), tempfile::tempdir().unwrap());
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ntenant_domain = \"api.example.com\"\n[database]\nurl = \"{}\"\n\
             [outbound]\nallow_private = [\"127.0.0.1/32\"]\n{settings}\
             [[tenants]]\nslug = \"acme\"\npublishable_keys = [\"{}\"]\n[tenants.limits]\nenabled = false\n\
             [tenants.mail]\nfrom = \"Acme <no-reply@acme.example>\"\ntransport = \"smtp://{}\"\n{of_tenant}",
            database.url(),
            publishable_key("acme"),
            mail.address(),
        );
        std::fs::write(folder.path().join("vestibule.toml"), config).unwrap();
        let seed = number("VESTIBULE_TEST_SEED").unwrap_or_else(|| u64::from_be_bytes(Rng::os().bytes()));
        println!("VESTIBULE_TEST_SEED={seed}");
        Self { database, mail, folder, rng: Rng::seeded(seed), logs: String::new() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vestibule.toml")
    }

    pub async fn start(&self) -> Server {
        Server::start(&self.path()).await
    }

    /// The shop at a server.
    pub fn shop(base: &str) -> Shop {
        Shop::new(base, HOST, &publishable_key("acme"))
    }

    pub fn below(&self, most: u32) -> u32 {
        u32::from_be_bytes(self.rng.bytes()) % most
    }

    /// The first column of what `sql` selects.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        self.database.rows(sql).await.unwrap().into_iter().filter_map(|row| row.into_iter().next()).collect()
    }

    /// Another process on the database, for which everything that a dead or paused one holds has run out.
    pub async fn open_later(&self) -> Arc<Engine> {
        let config: Config = vestibule::config::load(&self.path(), std::iter::empty()).unwrap();
        let clock = Clock::frozen(Clock::System.now().after(LATER));
        Engine::open(config, Surroundings { clock, ..Surroundings::default() }).await.unwrap()
    }

    /// Lets time pass for everything that a dead process held, and holds the ledger against what is there.
    pub async fn verify(self, ledger: Ledger, report: Report) -> Report {
        self.verify_with(ledger, report, async |_, _, _| ()).await
    }

    /// The same, and `look`s at what is there when everything is done.
    pub async fn verify_with(mut self, ledger: Ledger, mut report: Report, look: impl AsyncFnOnce(&Self, &Ledger, &mut Report)) -> Report {
        self.no_secret_is_logged();
        let engine = self.open_later().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the test is its own runtime")]
        let server = tokio::spawn(vestibule::app::serve(engine.clone(), listener, stop.clone()));
        self.drained(&engine).await;
        self.numbered().await;
        let mails = self.mail.mails();
        report.acknowledged += ledger.acknowledged();
        report.duplicates += mails.len() - mails.iter().map(|mail| mail.headers("Message-ID")).collect::<HashSet<_>>().len();
        look(&self, &ledger, &mut report).await;
        let acme = Self::shop(&base);
        ledger.send_again(&acme, &self.database).await;
        report.lost.extend(ledger.missing(&acme, &self.mail.mails()).await);
        stop.cancel();
        server.await.unwrap();
        drop(engine);
        self.logs.clear();
        self.database.remove().await.unwrap();
        report
    }

    /// No token that was mailed is in the log, and nothing panicked.
    fn no_secret_is_logged(&self) {
        assert!(!self.logs.contains("panicked"), "{}", self.logs);
        let tokens: HashSet<String> = self.mail.mails().iter().filter(|mail| is_reset(mail)).map(token_in).collect();
        let lengths: HashSet<usize> = tokens.iter().map(String::len).collect();
        // Looked for where one may begin: a long run has many tokens, and a long log.
        for (at, _) in self.logs.match_indices("eyJ") {
            let found = lengths.iter().find(|length| self.logs.get(at..at + **length).is_some_and(|word| tokens.contains(word)));
            assert!(found.is_none(), "the log holds a token: {:?}", self.logs.get(at.saturating_sub(500)..at));
        }
    }

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

    pub async fn drained(&self, engine: &Engine) {
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

    /// Waits until `sql` selects this one value. Real time passes, so what waits for its next try is waited for: `tries` times 20 ms at most.
    pub async fn until(&self, sql: &str, expected: &str, tries: u64) {
        let mut found = Vec::new();
        for _ in 0..tries {
            found = self.column(sql).await;
            if found == [expected] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{sql} selects {found:?}, not {expected}");
    }
}
