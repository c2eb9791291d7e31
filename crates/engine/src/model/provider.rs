//! Third-party providers as a shop configures them.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::model::tenant::Secret;

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderType {
    /// Any OpenID Connect issuer, by discovery.
    Oidc,
    Google,
    /// OpenID Connect with Microsoft's multi-tenant issuers.
    Microsoft,
    Apple,
    /// OAuth 2.0 and GitHub's API; GitHub issues no `id_token`.
    Github,
}

/// A provider of a shop: `[tenants.providers.{name}]`, where the name is the `{auth_provider}` of the path.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    #[serde(rename = "type")]
    pub kind: ProviderType,
    pub client_id: String,
    /// Needed by all but Apple, whose secret is made from `private_key`.
    pub client_secret: Option<Secret>,
    /// The page of the shop to which the provider sends the customer back. Registered with the provider.
    pub callback_url: Option<String>,
    /// Further pages that a storefront may name as `callback_url`, which must equal one of them letter by letter.
    #[serde(default)]
    pub allowed_callback_urls: Vec<String>,
    /// What `GET /auth/{actor_type}/providers` calls it. Default: the company's name, or the provider's name here.
    pub display_name: Option<String>,
    /// The issuer: needed by `oidc`, built in for the others.
    pub issuer: Option<Url>,
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Option<Url>,
    pub userinfo_endpoint: Option<Url>,
    pub jwks_uri: Option<Url>,
    /// Replaces the built-in scopes.
    pub scopes: Option<Vec<String>>,
    /// Apple: the team's id.
    pub team_id: Option<String>,
    /// Apple: the id of `private_key`.
    pub key_id: Option<String>,
    /// Apple: the ES256 key in PEM (PKCS#8), as downloaded.
    pub private_key: Option<Secret>,
}

impl ProviderSettings {
    /// What to call the provider `name` in front of customers.
    #[must_use]
    pub fn display_name(&self, name: &str) -> String {
        if let Some(display_name) = &self.display_name {
            return display_name.clone();
        }
        match self.kind {
            ProviderType::Google => "Google Authentication".to_owned(),
            ProviderType::Github => "Github Authentication".to_owned(),
            ProviderType::Apple => "Apple Authentication".to_owned(),
            ProviderType::Microsoft => "Microsoft Authentication".to_owned(),
            ProviderType::Oidc => name.to_owned(),
        }
    }
}

/// Whether `url` leads to the machine that reads it: `localhost`, a name under it, or a loopback address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
