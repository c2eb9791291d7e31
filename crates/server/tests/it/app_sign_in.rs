//! The door of the console: who comes in, what its cookie opens and what opens nothing here.

use http::Method;
use serde_json::json;
use vestibule::router::{MayCall, ROUTES, Route};
use vestibule_engine::ops;
use vestibule_engine::provider::emailpass;

use crate::route_coverage::request;
use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer, secret_key};
use crate::support::client::{Answer, Call, Shop, basic};
use crate::support::each_db;

pub const STAFF: &str = "Staff@acme.example";
const SIGN_IN: &str = "/app/sign-in";
const OUT: &str = "/app/sign-out";
const ROOM: &str = "/app/templates";
const FOREIGN: &str = "A page of this origin may not use the cookie to change anything";

/// A member of a shop's staff.
pub async fn member(app: &TestApp, slug: &str, address: &str) {
    let tenant = ops::tenant::by_slug(&app.engine, slug).await.unwrap();
    ops::user::create(&app.engine, &tenant, &emailpass::address(address).unwrap(), PASSWORD).await.unwrap();
}

/// A form as a browser sends it from one of our pages, which tell nobody where they are.
pub async fn post(shop: &Shop, path: &str, cookie: &str, form: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let call = shop.post(path).header("accept", "text/html").header("content-type", "application/x-www-form-urlencoded");
    call.header("origin", "null").header("sec-fetch-site", "same-origin").cookie(cookie).body(body).send().await
}

