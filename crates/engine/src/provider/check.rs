//! Whether the settings of a provider can work, before a customer tries.

use url::Url;

use super::{apple, emailpass};
use crate::model::provider::{ProviderSettings, ProviderType, is_loopback};
use crate::model::tenant::Secret;

const MAX_NAME: usize = 64;
/// What stands where a provider's name could, and is something else.
const TAKEN: [&str; 2] = [emailpass::NAME, "providers"];

/// What is wrong with the settings of the provider `name`, in a sentence for the operator.
///
/// # Errors
/// The first thing that is missing or wrong. The sentence holds no secret.
pub fn check(name: &str, settings: &ProviderSettings) -> Result<(), String> {
    let named = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !named {
        return Err("its name must be 1 to 64 of a-z, A-Z, 0-9, - and _".to_owned());
    }
    if TAKEN.contains(&name) {
        return Err(format!("the name {name} is taken"));
    }
    given("client_id", Some(&settings.client_id))?;
    check_secrets(settings)?;
    check_scopes(settings)?;
    check_endpoints(settings)?;
    settings.callback_url.iter().try_for_each(|url| callback("callback_url", url))?;
    settings.allowed_callback_urls.iter().try_for_each(|url| callback("allowed_callback_urls", url))
}

fn given(what: &str, text: Option<&str>) -> Result<(), String> {
    match text {
        None => Err(format!("{what} is missing")),
        Some(text) if text.trim().is_empty() => Err(format!("{what} is empty")),
        // What the example configuration has in its place.
        Some(text) if text.starts_with("REPLACE-") => Err(format!("{what} is a placeholder")),
        Some(_) => Ok(()),
    }
}

fn check_secrets(settings: &ProviderSettings) -> Result<(), String> {
    if settings.kind != ProviderType::Apple {
        return given("client_secret", settings.client_secret.as_ref().map(Secret::expose));
    }
    given("team_id", settings.team_id.as_deref())?;
    given("key_id", settings.key_id.as_deref())?;
    given("private_key", settings.private_key.as_ref().map(Secret::expose))?;
    settings.private_key.as_ref().map_or(Ok(()), |key| apple::signing_key(key).map(drop))
}

fn check_scopes(settings: &ProviderSettings) -> Result<(), String> {
    let Some(scopes) = &settings.scopes else { return Ok(()) };
    if scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(|b| b.is_ascii_graphic())) {
        return Err("scopes must be words without white space".to_owned());
    }
    let needs_openid = matches!(settings.kind, ProviderType::Oidc | ProviderType::Google | ProviderType::Microsoft);
    if needs_openid && !scopes.iter().any(|scope| scope == "openid") {
        return Err("scopes must hold openid".to_owned());
    }
    Ok(())
}

fn check_endpoints(settings: &ProviderSettings) -> Result<(), String> {
    match (settings.kind, &settings.issuer) {
        (ProviderType::Oidc, None) => return Err("issuer is missing".to_owned()),
        (ProviderType::Google | ProviderType::Apple, Some(_)) => return Err("issuer is built in and cannot be set".to_owned()),
        (_, Some(issuer)) if issuer.query().is_some() => return Err("issuer must have no query".to_owned()),
        _ => {}
    }
    let endpoints = [
        ("issuer", &settings.issuer),
        ("authorization_endpoint", &settings.authorization_endpoint),
        ("token_endpoint", &settings.token_endpoint),
        ("userinfo_endpoint", &settings.userinfo_endpoint),
        ("jwks_uri", &settings.jwks_uri),
    ];
    for (what, url) in endpoints {
        let Some(url) = url else { continue };
        // Whether `http` goes there is for `outbound.allow_private` to say.
        if !matches!(url.scheme(), "https" | "http") {
            return Err(format!("{what} must be an https URL"));
        }
        bare(what, url)?;
    }
    Ok(())
}

/// A page to which codes are sent: nobody may read them on their way.
fn callback(what: &str, text: &str) -> Result<(), String> {
    let url = &Url::parse(text).map_err(|_| format!("{what} is no URL"))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(url)) {
        return Err(format!("{what} must be an https URL, or http on this machine"));
    }
    bare(what, url)
}

fn bare(what: &str, url: &Url) -> Result<(), String> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{what} must hold no user name or password"));
    }
    if url.fragment().is_some() {
        return Err(format!("{what} must have no fragment"));
    }
    Ok(())
}
