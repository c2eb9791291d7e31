//! `/auth/session`: a session's cookie, what it opens, and which pages may write with it.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use vestibule_engine::model::tenant::SameSite;
use vestibule_engine::ops;
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::ops::session_cookie::Opens;
use vestibule_engine::testing::{Fault, execute};

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::at_rest::AtRest;
use crate::support::client::{Answer, Call, Shop, claims};
use crate::support::{each_db, raw};

const DAY: Duration = Duration::from_hours(24);
const SESSION: &str = "/auth/session";

async fn me(shop: &Shop, cookie: &str) -> Answer {
    shop.get("/store/customers/me").cookie(cookie).send().await
}

fn delete(shop: &Shop) -> Call {
    shop.call(Method::DELETE, SESSION)
}

#[track_caller]
fn assert_refused(answer: Answer) {
    answer.expect_error(401, "Unauthorized");
}

each_db! {
    async fn a_session_is_given_a_cookie_and_signing_out_ends_all_of_it(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let given = shop.post(SESSION).bearer(&token).header("content-type", "application/json").send().await.expect_status(200);
        assert_eq!(given.json(), json!({ "user": claims(&token) }));
        let line = given.header("set-cookie").to_owned();
        let (cookie, attributes) = line.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure");
        assert_eq!((cookie.len(), given.headers.get_all("set-cookie").iter().count()), ("__Host-vestibule=".len() + 43, 1));
        assert_eq!(given.header("cache-control"), "no-store");
        // The same session, and no second one.
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions WHERE cookie_hash IS NOT NULL").await, ["1"]);
        assert_eq!(me(&shop, cookie).await.expect_status(200).json(), shop.me(&token).await.json());
        // R66
        let out = delete(&shop).cookie(cookie).header("content-type", "application/json").send().await.expect_status(200);
        assert_eq!(out.json(), json!({"success": true}));
        assert_eq!(out.header("set-cookie"), "__Host-vestibule=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
        assert_refused(me(&shop, cookie).await);
        assert_refused(shop.me(&token).await);
        assert_refused(shop.post("/auth/token/refresh").bearer(&token).send().await);
        assert_refused(shop.post("/auth/token/refresh").cookie(cookie).send().await);
        assert_refused(shop.post(SESSION).bearer(&token).send().await);
        let again = delete(&shop).cookie(cookie).send().await;
        assert_eq!(again.header("set-cookie"), "");
        assert_refused(again);
        assert_eq!(app.ends_told().await, [("signed_out".to_owned(), 1)]);
    }

    async fn each_route_of_a_customer_takes_the_cookie(app: TestApp) {
        let shop = app.acme();
        // A login without a customer: its cookie says what the login has become.
        let cookie = shop.cookie(&shop.register(ADDRESS, PASSWORD).await.token()).await;
        assert_refused(me(&shop, &cookie).await);
        let created = shop.post("/store/customers").cookie(&cookie).json(&json!({"email": ADDRESS})).send().await.expect_status(200).json();
        assert_eq!(me(&shop, &cookie).await.expect_status(200).json(), created);
        shop.post("/store/customers/me").cookie(&cookie).json(&json!({"first_name": "Ann"})).send().await.expect_status(200);
        let addresses = "/store/customers/me/addresses";
        let added = shop.post(addresses).cookie(&cookie).json(&json!({"city": "Bonn"})).send().await.expect_status(200).json();
        let one = format!("{addresses}/{}", added["customer"]["addresses"][0]["id"].as_str().unwrap());
        shop.get(addresses).cookie(&cookie).send().await.expect_status(200);
        shop.get(&one).cookie(&cookie).send().await.expect_status(200);
        shop.post(&one).cookie(&cookie).json(&json!({"city": "Ulm"})).send().await.expect_status(200);
        shop.call(Method::DELETE, &one).cookie(&cookie).send().await.expect_status(200);
        shop.get("/auth/identities").cookie(&cookie).send().await.expect_status(200);
        let refreshed = shop.post("/auth/token/refresh").cookie(&cookie).send().await.expect_status(200).token();
        assert_eq!(claims(&refreshed)["actor_id"], created["customer"]["id"]);
        shop.me(&refreshed).await.expect_status(200);
        // Without the shop's key nobody gets as far as the cookie.
        Shop::new(&app.base, shop.host(), "").get("/store/customers/me").cookie(&cookie).send().await.expect_status(400);
        // A customer who is deleted is not there, with a cookie as with a token.
        assert_eq!(execute(&app.engine, "UPDATE customers SET deleted_at = 1").await.unwrap(), 1);
        me(&shop, &cookie).await.expect_error(404, &format!("Customer with id: {} was not found", created["customer"]["id"].as_str().unwrap()));
    }

    async fn the_cookie_goes_before_the_token_and_a_dead_one_leaves_the_word_to_it(app: TestApp) {
        let shop = app.acme();
        let (ann, bob) = (customer(&shop, ADDRESS).await, customer(&shop, "bob@example.com").await);
        let cookie = shop.cookie(&ann).await;
        let email = |answer: Answer| answer.expect_status(200).json()["customer"]["email"].clone();
        let both = |token: &str, cookie: &str| shop.get("/store/customers/me").bearer(token).cookie(cookie).send();
        assert_eq!(email(both(&bob, &cookie).await), ADDRESS);
        assert_eq!(email(both("garbage", &cookie).await), ADDRESS);
        let dead = format!("__Host-vestibule={}", "x".repeat(43));
        assert_eq!(email(both(&bob, &dead).await), "bob@example.com");
        // One of a login that the route is not for.
        let staff = shop.post("/auth/user/emailpass/register").json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await.token();
        let staff = shop.cookie(&staff).await;
        assert_eq!(email(both(&bob, &staff).await), "bob@example.com");
        assert_refused(me(&shop, &staff).await);
        shop.post("/auth/token/refresh").cookie(&staff).send().await.expect_status(200);
        // Each of the two routes takes its own alone, whatever else is shown.
        assert_refused(shop.post(SESSION).cookie(&cookie).send().await);
        assert_refused(shop.post(SESSION).cookie(&cookie).bearer("garbage").send().await);
        assert_refused(delete(&shop).bearer(&ann).send().await);
        assert_refused(delete(&shop).bearer(&ann).cookie(&dead).send().await);
        assert_refused(delete(&shop).send().await);
        shop.me(&ann).await.expect_status(200);
    }

    async fn r54_a_cookie_resets_no_password_and_a_reset_gets_no_cookie(app: TestApp) {
        let shop = app.acme();
        let cookie = shop.cookie(&customer(&shop, ADDRESS).await).await;
        let update = |token: Option<&str>| {
            let call = shop.post("/auth/customer/emailpass/update").cookie(&cookie).json(&json!({"password": NEW_PASSWORD}));
            match token { Some(token) => call.bearer(token), None => call }.send()
        };
        update(None).await.expect_error(401, "Invalid token");
        let value = cookie.split_once('=').unwrap().1;
        update(Some(value)).await.expect_error(401, "Invalid token");
        assert_refused(shop.me(value).await);
        let reset = app.reset_token(&shop, ADDRESS).await;
        assert_refused(shop.post(SESSION).bearer(&reset).send().await);
        // R56: the reset ends the cookie, too.
        update(Some(&reset)).await.expect_status(200);
        assert_refused(me(&shop, &cookie).await);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r65_a_new_cookie_is_another_one_and_the_old_one_dies(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let first = shop.cookie(&token).await;
        let second = shop.cookie(&token).await;
        assert_ne!(first, second);
        assert_refused(me(&shop, &first).await);
        me(&shop, &second).await.expect_status(200);
        // Who signs in anew in that browser replaces the session that it had.
        let bystander = shop.sign_in(ADDRESS, PASSWORD).await.token();
        let fresh = shop.sign_in(ADDRESS, PASSWORD).await.token();
        let given = shop.post(SESSION).bearer(&fresh).cookie(&second).send().await.expect_status(200);
        let third = given.header("set-cookie").split(';').next().unwrap();
        assert_refused(me(&shop, &second).await);
        assert_refused(shop.me(&token).await);
        shop.me(&bystander).await.expect_status(200);
        assert_eq!(app.ends_told().await, [("replaced".to_owned(), 1)], "a new cookie of the same session ends none");
        // Again for the same session: it is not its own replacement.
        let given = shop.post(SESSION).bearer(&fresh).cookie(third).send().await.expect_status(200);
        me(&shop, given.header("set-cookie").split(';').next().unwrap()).await.expect_status(200);
        // Another shop's browser replaces nothing here.
        let globex = app.globex();
        let foreign = customer(&globex, ADDRESS).await;
        globex.post(SESSION).bearer(&foreign).cookie(given.header("set-cookie").split(';').next().unwrap()).send().await.expect_status(200);
        shop.me(&fresh).await.expect_status(200);
        assert_eq!(app.ends_told().await.len(), 1);
    }

    async fn r68_the_cookie_lives_as_long_as_its_session(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        app.clock.advance(Duration::from_hours(12));
        let given = shop.post(SESSION).bearer(&token).send().await.expect_status(200);
        assert!(given.header("set-cookie").contains("; Max-Age=2548800; "), "{}", given.header("set-cookie"));
        let cookie = given.header("set-cookie").split(';').next().unwrap();
        app.clock.advance((29 * DAY + DAY / 2).saturating_sub(Duration::from_secs(1)));
        me(&shop, cookie).await.expect_status(200);
        // A token that is made of it does not outlive it.
        let last = shop.post("/auth/token/refresh").cookie(cookie).send().await.token();
        assert_eq!(claims(&last)["exp"], json!(app.clock.now().seconds() + 1));
        app.clock.advance(Duration::from_secs(1));
        assert_refused(me(&shop, cookie).await);
        assert_refused(delete(&shop).cookie(cookie).send().await);
    }

    async fn r71_r72_only_pages_of_the_shop_write_with_a_cookie(app: TestApp) {
        app.restart(|config| {
            config.tenants[0].cors.store = vec!["https://acme.example".into()];
            config.tenants[0].cors.auth = vec!["https://login.acme.example".into()];
        }).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let cookie = shop.cookie(&token).await;
        let (own, listed) = ("https://acme.api.example.com", "https://acme.example");
        let table: &[(&[&str], Option<&str>, bool)] = &[
            (&[], None, true),
            (&[listed], None, true), (&[listed], Some("cross-site"), true), (&[own], None, true), (&[own], Some("same-origin"), true),
            // A browser that hides its page.
            (&[], Some("cross-site"), false), (&[], Some("same-site"), false), (&[], Some("none"), false), (&[], Some(""), false),
            (&["null"], None, false), (&["null"], Some("cross-site"), false), (&[""], None, false), (&["*"], None, false), (&["file://"], None, false),
            // Look-alikes.
            (&["http://acme.example"], None, false), (&["https://acme.example:8443"], None, false), (&["https://acme.example/"], None, false),
            (&["https://acme.example.evil.test"], None, false), (&["https://evil-acme.example"], None, false), (&["https://x.acme.example"], None, false),
            (&["https://ACME.example"], None, false), (&["https://acme.example@evil.test"], None, false), (&["https://acme.example https://evil.test"], None, false),
            (&["https://evil.test, https://acme.example"], None, false), (&[listed, listed], None, false), (&[listed, "https://evil.test"], None, false),
            (&["http://acme.api.example.com"], None, false), (&["https://acme.api.example.com:444"], None, false), (&["https://acme.api.example.com."], None, false),
            (&["https://acme.api.example.com.evil.test"], None, false), (&["https://globex.api.example.com"], None, false), (&["https://api.example.com"], None, false),
            (&["acme.api.example.com"], None, false), (&["https://127.0.0.1"], None, false), (&["http://localhost:8000"], None, false),
            // Of the other API's list.
            (&["https://login.acme.example"], None, false),
        ];
        for (origins, site, granted) in table {
            let mut lines: Vec<String> = origins.iter().map(|origin| format!("Origin: {origin}")).collect();
            lines.extend(site.map(|site| format!("Sec-Fetch-Site: {site}")));
            let send = |method: &str, credential: &str| {
                let head = [format!("{method} /store/customers/me HTTP/1.1"), "Connection: close".into(), format!("Host: {}", shop.host()), "Accept: application/json".into(),
                    format!("x-publishable-api-key: {}", shop.key()), credential.into(), "Content-Length: 2".into(), "Content-Type: application/json".into()];
                let request = [&head[..], &lines[..], &[String::new(), "{}".into()]].concat().join("\r\n");
                let base = app.base.clone();
                async move { raw::send(&base, request.as_bytes()).await }
            };
            let answer = send("POST", &format!("Cookie: {cookie}")).await;
            assert_eq!(answer.status, if *granted { 200 } else { 403 }, "{origins:?} {site:?}: {}", answer.text);
            // What changes nothing may be asked, and a token needs no page to vouch for it.
            assert_eq!(send("GET", &format!("Cookie: {cookie}")).await.status, 200, "{origins:?}");
            assert_eq!(send("POST", &format!("Authorization: Bearer {token}")).await.status, 200, "{origins:?}");
        }
        // Where the other list counts, and where a form of a foreign page is posted.
        let form = |path: &str, origin: &str| shop.post(path).cookie(&cookie).header("origin", origin).header("content-type", "application/x-www-form-urlencoded").body("a=1").send();
        form("/auth/token/refresh", "https://login.acme.example").await.expect_status(200);
        form("/auth/token/refresh", listed).await.expect_status(403);
        form("/auth/token/refresh", "null").await.expect_status(403);
        delete(&shop).cookie(&cookie).header("origin", "https://evil.test").send().await.expect_status(403);
        me(&shop, &cookie).await.expect_status(200);
    }

    async fn r63_without_tls_there_is_a_cookie_for_this_machine_alone(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let local = shop.at("acme.localhost");
        let line = |shop: &Shop| {
            let call = shop.post(SESSION).bearer(&token).send();
            async move { call.await.expect_status(200).header("set-cookie").to_owned() }
        };
        let plain = line(&local).await;
        assert!(plain.starts_with("vestibule=") && plain.ends_with("; HttpOnly; SameSite=Lax"), "{plain}");
        let cookie = plain.split(';').next().unwrap().to_owned();
        me(&local, &cookie).await.expect_status(200);
        // Its own page is at http there; elsewhere the plain name is nobody's.
        local.post("/auth/token/refresh").cookie(&cookie).header("origin", "http://acme.localhost").send().await.expect_status(200);
        local.post("/auth/token/refresh").cookie(&cookie).header("origin", "https://acme.localhost").send().await.expect_status(403);
        assert_refused(me(&shop, &cookie).await);
        assert!(line(&shop).await.starts_with("__Host-vestibule="));
        // A server that others reach gives none without TLS, not even here.
        app.restart(|config| config.server.public_url = Some("https://id.example.com".parse().unwrap())).await;
        let strict = line(&app.acme().at("acme.localhost")).await;
        assert!(strict.starts_with("__Host-vestibule=") && strict.ends_with("; Secure"), "{strict}");
        app.restart(|config| config.server.public_url = Some("https://localhost".parse().unwrap())).await;
        assert!(line(&app.acme().at("acme.localhost")).await.starts_with("__Host-vestibule="));
        app.restart(|config| config.server.public_url = None).await;
        for (same_site, public, here) in [(SameSite::Strict, "Strict", "Strict"), (SameSite::None, "None", "Lax"), (SameSite::Lax, "Lax", "Lax")] {
            app.restart_acme(|acme| acme.cookies.same_site = same_site).await;
            let shop = app.acme();
            assert!(line(&shop).await.ends_with(&format!("; SameSite={public}; Secure")));
            assert!(line(&shop.at("acme.localhost")).await.ends_with(&format!("; SameSite={here}")));
        }
    }

    async fn r73_r64_two_cookies_of_one_name_and_odd_ones_are_none(app: TestApp) {
        let shop = app.acme();
        let (own, other) = (shop.cookie(&customer(&shop, ADDRESS).await).await, shop.cookie(&customer(&shop, "bob@example.com").await).await);
        let value = own.split_once('=').unwrap().1;
        for odd in [format!("{own}; {other}"), format!("{other}; {own}"), format!("{own}; {own}"), format!("__Host-vestibule=; {own}"), "__Host-vestibule=".into(),
            format!("__host-vestibule={value}"), format!("vestibule={value}"), format!("__Host-vestibule=\"{value}\""), format!("__Host-vestibule={value}="),
            format!("__Host-vestibule={}", &value[1..]), format!("__Host-vestibule={}", "x".repeat(20_000)), format!("__Host-vestibule={}", value.to_lowercase())] {
            assert_refused(me(&shop, &odd).await);
        }
        me(&shop, &format!("a=1; {own}; __Host-vestibule2=x")).await.expect_status(200);
        // In no answer but the one that set it, and nowhere at rest.
        let rest = AtRest::begin(app).await;
        let fresh = shop.cookie(&shop.sign_in(ADDRESS, PASSWORD).await.token()).await;
        let secret = fresh.split_once('=').unwrap().1;
        for path in ["/store/customers/me", "/auth/sessions", "/auth/identities"] {
            let answer = shop.get(path).cookie(&fresh).send().await.expect_status(200);
            assert!(!answer.text.contains(secret) && !format!("{:?}", answer.headers).contains(secret), "{path}");
        }
        let places = rest.places(app).await;
        AtRest::assert_absent(&places, "the cookie", secret.as_bytes());
        let stored = app.rows("SELECT id FROM sessions WHERE cookie_hash IS NOT NULL ORDER BY id DESC").await;
        assert!(!AtRest::found(&places, stored[0].as_bytes()).is_empty(), "the row was not found");
    }

    async fn r67_a_sign_out_that_could_not_be_stored_is_not_acknowledged(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let cookie = shop.cookie(&token).await;
        app.settle().await;
        app.engine.faults().arm(Fault::Commit, 1_000);
        let failed = delete(&shop).cookie(&cookie).send().await.expect_status(500);
        app.engine.faults().arm(Fault::Commit, 0);
        assert_eq!(failed.header("set-cookie"), "");
        me(&shop, &cookie).await.expect_status(200);
    }

    async fn a_session_that_ended_after_it_was_looked_at_gets_no_cookie(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let acme = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let caller = ops::session::authenticate(&app.engine, &acme, &token).await.unwrap().unwrap();
        shop.call(Method::DELETE, "/auth/sessions/current").bearer(&token).send().await.expect_status(200);
        let refused = ops::session_cookie::give(&app.engine, &acme, &caller, Opens::Api, None, &Receipt::none()).await.unwrap_err();
        assert_eq!(refused.code, vestibule_engine::error::Code::Unauthenticated);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions WHERE cookie_hash IS NOT NULL").await, ["0"]);
    }

    async fn of_50_sign_outs_at_once_one_ends_the_session(app: TestApp) {
        let shop = app.acme();
        let cookie = shop.cookie(&customer(&shop, ADDRESS).await).await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let call = delete(&shop).cookie(&cookie);
            calls.spawn(call.send());
        }
        let mut statuses: Vec<u16> = calls.join_all().await.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        let expected: Vec<u16> = std::iter::once(200).chain(std::iter::repeat_n(401, 49)).collect();
        assert_eq!(statuses, expected);
    }

    async fn r39_a_body_that_says_who_calls_says_nothing(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let body = json!({"actor_id": "cus_01K0000000000000000000000X", "user": {"actor_id": "x"}});
        let given = shop.post(SESSION).bearer(&token).json(&body).send().await.expect_status(200).json();
        assert_eq!(given["user"]["actor_id"], claims(&token)["actor_id"]);
        assert_ne!(given["user"]["actor_id"], Value::Null);
    }
}
