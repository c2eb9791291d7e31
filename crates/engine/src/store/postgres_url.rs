//! What stands in a PostgreSQL URL: where the server is, and how it is reached.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::value::with_causes;
use crate::error::{Error, Result};

/// Bounds for what a lost client or a bad plan may hold.
const BOUNDS: &str = "-c statement_timeout=10000 -c idle_in_transaction_session_timeout=15000 -c lock_timeout=5000";

/// A connection as it is under TLS, if there is any.
pub type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A PostgreSQL, and how it is reached.
#[derive(Clone)]
pub struct Target {
    pub config: Config,
    pub tls: MakeRustlsConnect,
}

impl Target {
    /// # Errors
    /// `InvalidData`, in words, for what cannot be connected to.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = |what: &dyn std::fmt::Display| Error::invalid(format!("database.url: {what}"));
        let Taken { rest, mode, roots } = take(url);
        // Whoever asks for TLS wants the server that the URL names, and nobody between: the certificate is always looked at, and the name.
        let encrypted = match mode.as_deref() {
            None | Some("disable" | "prefer") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(_) => return Err(wrong(&"sslmode must be disable, prefer, require, verify-ca or verify-full")),
        };
        if roots.is_some() && !encrypted {
            return Err(wrong(&"sslrootcert is for sslmode=verify-full"));
        }
        let mut config: Config = rest.parse().map_err(|e| wrong(&with_causes(&e)))?;
        let named = config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)));
        if config.get_hosts().is_empty() && (encrypted || config.get_hostaddrs().is_empty()) {
            return Err(wrong(&"it names no host"));
        }
        // The driver would dial the address, and in plain text: a folder is no name to look for in a certificate.
        if encrypted && !config.get_hostaddrs().is_empty() && config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
            return Err(wrong(&"hostaddr and sslmode need a host that is a name, and no socket's folder"));
        }
        // What reaches a socket's folder never leaves the machine, and is never encrypted.
        config.ssl_mode(if encrypted && named { SslMode::Require } else { SslMode::Disable });
        // The operator's own come last: of two for one setting the server takes the later.
        let options = config.get_options().map_or_else(|| BOUNDS.to_owned(), |theirs| format!("{BOUNDS} {theirs}"));
        config.options(options);
        if config.get_application_name().is_none() {
            config.application_name("vestibule");
        }
        let roots = match roots {
            _ if !encrypted => RootCertStore::empty(),
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            Some(file) => authorities(&file).map_err(|e| wrong(&format!("sslrootcert: {file}: {e}")))?,
        };
        Ok(Self { config, tls: MakeRustlsConnect::new(client(roots)?) })
    }

    /// The hosts to which everything goes as it is.
    pub fn plain_hosts(&self) -> Vec<String> {
        if self.config.get_ssl_mode() != SslMode::Disable {
            return Vec::new();
        }
        let addresses = self.config.get_hostaddrs();
        if !addresses.is_empty() {
            return addresses.iter().map(ToString::to_string).collect();
        }
        let name = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        };
        self.config.get_hosts().iter().map(name).collect()
    }

    /// A connection of one's own, which is to be polled beside its client.
    pub async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>)> {
        Ok(self.config.connect(self.tls.clone()).await?)
    }
}

/// A URL without what the driver does not know, and that.
struct Taken {
    rest: String,
    mode: Option<String>,
    roots: Option<String>,
}

/// The query is found as the driver finds it: a password may hold a question mark.
fn take(url: &str) -> Taken {
    let after_password = url.find('@').unwrap_or_default();
    let query = url.get(after_password..).and_then(|rest| rest.find('?')).map_or(url.len(), |at| after_password + at);
    let (base, query) = url.split_at(query);
    let (mut kept, mut mode, mut roots) = (Vec::new(), None, None);
    for pair in query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
        // A plus is a plus here, and no space.
        let value = || url::form_urlencoded::parse(pair.replace('+', "%2B").as_bytes()).next().map(|(_, value)| value.into_owned());
        match pair.split_once('=').map(|(name, _)| name) {
            Some("sslmode") => mode = value(),
            Some("sslrootcert") => roots = value(),
            _ => kept.push(pair),
        }
    }
    let rest = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    Taken { rest, mode, roots }
}

/// The authorities in a PEM file.
fn authorities(file: &str) -> std::result::Result<RootCertStore, String> {
    let pem = std::fs::read(file).map_err(|e| e.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(roots) }
}

fn client(roots: RootCertStore) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|e| Error::unexpected(format!("TLS to PostgreSQL: {e}")))?.with_root_certificates(roots);
    Ok(config.with_no_client_auth())
}
