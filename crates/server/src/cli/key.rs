//! `vestibule key`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use vestibule_engine::ops::api_key::{self, Kind};

use super::{Failure, OfTenant, print_json};

#[derive(Args)]
pub struct KeyCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyType {
    Publishable,
    Secret,
}

#[derive(Subcommand)]
enum What {
    /// Creates a key and prints it: it is shown this once.
    Create {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long = "type", value_enum)]
        kind: KeyType,
        /// What it is for.
        #[arg(long, default_value = "")]
        title: String,
        #[arg(long)]
        json: bool,
    },
    /// Lists a tenant's keys.
    List {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long)]
        json: bool,
    },
    /// Ends a key.
    Revoke {
        #[command(flatten)]
        of: OfTenant,
        /// `apk_…`
        id: String,
    },
}

impl KeyCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Create { of, kind, title, json } => {
                let (engine, tenant) = of.open().await?;
                let kind = match kind {
                    KeyType::Publishable => Kind::Publishable,
                    KeyType::Secret => Kind::Secret,
                };
                let (id, token) = api_key::create(&engine, &tenant, kind, &title).await?;
                if json {
                    print_json(&json!({"id": id.to_string(), "type": kind.as_str(), "token": token}));
                } else {
                    println!("{token}");
                }
                Ok(())
            }
            What::List { of, json } => {
                let (engine, tenant) = of.open().await?;
                let keys = api_key::list(&engine, &tenant).await?;
                if json {
                    let keys = keys.iter().map(|k| {
                        json!({"id": k.id.to_string(), "type": k.kind, "title": k.title, "redacted": k.redacted, "created_at": k.created_at.to_string(), "revoked_at": k.revoked_at.map(|t| t.to_string())})
                    });
                    print_json(&Value::Array(keys.collect()));
                } else {
                    for k in keys {
                        println!("{}\t{}\t{}\t{}\t{}", k.id, k.kind, k.redacted, if k.revoked_at.is_some() { "revoked" } else { "live" }, k.title);
                    }
                }
                Ok(())
            }
            What::Revoke { of, id } => {
                let (engine, tenant) = of.open().await?;
                let id = id.parse().map_err(|()| Failure::Usage(format!("`{id}` is no key id")))?;
                Ok(api_key::revoke(&engine, &tenant, id).await?)
            }
        }
    }
}
