//! Signing in: one answer for whatever is wrong, and budgets that hold whoever guesses from wherever.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use vestibule_engine::ops::sweep::sweep;
use vestibule_engine::testing::execute;

use crate::app_sign_in::member;
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, assert_same, customer};
use crate::support::client::{Answer, Shop};
use crate::support::each_db;

const WRONG: &str = "a-Wrong-pass-1";
const UNKNOWN: &str = "nobody@example.com";
const REFUSED: &str = "Invalid email or password";

/// So many wrong guesses; their statuses.
async fn guess(shop: &Shop, address: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(shop.sign_in(address, WRONG).await.status);
    }
    statuses
}

fn seconds_to_wait(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

async fn room_for_many(app: &mut TestApp) {
    app.restart(|config| {
        let limits = &mut config.tenants[0].limits;
        (limits.sign_ins_per_client, limits.sign_ins_per_tenant) = (100_000, 100_000);
    })
    .await;
}

/// The verdict on a wrong guess. Whoever is told that the server is busy comes again, as `Retry-After` asks.
async fn judged(shop: &Shop, address: &str) -> Answer {
    for _ in 0..200 {
        let answer = shop.sign_in(address, WRONG).await;
        if answer.status != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("busy to the end");
}

each_db! {
    async fn r28_unknown_wrong_and_without_a_password_are_answered_alike(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        shop.register("bob@example.com", PASSWORD).await.expect_status(200);
        shop.register("eve@example.com", PASSWORD).await.expect_status(200);
        execute(&app.engine, "UPDATE identities SET password_hash = NULL WHERE entity_id = 'eve@example.com'").await.unwrap();
        let wrong = shop.sign_in(ADDRESS, WRONG).await.expect_error(401, REFUSED);
        assert_eq!(wrong.text, r#"{"type":"unauthorized","message":"Invalid email or password"}"#);
        assert_same(&wrong, &shop.sign_in(UNKNOWN, WRONG).await);
        assert_same(&wrong, &shop.sign_in("bob@example.com", WRONG).await); // no customer yet
        assert_same(&wrong, &shop.sign_in("eve@example.com", PASSWORD).await); // no password
        assert_same(&wrong, &shop.sign_in(ADDRESS, &"z".repeat(1025)).await); // R25: can be nobody's
        // R114: another actor type is another login.
        let staff = shop.post("/auth/user/emailpass").json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await;
        assert_same(&wrong, &staff);
    }

    async fn r24_a_hash_of_another_cost_is_made_anew_when_its_owner_comes(app: TestApp) {
        // Of the password `password`.
        const FOREIGN: &str = "UPDATE identities SET password_hash = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'";
        let shop = app.acme();
        shop.register(ADDRESS, PASSWORD).await.expect_status(200);
        execute(&app.engine, FOREIGN).await.unwrap();
        let kept = async || app.rows("SELECT password_hash FROM identities").await.remove(0);
        shop.sign_in(ADDRESS, PASSWORD).await.expect_error(401, REFUSED);
        assert!(FOREIGN.contains(&kept().await), "a wrong guess changes nothing");
        shop.sign_in(ADDRESS, "password").await.expect_status(200);
        let anew = kept().await;
        assert!(anew.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{anew}");
        shop.sign_in(ADDRESS, "password").await.expect_status(200);
        assert_eq!(kept().await, anew, "once is enough");
    }

    async fn r31_r32_exactly_ten_of_200_concurrent_guesses_are_looked_at(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        for address in [ADDRESS, UNKNOWN] {
            let answers = join_all((0..200).map(|_| judged(&shop, address))).await;
            let of = |status: u16| answers.iter().filter(|a| a.status == status).count();
            assert_eq!((of(401), of(429)), (10, 190), "{address}");
        }
        // The right password is one more guess.
        let refused = shop.sign_in(ADDRESS, PASSWORD).await.expect_error(429, "Too many requests. Please try again later.");
        assert_eq!(refused.text, r#"{"type":"too_many_requests","message":"Too many requests. Please try again later."}"#);
    }

    async fn r30_the_pause_grows_from_15_minutes_to_an_hour_for_known_and_unknown_alike(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let told = |minutes: u64| minutes * 60 + 1;
        for minutes in [15, 30, 60, 60] {
            for address in [ADDRESS, UNKNOWN] {
                assert_eq!(guess(&shop, address, 10).await, [401; 10], "{minutes} minutes, {address}");
                assert_eq!(seconds_to_wait(&shop.sign_in(address, WRONG).await.expect_status(429)), told(minutes), "{address}");
            }
            app.clock.advance(Duration::from_secs(minutes * 60 - 1));
            for address in [ADDRESS, UNKNOWN] {
                assert_eq!(seconds_to_wait(&shop.sign_in(address, WRONG).await.expect_status(429)), 2, "{address}");
            }
            app.clock.advance(Duration::from_secs(1));
        }
        // A window that was not used up is followed by a short one.
        assert_eq!(guess(&shop, ADDRESS, 9).await, [401; 9]);
        app.clock.advance(Duration::from_hours(1));
        assert_eq!(guess(&shop, ADDRESS, 10).await, [401; 10]);
        assert_eq!(seconds_to_wait(&shop.sign_in(ADDRESS, WRONG).await.expect_status(429)), told(15));
    }

    async fn r35_the_count_outlives_the_server(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        assert_eq!(guess(&shop, ADDRESS, 9).await, [401; 9]);
        app.restart(|_| ()).await;
        assert_eq!(guess(&app.acme(), ADDRESS, 2).await, [401, 429]);
    }

    async fn a_success_gives_the_whole_budget_back(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        for _ in 0..2 {
            assert_eq!(guess(&shop, ADDRESS, 9).await, [401; 9]);
            shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        }
        // Every spelling spends from one budget.
        assert_eq!(guess(&shop, "ANN@example.com", 9).await, [401; 9]);
        assert_eq!(guess(&shop, ADDRESS, 2).await, [401, 429]);
    }

    async fn r33_the_owner_comes_back_by_a_reset(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        guess(&shop, ADDRESS, 10).await;
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(429);
        let token = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await; // "your password was changed"
    }

    async fn r33_strangers_who_go_on_guessing_keep_the_owner_from_nothing_after_a_reset(app: TestApp) {
        room_for_many(app).await;
        app.restart(|config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let from = async |ip: &str, address: &str, password: &str| {
            let call = shop.post("/auth/customer/emailpass").json(&json!({"email": address, "password": password}));
            call.header("x-forwarded-for", ip).send().await.status
        };
        let token = app.reset_token(&shop, ADDRESS).await;
        let update = shop.post("/auth/customer/emailpass/update").bearer(&token).json(&json!({"password": NEW_PASSWORD}));
        update.header("x-forwarded-for", "198.51.100.7").send().await.expect_status(200);
        for n in 0..10 {
            assert_eq!(from(&format!("203.0.113.{n}"), ADDRESS, WRONG).await, 401);
        }
        assert_eq!(from("203.0.113.99", ADDRESS, NEW_PASSWORD).await, 429, "a stranger's client");
        assert_eq!(from("198.51.100.7", ADDRESS, NEW_PASSWORD).await, 200, "the client that has set the password");
        // Nobody judged this one: it is given back, and to whom it was taken from.
        for n in 0..10 {
            assert_eq!(from(&format!("203.0.113.{n}"), ADDRESS, WRONG).await, 401);
        }
        app.engine.hasher.fail_next();
        assert_eq!(from("198.51.100.7", ADDRESS, NEW_PASSWORD).await, 500);
        assert_eq!(from("203.0.113.99", ADDRESS, WRONG).await, 429);
        assert_eq!(from("198.51.100.7", ADDRESS, NEW_PASSWORD).await, 200);
        // Five in all.
        for n in 0..10 {
            assert_eq!(from(&format!("203.0.113.{n}"), ADDRESS, WRONG).await, 401);
        }
        for _ in 0..3 {
            assert_eq!(from("198.51.100.7", ADDRESS, WRONG).await, 401);
        }
        assert_eq!(from("198.51.100.7", ADDRESS, NEW_PASSWORD).await, 429);
        // They count in the row, too.
        assert_eq!(app.rows("SELECT spent FROM limits WHERE name = 'failed_sign_ins_in_a_row'").await, ["13"]);
        app.settle().await;
        app.next_mail(ADDRESS).await; // "your password was changed"
    }

    async fn r33_what_a_client_has_after_a_reset_is_over_after_an_hour(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let token = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await; // "your password was changed"
        app.clock.advance(Duration::from_mins(59));
        // Another address has nothing of it, nor has the staff's login of the same.
        assert_eq!(guess(&shop, "bob@example.com", 11).await[10], 429);
        let mut staff = Vec::new();
        for _ in 0..11 {
            let call = shop.post("/auth/user/emailpass").json(&json!({"email": ADDRESS, "password": WRONG}));
            staff.push(call.send().await.status);
        }
        assert_eq!(staff[9..], [401, 429]);
        assert_eq!(guess(&shop, ADDRESS, 12).await, [401; 12]);
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(guess(&shop, ADDRESS, 14).await, [429; 14]);
    }

    async fn r34_a_client_has_60_sign_ins_a_minute_whatever_it_says_of_itself(app: TestApp) {
        let shop = app.acme();
        let from = async |shop: &Shop, n: usize| {
            let body = json!({"email": format!("customer{n}@example.com"), "password": WRONG});
            let address = format!("198.51.100.{n}");
            let call = shop.post("/auth/customer/emailpass").json(&body).header("x-forwarded-for", &address);
            call.header("forwarded", &format!("for={address}")).header("x-real-ip", &address).send().await
        };
        for n in 0..60 {
            from(&shop, n).await.expect_status(401);
            app.clock.advance(Duration::from_millis(100)); // keeps clear of the shop's budget
        }
        assert_eq!(seconds_to_wait(&from(&shop, 60).await.expect_status(429)), 55);
        from(&app.globex(), 60).await.expect_status(401); // R37
        // Behind a proxy that the operator trusts, each client has its own budget.
        app.restart(|config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]).await;
        let shop = app.acme();
        from(&shop, 61).await.expect_status(401);
        app.clock.advance(Duration::from_secs(1));
        // R31: an address has ten guesses, from however many clients.
        let mut statuses = Vec::new();
        for n in 0..11 {
            let call = shop.post("/auth/customer/emailpass").json(&json!({"email": UNKNOWN, "password": WRONG}));
            statuses.push(call.header("x-forwarded-for", &format!("203.0.113.{n}")).send().await.status);
        }
        assert_eq!((statuses.iter().filter(|s| **s == 401).count(), statuses[10]), (10, 429));
    }

    async fn r37_a_network_of_ipv6_has_ten_times_what_a_client_has(app: TestApp) {
        app.restart(|config| {
            config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            let limits = &mut config.tenants[0].limits;
            (limits.registrations_per_client, limits.sign_ins_per_client, limits.resets_per_client) = (1, 1, 1);
        })
        .await;
        let shop = app.acme();
        for (path, granted) in [("/register", 200), ("", 401), ("/reset-password", 201)] {
            let call = async |network: &str, n: usize| {
                let address = format!("c{granted}-{n}@{network}.example");
                let body = if path == "/reset-password" { json!({"identifier": address}) } else { json!({"email": address, "password": WRONG}) };
                let call = shop.post(&format!("/auth/customer/emailpass{path}")).json(&body);
                call.header("x-forwarded-for", &format!("2001:db8:{network}:{n:x}::1")).send().await.status
            };
            for n in 0..10 {
                assert_eq!(call("1", n).await, granted, "{path}");
            }
            assert_eq!((call("1", 10).await, call("2", 0).await, call("2", 0).await), (429, granted, 429), "{path}");
        }
    }

    async fn r37_a_shop_has_50_sign_ins_a_second(app: TestApp) {
        app.restart(|config| config.tenants[0].limits.sign_ins_per_client = 100_000).await;
        let shop = app.acme();
        let answers = join_all((0..60).map(async |n| shop.sign_in(&format!("customer{n}@example.com"), WRONG).await)).await;
        assert_eq!(answers.iter().filter(|a| a.status == 401).count(), 50);
        let refused: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
        assert_eq!((refused.len(), seconds_to_wait(refused[0])), (10, 2));
        app.globex().sign_in(ADDRESS, WRONG).await.expect_status(401);
        app.clock.advance(Duration::from_secs(1));
        shop.sign_in(ADDRESS, WRONG).await.expect_status(401);
    }

    async fn what_the_shop_or_the_hasher_refuses_is_no_failure_of_the_owner(app: TestApp) {
        app.restart(|config| config.tenants[0].limits.sign_ins_per_tenant = 1).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        app.clock.advance(Duration::from_secs(1));
        shop.sign_in(UNKNOWN, WRONG).await.expect_status(401);
        for _ in 0..12 {
            assert_eq!(seconds_to_wait(&shop.sign_in(ADDRESS, PASSWORD).await.expect_status(429)), 2);
        }
        app.clock.advance(Duration::from_secs(1));
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        app.restart(|config| config.tenants[0].limits.sign_ins_per_tenant = 50).await;
        let shop = app.acme();
        for _ in 0..12 {
            app.engine.hasher.fail_next();
            shop.sign_in(ADDRESS, PASSWORD).await.expect_status(500);
        }
        // One try each was given back, and no more.
        assert_eq!(guess(&shop, ADDRESS, 9).await, [401; 9]);
        app.engine.hasher.fail_next();
        assert_eq!(guess(&shop, ADDRESS, 3).await, [500, 401, 429]);
    }

    async fn r31_a_hundred_failures_in_a_row_are_the_most_however_slowly_they_come(app: TestApp) {
        const DAYS_30: u64 = 30 * 86_400;
        room_for_many(app).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        for _ in 0..11 {
            for address in [ADDRESS, UNKNOWN] {
                assert_eq!(guess(&shop, address, 9).await, [401; 9], "{address}");
            }
            app.clock.advance(Duration::from_mins(15));
        }
        for address in [ADDRESS, UNKNOWN] {
            assert_eq!(guess(&shop, address, 1).await, [401]);
        }
        let known = shop.sign_in(ADDRESS, PASSWORD).await.expect_status(429);
        assert_eq!(seconds_to_wait(&known), DAYS_30 - 11 * 900 + 1, "not the 15 minutes of the other budget");
        assert_same(&known, &shop.sign_in(UNKNOWN, WRONG).await);
        app.clock.advance(Duration::from_hours(1));
        shop.register(ADDRESS, PASSWORD).await.expect_status(429);
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(429);
        // R33: a reset is the way out, and gives back all of it.
        let token = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        assert_eq!(guess(&shop, ADDRESS, 9).await, [401; 9]);
        shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        assert_eq!(app.rows("SELECT COUNT(*) FROM limits WHERE name = 'failed_sign_ins_in_a_row' AND spent < 100").await, ["0"]);
        app.settle().await;
        app.next_mail(ADDRESS).await; // "your password was changed"
    }

    async fn r31_a_guess_is_remembered_for_its_share_so_wide_ones_fill_no_disk_and_slow_ones_add_up(app: TestApp) {
        const KEPT: &str = "SELECT COUNT(*) FROM limits WHERE name LIKE 'failed_sign_ins%'";
        const SHARE: u64 = 30 * 86_400 / 100;
        room_for_many(app).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        // One guess each, also at addresses that nobody has.
        for n in 0..20 {
            assert_eq!(guess(&shop, &format!("nobody{n}@example.com"), 1).await, [401]);
        }
        assert_eq!(app.rows(KEPT).await, ["40"]);
        app.clock.advance(Duration::from_secs(SHARE + 2 * 3_600));
        sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows(KEPT).await, ["0"]);
        // What is refused is not remembered, however often it comes.
        for address in [ADDRESS, UNKNOWN] {
            assert_eq!(guess(&shop, address, 10).await, [401; 10]);
            assert_eq!(guess(&shop, address, 30).await, [429; 30]);
        }
        app.clock.advance(Duration::from_secs(10 * SHARE + 2 * 3_600));
        sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows(KEPT).await, ["0"]);
        // One guess every seven hours: they add up to the hundred as fast ones do.
        for n in 0..100 {
            for address in [ADDRESS, UNKNOWN] {
                assert_eq!(guess(&shop, address, 1).await, [401], "{n}, {address}");
            }
            app.clock.advance(Duration::from_hours(7));
        }
        sweep(&app.engine).await.unwrap();
        for address in [ADDRESS, UNKNOWN] {
            let refused = shop.sign_in(address, WRONG).await.expect_status(429);
            assert_eq!(seconds_to_wait(&refused), 100 * (SHARE - 7 * 3_600) + 1, "{address}");
        }
    }

    async fn guesses_at_an_address_that_nobody_has_lock_nobody_who_comes_later(app: TestApp) {
        room_for_many(app).await;
        let (shop, staff) = (app.acme(), "/auth/user/emailpass");
        for _ in 0..10 {
            assert_eq!(guess(&shop, UNKNOWN, 10).await, [401; 10]);
            for _ in 0..10 {
                shop.post(staff).json(&json!({"email": UNKNOWN, "password": WRONG})).send().await.expect_status(401);
            }
            app.clock.advance(Duration::from_hours(1));
        }
        shop.sign_in(UNKNOWN, WRONG).await.expect_status(429);
        shop.post(staff).json(&json!({"email": UNKNOWN, "password": WRONG})).send().await.expect_status(429);
        shop.register(UNKNOWN, PASSWORD).await.expect_status(200);
        shop.sign_in(UNKNOWN, PASSWORD).await.expect_status(200);
        member(app, "acme", UNKNOWN).await;
        shop.post(staff).json(&json!({"email": UNKNOWN, "password": PASSWORD})).send().await.expect_status(200);
    }

    async fn a_refused_try_is_no_failure_in_a_row(app: TestApp) {
        room_for_many(app).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        assert_eq!(guess(&shop, ADDRESS, 10).await, [401; 10]);
        assert_eq!(guess(&shop, ADDRESS, 100).await, [429; 100]);
        app.clock.advance(Duration::from_mins(15));
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn limits_can_be_switched_off(app: TestApp) {
        app.restart(|config| config.tenants[0].limits.enabled = false).await;
        assert_eq!(guess(&app.acme(), ADDRESS, 70).await, [401; 70]);
    }

    async fn r38_a_value_of_another_type_matches_nobody(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let odd = [json!(0), json!(1), json!(true), json!(false), json!([]), json!([PASSWORD]), json!({}), json!({"$ne": ""}), json!(null), json!("")];
        for path in ["/auth/customer/emailpass", "/auth/customer/emailpass/register"] {
            for value in &odd {
                let post = |body: Value| shop.post(path).json(&body).send();
                post(json!({"email": ADDRESS, "password": value})).await.expect_error(401, "Password should be a string");
                post(json!({"email": value, "password": PASSWORD})).await.expect_error(401, "Email should be a string");
                post(json!({"email": value, "password": value})).await.expect_error(401, "Password should be a string");
            }
            for body in ["[]", "[1]", "{}", "", "  "] {
                let answer = shop.post(path).header("content-type", "application/json").body(body).send().await;
                answer.expect_error(401, "Password should be a string");
            }
            // A type that is not read leaves the body empty.
            for kind in ["text/plain", "text/xml", "application/octet-stream"] {
                let body = json!({"email": ADDRESS, "password": PASSWORD}).to_string();
                shop.post(path).header("content-type", kind).body(body).send().await.expect_error(401, "Password should be a string");
            }
        }
    }

    async fn r39_r40_one_value_from_the_body_alone(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        for path in ["/auth/customer/emailpass", "/auth/customer/emailpass/register"] {
            for body in [
                format!(r#"{{"email":"{ADDRESS}","email":"b@example.com","password":"{PASSWORD}"}}"#),
                format!(r#"{{"email":"{ADDRESS}","password":"x","password":"{PASSWORD}"}}"#),
                format!(r#"{{"email":"{ADDRESS}","password":"{PASSWORD}","more":{{"a":1,"a":2}}}}"#),
                format!(r#"{{"email":"{ADDRESS}","\u0065mail":"b@example.com","password":"{PASSWORD}"}}"#),
            ] {
                let answer = shop.post(path).header("content-type", "application/json").body(body).send().await.expect_status(400);
                assert!(answer.json()["message"].as_str().unwrap().contains("is given twice"), "{}", answer.text);
            }
            let query = format!("{path}?email={ADDRESS}&password={PASSWORD}");
            shop.post(&query).send().await.expect_error(401, "Password should be a string");
            // In both places: which one counts must not be a question.
            let both = shop.post(&query).json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await;
            both.expect_error(400, "The field 'email' is given in the query, too");
        }
        let path = format!("/auth/customer/emailpass?email={ADDRESS}&password={PASSWORD}");
        shop.get(&path).send().await.expect_error(401, "Password should be a string");
    }

    async fn actor_types_and_providers_are_checked_before_anything_else(app: TestApp) {
        let shop = app.acme();
        let refused = |actor: &str, provider: &str| format!("The actor type {actor} is not allowed to use the auth provider {provider}");
        let routes = [(Method::GET, ""), (Method::POST, ""), (Method::POST, "/register"), (Method::POST, "/reset-password"), (Method::POST, "/update")];
        for (method, rest) in &routes {
            let call = |actor: &str, provider: &str| shop.call(method.clone(), &format!("/auth/{actor}/{provider}{rest}")).json(&json!({})).send();
            for (actor, provider) in [("vendor", "emailpass"), ("user", "google"), ("Customer", "emailpass"), ("vendor", "nope")] {
                let answer = call(actor, provider).await.expect_error(400, &refused(actor, provider));
                assert_eq!(answer.json()["type"], "not_allowed");
            }
        }
        app.restart(|config| {
            let methods = &mut config.tenants[0].auth_methods;
            methods.insert("customer".into(), vec!["google".into()]);
            methods.insert("vendor".into(), vec!["emailpass".into()]);
        }).await;
        let shop = app.acme();
        shop.sign_in(ADDRESS, PASSWORD).await.expect_error(400, &refused("customer", "emailpass"));
        let vendor = shop.post("/auth/vendor/emailpass/register").json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await;
        vendor.expect_status(200);
        app.globex().sign_in(ADDRESS, PASSWORD).await.expect_error(401, REFUSED);
    }

    async fn a_provider_that_is_not_installed_is_named(app: TestApp) {
        let shop = app.acme();
        let text = "\nUnable to retrieve the auth provider with id: nope\nPlease make sure that the provider is registered in the container and it is configured correctly in your project configuration file.";
        shop.get("/auth/customer/nope").send().await.expect_error(401, text);
        shop.post("/auth/customer/nope").json(&json!({})).send().await.expect_error(401, text);
        shop.post("/auth/customer/nope/register").json(&json!({})).send().await.expect_error(401, text);
        shop.post("/auth/customer/nope/reset-password").json(&json!({"identifier": ADDRESS})).send().await.expect_status(201);
        shop.post("/auth/customer/nope/update").bearer("x").json(&json!({"password": PASSWORD})).send().await.expect_error(401, "Invalid token");
    }

    async fn paths_forgive_case_and_one_slash(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let body = json!({"email": ADDRESS, "password": PASSWORD});
        shop.post("/AUTH/customer/emailpass/").json(&body).send().await.expect_status(200);
        shop.post("/auth//customer/emailpass").json(&body).send().await.expect_status(404);
        shop.call(Method::HEAD, "/health").send().await.expect_status(200);
    }
}
