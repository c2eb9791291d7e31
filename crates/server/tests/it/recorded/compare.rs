//! Our answer beside the recorded one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::differences::{DIFFERENCES, Difference, FORESEEN, NOT_BUILT};
use super::fixture::{Case, Emitted, Recorded};
use super::mask::{mask, masked_claims};
use super::replay::Seen;
use crate::support::client::Answer;

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
/// What Medusa does not tell, or tells and nobody recorded: `customer.updated`.
const OUR_EVENTS: [&str; 7] = [
    "auth.password_updated",
    "auth.signed_in",
    "auth.session_ended",
    "auth.sign_in_failed",
    "auth.identity_linked",
    "auth.identity_unlinked",
    "customer.updated",
];

const OUR_CLAIMS: [&str; 4] = ["iss", "aud", "jti", "sid"];

/// What an answer is.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// Sent for its effect: nothing was recorded.
    Unrecorded,
    OnPurpose,
    NotBuilt,
    Fault(String),
}

/// What is expected of an answer.
struct Expected {
    status: u16,
    content_type: Option<String>,
    body: Value,
    /// By the place of the token in the body.
    claims: BTreeMap<String, Value>,
    cors: BTreeMap<String, String>,
    cookies: bool,
    events: Vec<&'static str>,
}

pub fn judge(case: &Case, seen: &Seen) -> Verdict {
    if seen.answer.status >= 500 {
        return Verdict::Fault(format!("{}: {} {}", case.id, seen.answer.status, seen.answer.text));
    }
    let Some(recorded) = &case.response else { return foreseen(case, seen) };
    let difference = DIFFERENCES.iter().find(|difference| difference.ids.contains(&case.id.as_str()));
    let missing = NOT_BUILT.iter().any(|(_, ids)| ids.contains(&case.id.as_str()));
    let faults = match difference {
        Some(difference) => faults(case, &changed(case, recorded, difference), seen),
        None => faults(case, &expected(case, recorded), seen),
    };
    match (faults.is_empty(), missing, difference) {
        (true, true, _) => Verdict::Fault(format!("{}: take it out of the list of what is not built", case.id)),
        (false, true, _) => Verdict::NotBuilt,
        (true, false, Some(_)) if self::faults(case, &expected(case, recorded), seen).is_empty() => {
            Verdict::Fault(format!("{}: take it out of the table of differences", case.id))
        }
        (true, false, Some(_)) => Verdict::OnPurpose,
        (true, false, None) => Verdict::Same,
        (false, false, _) => Verdict::Fault(format!("{} ({}): {}", case.id, case.line(), faults.join("; "))),
    }
}

/// Of a case without an answer to compare: where we know that ours is another one, it is at least the one that we mean.
fn foreseen(case: &Case, seen: &Seen) -> Verdict {
    match FORESEEN.iter().find(|(ids, ..)| ids.contains(&case.id.as_str())) {
        Some((_, status, _)) if *status != seen.answer.status => {
            Verdict::Fault(format!("{} ({}): status is {}, not {status}", case.id, case.line(), seen.answer.status))
        }
        _ => Verdict::Unrecorded,
    }
}

/// What was recorded, with what is otherwise in every answer of ours.
fn expected(case: &Case, recorded: &Recorded) -> Expected {
    let (mut content_type, mut body) = (recorded.content_type.clone(), recorded.body.clone());
    if body["message"] == "Unauthorized" {
        (content_type, body) = (Some(TEXT.into()), "Unauthorized".into());
    }
    if recorded.status == 404 && body.is_string() {
        let path = case.request.path_template.split('?').next().unwrap_or_default();
        (content_type, body) = (Some(JSON.into()), json!({"type": "not_found", "message": format!("Cannot {} {path}", case.request.method)}));
    }
    let mut cors = recorded.cors.clone();
    if cors.is_empty() && ["/store", "/auth", "/admin"].iter().any(|area| case.request.path_template.to_lowercase().starts_with(area)) {
        cors.insert("vary".into(), "Origin".into());
        cors.insert("access-control-allow-credentials".into(), "true".into());
    }
    Expected {
        status: recorded.status,
        content_type,
        body,
        claims: recorded.jwt.iter().map(|(place, token)| (place.clone(), Value::Object(token.claims.clone()))).collect(),
        cors,
        cookies: !recorded.set_cookie.is_empty(),
        events: Vec::new(),
    }
}

