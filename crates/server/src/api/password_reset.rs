//! `POST …/reset-password` and `POST …/update`.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use vestibule_engine::error::Error;
use vestibule_engine::model::locale::is_locale;
use vestibule_engine::ops;
use vestibule_engine::ops::idempotency::Answer;
use vestibule_engine::ops::password_reset::NewPassword;
use vestibule_engine::provider::emailpass;

use super::validate::Fields;
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::bearer;
use crate::extract::body::{Body, Kind, Raw};
use crate::extract::client::Caller;
use crate::extract::gate::Gate;
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::tenant::CurrentTenant;

/// Always 201: the answer must not tell whether the address has an account.
pub async fn request(
    State(app): State<App>,
    raw: Raw,
    CurrentTenant(tenant): CurrentTenant,
    Caller(client): Caller,
    gate: Gate,
    headers: HeaderMap,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let (identifier, mut metadata) = match bare_identifier(&raw) {
        Some(identifier) => (identifier, Map::new()),
        None => fields(raw.parse()?)?,
    };
    // The SDK says so what language its storefront is in, or sends the header empty.
    if let Some(locale) = headers.get("x-medusa-locale").and_then(|value| value.to_str().ok()).filter(|name| is_locale(name)) {
        metadata.entry("locale").or_insert_with(|| locale.into());
    }
    let receipt = keyed.receipt(|(): &()| Ok(created()));
    // A provider that is not installed has no logins, a third party's have no password, and nobody's address is empty; the answer is the same.
    if gate.is_installed() && !gate.is_third_party() && !identifier.is_empty() {
        let email = emailpass::address(&identifier)?;
        ops::password_reset::request(&app.engine, &tenant, &client, &gate.actor, &email, metadata, &receipt).await?;
    }
    reply(&receipt, &())
}

fn created() -> Answer {
    Answer { status: StatusCode::CREATED.as_u16(), content_type: "text/plain; charset=utf-8".into(), cookie: None, body: "Created".to_owned() }
}

fn fields(body: Value) -> Result<(String, Map<String, Value>), Error> {
    let mut fields = Fields::of(body)?;
    let identifier = fields.required_string("identifier");
    let metadata = fields.optional_record("metadata");
    if Value::Object(metadata.clone()).to_string().len() > ops::password_reset::METADATA_BYTES {
        fields.issue(format!("Value for field 'metadata' too big, expected at most: '{}'", ops::password_reset::METADATA_BYTES));
    }
    fields.finish()?;
    Ok((identifier.unwrap_or_default(), metadata))
}

/// The published example of this route sends the address itself: `-d 'customer@gmail.com'` under a JSON type. So here, and nowhere else, a JSON string
/// or a body that is no JSON is the identifier, if it looks like nothing but one address.
fn bare_identifier(raw: &Raw) -> Option<String> {
    if raw.typed && !matches!(raw.kind, Kind::Json | Kind::Text) {
        return None;
    }
    let text = raw.text().ok()?.trim();
    let address = match serde_json::from_str::<Value>(text) {
        Ok(Value::String(inner)) => inner.trim().to_owned(),
        Ok(_) => return None,
        Err(_) => text.to_owned(),
    };
    let plain = !address.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | ',' | '{' | '}' | '[' | ']'));
    (address.len() <= 254 && plain && address.matches('@').count() == 1).then_some(address)
}

/// Sets a new password with the reset token as bearer.
pub async fn update(
    State(app): State<App>,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    Caller(client): Caller,
    gate: Gate,
    headers: HeaderMap,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let token = bearer(&headers).ok_or_else(|| Error::unauthorized("Invalid token"))?;
    let secret = body.get("password").and_then(Value::as_str);
    let new = NewPassword { actor: &gate.actor, provider: &gate.provider, token, secret };
    let receipt = keyed.receipt(|(): &()| idempotency::json(&json!({ "success": true })));
    ops::password_reset::complete(&app.engine, &tenant, &client, &new, &receipt).await?;
    reply(&receipt, &())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn raw(kind: Kind, typed: bool, text: &str) -> Raw {
        Raw { kind, typed, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    #[test]
    fn the_seeds_body_is_an_identifier_and_little_else_is() {
        let long = format!("{}@example.com", "a".repeat(243));
        assert_eq!(long.len(), 255);
        let cases = [
            ("customer@gmail.com", Some("customer@gmail.com")),
            ("  customer@gmail.com\n", Some("customer@gmail.com")),
            ("\"customer@gmail.com\"", Some("customer@gmail.com")),
            ("{\"identifier\":", None),
            ("null", None),
            ("123", None),
            ("a@b,c@d", None),
            ("a@b c", None),
            ("a@@b", None),
            ("[\"a@b\"]", None),
            ("", None),
            (long.as_str(), None),
            ("identifier", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bare_identifier(&raw(Kind::Json, true, text)).as_deref(), expected, "{text}");
            assert_eq!(bare_identifier(&raw(Kind::Text, true, text)).as_deref(), expected, "{text} as text");
            assert_eq!(bare_identifier(&raw(Kind::Other, false, text)).as_deref(), expected, "{text} without a type");
        }
        assert_eq!(bare_identifier(&raw(Kind::Form, true, "customer@gmail.com")), None);
        assert_eq!(bare_identifier(&raw(Kind::Other, true, "customer@gmail.com")), None);
    }
}
