//! Errors on the wire: their bodies, their headers, and that nothing of the inside shows in them.

mod document;
pub mod triggers;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use vestibule_engine::model::provider::ProviderSettings;
use vestibule_engine::testing::{Fault, execute};

use self::triggers::{Before, TRIGGERS, Trigger};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, provider, publishable_key, secret_key};
use crate::support::client::{Answer, Shop, basic, claims};
use crate::support::{each_db, raw};

const SIGN_IN: &str = "/auth/customer/emailpass";
/// Every route that reads a body.
const POSTS: [&str; 14] = [
    SIGN_IN,
    "/auth/customer/emailpass/change-password",
    "/auth/customer/emailpass/callback",
    "/auth/identities",
    "/auth/callback/certified",
    "/auth/customer/emailpass/register",
    "/auth/customer/emailpass/reset-password",
    "/auth/customer/emailpass/update",
    "/store/customers",
    "/store/customers/me",
    "/store/customers/me/addresses",
    "/store/customers/me/addresses/cuaddr_01K0000000000000000000000",
    "/account/reset-password",
    "/account/reset-password/request",
];

/// What the requests of the table name.
struct Cast(Vec<(&'static str, String)>);

impl Cast {
    async fn of(app: &mut TestApp) -> Self {
        let shop = app.acme();
        let stale = customer(&shop, ADDRESS).await;
        customer(&shop, "pat@example.com").await;
        let link = app.reset_token(&shop, "pat@example.com").await;
        shop.complete_reset(&link, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail("pat@example.com").await;
        app.advance(Duration::from_mins(11));
        let customer_token = shop.sign_in(ADDRESS, PASSWORD).await.token();
        let proven = shop.sign_in("pat@example.com", NEW_PASSWORD).await.token();
        let login = shop.register("bob@example.com", PASSWORD).await.token();
        let deleted = customer(&shop, "dan@example.com").await;
        let orphan = shop.register("orphan@example.com", PASSWORD).await.token();
        shop.register("damaged@example.com", PASSWORD).await.expect_status(200);
        for damage in [
            "UPDATE customers SET deleted_at = 1 WHERE email_key = 'dan@example.com'",
            "DELETE FROM identities WHERE entity_id = 'orphan@example.com'",
            "UPDATE identities SET password_hash = 'x' WHERE entity_id = 'damaged@example.com'",
        ] {
            assert_eq!(execute(&app.engine, damage).await.unwrap(), 1, "{damage}");
        }
        // Two logins for one address: the second one's customer would be a duplicate.
        let globex = app.globex();
        customer(&globex, ADDRESS).await;
        let second = globex.register("second@example.com", PASSWORD).await.token();
        let reset = app.reset_token(&shop, ADDRESS).await;
        let program = basic(&secret_key(app, "acme").await.1);
        Self(vec![
            ("{cookie}", shop.cookie(&customer_token).await),
            ("{deleted id}", claims(&deleted)["actor_id"].as_str().unwrap().into()),
            ("{orphan id}", claims(&orphan)["auth_identity_id"].as_str().unwrap().into()),
            ("{customer id}", claims(&customer_token)["auth_identity_id"].as_str().unwrap().into()),
            ("{login id}", claims(&login)["auth_identity_id"].as_str().unwrap().into()),
            ("{stale}", stale),
            ("{proven}", proven),
            ("{customer}", customer_token),
            ("{login}", login),
            ("{deleted}", deleted),
            ("{orphan}", orphan),
            ("{second}", second),
            ("{reset}", reset),
            ("{program}", program),
            ("{globex key}", publishable_key("globex")),
            ("{1025 letters}", "z".repeat(1025)),
            ("{102400 letters}", "z".repeat(102_400)),
        ])
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

async fn prepare(app: &TestApp, cast: &Cast, before: Before) {
    // More than once, because the dispatcher shares the database.
    let arm = |fault| app.engine.faults().arm(fault, 1_000);
    match before {
        Before::Nothing => {}
        Before::GuessesSpent => {
            for _ in 0..10 {
                app.acme().sign_in("spent@example.com", "a-Wrong-pass-1").await.expect_status(401);
            }
        }
        Before::AddressesFull => {
            let token = cast.fill("{customer}");
            for _ in 0..200 {
                app.acme().post("/store/customers/me/addresses").bearer(&token).json(&json!({})).send().await.expect_status(200);
            }
        }
        Before::ProfileLarge => {
            let (shop, token) = (app.acme(), cast.fill("{customer}"));
            let all = shop.get("/store/customers/me/addresses?limit=70&fields=id").bearer(&token).send().await.json();
            for address in all["addresses"].as_array().unwrap() {
                let path = format!("/store/customers/me/addresses/{}", address["id"].as_str().unwrap());
                shop.post(&path).bearer(&token).json(&json!({"metadata": {"note": "x".repeat(4000)}})).send().await.expect_status(200);
            }
        }
        Before::KeyUsed => keyed(app, cast, "used", json!({"first_name": "x"})).await,
        Before::KeyInFlight => {
            arm(Fault::Death);
            keyed(app, cast, "in-flight", json!({"role": "admin"})).await;
        }
        Before::EventsSwept => {
            app.numbered().await;
            assert!(execute(&app.engine, "UPDATE sequences SET swept = 3 WHERE last > 3").await.unwrap() > 0);
        }
        Before::HashingFails => app.engine.hasher.fail_next(),
        Before::CommitFails => arm(Fault::Commit),
        Before::CommitLost => arm(Fault::CommitLost),
        Before::BeginFails => arm(Fault::Begin),
        Before::Conflict => arm(Fault::Conflict),
    }
}

async fn keyed(app: &TestApp, cast: &Cast, key: &str, body: Value) {
    let call = app.acme().post("/store/customers/me").bearer(&cast.fill("{customer}")).header("idempotency-key", key);
    assert!(call.json(&body).send().await.status < 500);
}

async fn provoke(app: &TestApp, cast: &Cast, trigger: &Trigger) -> Answer {
    let request = cast.fill(trigger.request);
    let (head, body) = request.split_once("\n\n").unwrap_or((&request, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let mut call = app.acme().call(method.parse().unwrap(), path);
    if !body.is_empty() {
        call = call.header("content-type", "application/json").body(body.to_owned());
    }
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        call = call.header(name, value.trim());
    }
    prepare(app, cast, trigger.before).await;
    let answer = call.send().await;
    for fault in [Fault::Begin, Fault::Commit, Fault::CommitLost, Fault::Conflict, Fault::Death] {
        app.engine.faults().arm(fault, 0);
    }
    answer
}

/// Nothing that only the inside should know.
#[track_caller]
fn assert_tells_nothing(answer: &Answer) {
    let text = answer.text.to_ascii_lowercase();
    for word in [
        "select ",
        "insert ",
        "update ",
        "delete from",
        "commit",
        "begin was",
        "savepoint",
        "rusqlite",
        "sqlite",
        "postgres",
        "constraint",
        "tenant_id",
        "panicked",
        "src/",
        ".rs:",
        "argon2",
        "stack",
        "injected",
        "on purpose",
    ] {
        assert!(!text.contains(word), "{word:?} in {}", answer.text);
    }
}

async fn with_cors(app: &mut TestApp) -> Shop {
    app.restart(|config| {
        let cors = &mut config.tenants[0].cors;
        cors.store = vec!["https://acme.example".into()];
        cors.auth = vec!["https://acme.example".into(), "https://login.acme.example".into()];
        cors.admin = vec!["https://acme.example".into()];
    })
    .await;
    app.acme()
}

each_db! {
    async fn each_trigger_is_answered_as_documented(app: TestApp) {
        app.restart(|config| {
            config.tenants[1].customers.email_must_match_identity = false;
            let certified = provider("https://issuer.example", "https://acme.example/callback");
            let unfinished = ProviderSettings { callback_url: None, ..certified.clone() };
            config.tenants[0].providers = [("certified".to_owned(), certified), ("unfinished".to_owned(), unfinished)].into();
        }).await;
        let cast = Cast::of(app).await;
        for trigger in TRIGGERS {
            let answer = provoke(app, &cast, trigger).await;
            assert_eq!((answer.status, &answer.text), (trigger.status, &cast.fill(trigger.body)), "{}", trigger.when);
            for (name, value) in trigger.headers {
                let found: Vec<_> = answer.headers.get_all(*name).iter().map(|v| v.to_str().unwrap()).collect();
                assert!(found.contains(value), "{}: {name} is {found:?}", trigger.when);
            }
            assert_tells_nothing(&answer);
            // These belong to their statuses, and to no other.
            for (name, statuses) in [("www-authenticate", &[401][..]), ("retry-after", &[429, 503]), ("idempotency-key", &[409])] {
                assert_eq!(answer.headers.contains_key(name), statuses.contains(&answer.status), "{}: {name}", trigger.when);
            }
        }
    }

    async fn after_a_fault_nothing_is_changed_and_all_goes_on(app: TestApp) {
        let shop = app.acme();
        app.engine.hasher.fail_next();
        shop.register(ADDRESS, PASSWORD).await.expect_error(500, "An error occured while hashing password");
        app.engine.faults().arm(Fault::Commit, 1);
        shop.register(ADDRESS, NEW_PASSWORD).await.expect_status(500);
        let token = shop.register(ADDRESS, PASSWORD).await.expect_status(200).token();
        app.engine.faults().arm(Fault::Commit, 1);
        shop.post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS})).send().await.expect_status(500);
        shop.post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS})).send().await.expect_status(200);
        // R67: neither is a sign-in that could not be stored, nor one whose hash could not be computed.
        app.engine.hasher.fail_next();
        let failed = shop.sign_in(ADDRESS, PASSWORD).await.expect_status(500);
        assert_eq!(failed.json(), json!({"code": "api_error", "message": "An error occured while hashing password", "type": "database_error"}));
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn a_conflict_names_a_key_to_retry_with(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let update = async |key: Option<&str>| {
            app.engine.faults().arm(Fault::Conflict, 1);
            let call = shop.post("/store/customers/me").bearer(&token).json(&json!({"first_name": "x"}));
            match key { Some(key) => call.header("idempotency-key", key), None => call }.send().await
        };
        let published = json!({"code": "unknown_error", "type": "QueryRunnerAlreadyReleasedError",
            "message": "The request conflicted with another request. You may retry the request with the provided Idempotency-Key."});
        let own = update(Some("mine")).await.expect_status(409);
        assert_eq!((own.json(), own.header("idempotency-key")), (published.clone(), "mine"));
        let (one, two) = (update(None).await.expect_status(409), update(None).await);
        assert_eq!(one.json(), published);
        assert!(one.header("idempotency-key").len() == 36 && one.header("idempotency-key") != two.header("idempotency-key"));
    }

    async fn a_401_is_json_only_for_who_asks_for_it(app: TestApp) {
        let shop = app.acme();
        let json_body = r#"{"type":"unauthorized","message":"Unauthorized"}"#;
        for (accept, json) in [
            ("application/json", true), ("Application/JSON", true), ("text/html, application/json;q=0.1", true), ("application/json; charset=utf-8", true),
            ("application/json;q=1.000", true), ("text/html,application/json", true), ("*/*", false), ("", false), ("text/plain", false), ("application/*", false),
            ("application/json;q=0", false), ("APPLICATION/json; Q=0.0", false), ("application/jsonp", false), ("application/json;q=x", false), ("text/plain, */*;q=0.8", false),
        ] {
            let answer = shop.get("/store/customers/me").header("accept", accept).send().await.expect_status(401);
            let expected = if json { (json_body, "application/json; charset=utf-8") } else { ("Unauthorized", "text/plain; charset=utf-8") };
            assert_eq!((answer.text.as_str(), answer.header("content-type")), expected, "{accept}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert!(answer.headers.get_all("vary").iter().any(|v| v == "Accept") && answer.headers.get_all("vary").iter().any(|v| v == "Origin"));
            // Words of its own are always JSON.
            let other = shop.post(SIGN_IN).header("accept", accept).json(&json!({"email": ADDRESS, "password": ""})).send().await;
            assert_eq!(other.header("content-type"), "application/json; charset=utf-8", "{accept}");
            other.expect_error(401, "Password should be a string");
        }
        let bare = raw::get(&app.base, "/store/customers/me", &["Host: acme.api.example.com", &format!("x-publishable-api-key: {}", shop.key())]).await;
        assert_eq!((bare.status, bare.text.as_str()), (401, "Unauthorized"), "no Accept at all");
    }

    async fn r143_a_body_that_is_no_json_is_refused_with_a_place(app: TestApp) {
        let shop = app.acme();
        let deep = "[".repeat(50_000);
        let nested = format!("{}{}", "{\"a\":".repeat(20_000), "1");
        let bodies: Vec<Vec<u8>> = ["{", "[", "{\"a\"", "{\"a\":}", "{\"a\":1,}", "{'a':1}", "{\"a\":tru}", "\"x", "x", "123", "null", "true", "\"x\"", "[1,]", "{}}",
            "{} {}", "{\"a\":1e999}", "{\"a\":-}", "{\"a\":01}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\n\"}", "{/**/}", "\0", "\u{FEFF}\u{FEFF}{}", "{\"a\":NaN}",
            &deep, &nested, "-", "}", "<xml/>"].iter().map(|text| text.as_bytes().to_vec()).chain([b"{\"a\":\"\xff\"}".to_vec(), b"\xff\xfe{\0}\0".to_vec()]).collect();
        for path in POSTS {
            for body in &bodies {
                let answer = shop.post(path).header("content-type", "application/json").body(body.clone()).send().await;
                let shown = String::from_utf8_lossy(body).chars().take(40).collect::<String>();
                assert_eq!(answer.status, 400, "{path} {shown}: {}", answer.text);
                assert_eq!(answer.json()["type"], "invalid_data", "{path} {shown}");
                assert!(answer.text.len() < 500, "{path} {shown}: {}", answer.text);
                assert_tells_nothing(&answer);
            }
        }
    }

    async fn r25_r143_more_than_100_kib_is_not_read(app: TestApp) {
        let shop = app.acme();
        let sized = |size: usize| format!("{{\"a\":\"{}\"}}", "z".repeat(size - 8));
        for path in POSTS {
            for kind in ["application/json", "application/x-www-form-urlencoded", "text/plain", "image/png"] {
                let answer = shop.post(path).header("content-type", kind).body(sized(101 * 1024)).send().await.expect_error(413, "request entity too large");
                assert_eq!(answer.json()["type"], "unknown_error");
            }
            let whole = shop.post(path).header("content-type", "application/json").body(sized(100 * 1024)).send().await;
            assert_ne!(whole.status, 413, "{path}");
            // 10 MB, with its length said and without.
            let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n", shop.host());
            let said = [format!("{head}Content-Length: 10000000\r\n\r\n").into_bytes(), vec![b'['; 10_000_000]].concat();
            assert_eq!(raw::send(&app.base, &said).await.status, 413, "{path}");
            let chunk = [b"10000\r\n".to_vec(), vec![b'['; 0x10000], b"\r\n".to_vec()].concat();
            let chunked = [format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes(), chunk.repeat(150), b"0\r\n\r\n".to_vec()].concat();
            assert_eq!(raw::send(&app.base, &chunked).await.status, 413, "{path} chunked");
        }
    }

    async fn charsets_and_encodings_that_are_not_read_are_named(app: TestApp) {
        let shop = app.acme();
        for path in POSTS {
            for (kind, text) in [("application/json; charset=utf-16", "UTF-16"), ("text/plain;charset=\"Latin1\"", "LATIN1"), ("application/x-www-form-urlencoded; CHARSET=x", "X")] {
                let answer = shop.post(path).header("content-type", kind).body("{}").send().await;
                answer.expect_error(415, &format!("unsupported charset \"{text}\""));
            }
            for encoding in ["gzip", "br", "deflate, gzip", "x"] {
                let answer = shop.post(path).header("content-type", "application/json").header("content-encoding", encoding).body("{}").send().await;
                answer.expect_error(415, &format!("unsupported content encoding \"{encoding}\""));
            }
        }
        let fine = shop.post(SIGN_IN).header("content-type", "application/json; charset=UTF-8").header("content-encoding", "identity").body("{}").send().await;
        fine.expect_error(401, "Password should be a string");
    }

    async fn what_is_not_there_is_a_json_404(app: TestApp) {
        let shop = with_cors(app).await;
        for (method, path) in [
            (Method::GET, "/"), (Method::GET, "/nope"), (Method::GET, "/auth"), (Method::GET, "/auth/customer"), (Method::POST, "/auth/customer/emailpass/nope"),
            (Method::GET, "/auth/customer/emailpass/register"), (Method::GET, "/auth/customer/emailpass/update"), (Method::GET, "/store"), (Method::GET, "/store/products"),
            (Method::GET, "/store/customers"), (Method::POST, "/store/customers/cus_1"), (Method::OPTIONS, "/store/nope"), (Method::OPTIONS, "/auth/nope"),
            (Method::TRACE, "/health"), (Method::DELETE, "/health"), (Method::GET, "/dev/inbox"), (Method::GET, "/dev/inbox.json"), (Method::GET, "//health"),
            (Method::GET, "/%00"), (Method::GET, "/auth/customer/emailpass/../../../health"), (Method::OPTIONS, "/health"), (Method::GET, "/account/assets/x"),
            (Method::GET, "/account/assets/%FF"), (Method::GET, "/account"), (Method::GET, "/t/acme/account/reset-password"), (Method::GET, "/health/x"),
        ] {
            let answer = shop.call(method.clone(), path).bearer("x").header("origin", "https://acme.example").send().await;
            assert!(matches!(answer.status, 404) || path.contains(".."), "{method} {path}: {} {}", answer.status, answer.text);
            if answer.status == 404 && method != Method::HEAD {
                assert_eq!((answer.header("content-type"), &answer.json()["type"]), ("application/json; charset=utf-8", &json!("not_found")), "{method} {path}");
            }
            let shared = path.starts_with("/store") || path.starts_with("/auth");
            assert_eq!(answer.headers.contains_key("access-control-allow-origin"), shared && answer.status == 404, "{method} {path}");
        }
        // Without the key nothing under it is told, not even what is not there; and so it is with what only a customer or the staff may see.
        for method in [Method::GET, Method::OPTIONS] {
            let keyless = shop.call(method, "/store/products").header("x-publishable-api-key", "").send().await.expect_status(400);
            assert_eq!(keyless.json()["type"], "not_allowed");
        }
        let (token, key) = (customer(&shop, ADDRESS).await, basic(&secret_key(app, "acme").await.1));
        let bearer = format!("Bearer {token}");
        for (method, path, authorization) in [
            (Method::PUT, "/store/customers/me", &bearer), (Method::PATCH, "/store/customers/me", &bearer), (Method::DELETE, "/store/customers/me", &bearer),
            (Method::GET, "/store/customers/meXYZ", &bearer), (Method::GET, "/store/customers/me/nope", &bearer), (Method::OPTIONS, "/store/customers/me/nope", &bearer),
            (Method::GET, "/admin", &key), (Method::GET, "/admin/nope", &key), (Method::POST, "/admin/customers", &key), (Method::OPTIONS, "/admin/nope", &key),
        ] {
            shop.call(method.clone(), path).send().await.expect_error(401, "Unauthorized");
            let answer = shop.call(method.clone(), path).header("authorization", authorization).send().await;
            answer.expect_error(404, &format!("Cannot {method} {path}"));
        }
        let long = shop.get(&format!("/{}", "x".repeat(5_000))).send().await.expect_status(404);
        assert!(long.text.len() < 400, "a long path does not come back whole");
    }

    async fn a_path_that_is_no_utf8_is_refused_in_the_usual_shape(app: TestApp) {
        let (shop, login) = (app.acme(), app.acme().register("path@example.com", PASSWORD).await.token());
        for (method, path) in [
            (Method::GET, "/auth/%ff/providers"), (Method::GET, "/auth/callback/%ff"), (Method::POST, "/auth/callback/%ff"), (Method::DELETE, "/auth/identities/%ff"),
            (Method::POST, "/auth/%ff/emailpass"), (Method::POST, "/auth/customer/%ff/register"),
        ] {
            let answer = shop.call(method.clone(), path).bearer(&login).send().await;
            assert_eq!((answer.status, &answer.json()["type"]), (400, &json!("invalid_data")), "{method} {path}: {}", answer.text);
        }
    }

    async fn r127_origins_are_compared_whole(app: TestApp) {
        let shop = with_cors(app).await;
        let allowed = |answer: &Answer| answer.headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned());
        for origin in ["https://acme.example.evil.test", "https://evil-acme.example", "http://acme.example", "https://acme.example:8443", "https://acme.example/", "null",
            "https://ACME.example", "https://x.acme.example", "*", "", "https://acme.example, https://evil.test", "http://localhost:8000", "https://globex.example", "file://"] {
            for path in [SIGN_IN, "/store/customers/me"] {
                assert_eq!(allowed(&shop.post(path).header("origin", origin).send().await), None, "{origin} {path}");
                let preflight = shop.call(Method::OPTIONS, path).header("origin", origin).header("access-control-request-method", "POST").send().await;
                assert_eq!((preflight.status, allowed(&preflight)), (204, None), "{origin} {path}");
            }
        }
        // Each API has its list, each shop its own.
        let origin = "https://login.acme.example";
        assert_eq!(allowed(&shop.post(SIGN_IN).header("origin", origin).send().await).as_deref(), Some(origin));
        assert_eq!(allowed(&shop.get("/store/customers/me").header("origin", origin).send().await), None);
        assert_eq!(allowed(&app.globex().post(SIGN_IN).header("origin", "https://acme.example").send().await), None);
    }

    async fn errors_and_preflights_carry_the_cors_headers(app: TestApp) {
        let shop = with_cors(app).await;
        let origin = "https://acme.example";
        let oversized = "z".repeat(101 * 1024);
        let calls: Vec<(u16, &str, &str, &str)> = vec![
            (400, SIGN_IN, "application/json", "{"), (401, SIGN_IN, "application/json", "{}"), (413, SIGN_IN, "application/json", &oversized),
            (415, SIGN_IN, "application/json; charset=x", "{}"), (404, "/auth/x", "application/json", "{}"), (401, "/store/customers", "application/json", "{}"),
            (404, "/store/x", "application/json", "{}"), (400, "/auth/customer/emailpass/reset-password", "application/json", "{}"),
        ];
        for (status, path, kind, body) in calls {
            let answer = shop.post(path).header("origin", origin).header("content-type", kind).body(body.to_owned()).send().await.expect_status(status);
            assert_eq!((answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials")), (origin, "true"), "{path}");
            assert_eq!(answer.header("access-control-expose-headers"), "Idempotency-Key, Idempotency-Replayed, Retry-After, WWW-Authenticate");
            assert!(answer.headers.get_all("vary").iter().any(|v| v == "Origin"));
            assert_eq!((answer.header("x-content-type-options"), answer.header("cache-control")), ("nosniff", "no-store"));
        }
        for (path, method) in [(SIGN_IN, "POST"), ("/store/customers/me", "DELETE"), ("/admin/customers/cus_1", "DELETE"), (SIGN_IN, "")] {
            let asked = "content-type,authorization,x-publishable-api-key,x-medusa-locale";
            let call = shop.call(Method::OPTIONS, path).header("x-publishable-api-key", "").header("origin", origin);
            // Whoever asks on behalf of no method at all is answered, too.
            let call = if method.is_empty() { call } else { call.header("access-control-request-method", method) };
            let answer = call.header("access-control-request-headers", asked).send().await.expect_status(204);
            assert_eq!((answer.header("access-control-allow-methods"), answer.header("access-control-allow-headers")), ("GET,HEAD,PUT,PATCH,POST,DELETE", asked));
            assert_eq!((answer.header("access-control-allow-origin"), answer.text.as_str()), (origin, ""));
        }
        // R39: two tokens are no link, and the page says so.
        let twice = shop.get("/account/reset-password?token=a&token=b").send().await.expect_status(400);
        assert_eq!(twice.header("content-type"), "text/html; charset=utf-8");
        // No page may be called from elsewhere.
        for path in ["/account/reset-password", "/health", "/.well-known/jwks.json"] {
            let answer = shop.get(path).header("origin", origin).send().await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
        }
    }

    async fn the_published_shapes_are_ours(app: TestApp) {
        // The published examples of this API, by status: the same members, the same types, and where the message is fixed the same message.
        let published: [(u16, Value); 5] = [
            (400, json!({"message": "", "type": "not_allowed"})),
            (404, json!({"message": "", "type": "not_found"})),
            (409, json!({"code": "unknown_error", "message": "", "type": "QueryRunnerAlreadyReleasedError"})),
            (422, json!({"code": "invalid_request_error", "message": "", "type": "duplicate_error"})),
            (500, json!({"code": "api_error", "message": "", "type": "database_error"})),
        ];
        app.restart(|config| {
            config.tenants[1].customers.email_must_match_identity = false;
            let certified = provider("https://issuer.example", "https://acme.example/callback");
            let unfinished = ProviderSettings { callback_url: None, ..certified.clone() };
            config.tenants[0].providers = [("certified".to_owned(), certified), ("unfinished".to_owned(), unfinished)].into();
        }).await;
        let cast = Cast::of(app).await;
        for (status, shape) in published {
            let mut found = false;
            for trigger in TRIGGERS.iter().filter(|t| t.status == status) {
                let mut body = provoke(app, &cast, trigger).await.json();
                body["message"] = json!("");
                found |= body == shape;
            }
            assert!(found, "{status}: {shape}");
        }
    }
}
