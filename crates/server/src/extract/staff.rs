//! Who may use `/admin`: a member of the shop's staff, or a program of the shop that has a secret key.

use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::request::Parts;
use vestibule_engine::error::{Code, Error};
use vestibule_engine::ops::api_key;

use super::App;
use super::actor::{AnyLogin, bearer, credentials};
use super::idempotency::called_by;
use super::tenant::CurrentTenant;
use crate::error::ApiError;

/// Base64 as clients write it, with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Whoever calls for the shop.
pub struct Staff {
    /// `user_…` or `apk_…`.
    pub id: String,
}

/// The secret key of `Authorization: Basic …`: the key itself, or in base64 a user name without a password.
fn secret_key(headers: &HeaderMap) -> Option<String> {
    let (scheme, sent) = credentials(headers)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = if sent.starts_with("sk_") { sent.to_owned() } else { String::from_utf8(BASE64.decode(sent).ok()?).ok()? };
    Some(text.strip_suffix(':').unwrap_or(&text).to_owned())
}

impl FromRequestParts<App> for Staff {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
        if let Some(key) = secret_key(&parts.headers) {
            let id = api_key::secret(&app.engine, &tenant, &key).await?.ok_or_else(Error::unauthenticated)?;
            called_by(parts, &id, None);
            return Ok(Self { id: id.to_string() });
        }
        let misplaced = bearer(&parts.headers).is_some_and(|token| token.starts_with("sk_"));
        match AnyLogin::from_request_parts(parts, app).await {
            // Anybody can register a login of this actor type: it is of the staff once it has an actor.
            Ok(AnyLogin(caller)) if caller.claims.actor_type == "user" && !caller.claims.actor_id.is_empty() => {
                Ok(Self { id: caller.claims.actor_id.clone() })
            }
            Ok(_) => Err(Error::unauthenticated().into()),
            Err(ApiError::Engine(refused)) if misplaced && refused.code == Code::Unauthenticated => Err(Error::unauthorized(
                "A secret API key was passed as a Bearer token. Secret API keys must be sent using HTTP Basic authentication instead (Authorization: Basic <secret-api-key>).",
            )
            .into()),
            Err(refused) => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use http::header;

    #[test]
    fn a_key_comes_in_each_form_that_clients_send() {
        let key = format!("sk_{}", "0f".repeat(32));
        let of = |value: String| secret_key(&HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]));
        let named = format!("{key}:");
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for value in [
            basic(&named),
            basic(&key),
            format!("Basic {}", STANDARD_NO_PAD.encode(&named)),
            format!("Basic {}", STANDARD_NO_PAD.encode(&key)),
            format!("Basic {key}"),
            format!("Basic {key}:"),
            format!("bAsIc   {key}"),
            basic(&named).replace("Basic", "basic"),
        ] {
            assert_eq!(of(value.clone()).as_ref(), Some(&key), "{value}");
        }
        for value in [format!("Bearer {key}"), key.clone(), "Basic".into(), "Basic !".into(), format!("Basic {key} x"), "Basic /w==".into()] {
            assert_eq!(of(value.clone()), None, "{value}");
        }
        // What is no key is nobody's: that is the engine's to say.
        assert_eq!(of(basic(&format!("{key}:secret"))), Some(format!("{key}:secret")));
    }
}
