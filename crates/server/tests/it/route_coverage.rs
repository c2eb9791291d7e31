//! Each route of the table with every credential that it must not accept. A route without an expectation fails.

use http::Method;
use serde_json::{Value, json};
use vestibule::router::{MayCall, ROUTES, Route};
use vestibule_engine::ops;
use vestibule_engine::ops::customer_import::Imported;
use vestibule_engine::provider::emailpass;

use crate::customer_import::{ann, imported};
use crate::former_secret::{FORMER, PRESENT, list, said, sign};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, publishable_key, secret_key};
use crate::support::client::{Answer, Shop, basic, claims};
use crate::support::each_db;

const DAY: std::time::Duration = std::time::Duration::from_hours(24);
/// Well formed, and nobody's.
const NOBODY: &str = "01K0000000000000000000000A";

/// A request that the route would grant to the right caller: path and body.
pub fn request(route: &Route) -> Option<(&'static str, Value)> {
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
        ("GET", "/admin/customers") => ("/admin/customers", Value::Null),
        ("GET" | "DELETE", "/admin/customers/{id}") => ("/admin/customers/cus_01K0000000000000000000000A", Value::Null),
        ("GET", "/admin/customers/{id}/timeline") => ("/admin/customers/cus_01K0000000000000000000000A/timeline", Value::Null),
        ("GET", "/admin/events") => ("/admin/events", Value::Null),
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
        _ => return console_request(route),
    })
}

/// As `request`, of the console.
fn console_request(route: &Route) -> Option<(&'static str, Value)> {
    Some(match (route.method.as_str(), route.path) {
        ("GET", "/app") => ("/app", Value::Null),
        ("GET", "/app/sign-in") => ("/app/sign-in", Value::Null),
        ("POST", "/app/sign-in") => ("/app/sign-in", json!({"address": "nobody@example.com", "password": PASSWORD})),
        ("POST", "/app/sign-in/link") => ("/app/sign-in/link", json!({"token": "x"})),
        ("POST", "/app/sign-out") => ("/app/sign-out", json!({})),
        ("GET", "/app/templates") => ("/app/templates", Value::Null),
        ("POST", "/app/templates") => ("/app/templates", json!({"message": "password_reset", "locale": "en", "subject": "Mallory"})),
        ("POST", "/app/templates/preview") => ("/app/templates/preview", json!({"locale": "en", "subject": "Mallory"})),
        ("POST", "/app/templates/remove") => ("/app/templates/remove", json!({"locale": "en"})),
        ("POST", "/app/templates/send") => ("/app/templates/send", json!({"locale": "en"})),
        ("GET" | "POST", "/app/templates/html") => ("/app/templates/html", json!({"locale": "en", "html": "{{ url }}"})),
        _ => return None,
    })
}

const STRANGER: &str = "A page of this origin may not use the cookie to change anything";
const OF_A_FORMER_SECRET: &str = "a customer with a token of a former secret";
const KEY_AS_BEARER: &str = "a secret key in the wrong place";

