//! Sign-in with GitHub, which issues no `id_token`: the person is whom its API names for the access token. GitHub Apps and OAuth apps differ
//! in how long their tokens live, which is of no concern here, because no token is kept.

use serde_json::{Map, Value, json};
use url::Url;

use super::exchange::{authorization, client_secret, exchange, fetch, scope};
use super::{Claims, Flow, Refusal, Returned, profile};
use crate::crypto::unique::Unique;

const ISSUER: &str = "https://github.com";
const AUTHORIZATION: &str = "https://github.com/login/oauth/authorize";
const TOKEN: &str = "https://github.com/login/oauth/access_token";
const USER: &str = "https://api.github.com/user";
const SCOPE: &str = "read:user user:email";

/// Where to send the customer.
///
/// # Errors
/// None but a defect.
pub fn location(flow: Flow<'_>, state: &str) -> Result<Url, Refusal> {
    let endpoint = endpoint(flow.settings.authorization_endpoint.as_ref(), AUTHORIZATION)?;
    Ok(authorization(&endpoint, flow, None, state, &[("scope", &scope(flow, SCOPE))]))
}

/// Whom GitHub vouches for.
///
/// # Errors
/// The first thing that is wrong.
pub async fn claims(flow: Flow<'_>, returned: Returned<'_>) -> Result<Claims, Refusal> {
    let issuer = flow.settings.issuer.as_ref().map_or(ISSUER, |issuer| issuer.as_str().trim_end_matches('/'));
    check_iss(issuer, returned)?;
    let token = endpoint(flow.settings.token_endpoint.as_ref(), TOKEN)?;
    let tokens = exchange(flow, &token, returned, client_secret(flow), false).await?;
    let headers = [("authorization", format!("Bearer {}", tokens.access_token()?))];
    let user_url = endpoint(flow.settings.userinfo_endpoint.as_ref(), USER)?;
    let user = fetch(flow.http, &user_url, &headers, "user").await?;
    let id = user.get("id").and_then(Value::as_u64).filter(|&id| id > 0).ok_or_else(|| Refusal::failed("user: id is no positive integer"))?;
    let verified = primary(flow, &user_url, &headers).await?;
    let email_verified = verified.is_some();
    let email = verified.or_else(|| profile::text(&user, "email"));
    Ok(Claims {
        issuer: issuer.to_owned(),
        subject: id.to_string(),
        user_metadata: metadata(&user, email.as_deref()),
        email,
        email_verified,
        given_name: None,
        family_name: None,
    })
}

/// GitHub's own authorization server calls itself by the path of its endpoints.
fn check_iss(issuer: &str, returned: Returned<'_>) -> Result<(), Refusal> {
    match returned.iss {
        Some(iss) if iss != issuer && iss.strip_suffix("/login/oauth") != Some(issuer) => {
            Err(Refusal::failed("the iss parameter of the callback names another issuer"))
        }
        _ => Ok(()),
    }
}

/// The primary address, if GitHub has verified it. An app that may not read addresses gets none.
async fn primary(flow: Flow<'_>, user: &Url, headers: &[(&'static str, String)]) -> Result<Option<String>, Refusal> {
    let mut url = user.clone();
    url.set_path(&format!("{}/emails", user.path().trim_end_matches('/')));
    let answer = flow.http.get(&url, headers).await.map_err(|e| Refusal::unreachable("addresses", &e))?;
    if matches!(answer.status, 401 | 403 | 404) {
        return Ok(None);
    }
    if !answer.is_success() {
        return Err(Refusal::status("addresses", answer.status));
    }
    let listed: Vec<Unique> = serde_json::from_slice(&answer.body).map_err(|_| Refusal::failed("addresses: no list of JSON objects"))?;
    let is = |address: &Map<String, Value>, name: &str| address.get(name) == Some(&Value::Bool(true));
    let primary = listed.iter().find(|Unique(address)| is(address, "primary") && is(address, "verified"));
    Ok(primary.and_then(|Unique(address)| profile::text(address, "email")))
}

/// In Medusa's names. What the person has not given is null, as GitHub writes it.
fn metadata(user: &Map<String, Value>, email: Option<&str>) -> Map<String, Value> {
    let text = |name: &str| profile::text(user, name).map_or(Value::Null, Value::String);
    Map::from_iter([
        ("profile_url".to_owned(), text("url")),
        ("avatar".to_owned(), text("avatar_url")),
        ("email".to_owned(), json!(email)),
        ("name".to_owned(), text("name")),
        ("company".to_owned(), text("company")),
        // Nobody but the person's own tools need to know how the account is protected.
        ("two_factor_authentication".to_owned(), Value::Bool(false)),
    ])
}

fn endpoint(configured: Option<&Url>, built_in: &str) -> Result<Url, Refusal> {
    configured.map_or_else(|| Url::parse(built_in).map_err(|e| Refusal::failed(format!("a built-in endpoint: {e}"))), |url| Ok(url.clone()))
}
