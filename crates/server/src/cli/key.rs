//! `vestibule key`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use vestibule_engine::ops::api_key::{self, Kind};

use super::{ConfigFile, Failure, print_json, tenant};

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
        file: ConfigFile,
        #[arg(long)]
        tenant: String,
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
        file: ConfigFile,
        #[arg(long)]
        tenant: String,
        #[arg(long)]
        json: bool,
    },
    /// Ends a key.
    Revoke {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long)]
        tenant: String,
        /// `apk_…`
        id: String,
    },
}

impl KeyCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Create { file, tenant: slug, kind, title, json } => {
                let engine = file.engine().await?;
                let kind = match kind {
                    KeyType::Publishable => Kind::Publishable,
                    KeyType::Secret => Kind::Secret,
                };
                let (id, token) = api_key::create(&engine, &tenant(&engine, &slug).await?, kind, &title).await?;
                if json {
                    print_json(&json!({"id": id.to_string(), "type": kind.as_str(), "token": token}));
                } else {
                    println!("{token}");
                }
                Ok(())
            }
            What::List { file, tenant: slug, json } => {
                let engine = file.engine().await?;
                let keys = api_key::list(&engine, &*tenant(&engine, &slug).await?).await?;
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
            What::Revoke { file, tenant: slug, id } => {
                let engine = file.engine().await?;
                let id = id.parse().map_err(|()| Failure::Usage(format!("`{id}` is no key id")))?;
                Ok(api_key::revoke(&engine, &tenant(&engine, &slug).await?, id).await?)
            }
        }
    }
}
