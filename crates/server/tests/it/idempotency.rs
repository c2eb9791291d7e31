//! R142: `Idempotency-Key`. Whoever sends a request again gets the answer of the first, and there is one effect.

mod lease;
mod lifetime;
mod proof;
mod route;
mod secrecy;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use vestibule_engine::ops;
use vestibule_engine::testing::{Fault, execute};

use crate::callback::{START, come_back, with_issuer};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::client::{Answer, Call, Shop};
use crate::support::{each_db, raw};

const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";
const REGISTER: &str = "/auth/customer/emailpass/register";
const SIGN_IN: &str = "/auth/customer/emailpass";
const ADDRESSES: &str = "/store/customers/me/addresses";
const IDENTITIES: &str = "SELECT COUNT(*) FROM identities";
const KEYS: &str = "SELECT COUNT(*) FROM idempotency_keys";
const CONFLICT: &str = "The request conflicted with another request. You may retry the request with the provided Idempotency-Key.";
const OTHER: &str = "The Idempotency-Key was sent with another request already";

fn credentials(address: &str, password: &str) -> Value {
    json!({"email": address, "password": password})
}

async fn register(shop: &Shop, key: &str, address: &str) -> Answer {
    shop.post(REGISTER).header(KEY, key).json(&credentials(address, PASSWORD)).send().await
}

#[track_caller]
fn assert_fresh(answer: &Answer) {
    assert!(!answer.headers.contains_key(REPLAYED), "{} {}", answer.status, answer.text);
}

/// `again` is the answer of `first`, given again.
#[track_caller]
fn assert_replay(first: &Answer, again: &Answer) {
    assert_fresh(first);
    let shown =
        |answer: &Answer| (answer.status, answer.text.clone(), answer.header("content-type").to_owned(), answer.header("set-cookie").to_owned());
    assert_eq!(shown(first), shown(again));
    assert_eq!(again.header(REPLAYED), "true");
}

/// `answer` says that the request is being answered, in the published words.
#[track_caller]
fn assert_in_flight(answer: &Answer, key: &str) {
    let published = json!({"code": "unknown_error", "message": CONFLICT, "type": "QueryRunnerAlreadyReleasedError"});
    assert_eq!((answer.status, answer.json(), answer.header(KEY)), (409, published, key));
}