/// What the table says.
fn changed(case: &Case, recorded: &Recorded, difference: &Difference) -> Expected {
    let mut expected = expected(case, recorded);
    expected.status = difference.status;
    expected.body = serde_json::from_str(difference.body).unwrap_or_else(|_| difference.body.into());
    expected.content_type = match &expected.body {
        Value::String(text) if text.is_empty() => None,
        Value::String(_) => Some(TEXT.into()),
        _ => Some(JSON.into()),
    };
    if expected.body["token"].is_null() {
        expected.claims.clear();
    }
    if !difference.claims.is_empty() {
        let own: serde_json::Map<String, Value> = serde_json::from_str(difference.claims).unwrap();
        let claims = expected.claims.entry("token".into()).or_insert_with(|| json!({}));
        claims.as_object_mut().unwrap().extend(own);
    }
    expected.cookies |= difference.cookie;
    if difference.status >= 400 {
        expected.cookies = false;
        expected.events = vec!["none"];
    }
    expected
}

fn faults(case: &Case, expected: &Expected, seen: &Seen) -> Vec<String> {
    let answer = &seen.answer;
    let mut faults = Vec::new();
    let mut compare = |what: &str, ours: String, expected: String| {
        if ours != expected {
            faults.push(format!("{what} is {ours}, not {expected}"));
        }
    };
    compare("status", answer.status.to_string(), expected.status.to_string());
    let content_type = answer.headers.get("content-type").map(|value| value.to_str().unwrap());
    compare("content type", format!("{content_type:?}"), format!("{:?}", expected.content_type.as_deref()));
    let body: Value = serde_json::from_str(&answer.text).unwrap_or_else(|_| answer.text.clone().into());
    let mut masked = mask(&body);
    // Claims that are shown in the open are as those in a token: ours are more.
    if let (Some(Value::Object(ours)), Value::Object(theirs)) = (masked.get_mut("user"), &expected.body["user"]) {
        ours.retain(|name, _| theirs.contains_key(name) || !OUR_CLAIMS.contains(&name.as_str()));
    }
    // Members have no order.
    compare("body", if masked == expected.body { expected.body.to_string() } else { masked.to_string() }, expected.body.to_string());
    for (place, claims) in &expected.claims {
        let ours = body[place].as_str().map(masked_claims).unwrap_or_default();
        for (name, value) in claims.as_object().unwrap() {
            let own = &ours[name];
            compare(&format!("claim {name}"), if own == value { value.to_string() } else { own.to_string() }, value.to_string());
        }
    }
    compare("cookie", answer.headers.contains_key("set-cookie").to_string(), expected.cookies.to_string());
    cors(answer, &expected.cors, &mut compare);
    let recorded: Vec<&Emitted> = case.events.iter().filter(|_| expected.events.is_empty()).collect();
    let ours: Vec<&Emitted> = seen.events.iter().filter(|event| !OUR_EVENTS.contains(&event.name.as_str())).collect();
    compare("events", format!("{ours:?}"), format!("{recorded:?}"));
    faults
}

/// Each recorded header is ours, too; ours may vary by more, and let scripts read more.
fn cors(answer: &Answer, expected: &BTreeMap<String, String>, compare: &mut impl FnMut(&str, String, String)) {
    for (name, value) in expected.iter().filter(|(name, _)| *name != "vary") {
        compare(name, answer.header(name).to_owned(), value.clone());
    }
    let varies: Vec<String> =
        answer.headers.get_all("vary").iter().flat_map(|value| value.to_str().unwrap().split(',').map(|name| name.trim().to_lowercase())).collect();
    for name in expected.get("vary").into_iter().flat_map(|names| names.split(", ")) {
        compare("vary", varies.contains(&name.to_lowercase()).to_string(), "true".into());
    }
    let controls = |name: &&str| name.starts_with("access-control-") && *name != "access-control-expose-headers";
    let ours: BTreeSet<&str> = answer.headers.keys().map(http::HeaderName::as_str).filter(controls).collect();
    let theirs: BTreeSet<&str> = expected.keys().map(String::as_str).filter(controls).collect();
    compare("CORS", format!("{ours:?}"), format!("{theirs:?}"));
}
