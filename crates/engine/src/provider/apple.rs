//! Sign-in with Apple: the callback is posted, the client's secret is a token that we sign, and the name comes once, outside the `id_token`.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use url::Url;

use super::endpoints::Endpoints;
use super::exchange::{authorization, exchange, scope};
use super::id_token::{Expected, subject, verify};
use super::{Claims, Flow, Providers, Refusal, Returned, profile};
use crate::crypto::unique::Unique;
use crate::model::tenant::Secret;

const ISSUER: &str = "https://appleid.apple.com";
const ENDPOINTS: [&str; 3] =
    ["https://appleid.apple.com/auth/authorize", "https://appleid.apple.com/auth/token", "https://appleid.apple.com/auth/keys"];
const SCOPE: &str = "name email";
/// Seconds that a client secret lives. Apple allows half a year; each is used once, at once.
const SECRET_LIFE: i64 = 300;
/// Bytes of the posted `user`.
const MAX_USER: usize = 4 * 1024;

/// Where to send the customer.
///
/// # Errors
/// None but a defect.
pub fn location(flow: Flow<'_>, state: &str) -> Result<Url, Refusal> {
    let endpoints = Endpoints::built_in(flow.settings, &[ISSUER], ENDPOINTS)?;
    // With scopes Apple answers by a form alone.
    let more = [("nonce", flow.nonce), ("response_mode", "form_post")];
    Ok(authorization(&endpoints.authorization, flow, Some(&scope(flow, SCOPE)), state, &more))
}

/// Whom Apple vouches for.
///
/// # Errors
/// The first thing that is wrong.
pub async fn claims(providers: &Providers, flow: Flow<'_>, returned: Returned<'_>) -> Result<Claims, Refusal> {
    let endpoints = Endpoints::built_in(flow.settings, &[ISSUER], ENDPOINTS)?;
    endpoints.check_iss(returned)?;
    let secret = client_secret(flow).map_err(|what| Refusal::misconfigured(flow.name, &what))?;
    let tokens = exchange(flow, &endpoints.token, returned, &secret, false).await?;
    let expected = Expected { issuers: &endpoints.issuers, jwks: &endpoints.jwks };
    let mut claims = verify(providers, flow, expected, tokens.id_token()?).await?;
    let subject = subject(&claims).map_err(|detail| Refusal::failed(format!("id_token: {detail}")))?;
    // Apple writes booleans as strings, depending on the age of the app.
    let verified = claims.get("email_verified").is_some_and(|value| value == true || value == "true");
    add_name(&mut claims, returned.user);
    Ok(profile::claims(ISSUER, subject, &claims, verified))
}

/// The key that Apple gave out, read from its PEM file.
///
/// # Errors
/// Says what is wrong, never what was given.
pub fn signing_key(pem: &Secret) -> Result<EcdsaKeyPair, String> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| "private_key is no PKCS#8 key in PEM".to_owned())?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).map_err(|_| "private_key is no key for ES256".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "the library takes a signature's nonce from nothing but the system's randomness")]
fn client_secret(flow: Flow<'_>) -> Result<String, String> {
    let settings = flow.settings;
    let key = signing_key(settings.private_key.as_ref().ok_or("private_key is missing")?)?;
    let now = flow.clock.now().seconds();
    let header = json!({"alg": "ES256", "kid": settings.key_id});
    let claims = json!({"iss": settings.team_id, "iat": now, "exp": now + SECRET_LIFE, "aud": ISSUER, "sub": settings.client_id});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| "private_key does not sign".to_owned())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The browser brought the name, so it is what the customer says of himself, and nothing hangs on it: it is left out if it cannot be read.
fn add_name(claims: &mut Map<String, Value>, posted: Option<&str>) {
    let posted = posted.filter(|text| text.len() <= MAX_USER).and_then(|text| serde_json::from_str(text).ok());
    let Some(Unique(user)) = posted else { return };
    let Some(name) = user.get("name").and_then(Value::as_object) else { return };
    let (given, family) = (profile::text(name, "firstName"), profile::text(name, "lastName"));
    let whole = [given.as_deref(), family.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    for (name, value) in [("name", Some(whole)), ("given_name", given), ("family_name", family)] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), Value::String(value));
        }
    }
}
