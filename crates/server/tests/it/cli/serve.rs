//! `vestibule serve`: it starts with what is right, says what is wrong, and never starts empty over what it cannot read.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use vestibule_engine::testing::{rows_of_file, run_on_file};

use super::{ACME, LOCAL, PUBLIC, config};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, publishable_key};
use crate::support::binary::{Desk, MASTER, OTHER_MASTER, bytes_of};

const HOST: &str = "acme.localhost";

/// A shop that customers can use.
fn acme() -> String {
    ACME.replace("[tenants.mail]", &format!("publishable_keys = [\"{}\"]\n[tenants.mail]", publishable_key("acme")))
}

#[test]
fn r14_a_server_that_strangers_reach_does_not_start_with_a_weak_secret() {
    let hs256 =
        |secret: &str| acme().replace("[tenants.mail]", &format!("tokens.algorithm = \"HS256\"\ntokens.secret = \"{secret}\"\n[tenants.mail]"));
    for (secret, words) in [("supersecret", "well-known"), ("8-bytes.", "shorter than 32 bytes"), ("", "required for HS256")] {
        let desk = Desk::new(&config(PUBLIC, &hs256(secret)));
        let ended = desk.run(&["serve"]).expect_words(2, &["tenant acme: tokens.secret", words]);
        assert!(secret.is_empty() || !ended.stderr.contains(secret), "{}", ended.stderr);
        assert!(!desk.path("v.db").exists(), "nothing was begun");
    }
    let missing = config(PUBLIC, &acme()).replace(&format!("master = \"{MASTER}\""), "");
    Desk::new(&missing).run(&["serve"]).expect_words(2, &["keys.master is missing"]);
}

#[test]
fn r14_a_server_of_this_machine_says_what_is_relaxed() {
    let text = config(LOCAL, &acme().replace("[tenants.mail]", "tokens.algorithm = \"HS256\"\ntokens.secret = \"supersecret\"\n[tenants.mail]"));
    let server = Desk::new(&text.replace(&format!("master = \"{MASTER}\""), "")).serve();
    let (status, printed) = server.stop();
    assert_eq!(status.code(), Some(0), "{printed}");
    for words in ["warning: keys.master is missing", "warning: tenant acme: tokens.secret is a well-known word"] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
}

/// Contract 19.15: the same words at the start and, for whoever watches it, while it runs.
#[tokio::test]
async fn a_running_server_warns_of_an_event_that_nobody_sends() {
    let hook = "[[tenants.webhooks]]\nurl = \"https://h.example\"\nsecret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\"\nevents = [\"auth.password_reset\"]\n";
    let tenants = format!("[[tenants]]\nslug = \"globex\"\n{}{hook}", acme());
    let server = Desk::new(&config(LOCAL, &tenants)).serve();
    let ready = server.shop(HOST, "").get("/readyz").send().await.expect_status(200).json();
    let warnings = [
        "tenant globex: auth.password_reset has no subscriber: nobody will send the customer anything",
        "tenant acme: auth.password_reset is heard by the mailer and by another: the customer may be written to twice",
    ];
    assert_eq!(ready["warnings"], serde_json::json!(warnings));
    let (_, printed) = server.stop();
    assert!(warnings.iter().all(|words| printed.contains(&format!("vestibule: warning: {words}"))), "{printed}");
}

#[tokio::test]
async fn nothing_to_warn_of_is_no_warning() {
    let server = Desk::new(&config(LOCAL, &acme())).serve();
    assert_eq!(server.shop(HOST, "").get("/readyz").send().await.json()["warnings"], serde_json::json!([]));
    assert!(!server.stop().1.contains("warning"));
}

#[test]
fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let desk = Desk::new(&config(&format!("listen = \"{address}\""), &acme()));
    desk.run(&["serve"]).expect_words(1, &[&format!("cannot listen on {address}"), "in use"]);
    desk.run(&["dev", "--listen", &address]).expect_words(1, &[&format!("cannot listen on {address}"), "in use"]);
}

