//! Commands. Each parses, calls one operation and prints: results to stdout, everything else to stderr.

mod check;
mod customer;
mod delivery;
mod dev;
mod event;
mod key;
mod openapi;
mod provider;
mod serve;
mod template;
mod tenant;
mod timeline;
mod user;
mod webhook;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use vestibule_engine::config::Config;
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::{Engine, Surroundings, ops};

use crate::config::{self, Findings};

/// The customer entrance to a store: sign-up, sign-in, password reset and profiles, for many shops.
#[derive(Parser)]
#[command(name = "vestibule", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the whole product with two demo shops and nothing to configure.
    Dev(dev::Dev),
    /// Runs the server.
    Serve(ConfigFile),
    /// Judges a configuration file. Exit code 0 or 2.
    Check(check::Check),
    /// Creates, lists, shows and disables tenants.
    Tenant(tenant::TenantCommand),
    /// Imports customers; shows what happened to one.
    Customer(customer::CustomerCommand),
    /// Creates members of a shop's staff.
    User(user::UserCommand),
    /// Creates, lists and revokes API keys.
    Key(key::KeyCommand),
    /// Lists and shows events, and tells a subscriber of them once more.
    Event(event::EventCommand),
    /// Sets, lists and removes the third parties that sign a tenant's customers in.
    Provider(provider::ProviderCommand),
    /// Lists and shows what went to subscribers, and tries again what was given up.
    Delivery(delivery::DeliveryCommand),
    /// Lists webhooks, switches them on and off.
    Webhook(webhook::WebhookCommand),
    /// Sets, lists, removes and shows a tenant's own words for its mails.
    Template(template::TemplateCommand),
    /// Prints the description of the API, an OpenAPI document.
    Openapi,
    /// Prints the version.
    Version,
}

/// Where the configuration is.
#[derive(Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(long, env = "VESTIBULE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where the configuration is, and which of its tenants is meant.
#[derive(Args)]
pub struct OfTenant {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(long)]
    tenant: String,
}

impl OfTenant {
    async fn open(self) -> Result<(Arc<Engine>, Arc<Tenant>), Failure> {
        let engine = self.file.engine().await?;
        let tenant = tenant(&engine, &self.tenant).await?;
        Ok((engine, tenant))
    }
}

/// How a command failed.
pub enum Failure {
    /// It was asked or configured wrongly: exit code 2.
    Usage(String),
    /// It could not be done: exit code 1.
    Failed(String),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let text = match e.detail {
            Some(detail) => format!("{}: {detail}", e.message.trim_end_matches('.')),
            None => e.message.into_owned(),
        };
        // What breaks a rule was asked wrongly.
        if e.code == Code::InvalidData { Self::Usage(text) } else { Self::Failed(text) }
    }
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("vestibule: no runtime: {e}");
            return ExitCode::from(1);
        }
    };
    let outcome = runtime.block_on(run(cli.command));
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            eprintln!("vestibule: {text}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(text)) => {
            eprintln!("vestibule: {text}");
            ExitCode::from(1)
        }
    }
}

fn logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("VESTIBULE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,vestibule=info,vestibule_engine=info"));
    // A second subscriber in one process (a test) is not installed, and nothing is lost by that.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(command) => command.run().await,
        Command::Serve(file) => serve::run(file).await,
        Command::Check(command) => command.run(),
        Command::Tenant(command) => command.run().await,
        Command::Customer(command) => command.run().await,
        Command::User(command) => command.run().await,
        Command::Key(command) => command.run().await,
        Command::Event(command) => command.run().await,
        Command::Provider(command) => command.run().await,
        Command::Delivery(command) => command.run().await,
        Command::Webhook(command) => command.run().await,
        Command::Template(command) => command.run().await,
        Command::Openapi => openapi::run(),
        Command::Version => {
            println!("vestibule {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

impl ConfigFile {
    /// The configuration, if it may be used. Warnings go to stderr.
    fn load(self) -> Result<Config, Failure> {
        let (config, findings) = self.judged().map_err(Failure::Usage)?;
        refuse(&findings)?;
        Ok(config)
    }

    /// The configuration, and what is to be said of it.
    fn judged(self) -> Result<(Config, Findings), String> {
        let path = config::required(self.config)?;
        let config = config::load(&path, config::environment())?;
        let mut findings = config::judge(&config);
        findings.warnings.extend(config::exposure(&path));
        Ok((config, findings))
    }

    /// An engine for a command: the declared tenants are left to the server.
    async fn engine(self) -> Result<Arc<Engine>, Failure> {
        let mut config = self.load()?;
        config.tenants.clear();
        open(config).await
    }
}

/// An engine on the configured database.
async fn open(config: Config) -> Result<Arc<Engine>, Failure> {
    Engine::open(config, Surroundings::default()).await.map_err(|e| {
        // The reader is the operator, who can use the reason; a client's message would tell him nothing.
        let reason = e.detail.unwrap_or_else(|| e.message.into_owned());
        if e.code == Code::InvalidData { Failure::Usage(reason) } else { Failure::Failed(format!("the database cannot be used: {reason}")) }
    })
}

/// Says the warnings; errors end the command.
fn refuse(findings: &Findings) -> Result<(), Failure> {
    for warning in &findings.warnings {
        eprintln!("vestibule: warning: {warning}");
    }
    if findings.errors.is_empty() { Ok(()) } else { Err(Failure::Usage(findings.errors.join("\nvestibule: "))) }
}

/// Prints JSON for programs.
fn print_json(value: &serde_json::Value) {
    println!("{}", printable(&format!("{value:#}")));
}

/// JSON without the control characters that JSON lets stand as they are: a stranger chose some of the texts, and a terminal would obey them.
fn printable(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        if c.is_control() && c != '\n' {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
        text
    })
}

async fn tenant(engine: &Engine, slug: &str) -> Result<Arc<Tenant>, Failure> {
    Ok(ops::tenant::by_slug(engine, slug).await?)
}
