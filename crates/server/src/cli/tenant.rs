//! `vestibule tenant`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_engine::model::tenant::{Secret, TenantSettings};
use vestibule_engine::ops;

use super::{ConfigFile, Failure, print_json, refuse, tenant};
use crate::config;

#[derive(Args)]
pub struct TenantCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Creates a tenant and a publishable key for it.
    Create {
        #[command(flatten)]
        file: ConfigFile,
        /// Label of its host: `{slug}.{tenant_domain}`.
        slug: String,
        /// A host of its own; may be given more than once.
        #[arg(long)]
        host: Vec<String>,
        /// Base of the reset link; without it the hosted page is used.
        #[arg(long)]
        storefront_url: Option<url::Url>,
        /// Sender of its mails.
        #[arg(long)]
        mail_from: Option<String>,
        /// How its mails are sent, for example `smtp://user:password@host:587`. Better kept out of the command line: see --mail-transport-stdin.
        #[arg(long)]
        mail_transport: Option<String>,
        /// Reads the transport from standard input.
        #[arg(long, conflicts_with = "mail_transport")]
        mail_transport_stdin: bool,
        /// A file with the secret that signs the calls to an `https://…` transport.
        #[arg(long, value_name = "FILE")]
        mail_secret_file: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Lists all tenants.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long)]
        json: bool,
    },
    /// Shows one tenant.
    Show {
        #[command(flatten)]
        file: ConfigFile,
        slug: String,
        #[arg(long)]
        json: bool,
    },
    /// Closes a tenant: its host answers like an unknown one.
    Disable {
        #[command(flatten)]
        file: ConfigFile,
        slug: String,
    },
}

impl TenantCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Create { file, slug, host, storefront_url, mail_from, mail_transport, mail_transport_stdin, mail_secret_file, json } => {
                let mut settings = TenantSettings { slug, hosts: host, storefront_url, ..TenantSettings::default() };
                settings.mail.from = mail_from;
                settings.mail.transport =
                    if mail_transport_stdin { Some(Secret::new(super::user::line()?)) } else { mail_transport.map(Secret::new) };
                settings.mail.secret = mail_secret_file.map(|path| secret_in(&path)).transpose()?;
                create(file, settings, json).await
            }
            What::List { file, json } => list(file, None, json).await,
            What::Show { file, slug, json } => list(file, Some(slug), json).await,
            What::Disable { file, slug } => {
                let engine = file.engine().await?;
                let tenant = tenant(&engine, &slug).await?;
                Ok(ops::tenant::disable(&engine, &tenant).await?)
            }
        }
    }
}

fn secret_in(path: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))?;
    Ok(Secret::new(text.trim()))
}

async fn create(file: ConfigFile, settings: TenantSettings, json: bool) -> Result<(), Failure> {
    let engine = file.engine().await?;
    refuse(&config::judge_tenant(&settings, &engine.config))?;
    let tenant = ops::tenant::create(&engine, &settings).await?;
    let (_, key) = ops::api_key::create(&engine, &tenant, ops::api_key::Kind::Publishable, "created with the tenant").await?;
    if json {
        print_json(&json!({"id": tenant.id.to_string(), "slug": tenant.slug, "hosts": tenant.hosts, "publishable_key": key}));
    } else {
        println!("tenant {}\npublishable key {key}", tenant.slug);
    }
    Ok(())
}

async fn list(file: ConfigFile, only: Option<String>, json: bool) -> Result<(), Failure> {
    let engine = file.engine().await?;
    let mut tenants = ops::tenant::list(&engine).await?;
    if let Some(slug) = &only {
        tenants.retain(|t| t.slug == *slug);
        if tenants.is_empty() {
            return Err(Failure::Failed(format!("there is no tenant `{slug}`")));
        }
    }
    if json {
        let shown = tenants.iter().map(|t| {
            json!({"id": t.id.to_string(), "slug": t.slug, "hosts": t.hosts, "created_at": t.created_at.to_string(), "disabled_at": t.disabled_at.map(|d| d.to_string())})
        });
        let shown: Vec<Value> = shown.collect();
        print_json(&if only.is_some() { shown.into_iter().next().unwrap_or_default() } else { Value::Array(shown) });
        return Ok(());
    }
    for t in tenants {
        let state = if t.disabled_at.is_some() { "disabled" } else { "open" };
        println!("{}\t{}\t{state}\t{}", t.slug, t.id, t.hosts.join(","));
    }
    Ok(())
}
