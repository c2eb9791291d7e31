//! `vestibule-bench` starts a release build of the server, loads it, and prints figures beside their conditions and targets.
//! It is a gate and no test: exit 0 when every target is met, 1 when one is missed or the run failed, 2 for wrong usage.

mod backlog;
mod client;
mod compare;
mod conditions;
mod config;
mod hashing;
mod load;
mod report;
mod seed;
mod server;
mod sink;
mod start;
mod stats;
mod storm;
mod subscribers;
mod throughput;
mod timing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::backlog::Backlog;
use crate::config::{EDDSA, HS256, Limits, MOVED, Secrets, Tenant, tenant_key};
use crate::report::Figures;
use crate::seed::Shop;
use crate::server::Site;
use crate::sink::Sink;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SETTLE_POLL: Duration = Duration::from_millis(100);

/// Measures a release build of Vestibule.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand, Clone, PartialEq, Eq)]
enum What {
    /// Everything below, one after the other.
    All,
    /// Sign-in against raw Argon2id; session checks and reset requests against `/health`.
    Throughput,
    /// The rank test on known and unknown addresses.
    Timing,
    /// Cold start to the first `/readyz`.
    Start,
    /// Memory and session checks while 200 sign-ins are in flight.
    Storm,
    /// Calls of eighteen webhooks while a nineteenth hangs and a twentieth fails.
    Subscribers,
    /// `/store/customers/me` and the refresh of a token beside those of an earlier build; no part of `all`.
    Compare {
        /// The earlier server.
        #[arg(long)]
        baseline: PathBuf,
    },
}

#[derive(Args)]
struct Options {
    /// The server to measure.
    #[arg(long, global = true, default_value = "target/release/vestibule")]
    server: PathBuf,
    /// The URL of an empty Postgres database, to be measured too and printed beside.
    #[arg(long, global = true, value_name = "URL")]
    postgres: Option<String>,
    /// Customers per tenant.
    #[arg(long, global = true, default_value_t = 10_000, value_parser = at_least_one)]
    customers: usize,
    /// Interleaved runs; their medians are judged.
    #[arg(long, global = true, default_value_t = 5, value_parser = at_least_one)]
    runs: usize,
    /// The length of one measurement.
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Connections that are kept busy.
    #[arg(long, global = true, default_value_t = 64, value_parser = at_least_one)]
    connections: usize,
    /// Keeps the seeded database here, and takes it from here the next time.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The order of the timing calls.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number of at least 1 is needed".into()),
        Ok(number) => Ok(number),
    }
}

/// What every measurement needs.
struct Bench<'a> {
    options: &'a Options,
    runtime: &'a Runtime,
    sink: &'a Sink,
    site: Site,
    database: &'static str,
    cores: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match measure(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vestibule-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every target is met.
fn measure(cli: &Cli) -> Result<bool> {
    let options = &cli.options;
    // Not the system's folder for temporary files: that one often lives in memory, where an fsync is free.
    let here = if Path::new("target").is_dir() { "target" } else { "." };
    let temporary = tempfile::Builder::new().prefix("bench-").tempdir_in(here)?;
    let directory = options.data.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let cores = std::thread::available_parallelism()?.get();
    conditions::print(options, &directory, cores)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sink = Sink::start()?;
    let on = |database: &'static str, database_url: String| -> Result<Figures> {
        let secrets = Secrets::load_or_draw(&directory)?;
        let site = Site { binary: options.server.canonicalize()?, directory: directory.clone(), secrets, database_url, smtp_port: sink.port };
        battery(&Bench { options, runtime: &runtime, sink: &sink, site, database, cores }, &cli.what)
    };
    let sqlite = on("sqlite", format!("sqlite://{}", directory.join("bench.db").display()))?;
    let postgres = options.postgres.clone().map(|url| on("postgres", url)).transpose()?;

    println!("## Figures\n\n{}\n", sqlite.table(postgres.as_ref()));
    let missed = sqlite.missed();
    match missed.as_slice() {
        [] => println!("Every target is met."),
        names => println!("Missed: {}.", names.join("; ")),
    }
    Ok(missed.is_empty())
}

fn battery(bench: &Bench, what: &What) -> Result<Figures> {
    if let What::Compare { baseline } = what {
        return compare::run(bench, baseline);
    }
    let wanted = |kind| *what == What::All || *what == kind;
    let tenants: &[&'static Tenant] = match what {
        What::All | What::Throughput => &[&EDDSA, &HS256],
        What::Subscribers => &[&HS256],
        _ => &[&EDDSA],
    };
    let shops = open_shops(bench, tenants, bench.options.customers)?;
    let (first, last) = shops.first().zip(shops.last()).ok_or("no tenant")?;
    let mut figures = Figures::default();
    if wanted(What::Start) {
        figures.extend(start::run(bench)?);
    }
    if wanted(What::Throughput) {
        figures.extend(throughput::run(bench, &shops)?);
    }
    if wanted(What::Storm) {
        figures.extend(storm::run(bench, first)?);
    }
    if wanted(What::Timing) {
        figures.extend(timing::run(bench, first)?);
        let moved = open_shops(bench, &[&MOVED], bench.options.customers.min(timing::CALLS))?;
        figures.extend(timing::run_of_imported(bench, moved.first().ok_or("no tenant")?)?);
    }
    if wanted(What::Subscribers) {
        figures.extend(subscribers::run(bench, last)?);
    }
    Ok(figures)
}

/// Makes the customers and waits until nothing is left to do for them.
fn open_shops(bench: &Bench, tenants: &[&'static Tenant], customers: usize) -> Result<Vec<Shop>> {
    let server = bench.site.start(Limits::Raised)?;
    bench.runtime.block_on(async {
        let mut shops = Vec::new();
        for tenant in tenants {
            let key = tenant_key(&bench.site.secrets, tenant);
            shops.push(seed::open(server.address, tenant, key, customers, &bench.site.directory, bench.database).await?);
        }
        Backlog::of(server.address).drain(SETTLE_POLL).await?;
        Ok(shops)
    })
}
