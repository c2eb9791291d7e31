//! Each route of the table with every credential that it must not accept. A route without an expectation fails.

use http::Method;
use serde_json::{Value, json};
use vestibule::router::{MayCall, ROUTES, Route};

use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer};
use crate::support::client::{Answer, Shop};
use crate::support::each_db;

/// A request that the route would grant to the right caller: path and body.
fn request(route: &Route) -> Option<(&'static str, Value)> {
    let credentials = json!({"email": "nobody@example.com", "password": PASSWORD});
    Some(match (route.method.as_str(), route.path) {
        ("GET", "/health") => ("/health", Value::Null),
        ("GET", "/livez") => ("/livez", Value::Null),
        ("GET", "/readyz") => ("/readyz", Value::Null),
        ("GET", "/openapi.json") => ("/openapi.json", Value::Null),
        ("GET", "/docs") => ("/docs", Value::Null),
        ("GET", "/.well-known/jwks.json") => ("/.well-known/jwks.json", Value::Null),
        ("GET", "/auth/{actor_type}/{auth_provider}") => ("/auth/customer/emailpass", Value::Null),
        ("POST", "/auth/{actor_type}/{auth_provider}") => ("/auth/customer/emailpass", credentials),
        ("POST", "/auth/{actor_type}/{auth_provider}/register") => {
            ("/auth/customer/emailpass/register", json!({"email": "taken@example.com", "password": "a-Wrong-pass-1"}))
        }
        ("POST", "/auth/{actor_type}/{auth_provider}/reset-password") => {
            ("/auth/customer/emailpass/reset-password", json!({"identifier": "nobody@example.com"}))
        }
        ("POST", "/auth/{actor_type}/{auth_provider}/update") => ("/auth/customer/emailpass/update", json!({"password": "a-New-pass-9"})),
        ("POST", "/auth/{actor_type}/{auth_provider}/change-password") => {
            ("/auth/customer/emailpass/change-password", json!({"current_password": 5}))
        }
        ("GET", "/auth/{actor_type}/{auth_provider}/callback") => ("/auth/customer/emailpass/callback", Value::Null),
        ("POST", "/auth/{actor_type}/{auth_provider}/callback") => ("/auth/customer/emailpass/callback", json!({"code": "x", "state": "y"})),
        ("GET", "/auth/{actor_type}/providers") => ("/auth/customer/providers", Value::Null),
        ("GET", "/auth/callback/{auth_provider}") => ("/auth/callback/google", Value::Null),
        ("POST", "/auth/callback/{auth_provider}") => ("/auth/callback/google", json!({"code": "x", "state": "y"})),
        ("POST", "/auth/token/refresh") => ("/auth/token/refresh", json!({})),
        ("POST" | "DELETE", "/auth/session") => ("/auth/session", Value::Null),
        ("GET" | "DELETE", "/auth/sessions") => ("/auth/sessions", Value::Null),
        ("DELETE", "/auth/sessions/current") => ("/auth/sessions/current", Value::Null),
        ("DELETE", "/auth/sessions/{id}") => ("/auth/sessions/01K0000000000000000000000X", Value::Null),
        ("GET", "/auth/identities") => ("/auth/identities", Value::Null),
        ("POST", "/auth/identities") => ("/auth/identities", json!({"token": 5})),
        ("DELETE", "/auth/identities/{id}") => ("/auth/identities/authid_01K0000000000000000000000", Value::Null),
        ("POST", "/store/customers") => ("/store/customers", json!({"email": "victim@example.com"})),
        ("GET", "/store/customers/me") => ("/store/customers/me", Value::Null),
        ("POST", "/store/customers/me") => ("/store/customers/me", json!({"first_name": "Mallory"})),
        ("GET" | "POST", "/store/customers/me/addresses") => ("/store/customers/me/addresses", json!({"city": "Mallory"})),
        ("GET" | "POST" | "DELETE", "/store/customers/me/addresses/{id}") => {
            ("/store/customers/me/addresses/cuaddr_01K0000000000000000000000", json!({"city": "Mallory"}))
        }
        ("GET", "/account/reset-password") => ("/account/reset-password", Value::Null),
        ("POST", "/account/reset-password") => ("/account/reset-password", json!({"token": "x", "password": "a-New-pass-9"})),
        ("POST", "/account/reset-password/request") => ("/account/reset-password/request", json!({"address": "nobody@example.com"})),
        ("GET", "/account/assets/{name}") => ("/account/assets/style.css", Value::Null),
        ("GET", "/t/{slug}/account/reset-password") => ("/t/acme/account/reset-password", Value::Null),
        ("POST", "/t/{slug}/account/reset-password") => ("/t/acme/account/reset-password", json!({"token": "x", "password": "a-New-pass-9"})),
        ("POST", "/t/{slug}/account/reset-password/request") => ("/t/acme/account/reset-password/request", json!({"address": "nobody@example.com"})),
        ("GET", "/t/{slug}/account/assets/{name}") => ("/t/acme/account/assets/style.css", Value::Null),
        ("GET", "/dev/inbox") => ("/dev/inbox", Value::Null),
        ("GET", "/dev/inbox.json") => ("/dev/inbox.json", Value::Null),
        ("GET", "/dev/inbox/{id}") => ("/dev/inbox/1", Value::Null),
        ("GET", "/dev/inbox/{id}/html") => ("/dev/inbox/1/html", Value::Null),
        ("GET", "/dev/sign-in") => ("/dev/sign-in", Value::Null),
        ("GET", "/dev/callback") => ("/dev/callback", Value::Null),
        ("GET", "/dev/assets/{name}") => ("/dev/assets/demo.js", Value::Null),
        ("GET", "/dev/idp/.well-known/openid-configuration") => ("/dev/idp/.well-known/openid-configuration", Value::Null),
        ("GET", "/dev/idp/jwks") => ("/dev/idp/jwks", Value::Null),
        ("GET", "/dev/idp/authorize") => ("/dev/idp/authorize", Value::Null),
        ("POST", "/dev/idp/authorize") => ("/dev/idp/authorize", json!({"choice": "robin"})),
        ("POST", "/dev/idp/token") => ("/dev/idp/token", json!({"grant_type": "authorization_code"})),
        ("GET", "/dev/idp/userinfo") => ("/dev/idp/userinfo", Value::Null),
        ("POST", "/dev/idp/userinfo") => ("/dev/idp/userinfo", json!({})),
        _ => return None,
    })
}

