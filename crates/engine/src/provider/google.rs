//! Sign-in with Google. The endpoints are built in, and what is wrong with an `id_token` is said in Medusa's words.

use serde_json::Value;
use url::Url;

use super::endpoints::Endpoints;
use super::exchange::{authorization, client_secret, exchange, scope};
use super::id_token::{Expected, Kind, Rejected, subject, verify};
use super::{Claims, Flow, Providers, Refusal, Returned, profile};

/// Google writes its issuer in two ways; the first is what is kept.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
const ENDPOINTS: [&str; 3] =
    ["https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token", "https://www.googleapis.com/oauth2/v3/certs"];
const SCOPE: &str = "email profile openid";

/// Where to send the customer.
///
/// # Errors
/// None but a defect.
pub fn location(flow: Flow<'_>, state: &str) -> Result<Url, Refusal> {
    let endpoints = Endpoints::built_in(flow.settings, &ISSUERS, ENDPOINTS)?;
    Ok(authorization(&endpoints.authorization, flow, Some(&scope(flow, SCOPE)), state, &[("nonce", flow.nonce)]))
}

/// Whom Google vouches for: only somebody whose address it has verified.
///
/// # Errors
/// The first thing that is wrong.
pub async fn claims(providers: &Providers, flow: Flow<'_>, returned: Returned<'_>) -> Result<Claims, Refusal> {
    let endpoints = Endpoints::built_in(flow.settings, &ISSUERS, ENDPOINTS)?;
    endpoints.check_iss(returned)?;
    let tokens = exchange(flow, &endpoints.token, returned, client_secret(flow), endpoints.basic).await?;
    let expected = Expected { issuers: &endpoints.issuers, jwks: &endpoints.jwks };
    let claims = verify(providers, flow, expected, tokens.id_token()?).await.map_err(|rejected| in_words(rejected, flow))?;
    if claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(Refusal::new("Email not verified, cannot proceed with authentication", "id_token: email_verified is not true"));
    }
    let subject = subject(&claims).map_err(|detail| Refusal::new("id_token is missing 'sub' claim", format!("id_token: {detail}")))?;
    let [issuer, _] = ISSUERS;
    Ok(profile::claims(issuer, subject, &claims, true))
}

fn in_words(rejected: Rejected, flow: Flow<'_>) -> Refusal {
    let Rejected::Token(kind, detail) = rejected else { return rejected.into() };
    let reason = match kind {
        Kind::Malformed => "invalid token".to_owned(),
        Kind::Algorithm => "invalid algorithm".to_owned(),
        Kind::Signature => "invalid signature".to_owned(),
        Kind::Key => "error in secret or public key callback: no such key".to_owned(),
        Kind::Issuer => format!("jwt issuer invalid. expected: {}", ISSUERS.join(",")),
        Kind::Audience => format!("jwt audience invalid. expected: {}", flow.settings.client_id),
        Kind::Expired => "jwt expired".to_owned(),
        Kind::NotActive => "jwt not active".to_owned(),
        Kind::Nonce => "jwt nonce invalid".to_owned(),
    };
    Refusal::new(format!("Could not verify Google id_token: {reason}"), format!("id_token: {detail}"))
}
