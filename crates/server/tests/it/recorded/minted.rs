//! Tokens with one thing changed, signed with the shop's shared secret.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::shop::SECRET;
use crate::support::client::claims;

/// Every variable that is made of a token of Bob's. `now` is in seconds.
pub fn of_session(token: &str, now: i64) -> HashMap<String, String> {
    let plain = object(&claims(token));
    let with = |name: &str, value: Value| sign(&changed(&plain, name, Some(value)));
    let without = |name: &str| sign(&changed(&plain, name, None));
    let least: Map<String, Value> =
        plain.iter().filter(|(name, _)| matches!(name.as_str(), "actor_id" | "actor_type")).map(|(n, v)| (n.clone(), v.clone())).collect();
    let all = [
        ("TAMPER", tampered(token)),
        ("EXPIRED", with("exp", json!(now - 60))),
        ("EXP_NOW", with("exp", json!(now))),
        ("NONE", format!("{}.", message("none", &plain))),
        ("384", signed("HS384", hmac::HMAC_SHA384, SECRET, &plain)),
        ("512", signed("HS512", hmac::HMAC_SHA512, SECRET, &plain)),
        ("WRONGSECRET", signed("HS256", hmac::HMAC_SHA256, "another secret of more than thirty-two bytes", &plain)),
        ("NOEXP", without("exp")),
        ("NBF", with("nbf", json!(now + 3_600))),
        ("GHOST", with("actor_id", json!("cus_01ARZ3NDEKTSV4RRFFQ69G5FAV"))),
        ("MIN", sign(&least)),
        ("EXP_STR", with("exp", json!((now + 3_600).to_string()))),
        ("IAT_FUTURE", with("iat", json!(now + 3_600))),
        ("TYPELESS", without("actor_type")),
    ];
    all.into_iter().map(|(name, token)| (format!("BOB_{name}"), token)).collect()
}

/// Every variable that is made of a reset token.
pub fn of_reset(token: &str, now: i64) -> HashMap<String, String> {
    let plain = object(&claims(token));
    let all = [
        ("EXP", changed(&plain, "exp", Some(json!(now - 60)))),
        ("NOJTI", changed(&plain, "jti", None)),
        ("NOPURPOSE", changed(&plain, "purpose", None)),
        ("OTHER", changed(&plain, "entity_id", Some(json!("dan@example.com")))),
    ];
    all.into_iter().map(|(name, claims)| (format!("RT_{name}"), sign(&claims))).collect()
}

/// `text` with its last six characters changed.
pub fn tampered(text: &str) -> String {
    let (head, tail) = text.split_at(text.len() - 6);
    head.to_owned() + &tail.chars().map(|c| if c == 'A' { 'B' } else { 'A' }).collect::<String>()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn changed(plain: &Map<String, Value>, name: &str, value: Option<Value>) -> Map<String, Value> {
    let mut claims = plain.clone();
    claims.shift_remove(name);
    claims.extend(value.map(|value| (name.to_owned(), value)));
    claims
}

fn sign(claims: &Map<String, Value>) -> String {
    signed("HS256", hmac::HMAC_SHA256, SECRET, claims)
}

fn signed(name: &str, algorithm: hmac::Algorithm, secret: &str, claims: &Map<String, Value>) -> String {
    let message = message(name, claims);
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn message(algorithm: &str, claims: &Map<String, Value>) -> String {
    let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(Value::Object(claims.clone()).to_string()))
}