/// Whom a request shows itself as.
struct Callers(Vec<(&'static str, Option<String>)>);

impl Callers {
    async fn of(app: &mut TestApp) -> Self {
        let (acme, globex) = (app.acme(), app.globex());
        let signed_in = customer(&acme, ADDRESS).await;
        let foreign = customer(&globex, ADDRESS).await;
        let actorless = acme.register("bob@example.com", PASSWORD).await.token();
        acme.register("taken@example.com", PASSWORD).await.expect_status(200);
        let staff = acme.post("/auth/user/emailpass/register").json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await.token();
        let reset = app.reset_token(&acme, ADDRESS).await;
        let foreign_reset = app.reset_token(&globex, ADDRESS).await;
        Self(vec![
            ("nobody", None),
            ("garbage", Some("garbage".into())),
            ("a login of staff", Some(staff)),
            ("a customer of another shop", Some(foreign)),
            ("a reset at another shop", Some(foreign_reset)),
            ("a login without a customer", Some(actorless)),
            ("a customer", Some(signed_in)),
            ("a reset", Some(reset)),
        ])
    }
}

async fn ask(shop: &Shop, route: &Route, path: &str, body: &Value, token: Option<&str>) -> Answer {
    let call = shop.call(route.method.clone(), path);
    let call = if route.method == Method::GET || body.is_null() { call } else { call.json(body) };
    match token {
        Some(token) => call.bearer(token),
        None => call,
    }
    .send()
    .await
}

fn is_let_in(may_call: MayCall, caller: &str) -> bool {
    match may_call {
        MayCall::Anyone => true,
        MayCall::ResetToken => caller == "a reset",
        // Whoever has a login here: staff, too.
        MayCall::Token | MayCall::Login => matches!(caller, "a login of staff" | "a login without a customer" | "a customer"),
        MayCall::CustomerLogin => matches!(caller, "a login without a customer" | "a customer"),
        MayCall::Customer => caller == "a customer",
        MayCall::Cookie | MayCall::Development => false,
    }
}

/// Whether what the route does to the caller it lets in would end the walk.
fn signs_out(route: &Route) -> bool {
    route.path == "/auth/sessions/current"
}

/// What a cookie opens is what a token opens, but for the two routes of which one is for each; and no page of a stranger's writes with it.
async fn with_cookies(app: &TestApp, acme: &Shop, own: &str, foreign: &str) {
    const STRANGER: &str = "A page of this origin may not use the cookie to change anything";
    for route in ROUTES.iter().filter(|route| !signs_out(route)) {
        let (path, body) = request(route).unwrap();
        let ask = |cookie: &str, origin: Option<&str>| {
            let call = acme.call(route.method.clone(), path).cookie(cookie);
            let call = if route.method == Method::GET || body.is_null() { call } else { call.json(&body) };
            match origin {
                Some(origin) => call.header("origin", origin),
                None => call,
            }
            .send()
        };
        let what = format!("{} {}", route.method, route.path);
        let by_cookie = matches!(route.may_call, MayCall::Cookie | MayCall::Login | MayCall::CustomerLogin | MayCall::Customer);
        if !by_cookie && route.may_call != MayCall::Token {
            continue;
        }
        // Another shop's cookie is nothing here.
        ask(foreign, None).await.expect_error(401, "Unauthorized");
        let stranger = ask(own, Some("https://evil.example")).await;
        match (by_cookie, route.method == Method::GET) {
            (false, _) => drop(stranger.expect_error(401, "Unauthorized")),
            (true, true) => assert!(matches!(stranger.status, 200 | 404), "{what}: {}", stranger.text),
            (true, false) => assert_eq!(stranger.expect_error(403, STRANGER).json()["type"], "forbidden", "{what}"),
        }
        // The one that ends it comes last.
        if by_cookie && route.may_call != MayCall::Cookie {
            let answer = ask(own, None).await;
            assert!(matches!(answer.status, 200 | 400 | 404), "{what}: {} {}", answer.status, answer.text);
        }
    }
    acme.call(Method::DELETE, "/auth/session").cookie(own).send().await.expect_status(200);
    app.settle().await;
}

#[track_caller]
fn assert_expected(route: &Route, caller: &str, answer: &Answer, to_nobody: &Answer) {
    let what = format!("{} {} as {caller}: {} {}", route.method, route.path, answer.status, answer.text);
    match route.may_call {
        // A credential that nobody asked for changes nothing.
        MayCall::Anyone => assert_eq!((answer.status, &answer.text), (to_nobody.status, &to_nobody.text), "{what}"),
        MayCall::Development => assert_eq!(answer.status, 404, "{what}"),
        // Let in: refused for what it says, or granted, and never for who it is.
        _ if is_let_in(route.may_call, caller) => assert!(matches!(answer.status, 200 | 400 | 404), "{what}"),
        MayCall::ResetToken => assert_eq!((answer.status, &answer.json()["message"]), (401, &json!("Invalid token")), "{what}"),
        MayCall::Token | MayCall::Cookie | MayCall::Login | MayCall::CustomerLogin | MayCall::Customer => {
            assert_eq!((answer.status, &answer.json()["message"]), (401, &json!("Unauthorized")), "{what}");
        }
    }
    assert!(answer.status < 500, "{what}");
}

each_db! {
    async fn r54_r82_r89_r116_each_route_lets_in_whom_its_table_names(app: TestApp) {
        app.restart(|config| {
            config.server.public_url = Some("https://id.example.com".parse().unwrap());
            config.tenants[0].limits.enabled = false;
        }).await;
        let callers = Callers::of(app).await;
        let acme = app.acme();
        let before = acme.me(callers.0[6].1.as_deref().unwrap()).await.expect_status(200);
        for route in ROUTES {
            let (path, body) = request(route).unwrap_or_else(|| panic!("no expectation for {} {}", route.method, route.path));
            let shop = if path.starts_with("/t/") { acme.at("id.example.com") } else { acme.clone() };
            let to_nobody = ask(&shop, route, path, &body, None).await;
            for (caller, token) in &callers.0 {
                // What opens a route is tried last of all, because it may be spent.
                if route.may_call == MayCall::ResetToken && *caller == "a reset" || signs_out(route) && is_let_in(route.may_call, caller) {
                    continue;
                }
                let answer = ask(&shop, route, path, &body, token.as_deref()).await;
                assert_expected(route, caller, &answer, &to_nobody);
                let changed = route.may_call == MayCall::Customer && route.method != Method::GET && answer.status == 200;
                assert!(!changed || *caller == "a customer", "{} {} as {caller}", route.method, route.path);
            }
            if matches!(route.may_call, MayCall::CustomerLogin | MayCall::Customer) {
                // Without the shop's publishable key nobody gets as far as a token.
                let keyless = Shop::new(&app.base, acme.host(), "");
                let answer = ask(&keyless, route, path, &body, callers.0[6].1.as_deref()).await;
                assert_eq!((answer.status, &answer.json()["type"]), (400, &json!("not_allowed")), "{} {}", route.method, route.path);
            }
        }
        let after = acme.me(callers.0[6].1.as_deref().unwrap()).await.json();
        assert_eq!((&after["customer"]["first_name"], &before.json()["customer"]["first_name"]), (&json!("Mallory"), &Value::Null));
        for route in ROUTES.iter().filter(|r| r.may_call == MayCall::ResetToken) {
            let (path, body) = request(route).unwrap();
            ask(&acme, route, path, &body, callers.0[7].1.as_deref()).await.expect_status(200);
        }
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r54_r71_r116_a_cookie_opens_what_its_token_opens(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let (own, foreign) = (acme.cookie(&customer(&acme, ADDRESS).await).await, globex.cookie(&customer(&globex, ADDRESS).await).await);
        with_cookies(app, &acme, &own, &foreign).await;
    }

    async fn every_route_has_its_place_in_the_table_once(app: TestApp) {
        let mut seen = std::collections::HashSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method.clone(), route.path)), "{} {}", route.method, route.path);
            // What is served is what the table says: the same path with a method that it does not name is not there.
            if let Some((path, _)) = request(route)
                && !ROUTES.iter().any(|r| r.path == route.path && r.method == Method::DELETE)
            {
                app.acme().call(Method::DELETE, path).send().await.expect_status(404);
            }
        }
    }
}
