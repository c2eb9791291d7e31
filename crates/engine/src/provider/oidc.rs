//! Sign-in with any OpenID Connect issuer. Microsoft is one whose issuer is known, and whose addresses are not verified, unless it says so in a
//! claim of its own: the administrator of any directory can write any address into it.

use std::borrow::Cow;

use serde_json::{Map, Value};
use url::Url;

use super::endpoints::Endpoints;
use super::exchange::{authorization, client_secret, exchange, fetch, scope};
use super::id_token::{Expected, subject, verify};
use super::{Claims, Flow, Providers, Refusal, Returned, profile};
use crate::model::provider::ProviderType;

const MICROSOFT: &str = "https://login.microsoftonline.com/common/v2.0";
const SCOPE: &str = "openid email profile";
/// What is taken from `UserInfo` where the `id_token` lacks it.
const FROM_USERINFO: [&str; 6] = ["email", "email_verified", "name", "given_name", "family_name", "picture"];

/// Where to send the customer.
///
/// # Errors
/// If the issuer's endpoints cannot be found.
pub async fn location(providers: &Providers, flow: Flow<'_>, state: &str) -> Result<Url, Refusal> {
    let endpoints = endpoints(providers, flow).await?;
    Ok(authorization(&endpoints.authorization, flow, Some(&scope(flow, SCOPE)), state, &[("nonce", flow.nonce)]))
}

/// Whom the issuer vouches for.
///
/// # Errors
/// The first thing that is wrong.
pub async fn claims(providers: &Providers, flow: Flow<'_>, returned: Returned<'_>) -> Result<Claims, Refusal> {
    let endpoints = endpoints(providers, flow).await?;
    endpoints.check_iss(returned)?;
    let tokens = exchange(flow, &endpoints.token, returned, client_secret(flow), endpoints.basic).await?;
    let expected = Expected { issuers: &endpoints.issuers, jwks: &endpoints.jwks };
    let mut claims = verify(providers, flow, expected, tokens.id_token()?).await?;
    let subject = subject(&claims).map_err(|detail| Refusal::failed(format!("id_token: {detail}")))?;
    if let Some(userinfo) = &endpoints.userinfo
        && !claims.contains_key("email")
    {
        let headers = [("authorization", format!("Bearer {}", tokens.access_token()?))];
        let said = fetch(flow.http, userinfo, &headers, "userinfo").await?;
        add_userinfo(&mut claims, said, &subject)?;
    }
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let verified = match flow.settings.kind {
        ProviderType::Microsoft => claims.get("xms_edov").is_some_and(is_true),
        _ => claims.get("email_verified") == Some(&Value::Bool(true)),
    };
    Ok(profile::claims(issuer, subject, &claims, verified))
}

async fn endpoints(providers: &Providers, flow: Flow<'_>) -> Result<Endpoints, Refusal> {
    let issuer = match &flow.settings.issuer {
        Some(issuer) => Cow::Borrowed(issuer),
        None => Cow::Owned(Url::parse(MICROSOFT).map_err(|e| Refusal::failed(format!("the built-in issuer: {e}")))?),
    };
    Endpoints::discover(providers, flow, &issuer).await
}

/// Microsoft writes its optional claim `xms_edov`, "the owner of the address's domain is verified", in several ways.
fn is_true(value: &Value) -> bool {
    matches!(value, Value::Bool(true)) || value.as_i64() == Some(1) || matches!(value.as_str(), Some("1" | "true"))
}

/// `UserInfo` is not signed, so it counts only for the person whom the token names (OpenID Connect Core 5.3.2).
fn add_userinfo(claims: &mut Map<String, Value>, mut said: Map<String, Value>, subject: &str) -> Result<(), Refusal> {
    if said.get("sub").is_none_or(|sub| sub != subject) {
        return Err(Refusal::failed("userinfo: sub is not the id_token's"));
    }
    // It belongs to an address, and the token had none.
    claims.remove("email_verified");
    for name in FROM_USERINFO {
        if let Some(value) = said.remove(name)
            && !claims.contains_key(name)
        {
            claims.insert(name.to_owned(), value);
        }
    }
    Ok(())
}
