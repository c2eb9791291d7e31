//! `vestibule provider`: third-party sign-in of tenants that are not declared in the configuration.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_engine::Engine;
use vestibule_engine::model::provider::ProviderSettings;
use vestibule_engine::ops;
use vestibule_engine::provider::check;

use super::{ConfigFile, Failure, OfTenant, open, print_json, tenant};

#[derive(Args)]
pub struct ProviderCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Adds a provider or replaces its settings. A running server knows within a second.
    Set {
        #[command(flatten)]
        of: OfTenant,
        /// The name that stands in the path.
        name: String,
        /// A TOML file with the settings as they stand under `[tenants.providers.{name}]`, or `-` for standard input.
        #[arg(long, value_name = "FILE")]
        settings: PathBuf,
    },
    /// Lists a tenant's providers, without their secrets.
    List {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long)]
        json: bool,
    },
    /// Removes a provider. Logins made by it stay, and cannot be used until it comes back.
    Remove {
        #[command(flatten)]
        of: OfTenant,
        name: String,
    },
}

impl ProviderCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Set { of, name, settings } => {
                let settings = read(&settings)?;
                check(&name, &settings).map_err(|what| Failure::Usage(format!("the provider {name}: {what}")))?;
                let OfTenant { file, tenant } = of;
                let engine = writing(file, &tenant).await?;
                ops::tenant::change(&engine, &tenant, |all| drop(all.providers.insert(name.clone(), settings.clone()))).await?;
                Ok(())
            }
            What::List { of, json } => list(of, json).await,
            What::Remove { of, name } => {
                let OfTenant { file, tenant: slug } = of;
                let engine = writing(file, &slug).await?;
                if !tenant(&engine, &slug).await?.settings.providers.contains_key(&name) {
                    return Err(Failure::Failed(format!("tenant {slug} has no provider `{name}`")));
                }
                ops::tenant::change(&engine, &slug, |all| drop(all.providers.remove(&name))).await?;
                Ok(())
            }
        }
    }
}

fn read(path: &Path) -> Result<ProviderSettings, Failure> {
    let failed = |e: std::io::Error| Failure::Failed(format!("{}: {e}", path.display()));
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text).map_err(failed)?;
        text
    } else {
        std::fs::read_to_string(path).map_err(failed)?
    };
    // The parser's own message would repeat the line that is wrong, and that may be the secret.
    toml::from_str(&text).map_err(|e| Failure::Usage(format!("{}: {}", path.display(), e.message())))
}

/// An engine for a change to a tenant that is not declared: one that is gets the settings of the configuration at every start, so the change would not last.
async fn writing(file: ConfigFile, slug: &str) -> Result<Arc<Engine>, Failure> {
    let mut config = file.load()?;
    if config.tenants.iter().any(|tenant| tenant.slug == slug) {
        return Err(Failure::Usage(format!("tenant {slug} is declared in the configuration: change it there, and restart")));
    }
    config.tenants.clear();
    open(config).await
}

async fn list(of: OfTenant, json: bool) -> Result<(), Failure> {
    let (_, tenant) = of.open().await?;
    let shown: Vec<Value> = tenant
        .settings
        .providers
        .iter()
        .map(|(name, provider)| {
            json!({"name": name, "type": provider.kind, "client_id": provider.client_id, "callback_url": provider.callback_url, "problem": check(name, provider).err()})
        })
        .collect();
    if json {
        print_json(&Value::Array(shown));
    } else {
        for provider in shown {
            let text = |name: &str| provider.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            println!("{}\t{}\t{}\t{}", text("name"), text("type"), text("callback_url"), text("problem"));
        }
    }
    Ok(())
}
