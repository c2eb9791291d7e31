//! A random walk over all routes with odd paths, headers and bodies: whatever is sent, the server answers with a clear refusal or does what was asked.

use http::Method;
use serde_json::{Value, json};
use vestibule::router::ROUTES;
use vestibule_engine::ports::rng::Rng;

use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer};
use crate::support::client::Answer;
use crate::support::{each_db, raw};

/// So that a failure can be walked again.
const SEED: u64 = 0x5eed_0144;
const STEPS: usize = 500;

const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "a\0b",
    "'",
    "' OR 1=1 --",
    "\"; DROP TABLE customers; --",
    "$1",
    "%",
    "_",
    "\\",
    "../../etc/passwd",
    "%00",
    "%2e%2e%2f",
    "\u{202E}x",
    "\u{FEFF}",
    "\u{1F468}\u{200D}\u{1F469}",
    "ﬀ",
    "{{7*7}}",
    "${x}",
    "<script>alert(1)</script>",
    "x\r\nSet-Cookie: a=b",
    "null",
    "undefined",
    "NaN",
    "-1",
    "9223372036854775808",
    "1e400",
    "customer@gmail.com",
    "a@b",
    "ann@example.com",
    "constructor",
    "__proto__",
    "email",
    "password",
];
const NAMES: &[&str] =
    &["email", "password", "identifier", "metadata", "first_name", "phone", "token", "address", "__proto__", "", "a.b", "$where", "\0"];
const HEADERS: &[&str] = &[
    "authorization",
    "x-publishable-api-key",
    "content-type",
    "accept",
    "origin",
    "host",
    "idempotency-key",
    "x-medusa-locale",
    "x-forwarded-for",
    "content-encoding",
    "cookie",
    "expect",
    "range",
    "if-none-match",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "access-control-request-method",
];
const VALUES: &[&str] = &[
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data; boundary=x",
    "Bearer",
    "Bearer x",
    "Basic eDp5",
    "*/*",
    "acme.api.example.com",
    "nope",
    "100-continue",
    "chunked",
    "gzip",
    "utf-8",
    "0",
    "-1",
    "bytes=0-",
    "\u{80}\u{ff}",
    "a=b; a=c",
    "POST",
    "h2c",
    ";;;,,,",
    "q=0",
];

/// Where bodies go, and what they hold when nothing is odd.
const USUAL: &[(&str, &[(&str, &str)])] = &[
    ("/auth/customer/emailpass", &[("email", "nobody@example.com"), ("password", PASSWORD)]),
    ("/auth/customer/emailpass/register", &[("email", "nobody@example.com"), ("password", PASSWORD)]),
    ("/auth/customer/emailpass/reset-password", &[("identifier", "nobody@example.com"), ("metadata", "")]),
    ("/auth/customer/emailpass/update", &[("password", PASSWORD)]),
    ("/auth/customer/emailpass/change-password", &[("current_password", PASSWORD), ("password", PASSWORD)]),
    ("/store/customers", &[("email", ADDRESS), ("first_name", "Ann"), ("metadata", "")]),
    ("/store/customers/me", &[("first_name", "Ann"), ("last_name", "Lee"), ("phone", "1"), ("company_name", "Acme"), ("metadata", "")]),
    ("/store/customers/me/addresses", &[("city", "Bonn"), ("country_code", "de"), ("is_default_shipping", ""), ("metadata", "")]),
    ("/store/customers/me/addresses/cuaddr_01K0000000000000000000000", &[("city", "Bonn"), ("is_default_billing", ""), ("metadata", "")]),
    ("/account/reset-password", &[("token", "x"), ("password", PASSWORD)]),
    ("/account/reset-password/request", &[("address", "nobody@example.com")]),
];

fn usual_body(fields: &[(&str, &str)]) -> Value {
    let value = |name: &str, text: &str| match name {
        "metadata" => json!({}),
        "is_default_shipping" | "is_default_billing" => json!(true),
        _ => json!(text),
    };
    Value::Object(fields.iter().map(|(name, text)| ((*name).to_owned(), value(name, text))).collect())
}

/// Choices out of a seed.
struct Dice(Rng);

impl Dice {
    fn below(&self, n: usize) -> usize {
        usize::try_from(u64::from_le_bytes(self.0.bytes()) % n as u64).unwrap()
    }

