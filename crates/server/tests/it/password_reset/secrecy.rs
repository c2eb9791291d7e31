//! R47, R148: no token and no password rests in the database, its log or ours.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use vestibule_engine::notify::sink::Mode;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, token_in};
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

/// Every file of the database, as it lies on the disk.
fn files(app: &TestApp) -> Vec<(String, String)> {
    let Some(directory) = app.database.directory() else { return Vec::new() };
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.display().to_string(), String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned())).collect()
}

async fn assert_nowhere(app: &TestApp, secrets: &[String]) {
    let dump = app.database.everything().await.unwrap();
    let logged = String::from_utf8_lossy(&log().0.lock().unwrap()).into_owned();
    let mut places = files(app);
    places.extend([("a dump".to_owned(), dump), ("the log".to_owned(), logged)]);
    for (place, text) in places {
        for secret in secrets {
            assert!(!text.contains(secret), "{place} holds {secret}");
        }
    }
}

each_db! {
    async fn r47_no_token_rests_anywhere(app: TestApp) {
        log();
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
        assert_nowhere(app, &secrets).await;
        // The search finds what is there: the row that the token is made from.
        assert!(app.database.everything().await.unwrap().contains(&jti));
        assert!(app.database.directory().is_none() || files(app).iter().any(|(_, text)| text.contains(&jti)), "the files were not read");
        assert!(!log().0.lock().unwrap().is_empty(), "nothing was logged");

        app.mail.set_mode(Mode::Accept);
        app.advance(std::time::Duration::from_secs(10));
        app.settle().await;
        let token = token_in(&app.next_mail(ADDRESS).await);
        secrets.extend(pieces(&token));
        assert_nowhere(app, &secrets).await;
        let page = acme.get(&format!("/account/reset-password?token={token}")).send().await.expect_status(200);
        assert!(page.text.contains(&token));
        acme.complete_reset(&token, "short").await.expect_status(400);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(401);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        secrets.push(acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200).token());
        assert_nowhere(app, &secrets).await;
    }
}
