//! What the server is told: the only place that knows its settings.

use std::fs;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Result;

pub struct Tenant {
    pub slug: &'static str,
    pub host: &'static str,
    pub algorithm: &'static str,
}

pub const EDDSA: Tenant = Tenant { slug: "bench", host: "bench.localhost", algorithm: "EdDSA" };
pub const HS256: Tenant = Tenant { slug: "bench-hs", host: "bench-hs.localhost", algorithm: "HS256" };
/// Some of its customers were imported with their hashes.
pub const MOVED: Tenant = Tenant { slug: "bench-moved", host: "bench-moved.localhost", algorithm: "EdDSA" };

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// On, counted and stored, with budgets that no run reaches.
    Raised,
    /// Off, as the timing test asks.
    Off,
}

/// Drawn once per data directory, so that a database seeded earlier can be opened again.
pub struct Secrets {
    master: String,
    hs256: String,
    pub publishable_key: String,
}

impl Secrets {
    pub fn load_or_draw(directory: &Path) -> Result<Self> {
        let path = directory.join("secrets.json");
        if let Ok(text) = fs::read_to_string(&path) {
            let stored: Value = serde_json::from_str(&text)?;
            let field = |name: &str| stored.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(format!("secrets.json has no {name}"));
            return Ok(Self { master: field("master")?, hs256: field("hs256")?, publishable_key: field("publishable_key")? });
        }
        let hex = draw()?.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let hs256: String = STANDARD.encode([draw()?, draw()?].concat()).chars().take(48).collect();
        let drawn = Self { master: STANDARD.encode(draw()?), hs256, publishable_key: format!("pk_{hex}") };
        let stored = json!({ "master": drawn.master, "hs256": drawn.hs256, "publishable_key": drawn.publishable_key });
        fs::write(path, stored.to_string())?;
        Ok(drawn)
    }
}

fn draw() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub fn render(secrets: &Secrets, database_url: &str, port: u16, smtp_port: u16, limits: Limits) -> String {
    let mut text = format!(
        r#"[server]
listen = "127.0.0.1:{port}"
tenant_domain = "localhost"

[database]
url = '{database_url}'

[keys]
master = "{}"

[outbound]
allow_private = ["127.0.0.1/32"]
"#,
        secrets.master
    );
    let hs256_secret = format!("secret = \"{}\"\n", secrets.hs256);
    // The last is the one that more can be said of: its customers change in `subscribers`.
    for (tenant, secret) in [(EDDSA, ""), (MOVED, ""), (HS256, hs256_secret.as_str())] {
        text.push_str(&render_tenant(&tenant, secret, &tenant_key(secrets, &tenant), smtp_port, limits));
    }
    text
}

/// A key belongs to one tenant, so the second tenant's is the first one's turned round, and the third's begins in its middle.
pub fn tenant_key(secrets: &Secrets, tenant: &Tenant) -> String {
    let hex = secrets.publishable_key.trim_start_matches("pk_");
    match tenant.slug {
        slug if slug == EDDSA.slug => secrets.publishable_key.clone(),
        slug if slug == HS256.slug => format!("pk_{}", hex.chars().rev().collect::<String>()),
        _ => format!("pk_{}", hex.chars().cycle().skip(hex.len() / 2).take(hex.len()).collect::<String>()),
    }
}

fn render_tenant(tenant: &Tenant, secret: &str, key: &str, smtp_port: u16, limits: Limits) -> String {
    let Tenant { slug, algorithm, .. } = tenant;
    let enabled = limits == Limits::Raised;
    format!(
        r#"
[[tenants]]
slug = "{slug}"
publishable_keys = ["{key}"]

[tenants.tokens]
algorithm = "{algorithm}"
{secret}
[tenants.limits]
enabled = {enabled}
failed_sign_ins = 1000000000
sign_ins_per_client = 1000000000
sign_ins_per_tenant = 1000000000
registrations_per_client = 1000000000
registrations_per_tenant = 1000000000
customer_updates = 1000000000
resets_per_client = 1000000000
resets_per_identifier = 1000000000
waiting_resets = 10000000

[tenants.mail]
messages = ["password_reset", "password_changed"]
from = "Bench <bench@example.com>"
transport = "smtp://127.0.0.1:{smtp_port}"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_drawn_once_per_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = Secrets::load_or_draw(directory.path()).unwrap();
        let again = Secrets::load_or_draw(directory.path()).unwrap();
        assert_eq!((&first.master, &first.hs256, &first.publishable_key), (&again.master, &again.hs256, &again.publishable_key));
        assert_eq!((first.hs256.len(), first.publishable_key.len()), (48, 67));
    }

    #[test]
    fn each_tenant_has_its_own_key_and_limits_follow_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Secrets::load_or_draw(directory.path()).unwrap();
        let keys = [&EDDSA, &HS256, &MOVED].map(|tenant| tenant_key(&secrets, tenant));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2] && keys.iter().all(|key| key.len() == 67));
        let text = render(&secrets, "sqlite:///x/bench.db", 1, 2, Limits::Off);
        assert_eq!(text.matches("enabled = false").count(), 3);
        assert_eq!(text.matches("secret = ").count(), 1);
    }
}
