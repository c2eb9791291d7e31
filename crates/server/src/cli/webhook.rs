//! `vestibule webhook`: a tenant's webhooks, and whether they are on.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_engine::ops;

use super::{Failure, OfTenant, print_json};

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
        of: OfTenant,
        #[arg(long)]
        json: bool,
    },
    /// Switches a webhook on that answered 410 or was switched off. `vestibule delivery retry` sends what it missed.
    Enable {
        #[command(flatten)]
        of: OfTenant,
        /// `webhook:…`
        id: String,
    },
    /// Switches a webhook off: what would be sent to it is given up.
    Disable {
        #[command(flatten)]
        of: OfTenant,
        /// `webhook:…`
        id: String,
    },
}

impl WebhookCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List { of, json } => list(of, json).await,
            What::Enable { of, id } => {
                let (engine, tenant) = of.open().await?;
                Ok(ops::webhook::enable(&engine, &tenant, &id).await?)
            }
            What::Disable { of, id } => {
                let (engine, tenant) = of.open().await?;
                Ok(ops::webhook::disable(&engine, &tenant, &id).await?)
            }
        }
    }
}

async fn list(of: OfTenant, json: bool) -> Result<(), Failure> {
    let (engine, tenant) = of.open().await?;
    let hooks = ops::webhook::list(&engine, &tenant).await?;
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