/// Whom a request shows itself as: who it is, and the `Authorization`.
struct Callers(Vec<(&'static str, Option<String>)>);

impl Callers {
    fn named(&self, who: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == who).unwrap().1.as_deref()
    }
}

impl Callers {
    async fn of(app: &mut TestApp) -> Self {
        let (acme, globex) = (app.acme(), app.globex());
        let expired = customer(&acme, ADDRESS).await;
        app.clock.advance(DAY);
        let signed_in = acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200).token();
        let foreign = customer(&globex, ADDRESS).await;
        let actorless = acme.register("bob@example.com", PASSWORD).await.token();
        acme.register("taken@example.com", PASSWORD).await.expect_status(200);
        let staff = acme.post("/auth/user/emailpass/register").json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await.token();
        let ended = customer(&acme, "eve@example.com").await;
        let ending = app.reset_token(&acme, "eve@example.com").await;
        acme.complete_reset(&ending, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
        let (key, foreign_key, revoked_key) = (secret_key(app, "acme").await, secret_key(app, "globex").await, secret_key(app, "acme").await);
        let deleted = customer(&acme, "dan@example.com").await;
        let gone = format!("/admin/customers/{}", claims(&deleted)["actor_id"].as_str().unwrap());
        acme.call(Method::DELETE, &gone).header("authorization", &basic(&key.1)).send().await.expect_status(200);
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        ops::api_key::revoke(&app.engine, &tenant, revoked_key.0).await.unwrap();
        ops::user::create(&app.engine, &tenant, &emailpass::address("staff@acme.example").unwrap(), PASSWORD).await.unwrap();
        let staff_signs_in = acme.post("/auth/user/emailpass").json(&json!({"email": "staff@acme.example", "password": PASSWORD}));
        let member = staff_signs_in.send().await.expect_status(200).token();
        let reset = app.reset_token(&acme, ADDRESS).await;
        let foreign_reset = app.reset_token(&globex, ADDRESS).await;
        imported(app, "acme", Imported { email: emailpass::address("old@example.com").unwrap(), ..ann() }).await;
        let (former, unlisted) = (sign(FORMER, &said(app)), sign(PRESENT, &said(app)));
        let bearer = |token: String| Some(format!("Bearer {token}"));
        Self(vec![
            ("nobody", None),
            ("garbage", bearer("garbage".into())),
            // Anybody can register one.
            ("a login that calls itself staff", bearer(staff)),
            ("a customer of another shop", bearer(foreign)),
            ("a reset at another shop", bearer(foreign_reset)),
            ("a login without a customer", bearer(actorless)),
            ("a customer", bearer(signed_in)),
            ("a reset", bearer(reset)),
            ("an expired token", bearer(expired)),
            ("a token whose session has ended", bearer(ended)),
            ("a deleted customer", bearer(deleted)),
            (OF_A_FORMER_SECRET, bearer(former)),
            ("a token of a secret that is not listed", bearer(unlisted)),
            ("a member of staff", bearer(member)),
            ("a secret key", Some(basic(&key.1))),
            (KEY_AS_BEARER, bearer(key.1)),
            ("a secret key of another shop", Some(basic(&foreign_key.1))),
            ("a secret key that was revoked", Some(basic(&revoked_key.1))),
            ("a publishable key", Some(basic(&publishable_key("acme")))),
        ])
    }
}

async fn ask(shop: &Shop, route: &Route, path: &str, body: &Value, authorization: Option<&str>) -> Answer {
    let call = shop.call(route.method.clone(), path);
    let call = if route.method == Method::GET || body.is_null() { call } else { call.json(body) };
    match authorization {
        Some(authorization) => call.header("authorization", authorization),
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
        MayCall::Token | MayCall::Login => {
            matches!(
                caller,
                "a login that calls itself staff" | "a member of staff" | "a login without a customer" | "a customer" | OF_A_FORMER_SECRET
            )
        }
        MayCall::CustomerLogin => matches!(caller, "a login without a customer" | "a customer" | OF_A_FORMER_SECRET),
        MayCall::Customer => matches!(caller, "a customer" | OF_A_FORMER_SECRET),
        MayCall::Staff => matches!(caller, "a member of staff" | "a secret key"),
        MayCall::Cookie | MayCall::Console | MayCall::Development => false,
    }
}

/// Whether what the route does to the caller it lets in would end the walk.
fn signs_out(route: &Route) -> bool {
    route.path == "/auth/sessions/current"
}

/// As `signs_out`: a token of a former secret has no session that would be spared with the others.
fn ends_itself(route: &Route, caller: &str) -> bool {
    signs_out(route) && is_let_in(route.may_call, caller)
        || caller == OF_A_FORMER_SECRET && (&route.method, route.path) == (&Method::DELETE, "/auth/sessions")
}

/// What a cookie opens is what a token opens, but for the two routes of which one is for each; and no page of a stranger's writes with it.
async fn with_cookies(app: &TestApp, acme: &Shop, own: &str, nobodys: &[String]) {
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
        if route.may_call == MayCall::Staff {
            ask(own, None).await.expect_error(401, "Unauthorized");
        }
        if route.may_call == MayCall::Console {
            assert_eq!(ask(own, None).await.header("location"), "/app/sign-in", "{what}");
        }
        if !by_cookie && route.may_call != MayCall::Token {
            continue;
        }
        for cookie in nobodys {
            ask(cookie, None).await.expect_error(401, "Unauthorized");
        }
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
        MayCall::Console => assert_eq!((answer.status, answer.header("location")), (303, "/app/sign-in"), "{what}"),
        // Let in: refused for what it says, or granted, and never for who it is.
        _ if is_let_in(route.may_call, caller) => assert!(matches!(answer.status, 200 | 400 | 404), "{what}"),
        MayCall::ResetToken => assert_eq!((answer.status, &answer.json()["message"]), (401, &json!("Invalid token")), "{what}"),
        MayCall::Staff if caller == KEY_AS_BEARER => {
            assert_eq!(answer.status, 401, "{what}");
            assert!(answer.json()["message"].as_str().unwrap().starts_with("A secret API key was passed as a Bearer token."), "{what}");
        }
        MayCall::Token | MayCall::Cookie | MayCall::Login | MayCall::CustomerLogin | MayCall::Customer | MayCall::Staff => {
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
            list(&mut config.tenants[0]);
        }).await;
        let callers = Callers::of(app).await;
        let acme = app.acme();
        let me = async || acme.get("/store/customers/me").header("authorization", callers.named("a customer").unwrap()).send().await.expect_status(200);
        let before = me().await;
        for route in ROUTES {
            let (path, body) = request(route).unwrap_or_else(|| panic!("no expectation for {} {}", route.method, route.path));
            let shop = if path.starts_with("/t/") { acme.at("id.example.com") } else { acme.clone() };
            let to_nobody = ask(&shop, route, path, &body, None).await;
            for (caller, token) in &callers.0 {
                // What opens a route is tried last of all, because it may be spent.
                if route.may_call == MayCall::ResetToken && *caller == "a reset" || ends_itself(route, caller) {
                    continue;
                }
                let answer = ask(&shop, route, path, &body, token.as_deref()).await;
                assert_expected(route, caller, &answer, &to_nobody);
                let changed = route.may_call == MayCall::Customer && route.method != Method::GET && answer.status == 200;
                assert!(!changed || matches!(*caller, "a customer" | OF_A_FORMER_SECRET), "{} {} as {caller}", route.method, route.path);
            }
            if matches!(route.may_call, MayCall::CustomerLogin | MayCall::Customer) {
                // Without the shop's publishable key nobody gets as far as a token.
                let keyless = Shop::new(&app.base, acme.host(), "");
                let answer = ask(&keyless, route, path, &body, callers.named("a customer")).await;
                assert_eq!((answer.status, &answer.json()["type"]), (400, &json!("not_allowed")), "{} {}", route.method, route.path);
            }
        }
        let after = me().await.json();
        assert_eq!((&after["customer"]["first_name"], &before.json()["customer"]["first_name"]), (&json!("Mallory"), &Value::Null));
        for route in ROUTES.iter().filter(|r| r.may_call == MayCall::ResetToken) {
            let (path, body) = request(route).unwrap();
            ask(&acme, route, path, &body, callers.named("a reset")).await.expect_status(200);
        }
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r54_r71_r116_a_cookie_opens_what_its_token_opens(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let (own, foreign) = (acme.cookie(&customer(&acme, ADDRESS).await).await, globex.cookie(&customer(&globex, ADDRESS).await).await);
        let (dan, eve) = (customer(&acme, "dan@example.com").await, customer(&acme, "eve@example.com").await);
        let (deleted, ended) = (acme.cookie(&dan).await, acme.cookie(&eve).await);
        for cookie in [&deleted, &ended] {
            acme.get("/store/customers/me").cookie(cookie).send().await.expect_status(200);
        }
        let gone = format!("/admin/customers/{}", claims(&dan)["actor_id"].as_str().unwrap());
        acme.call(Method::DELETE, &gone).header("authorization", &basic(&secret_key(app, "acme").await.1)).send().await.expect_status(200);
        acme.call(Method::DELETE, "/auth/sessions/current").bearer(&eve).send().await.expect_status(200);
        with_cookies(app, &acme, &own, &[foreign, deleted, ended]).await;
        // A member of the staff has a cookie as customers have.
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        ops::user::create(&app.engine, &tenant, &emailpass::address("staff@acme.example").unwrap(), PASSWORD).await.unwrap();
        let signs_in = acme.post("/auth/user/emailpass").json(&json!({"email": "staff@acme.example", "password": PASSWORD}));
        let member = acme.cookie(&signs_in.send().await.expect_status(200).token()).await;
        acme.get("/admin/customers").cookie(&member).send().await.expect_status(200);
        let stranger = acme.call(Method::DELETE, "/admin/customers/cus_nope").cookie(&member).header("origin", "https://evil.example");
        stranger.send().await.expect_error(403, STRANGER);
    }

    async fn r113_r114_anothers_id_is_answered_as_one_that_nobody_has(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let (ann, bob, foreign) = (customer(&acme, ADDRESS).await, customer(&acme, "bob@example.com").await, customer(&globex, ADDRESS).await);
        let address = async |shop: &Shop, token: &str| {
            let added = shop.post("/store/customers/me/addresses").bearer(token).json(&json!({"city": "Bonn"})).send().await.expect_status(200).json();
            added["customer"]["addresses"][0]["id"].as_str().unwrap().to_owned()
        };
        let said = |token: &str, claim: &str| claims(token)[claim].as_str().unwrap().to_owned();
        let (bobs, foreigners) = (address(&acme, &bob).await, address(&globex, &foreign).await);
        let (staff, ann) = (basic(&secret_key(app, "acme").await.1), format!("Bearer {ann}"));
        for route in ROUTES.iter().filter(|route| route.path.contains("{id}") && route.may_call != MayCall::Development) {
            let (prefix, others) = match route.path {
                "/auth/identities/{id}" => ("authid_", vec![said(&bob, "auth_identity_id"), said(&foreign, "auth_identity_id")]),
                "/store/customers/me/addresses/{id}" => ("cuaddr_", vec![bobs.clone(), foreigners.clone()]),
                "/auth/sessions/{id}" => ("", vec![said(&bob, "sid"), said(&foreign, "sid")]),
                "/admin/customers/{id}" | "/admin/customers/{id}/timeline" => ("cus_", vec![said(&foreign, "actor_id")]),
                path => panic!("no expectation for {path}"),
            };
            let (_, body) = request(route).unwrap();
            let answered = async |id: &str| {
                let authorization = if route.may_call == MayCall::Staff { &staff } else { &ann };
                let mut answer = ask(&acme, route, &route.path.replace("{id}", id), &body, Some(authorization)).await;
                answer.headers.remove("date");
                (answer.status, answer.text.replace(id, "{id}"), format!("{:?}", answer.headers))
            };
            let expected = answered(&format!("{prefix}{NOBODY}")).await;
            for id in others {
                assert_eq!(answered(&id).await, expected, "{} {}", route.method, route.path);
            }
        }
        for (shop, token) in [(&acme, &bob), (&globex, &foreign)] {
            assert_eq!(shop.me(token).await.expect_status(200).json()["customer"]["addresses"][0]["city"], "Bonn");
        }
    }

    async fn every_route_has_its_place_in_the_table_once(app: TestApp) {
        let mut seen = std::collections::HashSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method.clone(), route.path)), "{} {}", route.method, route.path);
            // What is served is what the table says: the same path with a method that it does not name is not there.
            if let Some((path, _)) = request(route)
                && !ROUTES.iter().any(|r| r.path == route.path && r.method == Method::DELETE)
            {
                let told = !path.starts_with("/store/customers/me") && !path.starts_with("/admin/");
                // Where only a customer or the staff may look, nobody else learns what is not there.
                app.acme().call(Method::DELETE, path).send().await.expect_status(if told { 404 } else { 401 });
            }
        }
    }
}
