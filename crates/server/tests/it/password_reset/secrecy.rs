//! R47, R148: no token, no password and no secret of a shop rests in the database, its log or ours.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use vestibule_engine::model::hex;
use vestibule_engine::model::tenant::{Algorithm, Secret, TenantSettings, Webhook};
use vestibule_engine::notify::sink::Mode;
use vestibule_engine::ops::tenant;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, token_in};
use crate::support::at_rest::AtRest;
use crate::support::client::claims;
use crate::support::each_db;

/// Everything that this process logs, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        // What an operator can ask for by VESTIBULE_LOG, and more.
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).try_init().unwrap();
        log
    })
}

/// The token, and the parts that would make it: the signature and the signed text.
fn pieces(token: &str) -> Vec<String> {
    token.split('.').skip(1).map(str::to_owned).chain([token.to_owned()]).collect()
}

/// Where data rests, and our log.
async fn everywhere(app: &TestApp, rest: &AtRest) -> Vec<(String, String)> {
    let mut places = rest.places(app).await;
    places.push(("the log".to_owned(), hex(&log().0.lock().unwrap())));
    places
}

async fn assert_nowhere(app: &TestApp, rest: &AtRest, secrets: &[String]) {
    let places = everywhere(app, rest).await;
    for secret in secrets {
        AtRest::assert_absent(&places, secret, secret.as_bytes());
    }
}

/// Asserts that each kind of place is searched: `bytes` of a row are found in SQLite's files, or in PostgreSQL's table and its log.
fn assert_searched(places: &[(String, String)], bytes: &[u8]) {
    let found = AtRest::found(places, bytes);
    for (lite, postgres) in [("/test.db-wal", "password_resets"), ("/test.db-wal", "the write-ahead log")] {
        assert!(found.iter().any(|place| place.ends_with(lite) || place == postgres), "the row was found only in {found:?}");
    }
}

each_db! {
    async fn r47_no_token_rests_anywhere(app: TestApp) {
        log();
        let rest = AtRest::begin(app).await;
        let acme = app.acme();
        let session = customer(&acme, ADDRESS).await;
        // The first attempt fails, so that what a waiting delivery holds is looked at, too.
        app.mail.set_mode(Mode::Reply("451 4.3.0 later"));
        acme.request_reset(ADDRESS).await.expect_status(201);
        app.until("SELECT state, attempts FROM deliveries", &["waiting 1"]).await;
        app.until("SELECT COUNT(*) FROM deliveries WHERE lease IS NULL", &["1"]).await;
        let refused = token_in(&app.mail.refused()[0]);
        let jti = claims(&refused)["jti"].as_str().unwrap().to_owned();
        let mut secrets = pieces(&refused);
        secrets.extend([PASSWORD.to_owned(), NEW_PASSWORD.to_owned()]);
        secrets.extend(pieces(&session));
        assert_nowhere(app, &rest, &secrets).await;
        // The search finds what is there: the row that the token is made from.
        assert_searched(&rest.places(app).await, jti.as_bytes());
        assert!(!log().0.lock().unwrap().is_empty(), "nothing was logged");

        app.mail.set_mode(Mode::Accept);
        app.advance(std::time::Duration::from_secs(10));
        app.settle().await;
        let token = token_in(&app.next_mail(ADDRESS).await);
        secrets.extend(pieces(&token));
        assert_nowhere(app, &rest, &secrets).await;
        let page = acme.get(&format!("/account/reset-password?token={token}")).send().await.expect_status(200);
        assert!(page.text.contains(&token));
        acme.complete_reset(&token, "short").await.expect_status(400);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(401);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        secrets.push(acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200).token());
        assert_nowhere(app, &rest, &secrets).await;
    }

    async fn secrets_of_a_shop_rest_nowhere(app: TestApp) {
        log();
        let rest = AtRest::begin(app).await;
        let secrets = ["an-HS256-secret-of-more-than-32-bytes", "smtp-password-7421", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", &format!("sk_{}", "5ec7e7".repeat(10) + "abcd")];
        let [hs256, password, webhook, former, key] = secrets;
        let mut initech = TenantSettings { slug: "initech-works".into(), secret_keys: vec![Secret::new(key)], ..TenantSettings::default() };
        initech.tokens.algorithm = Algorithm::Hs256;
        initech.tokens.secret = Some(Secret::new(hs256));
        initech.mail.from = Some("no-reply@initech.example".into());
        initech.mail.transport = Some(Secret::new(format!("smtp://initech:{password}@{}", app.mail.address())));
        let url = "https://hooks.initech.example/".parse().unwrap();
        initech.webhooks = vec![Webhook { url, secret: Secret::new(webhook), former_secret: Some(Secret::new(former)), events: vec![] }];
        app.restart(|config| config.tenants.push(initech)).await;

        let shop = tenant::by_slug(&app.engine, "initech-works").await.unwrap();
        assert_eq!(shop.keys.current.material(), hs256.as_bytes(), "the settings arrived");
        let places = everywhere(app, &rest).await;
        for secret in secrets {
            AtRest::assert_absent(&places, secret, secret.as_bytes());
        }
        let acme = tenant::by_slug(&app.engine, "acme").await.unwrap();
        let document = acme.keys.current.material();
        // PKCS #8: the key itself is 32 bytes after a header of 16.
        for (name, bytes) in [("the private key", &document[16..48]), ("its document", document)] {
            AtRest::assert_absent(&places, name, bytes);
        }
        // The search finds what is there.
        assert!(!AtRest::found(&places, b"initech-works").is_empty(), "the shop was not found");
    }
}