/// The cookie that an answer gives.
#[track_caller]
fn given(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

pub async fn sign_in(shop: &Shop, address: &str) -> String {
    let answer = post(shop, SIGN_IN, "", &[("address", address), ("password", PASSWORD)]).await.expect_status(303);
    given(&answer)
}

/// A request that the route would grant to the right caller.
fn ask(shop: &Shop, route: &Route) -> Call {
    let (path, body) = request(route).unwrap();
    let call = shop.call(route.method.clone(), path);
    if route.method == Method::GET { call } else { call.json(&body) }
}

/// Whether no session opens it.
const fn is_public(may_call: MayCall) -> bool {
    matches!(may_call, MayCall::Anyone | MayCall::ResetToken | MayCall::Console | MayCall::Development)
}

#[track_caller]
pub fn assert_led_to(answer: &Answer, path: &str) {
    assert_eq!((answer.status, answer.header("location"), answer.header("cache-control")), (303, path, "no-store"), "{}", answer.text);
}

#[track_caller]
pub fn assert_guarded(page: &Answer) {
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    assert_eq!((page.header("referrer-policy"), page.header("cache-control")), ("no-referrer", "no-store"));
    assert_eq!((page.header("x-content-type-options"), page.header("content-type")), ("nosniff", "text/html; charset=utf-8"));
    // What is shown as text has its quotes as references.
    for inline in ["<script>", "<style", " style=\"", " onclick=\"", " onload=\""] {
        assert!(!page.text.contains(inline), "{inline}");
    }
}

each_db! {
    async fn a_member_of_the_staff_comes_in_and_goes_out(app: TestApp) {
        member(app, "acme", STAFF).await;
        let acme = app.acme();
        assert_led_to(&acme.get("/app").send().await, SIGN_IN);
        let door = acme.get(SIGN_IN).send().await.expect_status(200);
        assert_guarded(&door);
        assert!(door.text.contains("Sign in to the console") && door.text.contains("Acme"));
        let entered = post(&acme, SIGN_IN, "", &[("address", "staff@ACME.example"), ("password", PASSWORD)]).await;
        assert_led_to(&entered, ROOM);
        let line = entered.header("set-cookie").to_owned();
        let (cookie, attributes) = line.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure");
        assert!(cookie.starts_with("__Host-vestibule-app=app_") && cookie.len() == "__Host-vestibule-app=app_".len() + 43, "{cookie}");
        assert_led_to(&acme.get("/app/").cookie(cookie).send().await, ROOM);
        let room = acme.get(ROOM).cookie(cookie).send().await.expect_status(200);
        assert_guarded(&room);
        assert!(room.text.contains(STAFF), "who is signed in");
        // Whoever signs in anew in that browser replaces the session.
        let second = given(&post(&acme, SIGN_IN, cookie, &[("address", STAFF), ("password", PASSWORD)]).await);
        assert_led_to(&acme.get(ROOM).cookie(cookie).send().await, SIGN_IN);
        let out = post(&acme, OUT, &second, &[]).await;
        assert_led_to(&out, SIGN_IN);
        assert_eq!(out.header("set-cookie"), "__Host-vestibule-app=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
        assert_led_to(&acme.get(ROOM).cookie(&second).send().await, SIGN_IN);
        let mut told = app.ends_told().await;
        // The clock stands still, so one of them is as early as the other.
        told.sort();
        assert_eq!(told, [("replaced".to_owned(), 1), ("signed_out".to_owned(), 1)]);
        assert_led_to(&post(&acme, OUT, &second, &[]).await, SIGN_IN);
    }

    async fn who_is_refused_is_refused_in_the_same_words(app: TestApp) {
        member(app, "acme", STAFF).await;
        member(app, "globex", "other@globex.example").await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        // Anybody can register one: it is of the staff once it has a user.
        acme.post("/auth/user/emailpass/register").json(&json!({"email": "self@made.example", "password": PASSWORD})).send().await.expect_status(200);
        for (address, password) in
            [(STAFF, "a-Wrong-pass-1"), ("nobody@acme.example", PASSWORD), (ADDRESS, PASSWORD), ("other@globex.example", PASSWORD), ("self@made.example", PASSWORD)]
        {
            let refused = post(&acme, SIGN_IN, "", &[("address", address), ("password", password)]).await.expect_status(401);
            assert!(refused.text.contains("Invalid email or password"), "{address}: {}", refused.text);
            assert_eq!((refused.header("set-cookie"), refused.header("www-authenticate")), ("", "Bearer"), "{address}");
            assert_guarded(&refused);
            assert!(!refused.text.contains(password), "a password is not repeated");
        }
        assert_eq!(app.ends_told().await, [("signed_out".to_owned(), 1)], "the session of who is not of the staff");
        for form in [&[("address", "no address"), ("password", PASSWORD)][..], &[], &[("address", STAFF)]] {
            let refused = post(&acme, SIGN_IN, "", form).await;
            assert!(matches!(refused.status, 400 | 401) && refused.header("set-cookie").is_empty(), "{form:?}: {}", refused.status);
        }
        app.restart_acme(|acme| {
            acme.auth_methods.insert("user".into(), Vec::new());
        })
        .await;
        post(&app.acme(), SIGN_IN, "", &[("address", STAFF), ("password", PASSWORD)]).await.expect_status(400);
    }

    async fn guessing_is_bounded_as_at_the_api(app: TestApp) {
        member(app, "acme", STAFF).await;
        let acme = app.acme();
        let most = app.config.tenants[0].limits.failed_sign_ins;
        for n in 0..most {
            // By turns: the budget is one.
            let status = if n % 2 == 0 {
                post(&acme, SIGN_IN, "", &[("address", STAFF), ("password", "a-Wrong-pass-1")]).await.status
            } else {
                acme.post("/auth/user/emailpass").json(&json!({"email": STAFF, "password": "a-Wrong-pass-1"})).send().await.status
            };
            assert_eq!(status, 401, "{n}");
        }
        let limited = post(&acme, SIGN_IN, "", &[("address", STAFF), ("password", PASSWORD)]).await.expect_status(429);
        assert!(limited.header("retry-after").parse::<u64>().unwrap() > 0 && limited.text.contains("Too many requests"));
        assert_guarded(&limited);
    }

    async fn the_cookie_of_one_door_opens_nothing_behind_another(app: TestApp) {
        member(app, "acme", STAFF).await;
        member(app, "globex", "other@globex.example").await;
        let (acme, globex) = (app.acme(), app.globex());
        let console = sign_in(&acme, STAFF).await;
        let value = console.split_once('=').unwrap().1.to_owned();
        let token = acme.post("/auth/user/emailpass").json(&json!({"email": STAFF, "password": PASSWORD})).send().await.token();
        let (staff, ann) = (acme.cookie(&token).await, acme.cookie(&customer(&acme, ADDRESS).await).await);
        // What is the API's, under its own name and under the console's, and another shop's.
        let foreign = sign_in(&globex, "other@globex.example").await;
        let renamed = |cookie: &str| format!("__Host-vestibule-app={}", cookie.split_once('=').unwrap().1);
        for cookie in [ann.clone(), staff.clone(), renamed(&ann), renamed(&staff), foreign, format!("{console}; {console}"), "vestibule-app=x".into()] {
            for route in ROUTES.iter().filter(|route| route.may_call == MayCall::Console) {
                assert_led_to(&ask(&acme, route).cookie(&cookie).send().await, SIGN_IN);
            }
        }
        for authorization in [format!("Bearer {token}"), format!("Bearer {value}"), basic(&secret_key(app, "acme").await.1)] {
            assert_led_to(&acme.get(ROOM).header("authorization", &authorization).send().await, SIGN_IN);
        }
        // What is the console's, under each name, as a token, at another shop.
        for cookie in [console.clone(), format!("__Host-vestibule={value}"), format!("__Host-vestibule={}", value.trim_start_matches("app_"))] {
            for route in ROUTES.iter().filter(|route| !is_public(route.may_call)) {
                ask(&acme, route).cookie(&cookie).send().await.expect_error(401, "Unauthorized");
            }
        }
        acme.get("/admin/customers").bearer(&value).send().await.expect_error(401, "Unauthorized");
        assert_led_to(&globex.get(ROOM).cookie(&console).send().await, SIGN_IN);
        acme.get(ROOM).cookie(&console).send().await.expect_status(200);
        acme.get("/admin/customers").cookie(&staff).send().await.expect_status(200);
    }

    async fn the_cookie_dies_with_its_session_and_its_member(app: TestApp) {
        for (n, end) in ["UPDATE sessions SET ended_at = 1", "UPDATE users SET deleted_at = 1", "DELETE FROM identities"].into_iter().enumerate() {
            let address = format!("staff{n}@acme.example");
            member(app, "acme", &address).await;
            let cookie = sign_in(&app.acme(), &address).await;
            app.acme().get(ROOM).cookie(&cookie).send().await.expect_status(200);
            assert!(vestibule_engine::testing::execute(&app.engine, end).await.unwrap() > 0);
            assert_led_to(&app.acme().get(ROOM).cookie(&cookie).send().await, SIGN_IN);
        }
        // At rest there is its hash alone.
        let everything = app.database.everything().await.unwrap();
        member(app, "acme", "last@acme.example").await;
        let value = sign_in(&app.acme(), "last@acme.example").await;
        assert!(!everything.contains(value.split_once("app_").unwrap().1));
        assert!(!app.database.everything().await.unwrap().contains(value.split_once("app_").unwrap().1));
    }

    async fn a_page_of_another_origin_neither_writes_nor_signs_in_or_out(app: TestApp) {
        member(app, "acme", STAFF).await;
        let acme = app.acme();
        app.restart_acme(|acme| {
            // Not even one that may call the API.
            for list in [&mut acme.cors.store, &mut acme.cors.auth, &mut acme.cors.admin] {
                list.push("https://acme.example".into());
            }
        })
        .await;
        let acme = acme.at(app.acme().host());
        let acme = Shop::new(&app.base, acme.host(), acme.key());
        let cookie = sign_in(&acme, STAFF).await;
        let credentials = format!("address={STAFF}&password={PASSWORD}");
        let from = [
            [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
            [("origin", "https://acme.example"), ("sec-fetch-site", "cross-site")],
            [("origin", "http://acme.api.example.com"), ("sec-fetch-site", "same-site")],
            [("origin", "null"), ("sec-fetch-site", "cross-site")],
            [("origin", "null"), ("sec-fetch-site", "same-site")],
            [("origin", "null"), ("accept", "text/html")],
            [("accept", "text/html"), ("sec-fetch-site", "same-site")],
        ];
        for headers in from {
            for (path, body) in [
                (ROOM, "message=password_reset&locale=en&subject=Mallory"),
                ("/app/templates/remove", "locale=en"),
                ("/app/templates/send", "locale=en"),
                ("/app/templates/preview", "locale=en"),
                ("/app/templates/html", "locale=en"),
                (OUT, ""),
                (SIGN_IN, credentials.as_str()),
            ] {
                let call = acme.post(path).cookie(&cookie).header("content-type", "application/x-www-form-urlencoded").body(body.to_owned());
                let call = headers.into_iter().fold(call, |call, (name, value)| call.header(name, value));
                let refused = call.send().await.expect_error(403, FOREIGN);
                assert_eq!(refused.header("set-cookie"), "", "{path} {headers:?}");
            }
        }
        assert!(!app.database.everything().await.unwrap().contains("Mallory"));
        acme.get(ROOM).cookie(&cookie).header("sec-fetch-site", "cross-site").send().await.expect_status(200);
        let own = acme.post(OUT).cookie(&cookie).header("origin", "https://acme.api.example.com").header("sec-fetch-site", "same-origin");
        assert_led_to(&own.send().await, SIGN_IN);
    }

    async fn a_host_without_a_store_says_where_consoles_are(app: TestApp) {
        let nobodys = app.acme().at("nobody.api.example.com");
        for path in ["/app", SIGN_IN, ROOM, "/app/templates/html"] {
            let page = nobodys.get(path).send().await.expect_status(404);
            assert_guarded(&page);
            assert!(page.text.contains("There is no store at this host") && page.text.replace("&#x2f;", "/").contains("{store}.api.example.com/app"));
        }
        post(&nobodys, SIGN_IN, "", &[("address", STAFF), ("password", PASSWORD)]).await.expect_status(404);
        nobodys.get("/account/assets/console.css").send().await.expect_status(200);
    }

    async fn the_link_of_dev_works_once_and_only_in_dev(app: TestApp) {
        let (acme, address) = (ops::tenant::by_slug(&app.engine, "acme").await.unwrap(), emailpass::address("staff@acme.localhost").unwrap());
        assert!(ops::console::offer(&app.engine, &acme, &address).await.is_err(), "not in dev");
        app.restart(|config| config.server.development = true).await;
        let (acme, globex) = (app.acme().at("acme.localhost"), app.acme().at("globex.localhost"));
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let secret = ops::console::offer(&app.engine, &tenant, &address).await.unwrap();
        let other = ops::console::offer(&app.engine, &tenant, &address).await.unwrap();
        let (door, link) = (format!("{SIGN_IN}?token={secret}"), "/app/sign-in/link");
        // Looking spends nothing.
        for method in [Method::GET, Method::HEAD, Method::GET] {
            let page = acme.call(method, &door).send().await.expect_status(200);
            assert_eq!(page.header("set-cookie"), "");
        }
        assert!(acme.get(&door).send().await.text.contains(&secret));
        let redeem = |shop: &Shop, secret: &str| {
            let (shop, secret) = (shop.clone(), secret.to_owned());
            async move { post(&shop, link, "", &[("token", &secret)]).await }
        };
        for (shop, secret) in [(&globex, secret.as_str()), (&acme, ""), (&acme, "x")] {
            let refused = redeem(shop, secret).await.expect_status(401);
            assert_eq!(refused.header("set-cookie"), "");
        }
        // A foreign host that leads to this machine is not answered.
        redeem(&acme.at("evil.example"), &secret).await.expect_status(404);
        // Of many at once one comes in.
        let all = futures_util::future::join_all((0..8).map(|_| redeem(&acme, &secret))).await;
        assert_eq!(all.iter().filter(|answer| answer.status == 303).count(), 1, "{:?}", all.iter().map(|a| a.status).collect::<Vec<_>>());
        let cookie = given(all.iter().find(|answer| answer.status == 303).unwrap());
        assert!(cookie.starts_with("vestibule-app="), "{cookie}: plain http on this machine");
        let room = acme.get(ROOM).cookie(&cookie).send().await.expect_status(200);
        assert!(room.text.contains("staff@acme.localhost"));
        assert!(!app.database.everything().await.unwrap().contains(&other), "no secret at rest");
        // It is in memory alone.
        app.restart(|_| ()).await;
        post(&app.acme().at("acme.localhost"), link, "", &[("token", &other)]).await.expect_status(401);
        app.restart(|config| config.server.development = false).await;
        post(&app.acme(), link, "", &[("token", &other)]).await.expect_status(404);
        assert!(!app.acme().get(&format!("{SIGN_IN}?token={other}")).send().await.expect_status(200).text.contains(&other));
    }
}
