//! `docs/errors.md`, written from the table.

use std::fmt::Write as _;
use std::path::Path;

use vestibule::error::status;
use vestibule_engine::error::Code;

use super::triggers::{Before, TRIGGERS, Trigger};

const INTRODUCTION: &str = "# Errors

Generated from `crates/server/tests/it/errors/triggers.rs`; `UPDATE_DOCS=1` on the test `errors::document::the_paper_is_fresh` writes it anew.
Each row of the trigger tables is sent to the server by the test `errors::each_trigger_is_answered_as_documented`, on both databases.

An error is JSON: `type`, `message`, and sometimes `code`. Clients may rely on the status, `type` and `code`; `message` is for people.
No answer holds SQL, the text of an exception or a secret; the log has these.

- **401.** Where the message is exactly `Unauthorized`, only a request whose `Accept` names `application/json` gets JSON; every other one, `*/*` included,
  gets the plain text. A 401 with a message of its own is always JSON. Each carries `WWW-Authenticate: Bearer` and `Vary: Accept`.
- **409** carries the `Idempotency-Key` to retry with: the caller's own, or a new one.
- What is answered to an `Idempotency-Key` before has `Idempotency-Replayed: true`.
- **429 and 503** carry `Retry-After` in seconds.
- Under `/store`, `/auth` and `/admin` errors carry the CORS headers of the shop, and a script may read `Idempotency-Key`,
  `Idempotency-Replayed`, `Retry-After` and `WWW-Authenticate`.
- Order, as a rule: body, host, actor type and provider or publishable key, token, fields of the body, query.

## Kinds

The engine knows these kinds of failure; each has one status.

| Kind | Status | Meaning |
|---|---|---|
";

const ALL: [Code; 14] = [
    Code::InvalidData,
    Code::NotAllowed,
    Code::Unauthorized,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::NotFound,
    Code::Conflict,
    Code::Gone,
    Code::Duplicate,
    Code::TooManyRequests,
    Code::HashingFailed,
    Code::StorageFailed,
    Code::Unexpected,
    Code::Busy,
];

const fn meaning(code: Code) -> &'static str {
    match code {
        Code::InvalidData => "The request's data breaks a rule that the message names.",
        Code::NotAllowed => "The request is well formed, and this shop does not allow it.",
        Code::Unauthorized => "Credentials were given and refused, in words.",
        Code::Unauthenticated => "No usable credentials.",
        Code::Forbidden => "The caller is known, and may not do this, or not now.",
        Code::NotFound => "There is no such thing in this shop.",
        Code::Conflict => "Other requests changed the same rows; a retry may pass.",
        Code::Gone => "It was there and is no longer kept.",
        Code::Duplicate => "A unique value is taken.",
        Code::TooManyRequests => "A budget is spent.",
        Code::HashingFailed => "A password could not be hashed.",
        Code::StorageFailed => "The database refused a statement.",
        Code::Unexpected => "A defect of ours.",
        Code::Busy => "Load is shed, or the database is out of reach.",
    }
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).unwrap().canonical_reason().unwrap()
}

fn before(before: Before) -> &'static str {
    match before {
        Before::Nothing => "",
        Before::GuessesSpent => " *(after ten failed sign-ins)*",
        Before::AddressesFull => " *(after 200 addresses)*",
        Before::ProfileLarge => " *(after much metadata)*",
        Before::KeyUsed => " *(after the same key with another body)*",
        Before::KeyInFlight => " *(while the same is answered)*",
        Before::EventsSwept => " *(when the first three are swept)*",
        Before::HashingFails => " *(with a fault of hashing)*",
        Before::CommitFails => " *(with a refused COMMIT)*",
        Before::CommitLost => " *(with a connection that breaks)*",
        Before::BeginFails => " *(with a refused BEGIN)*",
        Before::Conflict => " *(with a serialization conflict)*",
    }
}

/// The request in one line, for a table.
fn request(trigger: &Trigger) -> String {
    let (head, body) = trigger.request.split_once("\n\n").unwrap_or((trigger.request, ""));
    let lines: Vec<String> = head.lines().chain((!body.is_empty()).then_some(body)).map(|line| format!("`{line}`")).collect();
    lines.join("<br>")
}

fn table(out: &mut String, status: u16) {
    writeln!(out, "\n## {status} {}\n\n| When | Routes | For example | Body | Headers |\n|---|---|---|---|---|", reason(status)).unwrap();
    for trigger in TRIGGERS.iter().filter(|t| t.status == status) {
        let kind = trigger.code.map(|code| format!(" (`{code:?}`)")).unwrap_or_default();
        let headers: Vec<String> = trigger.headers.iter().map(|(name, value)| format!("`{name}: {value}`")).collect();
        let (when, example) = (trigger.when, request(trigger));
        let (routes, after, body, headers) = (trigger.routes, before(trigger.before), trigger.body, headers.join("<br>"));
        writeln!(out, "| {when}{kind} | {routes} | {example}{after} | `{body}` | {headers} |").unwrap();
    }
}

fn written() -> String {
    let mut out = INTRODUCTION.to_owned();
    for code in ALL {
        writeln!(out, "| `{code:?}` | {} | {} |", status(code).as_u16(), meaning(code)).unwrap();
    }
    let mut statuses: Vec<u16> = TRIGGERS.iter().map(|t| t.status).collect();
    statuses.dedup();
    assert!(statuses.is_sorted(), "the table is in the order of statuses");
    for status in statuses {
        table(&mut out, status);
    }
    out
}

#[test]
fn the_paper_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    #[expect(clippy::disallowed_methods, reason = "tests are configured by their environment")]
    if std::env::var("UPDATE_DOCS").is_ok_and(|v| v == "1") {
        std::fs::write(&path, written()).unwrap();
    }
    let standing = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(standing == written(), "docs/errors.md is stale: run this test with UPDATE_DOCS=1");
}

#[test]
fn the_table_covers_every_kind_and_agrees_with_its_status() {
    for trigger in TRIGGERS {
        if let Some(code) = trigger.code {
            assert_eq!(status(code).as_u16(), trigger.status, "{}", trigger.when);
        }
    }
    for code in ALL {
        assert!(TRIGGERS.iter().any(|t| t.code == Some(code)), "nothing triggers {code:?}");
    }
}