each_db! {
    async fn r142_the_same_request_gets_its_answer_again_and_another_is_refused(app: TestApp) {
        let shop = app.acme();
        let first = register(&shop, "k-1", ADDRESS).await.expect_status(200);
        let before = app.database.everything().await.unwrap();
        for _ in 0..3 {
            assert_replay(&first, &register(&shop, "k-1", ADDRESS).await);
        }
        assert_eq!(app.database.everything().await.unwrap(), before, "a replay writes nothing and spends nothing");
        for (path, body) in [(REGISTER.to_owned(), credentials("bob@example.com", PASSWORD)), (format!("{REGISTER}?x=1"), credentials(ADDRESS, PASSWORD))] {
            let other = shop.post(&path).header(KEY, "k-1").json(&body).send().await.expect_error(422, OTHER);
            assert_eq!((&other.json()["type"], &other.json()["code"]), (&json!("duplicate_error"), &json!("invalid_request_error")));
        }
        // Of the others no more is left than their number.
        assert_eq!(execute(&app.engine, "UPDATE idempotency_keys SET mismatches = 0 WHERE mismatches = 2").await.unwrap(), 1);
        assert_eq!(app.database.everything().await.unwrap(), before);
        // Across a restart.
        app.restart(|_| {}).await;
        assert_replay(&first, &register(&app.acme(), "k-1", ADDRESS).await);
        assert_eq!((app.rows(IDENTITIES).await, app.rows("SELECT COUNT(*) FROM sessions").await), (vec!["1".to_owned()], vec!["1".to_owned()]));
        // Without a key it is another request, and leaves no row.
        assert_fresh(&app.acme().register(ADDRESS, PASSWORD).await.expect_status(200));
        assert_eq!(app.rows(KEYS).await, ["1"]);
    }

    async fn r142_of_50_at_once_one_has_an_effect(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, "owner@example.com").await;
        let address = json!({"city": "Bremen"});
        let calls = |key: &'static str| -> Vec<Call> {
            match key {
                "gun-1" => (0..50).map(|_| shop.post(REGISTER).header(KEY, key).json(&credentials(ADDRESS, PASSWORD))).collect(),
                _ => (0..50).map(|_| shop.post(ADDRESSES).bearer(&token).header(KEY, key).json(&address)).collect(),
            }
        };
        for key in ["gun-1", "gun-2"] {
            let answers = join_all(calls(key).into_iter().map(Call::send)).await;
            let winner = answers.iter().find(|answer| answer.status == 200).expect("somebody succeeds");
            for answer in &answers {
                if answer.status == 200 { assert_eq!(answer.text, winner.text) } else { assert_in_flight(answer, key) }
            }
            assert!(answers.iter().filter(|answer| answer.status == 200 && !answer.headers.contains_key(REPLAYED)).count() <= 1);
            let late = calls(key).remove(0).send().await.expect_status(200);
            assert_eq!((&late.text, late.header(REPLAYED)), (&winner.text, "true"));
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM identities WHERE entity_id = 'ann@example.com'").await, ["1"]);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions AS s JOIN identities AS i ON i.id = s.identity_id WHERE i.entity_id = 'ann@example.com'").await, ["1"]);
        assert_eq!(app.rows("SELECT COUNT(*) FROM customer_addresses").await, ["1"]);
    }

    async fn r116_a_key_is_nothing_to_another_shop_caller_or_route(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let first = register(&acme, "shared", ADDRESS).await.expect_status(200);
        let elsewhere = register(&globex, "shared", ADDRESS).await.expect_status(200);
        assert_fresh(&elsewhere);
        assert_ne!(first.text, elsewhere.text);
        // Another route, with the very body.
        assert_fresh(&acme.post(SIGN_IN).header(KEY, "shared").json(&credentials(ADDRESS, PASSWORD)).send().await.expect_status(200));
        assert_fresh(&acme.post("/auth/user/emailpass/register").header(KEY, "shared").json(&credentials(ADDRESS, PASSWORD)).send().await.expect_status(200));
        // Other callers, with the very request.
        let (ann, bob) = (customer(&globex, "one@example.com").await, customer(&globex, "two@example.com").await);
        let add = async |token: &str| globex.post(ADDRESSES).bearer(token).header(KEY, "shared").json(&json!({"city": "Bremen"})).send().await.expect_status(200);
        let (anns, bobs) = (add(&ann).await, add(&bob).await);
        assert_fresh(&bobs);
        assert_ne!(anns.json()["customer"]["id"], bobs.json()["customer"]["id"]);
        // Whoever is the same caller with another token of the session is not: a lost answer is asked for with what token there is.
        let again = globex.post("/auth/token/refresh").bearer(&ann).send().await.token();
        assert_replay(&anns, &add(&again).await);
        // Nobody gets an answer without being let in.
        globex.post(ADDRESSES).header(KEY, "shared").json(&json!({"city": "Bremen"})).send().await.expect_status(401);
    }

    async fn what_is_no_key_is_refused(app: TestApp) {
        let shop = app.acme();
        let register = async |key: &[u8], address: &str| {
            let head = format!("POST {REGISTER} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n", shop.host());
            let body = credentials(address, PASSWORD).to_string();
            let bytes = [head.as_bytes(), b"Idempotency-Key: ", key, b"\r\n", format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()].concat();
            raw::send(&app.base, &bytes).await
        };
        let (longest, longer) = ("x".repeat(255), "x".repeat(256));
        for wrong in [b"".as_slice(), b"  ", longer.as_bytes(), b"a b", b"a\tb", "\u{fc}".as_bytes(), b"a\xffb", b"\xc2\xa0"] {
            register(wrong, ADDRESS).await.expect_error(400, "The Idempotency-Key must be 1 to 255 visible ASCII characters");
        }
        register(b"a\r\nIdempotency-Key: b", ADDRESS).await.expect_error(400, "The Idempotency-Key is given twice");
        assert_eq!((app.rows(IDENTITIES).await, app.rows(KEYS).await), (vec!["0".to_owned()], vec!["0".to_owned()]));
        let all: Vec<u8> = (0x21..=0x7e).collect();
        for (n, right) in [b"a".as_slice(), longest.as_bytes(), b"  spaces-around  ", b"\"quoted\"", &all].into_iter().enumerate() {
            register(right, &format!("{n}@example.com")).await.expect_status(200);
        }
        assert_eq!(app.rows(KEYS).await, ["5"]);
    }

    async fn refusals_are_given_again_and_spend_nothing(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let wrong = async |key: &str| shop.post(SIGN_IN).header(KEY, key).json(&credentials(ADDRESS, "a-Wrong-pass-1")).send().await;
        let first = wrong("k-1").await.expect_error(401, "Invalid email or password");
        for _ in 0..15 {
            assert_replay(&first, &wrong("k-1").await);
        }
        let again = wrong("k-1").await;
        assert_eq!(again.header("www-authenticate"), "Bearer");
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        let short = async || shop.post(REGISTER).header(KEY, "k-2").json(&credentials("bob@example.com", "short")).send().await;
        assert_replay(&short().await.expect_status(400), &short().await);
        // The words of a 401 are negotiated anew.
        let reset = app.reset_token(&shop, ADDRESS).await;
        let update = async |accept: &str| {
            let call = shop.post("/auth/customer/emailpass/update").bearer(&reset).header(KEY, "k-3").header("accept", accept);
            call.json(&json!({"password": 5})).send().await.expect_status(401)
        };
        let (json, plain) = (update("application/json").await, update("*/*").await);
        assert_fresh(&json);
        assert_eq!((json.text.as_str(), plain.text.as_str(), plain.header(REPLAYED)), (r#"{"type":"unauthorized","message":"Unauthorized"}"#, "Unauthorized", "true"));
        assert_replay(&json, &update("application/json").await);
    }

    async fn what_another_try_may_change_is_not_kept(app: TestApp) {
        let shop = app.acme();
        let keyed = async || register(&shop, "k-1", ADDRESS).await;
        app.engine.hasher.fail_next();
        keyed().await.expect_status(500);
        assert_eq!(app.rows(KEYS).await, ["0"]);
        for (fault, status) in [(Fault::Begin, 503), (Fault::Conflict, 409), (Fault::Commit, 500)] {
            app.engine.faults().arm(fault, 1);
            keyed().await.expect_status(status);
        }
        let first = keyed().await.expect_status(200);
        assert_replay(&first, &keyed().await);
        // A spent budget.
        let wrong = async |key: &str| shop.post(SIGN_IN).header(KEY, key).json(&credentials("spent@example.com", PASSWORD)).send().await;
        for n in 0..10 {
            wrong(&format!("try-{n}")).await.expect_status(401);
        }
        wrong("over").await.expect_status(429);
        app.advance(Duration::from_mins(31));
        assert_fresh(&wrong("over").await.expect_status(401));
    }

    async fn an_answer_is_kept_for_a_day(app: TestApp) {
        const JOBS: &str = "SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'";
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        app.settle().await;
        let ask = async || shop.post("/auth/customer/emailpass/reset-password").header(KEY, "k-1").json(&json!({"identifier": ADDRESS})).send().await;
        let first = ask().await.expect_status(201);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        app.advance(Duration::from_secs(86_399));
        assert_replay(&first, &ask().await);
        ops::sweep::sweep(&app.engine).await.unwrap();
        app.settle().await;
        assert_eq!((app.rows(KEYS).await, app.rows(JOBS).await), (vec!["1".to_owned()], vec!["1".to_owned()]));
        app.advance(Duration::from_secs(1));
        assert_fresh(&ask().await.expect_status(201));
        app.settle().await;
        app.next_mail(ADDRESS).await;
        assert_eq!(app.rows(JOBS).await, ["2"]);
        app.advance(Duration::from_hours(24));
        ops::sweep::sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows(KEYS).await, ["0"]);
    }

    async fn a_token_whose_session_has_ended_is_not_given_again(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let refresh = async |token: &str| shop.post("/auth/token/refresh").bearer(token).header(KEY, "k-1").send().await;
        let sign_in = async || shop.post(SIGN_IN).header(KEY, "k-1").json(&credentials(ADDRESS, PASSWORD)).send().await;
        let (refreshed, signed_in) = (refresh(&token).await.expect_status(200), sign_in().await.expect_status(200));
        assert_replay(&refreshed, &refresh(&token).await);
        assert_replay(&signed_in, &sign_in().await);
        // R56: a reset ends them all.
        let reset = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        assert_in_flight(&sign_in().await, "k-1");
        execute(&app.engine, "DELETE FROM sessions").await.unwrap();
        assert_in_flight(&sign_in().await, "k-1");
    }

    async fn a_stranger_fills_no_disk_with_keys(app: TestApp) {
        let shop = app.acme();
        let first = register(&shop, "k-1", ADDRESS).await.expect_status(200);
        let token = first.token();
        let refresh = async |key: &str| shop.post("/auth/token/refresh").bearer(&token).header(KEY, key).send().await;
        let refreshed = refresh("k-1").await.expect_status(200);
        let shut = [("keys_per_client", 600, true), ("public_keys_per_tenant", 20_000, true), ("keys_per_login", 256, false), ("keys_per_tenant", 100_000, false)];
        for (limit, most, public) in shut {
            let spend = async |spent: u32| {
                let sql = format!("UPDATE limits SET spent = {spent} WHERE name = '{limit}'").leak();
                assert_eq!(execute(&app.engine, sql).await.unwrap(), 1, "{limit}");
            };
            let (stranger, known) = if public { (429, 200) } else { (200, 429) };
            spend(most).await;
            let before = app.rows(KEYS).await[0].parse::<u32>().unwrap();
            let answers = [register(&shop, limit, &format!("{limit}@example.com")).await.expect_status(stranger), refresh(limit).await.expect_status(known)];
            let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
            assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
            assert_eq!(app.rows(KEYS).await, [(before + 1).to_string()], "nothing is kept of it");
            // What was answered is answered, and without a key everything goes on.
            assert_replay(&first, &register(&shop, "k-1", ADDRESS).await);
            assert_replay(&refreshed, &refresh("k-1").await);
            shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
            spend(most - 1).await;
            let late = if public { register(&shop, limit, &format!("{limit}@example.com")).await } else { refresh(limit).await };
            late.expect_status(200);
            spend(0).await;
        }
        // Another shop has its own.
        register(&app.globex(), "k-1", ADDRESS).await.expect_status(200);
    }

    async fn an_answer_too_large_to_be_kept_has_no_effect(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let body = json!({"metadata": {"note": "x".repeat(4000)}});
        for _ in 0..10 {
            shop.post(&format!("{ADDRESSES}?fields=id")).bearer(&token).json(&body).send().await.expect_status(200);
        }
        let rename = async |path: &str, key: &str| shop.post(path).bearer(&token).header(KEY, key).json(&json!({"first_name": key})).send().await;
        let refused = rename("/store/customers/me", "k-1").await.expect_status(400);
        assert_eq!(refused.json()["message"], "With an Idempotency-Key an answer may have at most 32768 bytes; ask for fewer fields");
        assert_replay(&refused, &rename("/store/customers/me", "k-1").await);
        assert_eq!(shop.me(&token).await.json()["customer"]["first_name"], Value::Null);
        rename("/store/customers/me?fields=id", "k-2").await.expect_status(200);
        assert_eq!(shop.me(&token).await.json()["customer"]["first_name"], "k-2");
    }

    async fn the_way_to_a_third_party_is_told_again_with_its_cookie(app: TestApp) {
        let issuer = with_issuer(app).await;
        let shop = app.acme();
        let begin = async || shop.post(START).header(KEY, "k-1").header("sec-fetch-site", "same-origin").json(&json!({})).send().await;
        let (first, again) = (begin().await.expect_status(200), begin().await);
        assert!(first.header("set-cookie").contains("vestibule-flow="), "{:?}", first.headers);
        assert_replay(&first, &again);
        let cookie = again.header("set-cookie").split(';').next().unwrap().to_owned();
        let query = come_back(&issuer, &again);
        let arrive = async || {
            let call = shop.post(&format!("{START}/callback?{query}")).header("cookie", &cookie).header("sec-fetch-site", "same-origin");
            call.header(KEY, "k-2").json(&json!({})).send().await
        };
        let arrived = arrive().await.expect_status(200);
        // The state is spent, and the answer is there.
        assert_replay(&arrived, &arrive().await);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["1"]);
    }

    async fn elsewhere_the_header_means_nothing(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        for key in ["", "a b", "k-1"] {
            shop.get("/store/customers/me").bearer(&token).header(KEY, key).send().await.expect_status(200);
            shop.get("/health").header(KEY, key).send().await.expect_status(200);
            shop.post("/account/reset-password/request").header(KEY, key).json(&json!({"address": "nobody@example.com"})).send().await.expect_status(200);
            // What is refused before it is known who calls is refused as ever.
            shop.post("/store/customers/me").header(KEY, key).json(&json!({})).send().await.expect_status(401);
            shop.post(REGISTER).header(KEY, key).header("content-type", "application/json").body("{").send().await.expect_status(400);
        }
        assert_eq!(app.rows(KEYS).await, ["0"]);
    }
}
