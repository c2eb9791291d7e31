//! Sends the recorded requests, in their order, and keeps what comes.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use url::Url;

use super::fixture::{Case, Emitted};
use super::minted;
use super::shop::{self, Parties, SECOND_KEY, SECRET_KEY};
use crate::support::app::{TestApp, publishable_key};
use crate::support::client::{Answer, basic, claims};
use crate::support::raw;
use crate::support::webhook_sink::WebhookSink;

/// `{"email":"gz@example.com","password":"abc"}`, compressed by gzip.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\x56\x4a\xcd\x4d\xcc\xcc\x51\xb2\x52\x4a\xaf\x72\x48\xad\x48\xcc\x2d\xc8\x49\xd5\x4b\xce\xcf\x55\xd2\x51\x2a\x48\x2c\x2e\x2e\xcf\x2f\x4a\x01\xca\x25\x26\x25\x2b\xd5\x02\x00\xba\xca\x08\x47\x2b\x00\x00\x00";
const INVALID_UTF8: &[u8] = b"{\"email\":\"bad\xff@example.com\",\"password\":\"abc\"}";

/// What came of a request.
pub struct Seen {
    pub answer: Answer,
    pub events: Vec<Emitted>,
}

struct Replay<'a> {
    app: &'a mut TestApp,
    parties: Parties,
    sink: WebhookSink,
    variables: HashMap<String, String>,
    /// The request that signed Bob in.
    bob: Vec<u8>,
    heard: usize,
    config: char,
}

pub async fn replay(app: &mut TestApp, cases: &[Case]) -> Vec<Seen> {
    let (parties, sink) = (Parties::start(app), WebhookSink::start().await);
    shop::open(app, &parties, &sink, 'P').await;
    shop::staff(app).await;
    let variables = HashMap::from([("PK".to_owned(), publishable_key("acme")), ("PK_NOCH".to_owned(), SECOND_KEY.to_owned())]);
    let mut replay = Replay { app, parties, sink, variables, bob: Vec::new(), heard: 0, config: 'P' };
    let mut seen = Vec::new();
    for case in cases {
        seen.push(replay.step(case).await);
    }
    seen
}

