//! Registering: one login per address, whatever its spelling and whoever races.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use vestibule_engine::model::tenant::{Algorithm, Limits, Secret};
use vestibule_engine::ops::sweep::sweep;
use vestibule_engine::testing::number;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::client::{Answer, Shop, claims, header};
use crate::support::each_db;

const IDENTITIES: &str = "SELECT COUNT(*) FROM identities";
const SECRET: &str = "a-shared-secret-of-more-than-32-bytes";

/// Statuses that a loser may get: refused, or told to wait. Never a fault of the server.
fn assert_losers(answers: &[Answer]) {
    for answer in answers.iter().filter(|a| a.status != 200) {
        assert!(matches!(answer.status, 401 | 429), "{}: {}", answer.status, answer.text);
    }
}

fn winners(answers: &[Answer]) -> usize {
    answers.iter().filter(|a| a.status == 200).count()
}

async fn room_for_many(app: &mut TestApp) {
    app.restart(|config| config.tenants[0].limits.registrations_per_client = 10_000).await;
}

each_db! {
    async fn what_nobody_became_a_customer_with_is_forgotten_a_month_after_its_last_use(app: TestApp) {
        const MONTH: Duration = Duration::from_hours(30 * 24);
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        for address in ["squatter@example.com", "undecided@example.com"] {
            shop.register(address, PASSWORD).await.expect_status(200);
        }
        let staff = shop.post("/auth/user/emailpass/register").json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await;
        staff.expect_status(200);
        app.clock.advance(MONTH.saturating_sub(Duration::from_secs(1)));
        shop.sign_in("undecided@example.com", PASSWORD).await.expect_status(200);
        sweep(&app.engine).await.unwrap();
        assert_eq!(number(&app.engine, IDENTITIES).await.unwrap(), 4);
        app.clock.advance(Duration::from_secs(1));
        sweep(&app.engine).await.unwrap();
        assert_eq!(number(&app.engine, IDENTITIES).await.unwrap(), 2);
        shop.sign_in("squatter@example.com", PASSWORD).await.expect_status(401);
        // Whoever comes back in time goes on where they stopped, and whoever became a customer stays one.
        let token = shop.register("undecided@example.com", PASSWORD).await.expect_status(200).token();
        shop.post("/store/customers").bearer(&token).json(&json!({"email": "undecided@example.com"})).send().await.expect_status(200);
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        // The address is its owner's again.
        shop.register("squatter@example.com", NEW_PASSWORD).await.expect_status(200);
    }

    async fn the_token_carries_every_claim_and_no_actor(app: TestApp) {
        let shop = app.acme();
        let token = shop.register(ADDRESS, PASSWORD).await.expect_status(200).token();
        let found = claims(&token);
        let names: Vec<_> = found.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["actor_id", "actor_type", "auth_identity_id", "auth_provider", "mfa_enabled", "mfa_challenge_completed_at",
            "app_metadata", "user_metadata", "iss", "aud", "iat", "exp", "jti", "sid"]);
        let now = app.clock.now().seconds();
        for (name, value) in [
            ("actor_id", json!("")),
            ("actor_type", json!("customer")),
            ("auth_provider", json!("emailpass")),
            ("mfa_enabled", json!(false)),
            ("mfa_challenge_completed_at", json!(null)),
            ("app_metadata", json!({})),
            ("user_metadata", json!({})),
            ("iss", json!("https://acme.api.example.com")),
            ("aud", json!("acme")),
            ("iat", json!(now)),
            ("exp", json!(now + 86_400)),
        ] {
            assert_eq!(found[name], value, "{name}");
        }
        assert!(found["auth_identity_id"].as_str().unwrap().starts_with("authid_"));
        let head: serde_json::Value = serde_json::from_str(&header(&token)).unwrap();
        assert_eq!((&head["alg"], &head["typ"], head.as_object().unwrap().len()), (&json!("EdDSA"), &json!("JWT"), 3));
        // After the customer is made, the same claims name it.
        let created = shop.post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS})).send().await.expect_status(200).json();
        let signed_in = claims(&shop.sign_in(ADDRESS, PASSWORD).await.token());
        assert_eq!(signed_in["actor_id"], created["customer"]["id"]);
        assert_eq!(signed_in["app_metadata"], json!({"customer_id": created["customer"]["id"]}));
        assert_ne!((&signed_in["jti"], &signed_in["sid"]), (&found["jti"], &found["sid"]));
    }

    async fn an_hs256_token_has_the_two_member_header(app: TestApp) {
        app.restart(|config| {
            config.tenants[0].tokens.algorithm = Algorithm::Hs256;
            config.tenants[0].tokens.secret = Some(Secret::new(SECRET));
        }).await;
        let token = app.acme().register(ADDRESS, PASSWORD).await.token();
        assert_eq!(header(&token), r#"{"alg":"HS256","typ":"JWT"}"#);
        app.acme().post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS})).send().await.expect_status(200);
    }

    async fn r1_an_address_has_one_login_in_every_spelling(app: TestApp) {
        let shop = app.acme();
        let spellings = ["Ann.Lee@Example.com", "ann.lee@example.com", "  ANN.LEE@EXAMPLE.COM ", "ann.lee@eXample.Com\t"];
        let mut ids = Vec::new();
        for spelling in spellings {
            let token = shop.register(spelling, PASSWORD).await.expect_status(200).token();
            ids.push(claims(&token)["auth_identity_id"].clone());
            ids.push(claims(&shop.sign_in(spelling, PASSWORD).await.expect_status(200).token())["auth_identity_id"].clone());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
        assert_eq!(number(&app.engine, IDENTITIES).await.unwrap(), 1);
        // Looked up in one form, kept in the owner's.
        let token = shop.register(spellings[1], PASSWORD).await.token();
        let made = shop.post("/store/customers").bearer(&token).json(&json!({"email": " ANN.Lee@example.com"})).send().await.expect_status(200);
        assert_eq!(made.json()["customer"]["email"], "ANN.Lee@example.com");
        shop.request_reset("ann.lee@EXAMPLE.com").await.expect_status(201);
        app.settle().await;
        app.next_mail("Ann.Lee@Example.com").await; // R44: as first registered
    }

    async fn r2_r3_r4_r5_r6_what_is_no_single_address_is_refused_everywhere(app: TestApp) {
        let shop = app.acme();
        shop.register("kim@example.com", PASSWORD).await.expect_status(200);
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("{}@{}.example", "a".repeat(60), "b".repeat(63).as_str().to_owned() + &format!(".{}", "c".repeat(63)).repeat(3));
        let huge = format!("{}@example.com", "a".repeat(90_000));
        for text in [
            "ann", "@example.com", "ann@", "v@x.test\u{FF20}evil.test", "v\u{FE6B}x.test", "\u{212A}im@example.com", "v@x.test,w@x.test",
            "v@x.test;w@x.test", "\"a@evil.test\"@x.test", "v@x.test\r\nBcc: a@evil.test", "v\0@x.test", "a@xn--example-.test", "Ann <ann@x.test>",
            &long_local, &long, &huge,
        ] {
            shop.register(text, PASSWORD).await.expect_error(400, "Invalid email address");
            shop.sign_in(text, PASSWORD).await.expect_error(400, "Invalid email address");
            shop.request_reset(text).await.expect_error(400, "Invalid email address");
        }
        app.settle().await;
        assert_eq!(number(&app.engine, IDENTITIES).await.unwrap(), 1);
    }

    async fn r9_only_who_knows_the_password_goes_on_where_they_stopped(app: TestApp) {
        let shop = app.acme();
        let first = shop.register(ADDRESS, PASSWORD).await.token();
        app.restart(|_| ()).await;
        let shop = app.acme();
        shop.register(ADDRESS, NEW_PASSWORD).await.expect_error(401, "Identity with email already exists");
        let again = shop.register(ADDRESS, PASSWORD).await.expect_status(200).token();
        assert_eq!(claims(&first)["auth_identity_id"], claims(&again)["auth_identity_id"]);
        shop.post("/store/customers").bearer(&again).json(&json!({"email": ADDRESS})).send().await.expect_status(200);
        // A login with an actor is nobody's to resume.
        let taken = shop.register(ADDRESS, PASSWORD).await.expect_error(401, "Identity with email already exists");
        assert_eq!(taken.text, r#"{"type":"unauthorized","message":"Identity with email already exists"}"#);
        shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(401);
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn r8_of_50_concurrent_registrations_one_makes_the_login(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        let passwords: Vec<String> = (0..50).map(|n| format!("a-Password-{n:02}-of-many")).collect();
        let answers = join_all(passwords.iter().map(|password| shop.register(ADDRESS, password))).await;
        assert_losers(&answers);
        assert_eq!(winners(&answers), 1);
        assert_eq!(number(&app.engine, IDENTITIES).await.unwrap(), 1);
        // The winner's password is the one that works.
        let won = answers.iter().position(|a| a.status == 200).unwrap();
        let token = answers[won].token();
        app.clock.advance(Duration::from_hours(3));
        shop.post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS})).send().await.expect_status(200);
        shop.sign_in(ADDRESS, &passwords[won]).await.expect_status(200);
        shop.sign_in(ADDRESS, &passwords[(won + 1) % 50]).await.expect_status(401);
    }

    async fn r8_of_50_with_one_password_all_get_one_login(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        let answers = join_all((0..50).map(|_| shop.register(ADDRESS, PASSWORD))).await;
        assert_losers(&answers);
        let mut ids: Vec<_> = answers.iter().filter(|a| a.status == 200).map(|a| claims(&a.token())["auth_identity_id"].to_string()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1);
        assert_eq!(number(&app.engine, IDENTITIES).await.unwrap(), 1);
    }

    async fn r16_to_r19_a_password_is_refused_by_name(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        let (short, common) = ("Password must be at least 8 characters long", "Password is too common");
        let (long, context) = ("Password must be at most 1024 bytes long", "Password must not contain the name of the shop or your address");
        for (password, message) in [
            ("zkwmqxv", short), ("\u{1F511}zkwmqx", short), ("e\u{301}zkwmqx", short), ("password", common), ("PassWord1", common),
            ("acme2024", context), ("2024Acme", context), (&"z".repeat(1025), long), (&"z".repeat(90_000), long),
        ] {
            let answer = shop.register("anna@example.com", password).await.expect_error(400, message);
            assert_eq!(answer.json()["type"], "invalid_data");
        }
        shop.register("zacharias@example.com", "zacharias99").await.expect_error(400, context);
        for (n, password) in ["zkwmqxvbnthrdplsgfjc", "        ", "\u{1F511}zkwmqxv", &"z".repeat(64), &"z".repeat(1024)].iter().enumerate() {
            let address = format!("customer{n}@example.com");
            shop.register(&address, password).await.expect_status(200);
            shop.sign_in(&address, password).await.expect_status(200);
        }
    }

    async fn r21_r22_the_whole_password_counts_and_only_its_accents_are_composed(app: TestApp) {
        let shop = app.acme();
        let long = "z".repeat(1024);
        let changed = |at: usize| format!("{}y{}", &long[..at], &long[at + 1..]);
        let cases: [(&str, &str, &[&str]); 4] = [
            ("a@example.com", &long, &[&changed(72), &changed(128), &changed(1023), &long[..1023], &format!("{long}z")]),
            ("b@example.com", "zkwmqxvb", &["zkwmqxvb ", " zkwmqxvb", "ZKWMQXVB", "zkwmqxvb\0"]),
            ("c@example.com", "zkwmqx\0b", &["zkwmqx\0c", "zkwmqx"]),
            ("d@example.com", "caf\u{E9}-zkwmqx", &["cafe-zkwmqx"]),
        ];
        for (address, password, others) in cases {
            shop.register(address, password).await.expect_status(200);
            for other in others {
                shop.sign_in(address, other).await.expect_error(401, "Invalid email or password");
            }
            shop.sign_in(address, password).await.expect_status(200);
        }
        shop.sign_in("d@example.com", "cafe\u{301}-zkwmqx").await.expect_status(200);
    }

    async fn r34_r36_registrations_are_budgeted_per_client(app: TestApp) {
        let shop = app.acme();
        for n in 0..20 {
            forwarded(&shop, n).await.expect_status(200);
        }
        let refused = forwarded(&shop, 20).await.expect_error(429, "Too many requests. Please try again later.");
        assert_eq!(refused.header("retry-after"), "3601");
        assert_eq!(refused.json()["type"], "too_many_requests");
        // Another shop's budget is its own.
        app.globex().register(ADDRESS, PASSWORD).await.expect_status(200);
        app.restart(|_| ()).await;
        app.clock.advance(Duration::from_secs(3_599));
        forwarded(&app.acme(), 20).await.expect_status(429);
        app.clock.advance(Duration::from_secs(1));
        forwarded(&app.acme(), 20).await.expect_status(200);
    }

    async fn r37_registrations_are_budgeted_per_shop(app: TestApp) {
        assert_eq!(Limits::default().registrations_per_tenant, 2_000);
        app.restart(|config| {
            config.tenants[0].limits.registrations_per_tenant = 5;
            config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        }).await;
        // Each comes from another client.
        let shop = app.acme();
        let answers = join_all((0..30).map(|n| forwarded(&shop, n))).await;
        let refused: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
        assert_eq!((winners(&answers), refused.len(), refused[0].header("retry-after")), (5, 25, "3601"));
        assert_eq!(number(&app.engine, IDENTITIES).await.unwrap(), 5);
        forwarded(&app.globex(), 1).await.expect_status(200);
        app.clock.advance(Duration::from_hours(1));
        forwarded(&shop, 40).await.expect_status(200);
    }

    async fn a_resumed_registration_that_could_not_be_hashed_is_no_failure(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        shop.register(ADDRESS, PASSWORD).await.expect_status(200);
        for _ in 0..12 {
            app.engine.hasher.fail_next();
            shop.register(ADDRESS, PASSWORD).await.expect_status(500);
        }
        for _ in 0..9 {
            shop.register(ADDRESS, NEW_PASSWORD).await.expect_status(401);
        }
        app.engine.hasher.fail_next();
        shop.register(ADDRESS, PASSWORD).await.expect_status(500);
        shop.register(ADDRESS, NEW_PASSWORD).await.expect_status(401);
        shop.register(ADDRESS, PASSWORD).await.expect_status(429);
    }

    async fn forms_are_read_like_json(app: TestApp) {
        let shop = app.acme();
        let form = |path: &str, body: &str| shop.post(path).header("content-type", "application/x-www-form-urlencoded").body(body.to_owned()).send();
        let body = "email=ann%40example.com&password=an-Old-pass-8";
        form("/auth/customer/emailpass/register", body).await.expect_status(200);
        form("/auth/customer/emailpass", body).await.expect_status(200);
        // R39
        let twice = form("/auth/customer/emailpass", &format!("{body}&password=x")).await;
        twice.expect_error(400, "The field 'password' is given twice");
    }

    async fn a_customer_of_one_shop_is_unknown_to_the_other(app: TestApp) {
        customer(&app.acme(), ADDRESS).await;
        app.globex().sign_in(ADDRESS, PASSWORD).await.expect_error(401, "Invalid email or password");
        app.globex().register(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        app.globex().sign_in(ADDRESS, PASSWORD).await.expect_status(401);
    }
}

/// Registers customer number `n`, who claims to come from elsewhere.
async fn forwarded(shop: &Shop, n: u32) -> Answer {
    let body = json!({"email": format!("customer{n}@example.com"), "password": PASSWORD});
    let call = shop.post("/auth/customer/emailpass/register").json(&body);
    let address = format!("198.51.100.{n}");
    call.header("x-forwarded-for", &address).header("forwarded", &format!("for={address}")).header("x-real-ip", &address).send().await
}
