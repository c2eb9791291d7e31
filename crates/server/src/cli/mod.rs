//! Commands. Each parses, calls one operation and prints: results to stdout, everything else to stderr.

mod check;
mod dev;
mod key;
mod serve;
mod tenant;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use vestibule_engine::config::Config;
use vestibule_engine::error::Error;
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::{Engine, Surroundings, ops};

use crate::config;

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
    /// Creates members of a shop's staff.
    User(user::UserCommand),
    /// Creates, lists and revokes API keys.
    Key(key::KeyCommand),
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

/// How a command failed.
pub enum Failure {
    /// It was asked or configured wrongly: exit code 2.
    Usage(String),
    /// It could not be done: exit code 1.
    Failed(String),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Failed(e.to_string())
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
        Command::User(command) => command.run().await,
        Command::Key(command) => command.run().await,
        Command::Version => {
            println!("vestibule {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

impl ConfigFile {
    /// The configuration, if it may be used. Warnings go to stderr.
    fn load(self) -> Result<Config, Failure> {
        let config = config::required(self.config).and_then(|path| config::load(&path, std::env::vars())).map_err(Failure::Usage)?;
        let findings = config::judge(&config);
        for warning in &findings.warnings {
            eprintln!("vestibule: warning: {warning}");
        }
        if findings.errors.is_empty() { Ok(config) } else { Err(Failure::Usage(findings.errors.join("\nvestibule: "))) }
    }

    /// An engine for a command: the declared tenants are left to the server.
    async fn engine(self) -> Result<Arc<Engine>, Failure> {
        let mut config = self.load()?;
        config.tenants.clear();
        Ok(Engine::open(config, Surroundings::default()).await?)
    }
}

/// Prints JSON for programs.
fn print_json(value: &serde_json::Value) {
    println!("{value:#}");
}

async fn tenant(engine: &Engine, slug: &str) -> Result<Arc<Tenant>, Failure> {
    Ok(ops::tenant::by_slug(engine, slug).await?)
}
