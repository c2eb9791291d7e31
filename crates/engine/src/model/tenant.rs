//! A shop and its settings.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use crate::crypto::token::TenantKeys;
use crate::model::identity::ActorType;
use crate::model::ids::TenantId;
use crate::model::provider::ProviderSettings;
use crate::model::time::{Span, Timestamp};

/// A shop, ready for use: what its rows say, parsed and unsealed. Held in a cache, so it is never changed in place.
pub struct Tenant {
    pub id: TenantId,
    pub slug: String,
    /// Hosts of its own, besides `{slug}.{tenant_domain}`.
    pub hosts: Vec<String>,
    pub settings: TenantSettings,
    pub keys: Arc<TenantKeys>,
    /// SHA-256 of each live publishable key, with the time at which it is revoked.
    pub publishable: Vec<([u8; 32], Option<Timestamp>)>,
    /// Rises with every change, so that a cache can see that it is stale.
    pub version: i64,
}

impl Tenant {
    /// What the shop calls itself: the name in its mail sender, else its slug.
    #[must_use]
    pub fn name(&self) -> &str {
        let sender = self.settings.mail.from.as_deref().and_then(|from| from.split_once('<')).map(|(name, _)| name.trim().trim_matches('"'));
        sender.filter(|name| !name.is_empty()).unwrap_or(&self.slug)
    }

    /// Whether `actor` may use `provider`. Of actor types that are not listed `customer` may use all, `user` emailpass alone, and no other any.
    #[must_use]
    pub fn allows(&self, actor: &ActorType, provider: &str) -> bool {
        match self.settings.auth_methods.get(actor.as_str()) {
            Some(listed) => listed.iter().any(|p| p == provider),
            None => actor.as_str() == "customer" || (actor.is_user() && provider == "emailpass"),
        }
    }
}

/// What an operator may set per shop: `[[tenants]]` in the configuration file.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// Label of the shop's host: `{slug}.{tenant_domain}`.
    #[serde(skip_serializing)]
    pub slug: String,
    /// Hosts of its own.
    #[serde(skip_serializing)]
    pub hosts: Vec<String>,
    /// Keys that a storefront sends with every call to `/store`: `pk_` and 64 hexadecimal digits.
    #[serde(skip_serializing)]
    pub publishable_keys: Vec<String>,
    /// Keys for the shop's own servers: `sk_` and 64 hexadecimal digits. Kept as hashes.
    #[serde(skip_serializing)]
    pub secret_keys: Vec<Secret>,
    /// Base of the reset link: `{storefront_url}/reset-password?token=…`. Without it the hosted page is used.
    pub storefront_url: Option<Url>,
    /// A whole reset URL instead; `token` is added to its query. `{locale}` in it is replaced.
    pub reset_url: Option<String>,
    pub cors: Cors,
    pub tokens: Tokens,
    pub passwords: Passwords,
    pub customers: Customers,
    pub limits: Limits,
    /// Actor type → providers. Absent: `customer` may use all, `user` emailpass alone, any other actor type none.
    pub auth_methods: BTreeMap<String, Vec<String>>,
    /// Third-party providers by the name that stands in the path.
    pub providers: BTreeMap<String, ProviderSettings>,
    pub callbacks: Callbacks,
    pub cookies: Cookies,
    pub mail: Mail,
    pub webhooks: Vec<Webhook>,
    /// The bridge to the event bus of the shop's own Medusa. Default none.
    pub medusa: Option<Medusa>,
}

/// Origins that browsers may call from, per API.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    pub store: Vec<String>,
    pub auth: Vec<String>,
    pub admin: Vec<String>,
}

/// How tokens are signed and how long they live.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    pub algorithm: Algorithm,
    /// The shared secret; HS256 only.
    pub secret: Option<Secret>,
    /// HS256 secrets that are no longer signed with, Medusa's say: their session tokens go on being good to their own end. Default none.
    pub former_secrets: Vec<Secret>,
    /// Life of a session token. Default 1d.
    pub ttl: Span,
    /// Life of a password reset token. Default 15m, at most 1h.
    pub reset_ttl: Span,
    /// Absolute age of a session, whatever is refreshed. Default 30d.
    pub session_max_age: Span,
}