impl Replay<'_> {
    async fn step(&mut self, case: &Case) -> Seen {
        if case.config != self.config {
            shop::open(self.app, &self.parties, &self.sink, case.config).await;
            self.config = case.config;
        }
        if case.id == "deleted-customer-me" {
            self.delete("DAN").await;
        }
        // In a clock that stood still nothing would differ that the time makes differ.
        self.app.clock.advance(Duration::from_secs(1));
        let request = self.request(case);
        let answer = raw::send(&self.app.base, &request).await;
        if case.id == "bob-login" {
            self.bob = request;
        }
        self.app.settle().await;
        let calls = self.sink.calls();
        let emitted: Vec<Value> = calls[self.heard..].iter().map(crate::support::webhook_sink::Received::json).collect();
        self.heard = calls.len();
        self.keep(case, &answer, &emitted);
        if case.request.method == "DELETE" && case.request.path_template == "/auth/session" && answer.status == 200 {
            // Bob's token ended with the session; in the recording it lives on.
            let token = raw::send(&self.app.base, &self.bob).await.token();
            self.variables.insert("BOB".into(), token.clone());
            self.follow("BOB", &token);
        }
        Seen { answer, events: emitted.iter().map(named).collect() }
    }

    /// Deletes the customer of a token, as a program of the shop does.
    async fn delete(&mut self, token: &str) {
        let id = claims(&self.variables[token])["actor_id"].as_str().unwrap().to_owned();
        let call = self.app.acme().call(Method::DELETE, &format!("/admin/customers/{id}")).header("authorization", &basic(SECRET_KEY));
        let answer = call.send().await.expect_status(200).json();
        assert_eq!(answer, serde_json::json!({"id": id, "object": "customer", "deleted": true}));
        self.app.settle().await;
        let calls = self.sink.calls();
        let told: Vec<Value> = calls[self.heard..].iter().map(crate::support::webhook_sink::Received::json).collect();
        let (ended, told): (Vec<_>, Vec<_>) = told.iter().partition(|event| event["type"] == "auth.session_ended");
        assert!(ended.len() <= 1 && ended.iter().all(|event| event["data"]["reason"] == "customer_deleted"), "{ended:?}");
        assert_eq!(
            told.iter().map(|event| (&event["type"], &event["data"])).collect::<Vec<_>>(),
            [(&"customer.deleted".into(), &serde_json::json!({"id": id}))]
        );
        self.heard = calls.len();
    }

    /// The request as bytes: what a client does by itself could hide what the recorded one did not do.
    fn request(&self, case: &Case) -> Vec<u8> {
        let request = &case.request;
        let (target, body) = self.returning(case, self.filled(&request.path_template), self.body(case));
        let mut lines = vec![format!("{} {target} HTTP/1.1", request.method), "Host: acme.api.example.com".into(), "Connection: close".into()];
        for (name, value) in &request.headers_template {
            let value = if name == "if-none-match" { "{{ETAG}}" } else { value.as_str().unwrap() };
            lines.push(format!("{name}: {}", self.filled(value)));
        }
        if !body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT") {
            lines.push(format!("content-length: {}", body.len()));
        }
        [lines.join("\r\n").as_bytes(), b"\r\n\r\n", &body].concat()
    }

    fn body(&self, case: &Case) -> Vec<u8> {
        match (case.id.as_str(), &case.request.body_template) {
            ("reg-gzip-body", _) => GZIP.to_vec(),
            ("reg-invalid-utf8", _) => INVALID_UTF8.to_vec(),
            ("v-confirm" | "v-confirm-again", _) => format!(r#"{{"code":"{}"}}"#, self.filled("{{VCODE}}")).into_bytes(),
            (_, Some(text)) => padded(&self.filled(text)).into_bytes(),
            (_, None) => Vec::new(),
        }
    }

    /// Of a callback: the recorded code and state replaced by those of the customer who was sent away last.
    fn returning(&self, case: &Case, target: String, body: Vec<u8>) -> (String, Vec<u8>) {
        let (Some(location), Some((path, _))) = (self.variables.get("LOC"), target.split_once("/callback")) else { return (target, body) };
        let name = path.rsplit('/').next().unwrap_or_default();
        let location = Url::parse(location).unwrap();
        if case.id.ends_with("-cb-post-body") {
            let code = self.parties.code(name, "ok", &location);
            let live = serde_json::json!({"code": code, "state": self.filled("{{ST}}")});
            return (target, live.to_string().into_bytes());
        }
        let recorded = target.split_once("?code=").and_then(|(_, rest)| rest.split_once("&state="));
        match recorded {
            Some((code, state)) if state == self.filled("{{ST}}") => {
                let live = self.parties.code(name, code, &location);
                (target.replace(&format!("?code={code}&"), &format!("?code={live}&")), body)
            }
            _ => (target, body),
        }
    }

    /// `template` with its variables. One that no answer has filled says so, and is refused wherever it is sent.
    fn filled(&self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, (name, after))) = rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?))) {
            out += before;
            out += self.variables.get(name).map_or("unset", |value| value);
            rest = after;
        }
        out + rest
    }

    fn keep(&mut self, case: &Case, answer: &Answer, emitted: &[Value]) {
        let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        for (name, path) in &case.saves {
            let found = match path.strip_prefix("event:") {
                Some(path) => emitted.iter().find_map(|event| at(event, path)),
                None => at(&body, path),
            };
            // What a refused request should have saved is not there, and what was saved before is stale.
            self.variables.remove(name);
            if let Some(found) = found {
                self.variables.insert(name.clone(), found.to_owned());
                self.follow(name, found);
            }
        }
        let cookie = |answer: &Answer| answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        match case.id.as_str() {
            // The newest is the one that a browser keeps.
            "session-create-https" | "session-create-cors" => {
                let cookie = cookie(answer);
                if cookie.len() > 6 {
                    self.variables.insert("CK_BAD".into(), minted::tampered(&cookie));
                }
                self.variables.insert("CK".into(), cookie);
            }
            "session-create-regtoken" => drop(self.variables.insert("CK_EVE".into(), cookie(answer))),
            "dev-session-create" => drop(self.variables.insert("CKD".into(), cookie(answer))),
            "me-etag" => drop(self.variables.insert("ETAG".into(), answer.header("etag").to_owned())),
            _ => {}
        }
    }

    /// What is made of a variable as soon as it is there.
    fn follow(&mut self, name: &str, value: &str) {
        let now = self.app.clock.now().seconds();
        match name {
            "BOB" => self.variables.extend(minted::of_session(value, now)),
            "RT4" => self.variables.extend(minted::of_reset(value, now)),
            "LOC" => {
                let state = Url::parse(value).unwrap().query_pairs().find(|(name, _)| name == "state").map(|(_, state)| state.into_owned());
                self.variables.insert("ST".into(), state.unwrap());
            }
            _ => {}
        }
    }
}

/// The text at a path such as `customer.addresses.0.id`.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v str> {
    value.pointer(&format!("/{}", path.replace('.', "/")))?.as_str()
}

fn named(event: &Value) -> Emitted {
    let mut data_keys: Vec<String> = event["data"].as_object().unwrap().keys().cloned().collect();
    data_keys.sort_unstable();
    Emitted { name: event["type"].as_str().unwrap().to_owned(), data_keys }
}

/// A body that the recording cut: `…...<n bytes>` is n bytes in all, of which the last character shown fills the middle.
fn padded(text: &str) -> String {
    let Some((head, length)) = text.strip_suffix(" bytes>").and_then(|text| text.rsplit_once("...<")) else { return text.to_owned() };
    let tail = if head.starts_with("{\"email\": \"lll") { "@example.com\", \"password\": \"s3cret-Passw0rd\"}" } else { "\"}" };
    let length: usize = length.parse().unwrap();
    let fill = head.chars().last().unwrap().to_string();
    format!("{head}{}{tail}", fill.repeat(length - head.len() - tail.len()))
}