    fn of<'t>(&self, items: &[&'t str]) -> &'t str {
        items[self.below(items.len())]
    }

    fn value(&self, depth: usize) -> Value {
        match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(i64::MIN),
            3 => json!(1.5e300),
            4 => json!("x".repeat(self.below(3_000))),
            5 | 6 => json!(self.of(TEXTS)),
            7 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1),
        }
    }

    fn object(&self, depth: usize) -> Value {
        Value::Object((0..self.below(5)).map(|_| (self.of(NAMES).to_owned(), self.value(depth))).collect())
    }

    /// A body that some route takes, with one value changed.
    fn nearly_right(&self) -> Value {
        let (_, usual) = USUAL[self.below(USUAL.len())];
        let mut body = usual_body(usual);
        body[usual[self.below(usual.len())].0] = self.value(2);
        body
    }

    fn body(&self) -> Vec<u8> {
        let mut body = match self.below(8) {
            0 => self.of(TEXTS).as_bytes().to_vec(),
            1 => (0..self.below(200)).map(|_| u8::try_from(self.below(256)).unwrap()).collect(),
            2 => format!("{}={}&{}={}", self.of(NAMES), self.of(TEXTS), self.of(NAMES), self.of(TEXTS)).into_bytes(),
            3 => self.object(3).to_string().into_bytes(),
            _ => self.nearly_right().to_string().into_bytes(),
        };
        if self.below(10) == 0 {
            body.truncate(self.below(body.len() + 1));
        }
        body
    }

    fn path(&self) -> String {
        let route = &ROUTES[self.below(ROUTES.len())];
        let odd = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let mut path = route.path.to_owned();
        for (name, usual) in
            [("{actor_type}", "customer"), ("{auth_provider}", "emailpass"), ("{slug}", "acme"), ("{name}", "style.css"), ("{id}", "1")]
        {
            let part = match self.below(8) {
                0 => "%ff".to_owned(),
                1 => odd(self.of(TEXTS)),
                _ => usual.to_owned(),
            };
            path = path.replace(name, &part);
        }
        match self.below(8) {
            0 => path.push('/'),
            1 => path = format!("{path}?{}={}", odd(self.of(NAMES)), odd(self.of(TEXTS))),
            2 => path = format!("{path}?token=%ff%00&&=&{}", odd(self.of(TEXTS))),
            3 => path = path.to_uppercase(),
            4 => path = format!("{path}/{}", odd(self.of(TEXTS))),
            _ => {}
        }
        path
    }

    /// The usual headers, most of the time, and some others.
    fn head(&self, length: usize, token: &str, key: &str) -> Vec<String> {
        let mut lines = vec!["Connection: close".to_owned(), format!("Content-Length: {length}")];
        for usual in [
            "Host: acme.api.example.com",
            "Content-Type: application/json",
            &format!("Authorization: Bearer {token}"),
            &format!("x-publishable-api-key: {key}"),
        ] {
            if self.below(8) > 0 {
                lines.push(usual.to_owned());
            }
        }
        for _ in 0..self.below(4) {
            lines.push(format!("{}: {}", self.of(HEADERS), self.of(VALUES)));
        }
        lines
    }
}

#[track_caller]
fn assert_clear(answer: &Answer, request: &[u8]) {
    let shown = String::from_utf8_lossy(request);
    assert!((200..500).contains(&answer.status), "{}: {}\n{shown}", answer.status, answer.text);
    let lower = answer.text.to_ascii_lowercase();
    for word in
        ["select ", "insert into", "delete from", "update \"", "syntax error", "sqlstate", "rusqlite", "postgres", "constraint", "panicked", ".rs:"]
    {
        assert!(!lower.contains(word), "{word}: {}\n{shown}", answer.text);
    }
    let kind = answer.header("content-type");
    if kind.starts_with("application/json") {
        let body = answer.text.trim();
        // An answer in chunks is not taken apart here.
        assert!(
            body.is_empty() || answer.headers.contains_key("transfer-encoding") || serde_json::from_str::<Value>(body).is_ok(),
            "{body}\n{shown}"
        );
    }
    // A refusal of ours is JSON, a page, or the one negotiated word; the framing's own refusals have no body.
    assert!(
        answer.text.is_empty()
            || kind.starts_with("application/json")
            || kind.starts_with("text/html")
            || answer.status < 400
            || answer.text == "Unauthorized",
        "{kind}: {}\n{shown}",
        answer.text
    );
}

each_db! {
    async fn r38_each_odd_value_in_each_field_is_taken_or_refused(app: TestApp) {
        app.restart(|config| config.tenants[0].limits.enabled = false).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let odd = TEXTS.iter().flat_map(|text| [json!(text), json!({*text: text}), json!([text])]);
        let odd: Vec<Value> = odd.chain([json!(null), json!(0), json!(-1.5e300), json!(u64::MAX), json!(false), json!({}), json!([[]])]).collect();
        let mut granted = 0;
        for (path, usual) in USUAL {
            for (name, _) in *usual {
                for value in &odd {
                    let mut body = usual_body(usual);
                    body[*name] = value.clone();
                    let answer = shop.post(path).bearer(&token).json(&body).send().await;
                    assert_clear(&answer, format!("{path} {body}").as_bytes());
                    granted += usize::from(answer.status < 300);
                }
            }
        }
        assert!(granted > 100, "odd, but legitimate values are taken: {granted}");
        app.take_all_mail().await; // resets of addresses that registered meanwhile
    }

    async fn r38_r143_r144_no_request_gets_a_5xx(app: TestApp) {
        app.restart(|config| {
            config.server.public_url = Some("https://id.example.com".parse().unwrap());
            config.tenants[0].limits.enabled = false;
        }).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let dice = Dice(Rng::seeded(SEED));
        let mut statuses = std::collections::BTreeMap::new();
        for _ in 0..STEPS {
            let method = [Method::GET, Method::POST, Method::POST, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS][dice.below(7)].clone();
            let body = dice.body();
            let head = dice.head(body.len(), &token, shop.key()).join("\r\n");
            let request = [format!("{method} {} HTTP/1.1\r\n{head}\r\n\r\n", dice.path()).into_bytes(), body].concat();
            let answer = raw::send(&app.base, &request).await;
            assert_clear(&answer, &request);
            *statuses.entry(answer.status).or_insert(0_usize) += 1;
        }
        // The walk gets somewhere: through the parsers, the gates and the handlers.
        for status in [200, 400, 401, 404] {
            assert!(statuses.get(&status).is_some_and(|n| *n > 4), "{statuses:?}");
        }
        app.take_all_mail().await; // resets of addresses that registered meanwhile
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }
}