impl Default for Tokens {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            algorithm: Algorithm::EdDsa,
            secret: None,
            former_secrets: Vec::new(),
            ttl: Span(Duration::from_secs(DAY)),
            reset_ttl: Span(Duration::from_mins(15)),
            session_max_age: Span(Duration::from_secs(30 * DAY)),
        }
    }
}

/// Signature algorithms for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, Default)]
pub enum Algorithm {
    /// Ed25519; the public key is published as a JWKS.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC-SHA256 with a secret that the shop shares with its backend.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

/// Rules for new passwords.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Passwords {
    /// Least number of code points. Default 8; below 8 the list of common passwords is not consulted.
    pub min_length: usize,
    /// Whether a new password ends the sessions made with the old one. Default true.
    pub revoke_sessions_on_change: bool,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { min_length: 8, revoke_sessions_on_change: true }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Customers {
    /// Whether a customer's address must be the one that the login proved or registered with. Default true.
    pub email_must_match_identity: bool,
}

impl Default for Customers {
    fn default() -> Self {
        Self { email_must_match_identity: true }
    }
}

/// What happens when somebody comes back from a third party.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Callbacks {
    /// What a proven address means that a customer here has, too. Default `ask`.
    pub same_address: SameAddress,
    /// Which sign-ins must come back to the browser that began them. Default `same_site`.
    pub cookie: CallbackCookie,
}

/// Which sign-ins by a third party are bound to a browser by a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackCookie {
    /// Those that begin or end in a browser on the API's own host or on a host of the same site.
    #[default]
    SameSite,
    /// All. An SDK that sends no cookies cannot sign in so.
    Always,
    /// None: for storefronts on a host of the same site whose SDK sends no cookies.
    Never,
}

/// The cookie of a session.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cookies {
    /// Whether browsers send it with calls from pages of other sites. Default `lax`.
    pub same_site: SameSite,
}

/// From which pages browsers send a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// With calls of pages on hosts of the same site, and when a link is followed.
    #[default]
    Lax,
    /// With calls of pages on hosts of the same site alone.
    Strict,
    /// With calls of every page that may call at all. Over https alone.
    None,
}

/// What a login of a third party has to do with a customer who has the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SameAddress {
    /// The answer says that the address has an account; linking needs a sign-in to it.
    #[default]
    Ask,
    /// Linked at once where both sides have proven the address; otherwise as `ask`.
    Auto,
    /// Nothing: nothing is linked, and nothing is said.
    Never,
}

/// Budgets against guessing and flooding. Each default is a number of tries in the time its name says.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub enabled: bool,
    /// Failed sign-ins per address in 15 minutes; then a pause that grows to an hour. Default 10.
    pub failed_sign_ins: u32,
    /// Sign-ins per client address and minute. Default 60.
    pub sign_ins_per_client: u32,
    /// Sign-ins per shop and second. Default 50.
    pub sign_ins_per_tenant: u32,
    /// Registrations per client address and hour. Default 20.
    pub registrations_per_client: u32,
    /// Registrations per shop and hour. Default 2000.
    pub registrations_per_tenant: u32,
    /// Changes of a customer's own data per customer and hour. Default 300.
    pub customer_updates: u32,
    /// Reset requests per client address and hour. Default 60.
    pub resets_per_client: u32,
    /// Resets issued per identifier and hour; more are answered alike, and one in 15 minutes is issued where no link is good. Default 5.
    pub resets_per_identifier: u32,
    /// Reset requests that wait to be issued, per shop. Default 10000.
    pub waiting_resets: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enabled: true,
            failed_sign_ins: 10,
            sign_ins_per_client: 60,
            sign_ins_per_tenant: 50,
            registrations_per_client: 20,
            registrations_per_tenant: 2_000,
            customer_updates: 300,
            resets_per_client: 60,
            resets_per_identifier: 5,
            waiting_resets: 10_000,
        }
    }
}

