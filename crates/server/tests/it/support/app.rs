//! The real app on a free port, with a frozen clock, a seeded generator, a throw-away database and a mail server of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vestibule_engine::config::{Config, Database, Keys, Outbound, Server};
use vestibule_engine::crypto::password_hash::Cost;
use vestibule_engine::model::ids::ApiKeyId;
use vestibule_engine::model::provider::ProviderSettings;
use vestibule_engine::model::tenant::{Secret, TenantSettings};
use vestibule_engine::model::time::Timestamp;
use vestibule_engine::notify::sink::{ReceivedMail, SmtpSink};
use vestibule_engine::ops;
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::ports::rng::Rng;
use vestibule_engine::testing::{Backend, TestDatabase};
use vestibule_engine::{Engine, Surroundings};

use super::client::{Answer, Shop};

pub const PASSWORD: &str = "an-Old-pass-8";
pub const NEW_PASSWORD: &str = "a-New-pass-9";
pub const ADDRESS: &str = "ann@example.com";

/// The running product.
pub struct TestApp {
    pub engine: Arc<Engine>,
    pub clock: Clock,
    pub mail: SmtpSink,
    pub base: String,
    pub config: Config,
    pub database: TestDatabase,
    taken: usize,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
}

pub type TestFuture<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs `test` against a fresh app. A mail that nobody read, or work that is not done, fails it.
pub fn run(backend: Backend, test: impl for<'a> FnOnce(&'a mut TestApp) -> TestFuture<'a>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut app = TestApp::start(backend).await;
        test(&mut app).await;
        app.settle().await;
        assert!(app.unread().is_empty(), "unread mail: {:?}", app.unread());
        app.stop().await;
        app.database.remove().await.unwrap();
    });
}

/// The publishable key of a shop.
pub fn publishable_key(slug: &str) -> String {
    let hex: String = slug.bytes().flat_map(|b| [b >> 4, b & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    format!("pk_{}", hex.chars().cycle().take(64).collect::<String>())
}

fn shop(slug: &str, name: &str, mail: &SmtpSink) -> TenantSettings {
    let mut shop = TenantSettings { slug: slug.into(), publishable_keys: vec![publishable_key(slug)], ..TenantSettings::default() };
    shop.mail.from = Some(format!("{name} <no-reply@{slug}.example>"));
    shop.mail.transport = Some(Secret::new(format!("smtp://{}", mail.address())));
    shop
}

/// An OpenID Connect provider of a shop.
pub fn provider(issuer: &str, callback_url: &str) -> ProviderSettings {
    let settings =
        json!({"type": "oidc", "client_id": "shop", "client_secret": "a secret of the shop", "issuer": issuer, "callback_url": callback_url});
    serde_json::from_value(settings).unwrap()
}

impl TestApp {
    async fn start(backend: Backend) -> Self {
        let database = TestDatabase::create(backend).await.unwrap();
        let mail = SmtpSink::start();
        let config = Config {
            server: Server { tenant_domain: Some("api.example.com".into()), ..Server::default() },
            database: Database { url: Secret::new(database.url()) },
            keys: Keys::default(),
            outbound: Outbound { allow_private: vec!["127.0.0.1/32".parse().unwrap()] },
            nats: None,
            tenants: vec![shop("acme", "Acme", &mail), shop("globex", "Globex", &mail)],
        };
        let clock = Clock::frozen(Timestamp::from_seconds(1_795_447_000));
        let (engine, base, stop, server) = serve(config.clone(), clock.clone()).await;
        Self { engine, clock, mail, base, config, database, taken: 0, stop, server: Some(server) }
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            server.await.unwrap();
        }
    }

    /// Stops the app and starts it again on the same data, with `change` made to its configuration.
    pub async fn restart(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop().await;
        change(&mut self.config);
        let (engine, base, stop, server) = serve(self.config.clone(), self.clock.clone()).await;
        (self.engine, self.base, self.stop, self.server) = (engine, base, stop, Some(server));
    }

    /// A shop as its storefront sees it.
    pub fn shop(&self, slug: &str) -> Shop {
        Shop::new(&self.base, &format!("{slug}.api.example.com"), &publishable_key(slug))
    }

    pub fn acme(&self) -> Shop {
        self.shop("acme")
    }

    pub fn globex(&self) -> Shop {
        self.shop("globex")
    }

    /// Waits until every job and delivery that is due is done and every event has its number: then the server writes nothing by itself.
    pub async fn settle(&self) {
        for _ in 0..2_000 {
            if self.engine.ready().await.unwrap() == 0 {
                return self.numbered().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the outbox did not empty");
    }

    /// The mails that no test has taken yet.
    pub fn unread(&self) -> Vec<String> {
        self.mail.mails().iter().skip(self.taken).map(|m| format!("to {:?}: {:?}", m.to, m.headers("Subject"))).collect()
    }

    /// The next mail, which must be to `address`.
    pub async fn next_mail(&mut self, address: &str) -> ReceivedMail {
        let mails = self.mail.wait_for(self.taken + 1, Duration::from_secs(10)).await.unwrap();
        let mail = mails[self.taken].clone();
        assert_eq!(mail.to, [address]);
        self.taken += 1;
        mail
    }

    /// Takes whatever mails there are, for tests that are not about mail.
    pub async fn take_all_mail(&mut self) {
        self.settle().await;
        self.taken = self.mail.mails().len();
    }

    /// Asks for a reset and reads the token out of the mail that comes.
    pub async fn reset_token(&mut self, shop: &Shop, address: &str) -> String {
        shop.request_reset(address).await.expect_status(201);
        self.settle().await;
        token_in(&self.next_mail(address).await)
    }
}

async fn serve(config: Config, clock: Clock) -> (Arc<Engine>, String, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let cost = Cost { memory_kib: 64, passes: 1 };
    let engine = Engine::open(config, Surroundings { clock, rng: Rng::os(), cost }).await.unwrap();
    let stop = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "the test is its own runtime")]
    let server = tokio::spawn(vestibule::app::serve(engine.clone(), listener, stop.clone()));
    (engine, base, stop, server)
}

/// The link in a mail.
pub fn link_in(mail: &ReceivedMail) -> String {
    let text = mail.part("text/plain").unwrap();
    text.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned()
}

/// The token in the link of a mail.
pub fn token_in(mail: &ReceivedMail) -> String {
    url::Url::parse(&link_in(mail)).unwrap().query_pairs().find(|(name, _)| name == "token").unwrap().1.into_owned()
}

/// A customer who has signed up: registered, created, signed in.
pub async fn customer(shop: &Shop, address: &str) -> String {
    let token = shop.register(address, PASSWORD).await.expect_status(200).token();
    shop.post("/store/customers").bearer(&token).json(&json!({"email": address})).send().await.expect_status(200);
    shop.sign_in(address, PASSWORD).await.expect_status(200).token()
}

/// Makes a secret key for a shop.
pub async fn secret_key(app: &TestApp, slug: &str) -> (ApiKeyId, String) {
    let tenant = ops::tenant::by_slug(&app.engine, slug).await.unwrap();
    ops::api_key::create(&app.engine, &tenant, ops::api_key::Kind::Secret, "").await.unwrap()
}

/// Both answers are the same, but for the time.
pub fn assert_same(a: &Answer, b: &Answer) {
    assert_eq!((a.status, &a.text), (b.status, &b.text));
    let without_time =
        |answer: &Answer| answer.headers.iter().filter(|(name, _)| *name != "date").map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>();
    assert_eq!(without_time(a), without_time(b));
}
