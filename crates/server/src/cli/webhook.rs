//! `vestibule webhook`: a tenant's webhooks, and whether they are on.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_engine::ops;

use super::{ConfigFile, Failure, print_json, tenant};

#[derive(Args)]
pub struct WebhookCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Lists a tenant's webhooks, without their secrets.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long)]
        tenant: String,
        #[arg(long)]
        json: bool,
    },
    /// Switches a webhook on that answered 410 or was switched off. `vestibule delivery retry` sends what it missed.
    Enable {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long)]
        tenant: String,
        /// `webhook:…`
        id: String,
    },
    /// Switches a webhook off: what would be sent to it is given up.
    Disable {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long)]
        tenant: String,
        /// `webhook:…`
        id: String,
    },
}

impl WebhookCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List { file, tenant, json } => list(file, &tenant, json).await,
            What::Enable { file, tenant: slug, id } => {
                let engine = file.engine().await?;
                Ok(ops::webhook::enable(&engine, &*tenant(&engine, &slug).await?, &id).await?)
            }
            What::Disable { file, tenant: slug, id } => {
                let engine = file.engine().await?;
                Ok(ops::webhook::disable(&engine, &*tenant(&engine, &slug).await?, &id).await?)
            }
        }
    }
}

async fn list(file: ConfigFile, slug: &str, json: bool) -> Result<(), Failure> {
    let engine = file.engine().await?;
    let hooks = ops::webhook::list(&engine, &*tenant(&engine, slug).await?).await?;
    if json {
        let shown = hooks.iter().map(|hook| {
            let disabled_at = hook.disabled_at.map(|at| at.to_string());
            json!({"id": hook.id, "url": hook.url, "events": hook.events, "former_secret": hook.is_rotating, "disabled_at": disabled_at})
        });
        print_json(&Value::Array(shown.collect()));
        return Ok(());
    }
    for hook in hooks {
        let state = hook.disabled_at.map_or_else(|| "on".to_owned(), |at| format!("off since {at}"));
        println!("{}\t{}\t{state}\t{}", hook.id, hook.url, hook.events.join(","));
    }
    Ok(())
}
