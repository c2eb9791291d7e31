//! Under which conditions the figures were taken. Without them a figure says nothing, so they are printed first.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::stats::median;
use crate::{Options, Result, throughput, timing};

pub fn print(options: &Options, directory: &Path, cores: usize) -> Result<()> {
    println!("# Vestibule bench\n\n## Conditions\n");
    println!("- machine: {cores} cores, {}, Linux {}", processor(), first_line("/proc/sys/kernel/osrelease"));
    println!("- load average before the run: {}; the driver shares the cores with the server", first_line("/proc/loadavg"));
    println!("- server: {} ({}), bench: {} ({})", version(&options.server), profile_of(&options.server), env!("CARGO_PKG_VERSION"), own_profile());
    println!(
        "- SQLite: as the server opens it, on {}; one 4 KiB write with fsync there takes {:.2} ms (median of 50)",
        filesystem(directory),
        fsync_ms(directory)?
    );
    if let Some(url) = &options.postgres {
        println!("- PostgreSQL beside it: {}", postgres(url));
    }
    println!("- HTTP/1.1 with keep-alive, {} connections; sign-in over {}", options.connections, throughput::SIGN_IN_CONNECTIONS);
    println!("- {} customers and sessions per tenant, requests in turn over all of them: a different token or address each time", options.customers);
    println!("- {} interleaved runs of {} s per measurement, after a second of warm-up; medians are judged", options.runs, options.seconds);
    println!("- a rate counts successes only; limits on with raised budgets, for `timing` off; tenants with EdDSA and with HS256");
    println!("- raw Argon2id: m=19456 KiB, t=2, p=1 on {cores} threads with reused memory, while the server is idle");
    println!(
        "- mail to a sink in the bench process over SMTP; the drain is the time from the last request until `/readyz` says that nothing waits; nothing else is measured before"
    );
    println!("- timing: {} known and as many unknown in random order (seed {}), one connection", timing::CALLS.min(options.customers), options.seed);
    if options.customers < 10_000 || options.runs < 5 {
        println!("- **a quick look**: fewer customers or runs than the targets are defined for");
    }
    println!();
    Ok(())
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_else(|| "unknown".into())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.to_owned())
}

fn version(server: &Path) -> String {
    said_by(Command::new(server).arg("version")).unwrap_or_else(|| "version unknown".into())
}

/// The binary cannot say how it was built; the folder Cargo put it in can.
fn profile_of(server: &Path) -> &'static str {
    match server.parent().and_then(Path::file_name).and_then(|name| name.to_str()) {
        Some("release") => "release build",
        Some("debug") => "**debug build: these figures are worth nothing**",
        _ => "build profile unknown",
    }
}

fn own_profile() -> &'static str {
    if cfg!(debug_assertions) { "**debug build: these figures are worth nothing**" } else { "release build" }
}

fn said_by(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().replace('\n', ", "))
}

fn postgres(url: &str) -> String {
    let query = "select 'version ' || current_setting('server_version') || ', fsync ' || current_setting('fsync') \
                 || ', synchronous_commit ' || current_setting('synchronous_commit')";
    said_by(Command::new("psql").args([url, "-XAtc", query])).unwrap_or_else(|| "its settings are unknown, psql could not ask".into())
}

/// The type of the file system: on one in memory, an fsync costs nothing and the figures flatter.
fn filesystem(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let field = |line: &str, at: usize| line.split(' ').nth(at).unwrap_or_default().to_owned();
    let holder = mounts.lines().filter(|line| directory.starts_with(field(line, 1))).max_by_key(|line| field(line, 1).len());
    match holder.map(|line| field(line, 2)) {
        Some(kind) if kind == "tmpfs" => "tmpfs (**in memory: the writes are not durable**)".into(),
        Some(kind) => kind,
        None => "an unknown file system".into(),
    }
}

fn fsync_ms(directory: &Path) -> Result<f64> {
    let file = tempfile::tempfile_in(directory)?;
    let mut millis = Vec::new();
    for page in 0..50 {
        let began = Instant::now();
        file.write_all_at(&[1; 4096], page * 4096)?;
        file.sync_data()?;
        millis.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&millis))
}