/// A database that a server has made and closed.
fn used_database() -> Desk {
    let desk = Desk::new(&config(LOCAL, &acme()));
    assert_eq!(desk.serve().stop().0.code(), Some(0));
    desk
}

/// `serve` fails with these words, and the database is what it was.
#[track_caller]
fn refused(desk: &Desk, environment: &[(&str, &str)], words: &[&str]) {
    let before = bytes_of(&desk.path("v.db"));
    desk.run_in(&["serve"], environment).expect_words(1, words);
    desk.run_in(&["tenant", "list"], environment).expect_words(1, words);
    assert!(before == bytes_of(&desk.path("v.db")), "the database was changed");
}

#[test]
fn a_wrong_master_key_is_refused_also_when_nothing_is_declared() {
    let desk = used_database();
    for text in [config(LOCAL, &acme()), config(LOCAL, "")] {
        desk.write("vestibule.toml", text);
        for environment in
            [&[("VESTIBULE__KEYS__MASTER", OTHER_MASTER)], &[("VESTIBULE__KEYS__MASTER", "dmVzdGlidWxlIGRldmVsb3BtZW50IG1hc3RlciBrZXk=")]]
        {
            let environment: &[(&str, &str)] = environment;
            let ended = desk.run_in(&["serve"], environment).expect(2);
            assert!(ended.stderr.contains("keys.master is not the key that sealed this database"), "{}", ended.stderr);
            assert_eq!(desk.run_in(&["tenant", "create", "globex"], environment).code, Some(2));
        }
    }
    let listed = desk.run(&["tenant", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(desk.serve().stop().0.code(), Some(0), "the right key still opens it");
}

#[test]
fn a_damaged_database_is_refused_and_left_as_it_is() {
    let desk = used_database();
    run_on_file(&desk.path("v.db"), "SELECT 1").unwrap();
    let good = bytes_of(&desk.path("v.db"));
    let mut head = good.clone();
    head[..16].copy_from_slice(b"no database here");
    let mut middle = good.clone();
    middle[4096..].fill(0x5a);
    for bad in [head, middle, good[..good.len() / 2].to_vec(), b"hello".to_vec()] {
        desk.write("v.db", bad);
        refused(&desk, &[], &["the database cannot be used: "]);
    }
    desk.write("v.db", good);
    assert_eq!(desk.serve().stop().0.code(), Some(0));
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let desk = Desk::new(&config(LOCAL, &acme()));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://vestibule:hunter2hunter2@{nobody}/vestibule");
    let ended = desk.run_in(&["serve"], &[("VESTIBULE__DATABASE__URL", url.as_str())]).expect_words(1, &["the database cannot be used: "]);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    desk.run_in(&["serve"], &[("VESTIBULE__DATABASE__URL", "sqlite://no/such/folder/v.db")]).expect_words(1, &["the database cannot be used: "]);
}

/// Every secret that a configuration can hold, and those of customers, with the logs at their loudest.
#[tokio::test]
async fn r149_secrets_are_printed_nowhere() {
    let hs256 = "tokens.algorithm = \"HS256\"\ntokens.secret = \"hs256-secret-of-thirty-two-bytes!\"\n";
    let tenants = acme()
        .replace("[tenants.mail]", &format!("secret_keys = [\"sk_{}\"]\n{hs256}[tenants.mail]", "5e".repeat(32)))
        .replace("smtp://127.0.0.1:1", "smtp://mailer:smtp-password-7@127.0.0.1:1");
    let hook = "[[tenants.webhooks]]\nurl = \"http://127.0.0.1:1/\"\nsecret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\"\nevents = [\"*\"]\n";
    let desk = Desk::new(&config(LOCAL, &format!("{tenants}{hook}")));
    let server = desk.serve_in(&[("VESTIBULE_LOG", "trace")]);
    let shop = server.shop(HOST, &publishable_key("acme"));
    let token = shop.register(ADDRESS, PASSWORD).await.expect_status(200).token();
    shop.post("/store/customers").bearer(&token).json(&serde_json::json!({"email": ADDRESS})).send().await.expect_status(200);
    let session = shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200).token();
    shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(401);
    shop.me(&session).await.expect_status(200);
    shop.request_reset(ADDRESS).await.expect_status(201);
    shop.get(&format!("/account/reset-password?token={session}")).send().await.expect_status(200);
    // The mail cannot be sent, and the log says so: by then the token of the reset has been made.
    server.line(|line| line.contains("will be tried again").then(String::new));
    let (status, mut printed) = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(printed.contains("DEBUG"), "the logs were on");
    let more = [
        desk.run_in(&["check"], &[("VESTIBULE_LOG", "trace")]),
        desk.run_in(&["tenant", "show", "acme"], &[("VESTIBULE_LOG", "trace")]),
        desk.run_in(&["tenant", "show", "acme", "--json"], &[("VESTIBULE_LOG", "trace")]),
        desk.run_in(&["key", "list", "--tenant", "acme"], &[("VESTIBULE_LOG", "trace")]),
    ];
    printed.extend(more.iter().map(|ended| format!("{}{}", ended.stdout, ended.stderr)));
    let jwt_ends: Vec<&str> = [&token, &session].iter().map(|t| t.rsplit('.').next().unwrap()).collect();
    let secrets = [MASTER, "hs256-secret", &"5e".repeat(8), "smtp-password-7", "MDEyMzQ1Njc4", PASSWORD, NEW_PASSWORD, "$argon2"];
    for secret in secrets.iter().chain(&jwt_ends) {
        let line = printed.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in: {}", line.unwrap());
    }
}

/// A database with one more migration than this program knows.
#[test]
fn a_database_of_a_newer_version_is_refused() {
    let desk = used_database();
    let later = "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (9999, 'later', 'later', 0)";
    run_on_file(&desk.path("v.db"), later).unwrap();
    refused(&desk, &[], &["the database was written by a newer version (migration 9999)", "start that version"]);
}

/// SIGTERM: what has begun is done and answered, and nobody new is let in.
#[test]
fn a_request_that_has_begun_is_answered_after_sigterm_and_nobody_new_is_let_in() {
    let server = Desk::new(&config(LOCAL, &acme())).serve();
    let address = server.base.strip_prefix("http://").unwrap().to_owned();
    let mut client = TcpStream::connect(&address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body = format!(r#"{{"email":"{ADDRESS}","password":"{PASSWORD}"}}"#);
    let (first, rest) = body.split_at(10);
    let length = body.len();
    write!(
        client,
        "POST /auth/customer/emailpass/register HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    )
    .unwrap();
    // It is told to go on once the server is waiting for the body.
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut told = vec![0; go_on.len()];
    client.read_exact(&mut told).unwrap();
    assert_eq!(String::from_utf8(told).unwrap(), go_on);
    client.write_all(first.as_bytes()).unwrap();
    server.terminate();
    let refused = (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        TcpStream::connect(&address).is_err()
    });
    assert!(refused, "it still listens");
    client.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"token\""), "{answer}");
    let (status, printed) = server.stop();
    assert_eq!(status.code(), Some(0), "{printed}");
}

/// Contract 19: what guessing at a stolen copy costs is what the real program stores, whatever tests store.
#[tokio::test]
async fn a_password_is_kept_as_argon2id_at_its_full_cost() {
    let desk = Desk::new(&config(LOCAL, &acme()));
    let server = desk.serve();
    server.shop(HOST, &publishable_key("acme")).register(ADDRESS, PASSWORD).await.expect_status(200);
    assert_eq!(server.stop().0.code(), Some(0));
    let kept = rows_of_file(&desk.path("v.db"), "SELECT password_hash FROM identities").await.unwrap();
    assert!(kept.len() == 1 && kept[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept:?}");
}
