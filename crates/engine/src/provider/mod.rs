//! Authentication providers: one file each. A provider knows no account and no SQL.

mod apple;
mod check;
mod endpoints;
mod exchange;
mod github;
mod google;
#[cfg(feature = "testing")]
pub mod hostile;
mod id_token;
mod jwks;
mod oidc;
mod profile;
mod remembered;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

pub mod emailpass;

use serde_json::{Map, Value};
use url::Url;

use crate::model::ids::TenantId;
use crate::model::provider::{ProviderSettings, ProviderType};
use crate::ports::clock::Clock;
use crate::ports::http::{Http, HttpFailure};
pub use check::check;
use endpoints::Metadata;
use jwks::Jwks;
use remembered::Remembered;

const UNREACHABLE: &str = "The provider could not be reached";

/// What a provider says about the person who signed in.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// Who says it: the OpenID issuer, or `https://github.com`.
    pub issuer: String,
    /// The issuer's name for the person; never an address.
    pub subject: String,
    pub email: Option<String>,
    /// Whether the issuer has seen that the address is the person's.
    pub email_verified: bool,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    /// What a token carries of it: name, address, picture.
    pub user_metadata: Map<String, Value>,
}

/// A provider did not vouch for anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the caller. Holds nothing that a stranger's server wrote, but for the two texts that OAuth has for that.
    pub message: String,
    /// For the log: the one thing that was wrong.
    pub detail: String,
}

impl Refusal {
    fn new(message: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { message: message.into(), detail: detail.into() }
    }

    /// What came was not what it must be.
    fn failed(detail: impl Into<String>) -> Self {
        Self::new("Authentication failed", detail)
    }

    /// Nothing came, or nothing that can be read as a whole.
    fn unreachable(what: &str, failure: &HttpFailure) -> Self {
        Self::new(UNREACHABLE, format!("{what}: {failure}"))
    }

    /// Something came, and it says that it is of no use.
    fn status(what: &str, status: u16) -> Self {
        Self::new(UNREACHABLE, format!("{what}: the answer has status {status}"))
    }

    fn misconfigured(name: &str, what: &str) -> Self {
        Self::new(format!("The auth provider {name} is not configured: {what}"), format!("provider {name}: {what}"))
    }
}

/// What one sign-in is about, and what it needs to reach the provider.
#[derive(Clone, Copy)]
pub struct Flow<'a> {
    pub http: &'a Http,
    pub clock: &'a Clock,
    pub tenant: TenantId,
    /// The provider's name in the path.
    pub name: &'a str,
    pub settings: &'a ProviderSettings,
    /// Registered with the provider: the same at the start and at the end.
    pub redirect_uri: &'a str,
    pub nonce: &'a str,
    /// 43 characters (RFC 7636).
    pub code_verifier: &'a str,
}

/// What came back with the customer.
#[derive(Clone, Copy)]
pub struct Returned<'a> {
    pub code: &'a str,
    /// The `iss` parameter (RFC 9207).
    pub iss: Option<&'a str>,
    /// Apple posts the name once, as JSON.
    pub user: Option<&'a str>,
}

/// What is remembered of issuers: their metadata and keys, per tenant.
#[derive(Default)]
pub struct Providers {
    metadata: Remembered<Metadata>,
    keys: Remembered<Jwks>,
}

impl Providers {
    /// Where to send the customer.
    ///
    /// # Errors
    /// A wrong configuration, or an issuer that does not answer.
    pub async fn location(&self, flow: Flow<'_>, state: &str) -> Result<Url, Refusal> {
        check(flow.name, flow.settings).map_err(|what| Refusal::misconfigured(flow.name, &what))?;
        match flow.settings.kind {
            ProviderType::Oidc | ProviderType::Microsoft => oidc::location(self, flow, state).await,
            ProviderType::Google => google::location(flow, state),
            ProviderType::Apple => apple::location(flow, state),
            ProviderType::Github => github::location(flow, state),
        }
    }

    /// Whom the provider vouches for.
    ///
    /// # Errors
    /// Whatever is wrong with the code, the answer or the configuration.
    pub async fn claims(&self, flow: Flow<'_>, returned: Returned<'_>) -> Result<Claims, Refusal> {
        check(flow.name, flow.settings).map_err(|what| Refusal::misconfigured(flow.name, &what))?;
        match flow.settings.kind {
            ProviderType::Oidc | ProviderType::Microsoft => oidc::claims(self, flow, returned).await,
            ProviderType::Google => google::claims(self, flow, returned).await,
            ProviderType::Apple => apple::claims(self, flow, returned).await,
            ProviderType::Github => github::claims(flow, returned).await,
        }
    }
}