/// The built-in mailer.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// What the mailer sends. Default: all messages.
    pub messages: Vec<Message>,
    /// Sender, for example `Acme <no-reply@acme.example>`.
    pub from: Option<String>,
    /// `smtp://user:password@host:587`, `smtps://…`, `sendgrid:KEY`, `https://…` (a service of the shop's that sends), or `inbox` (development).
    pub transport: Option<Secret>,
    /// The language of its mails where neither the request nor the customer names one that there is. Default `en`.
    pub locale: Option<String>,
    /// Signs the calls to an `https://…` transport: `whsec_` and 24 to 64 bytes in base64.
    pub secret: Option<Secret>,
}

impl Default for Mail {
    fn default() -> Self {
        Self { messages: vec![Message::PasswordReset, Message::PasswordChanged], from: None, transport: None, locale: None, secret: None }
    }
}

/// The messages that the built-in mailer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    PasswordReset,
    PasswordChanged,
}

impl Message {
    pub const ALL: [Self; 2] = [Self::PasswordReset, Self::PasswordChanged];

    /// The folder of its templates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|message| message.as_str() == text)
    }

    /// What its templates may use: the shop's name, the address of the account; the link, and for how many minutes it works.
    #[must_use]
    pub const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::PasswordReset => &["shop", "address", "url", "minutes"],
            Self::PasswordChanged => &["shop", "address"],
        }
    }
}

/// A subscriber over HTTP, signed per Standard Webhooks.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub url: Url,
    /// `whsec_` and 24 to 64 bytes in base64.
    pub secret: Secret,
    /// The secret that `secret` replaces. While it stands here, both sign, so that the subscriber may change at any time.
    #[serde(default)]
    pub former_secret: Option<Secret>,
    /// Event names, or patterns such as `customer.*`. Only an exact name receives an event's secret fields.
    pub events: Vec<String>,
}

/// The Redis queue of a Medusa's event bus.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Medusa {
    /// The `redisUrl` of Medusa's event bus: `redis://USER:PASSWORD@HOST:6379/0`, or `rediss://…`.
    pub redis: Secret,
    /// Event names, or patterns such as `customer.*`. Only an exact name receives an event's secret fields.
    pub events: Vec<String>,
    /// The `queueName` of Medusa's event bus.
    #[serde(default = "Medusa::queue")]
    pub queue: String,
    /// What the queue's keys begin with: the `prefix` in the `queueOptions` of Medusa's event bus.
    #[serde(default = "Medusa::prefix")]
    pub prefix: String,
}

impl Medusa {
    fn queue() -> String {
        "events-queue".to_owned()
    }

    fn prefix() -> String {
        "RedisEventBusService".to_owned()
    }
}

/// A secret in the settings. Printing shows nothing; serialising gives the value, because the settings are kept sealed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(SecretString);

impl Secret {
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.expose())
    }
}

/// Whether `slug` can be a label of a host name: 1 to 40 of `a-z 0-9 -`, no hyphen at an end.
#[must_use]
pub fn is_slug(slug: &str) -> bool {
    (1..=40).contains(&slug.len())
        && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-')
}

/// Secrets that everybody knows from documentation or examples.
#[must_use]
pub fn well_known_secrets() -> HashSet<&'static str> {
    ["supersecret", "secret", "changeme", "password", "medusa", "vestibule", "your-256-bit-secret", "jwt_secret", "cookie_secret"].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_label_of_a_host() {
        for good in ["a", "0", "acme", "acme-2", "a--b", &"a".repeat(40)] {
            assert!(is_slug(good), "{good}");
        }
        for wrong in ["", "-", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", &"a".repeat(41)] {
            assert!(!is_slug(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "[secret]");
    }
}
