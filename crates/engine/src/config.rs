//! Settings of the whole server, as the configuration file holds them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

pub use crate::model::provider::is_loopback;
use crate::model::tenant::{Secret, TenantSettings};

/// The configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub server: Server,
    pub database: Database,
    #[serde(default)]
    pub keys: Keys,
    #[serde(default)]
    pub outbound: Outbound,
    /// Every event is published to `JetStream`, too.
    pub nats: Option<Nats>,
    /// Created or updated at start.
    #[serde(default)]
    pub tenants: Vec<TenantSettings>,
}

/// How the server is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    pub listen: SocketAddr,
    /// Origin of the hosted pages of tenants without a host of their own.
    pub public_url: Option<Url>,
    /// `acme.{tenant_domain}` is the tenant `acme`; `acme.localhost` works too.
    pub tenant_domain: Option<String>,
    /// The tenant for hosts outside `tenant_domain` that belong to nobody.
    pub default_tenant: Option<String>,
    /// Only these may say X-Forwarded-For.
    pub trusted_proxies: Vec<IpNet>,
    /// `vestibule dev`: any loopback origin may call, and the inbox is shown. No file can ask for it.
    #[serde(skip)]
    pub development: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            public_url: None,
            tenant_domain: None,
            default_tenant: None,
            trusted_proxies: Vec::new(),
            development: false,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite://FILE` or `postgres://…`.
    pub url: Secret,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// 32 bytes in base64; seals what is secret at rest.
    pub master: Option<Secret>,
}

/// What the server itself may call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Targets that are allowed although they are no public addresses.
    pub allow_private: Vec<IpNet>,
}

/// Where events are published besides, of all tenants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// `nats://USER:PASSWORD@HOST:4222`, or `tls://…`; several servers are parted by commas.
    pub url: Secret,
    /// Event names, or patterns such as `customer.*`. Only an exact name receives an event's secret fields. Default all.
    #[serde(default = "everything")]
    pub events: Vec<String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Server {
    /// Whether nobody but this machine can reach the server: it listens on loopback and is not published under another name.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.listen.ip().is_loopback() && self.public_url.as_ref().is_none_or(is_loopback)
    }

    /// Whether `peer` may speak for its own client.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}
