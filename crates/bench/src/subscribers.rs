//! Twenty webhooks hear every change. Then one of them hangs and one fails: the other eighteen must not notice.
//! And one webhook alone, while customers are changed as fast as the server takes it: how many calls a second does it get?

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::backlog::Backlog;
use crate::client::Connection;
use crate::config::Limits;
use crate::load::closed_loop;
use crate::report::{Figures, Target};
use crate::seed::Shop;
use crate::stats::{percentile, real};
use crate::{Bench, Result};

const HOOKS: usize = 20;
/// The first hangs and the last fails, in the runs in which they do.
const SOUND: std::ops::Range<usize> = 1..HOOKS - 1;
const CHANGES_PER_SECOND: u32 = 25;
const FLOOD_CONNECTIONS: usize = 8;
const FLOOD_LIMIT: Duration = Duration::from_mins(5);
/// How long the last calls may be outstanding.
const GRACE: Duration = Duration::from_secs(10);

/// What was told to the webhooks.
#[derive(Default)]
struct Calls {
    calls: usize,
    /// When each customer's change was first told of, by the webhook's number and the customer's id.
    first: HashMap<(usize, String), Instant>,
}

type Told = Arc<Mutex<Calls>>;

pub fn run(bench: &Bench, shop: &Shop) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut all = [Vec::new(), Vec::new()];
    for run in 1..=bench.options.runs {
        for (ill, calls) in [false, true].into_iter().zip(&mut all) {
            eprintln!("subscribers, {}: run {run} of {}, {}", bench.database, bench.options.runs, if ill { "two ill" } else { "all sound" });
            let (mut micros, missing) = one(bench, shop, ill)?;
            let milliseconds = f64::from(percentile(&mut micros, 99)) / 1000.0;
            figures.add(format!("subscribers: p99 ms of the sound, {}", if ill { "two ill" } else { "all sound" }), Target::None, milliseconds);
            figures.add("subscribers: calls that never came", Target::AtMost(0.0), real(missing));
            calls.append(&mut micros);
        }
    }
    for run in 1..=bench.options.runs {
        eprintln!("subscribers, {}: run {run} of {}, one webhook", bench.database, bench.options.runs);
        figures.add("subscribers: calls a second of one webhook", Target::AtLeast(500.0), flood(bench, shop)?);
    }
    // Of the calls of all runs: a run has too few for its own p99 to be compared to a tenth.
    let [sound, ill] = all.map(|mut calls| f64::from(percentile(&mut calls, 99)));
    figures.add("subscribers: p99 of all runs, two ill / all sound", Target::AtMost(1.1), ill / sound);
    Ok(figures)
}

/// The time from each answer to each call of a sound webhook, and how many calls never came.
fn one(bench: &Bench, shop: &Shop, ill: bool) -> Result<(Vec<u32>, usize)> {
    let told = Told::default();
    let port = sink(told.clone(), ill)?;
    let server = bench.site.start_with(Limits::Raised, &hooks(port, HOOKS))?;
    let changed = bench.runtime.block_on(async {
        let changed = changes(&server, shop, bench.options.seconds).await?;
        let end = Instant::now() + GRACE;
        while Instant::now() < end && micros(&told, &changed).1 > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The ill one's calls wait for a later try, so nothing drains then.
        if !ill {
            Backlog::of(server.address).drain(Duration::from_millis(100)).await?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(changed)
    })?;
    Ok(micros(&told, &changed))
}

/// Calls a second of one webhook, from the first change until each was told of. A change whose call never came is an error.
fn flood(bench: &Bench, shop: &Shop) -> Result<f64> {
    let told = Told::default();
    let server = bench.site.start_with(Limits::Raised, &hooks(sink(told.clone(), false)?, 1))?;
    let changes = shop.updates(&json!({ "company_name": "Bench" }));
    let calls = || told.lock().unwrap_or_else(PoisonError::into_inner).calls;
    let began = Instant::now();
    let tally = bench.runtime.block_on(async {
        let tally = closed_loop(server.address, &changes, FLOOD_CONNECTIONS, Duration::from_secs(bench.options.seconds)).await?;
        // What earlier runs left for webhooks that are gone still waits, so the calls are counted and not the backlog.
        while calls() < tally.good() && began.elapsed() < FLOOD_LIMIT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(tally)
    })?;
    let (elapsed, calls) = (began.elapsed(), calls());
    eprintln!("  {} changes, {calls} calls in {elapsed:?}", tally.good());
    if calls < tally.good() || tally.unexpected() > 0 {
        return Err(format!("of the changes ({}) {calls} were told in {elapsed:?}", tally.describe()).into());
    }
    Ok(real(tally.good()) / elapsed.as_secs_f64())
}

/// The webhooks, as they stand at the end of the configuration: of its last tenant.
fn hooks(port: u16, count: usize) -> String {
    let secret = STANDARD.encode([7; 32]);
    (0..count).fold(String::new(), |mut text, number| {
        let _ = write!(
            text,
            "\n[[tenants.webhooks]]\nurl = \"http://127.0.0.1:{port}/{number}\"\nsecret = \"whsec_{secret}\"\nevents = [\"customer.updated\"]\n"
        );
        text
    })
}

/// Changes a customer at a time, at an even rate; when each was answered, by the customer's id.
async fn changes(server: &crate::server::Server, shop: &Shop, seconds: u64) -> Result<HashMap<String, Instant>> {
    let requests = shop.updates(&json!({ "company_name": "Bench" }));
    let mut connection = Connection::to(server.address);
    let mut changed = HashMap::new();
    let mut due = Instant::now();
    let end = due + Duration::from_secs(seconds);
    while due < end && changed.len() < shop.customers() {
        sleep_until(due).await;
        let answer = connection.exchange(requests.take()).await?;
        let at = Instant::now();
        let body: Value = serde_json::from_slice(answer.body)?;
        let id = body.pointer("/customer/id").and_then(Value::as_str).ok_or_else(|| format!("a change was answered {}: {body}", answer.status))?;
        changed.insert(id.to_owned(), at);
        due += Duration::from_secs(1) / CHANGES_PER_SECOND;
    }
    Ok(changed)
}

fn micros(told: &Told, changed: &HashMap<String, Instant>) -> (Vec<u32>, usize) {
    let told = &told.lock().unwrap_or_else(PoisonError::into_inner).first;
    let calls = SOUND.flat_map(|hook| changed.iter().map(move |(id, at)| (hook, id, at)));
    let (mut micros, mut missing) = (Vec::new(), 0);
    for (hook, id, at) in calls {
        match told.get(&(hook, id.clone())) {
            Some(came) => micros.push(u32::try_from(came.saturating_duration_since(*at).as_micros()).unwrap_or(u32::MAX)),
            None => missing += 1,
        }
    }
    (micros, missing)
}

/// All twenty, on a thread of their own, so that a busy load driver never holds up an answer.
fn sink(told: Told, ill: bool) -> Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("webhooks".into()).spawn(move || runtime.block_on(accept(listener, told, ill)))?;
    Ok(port)
}

async fn accept(listener: std::net::TcpListener, told: Told, ill: bool) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(answer(stream, told.clone(), ill));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, for as many calls as the server likes to send over it.
async fn answer(mut stream: TcpStream, told: Told, ill: bool) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let (hook, body, end) = loop {
            if let Some(call) = parse(&buffer) {
                break call;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let event: Value = serde_json::from_slice(&body)?;
        buffer.drain(..end);
        if ill && hook == 0 {
            std::future::pending::<()>().await;
        }
        let status = if ill && hook == HOOKS - 1 { "500 Internal Server Error" } else { "204 No Content" };
        if let Some(id) = event.pointer("/data/id").and_then(Value::as_str) {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.calls += 1;
            told.first.entry((hook, id.to_owned())).or_insert_with(Instant::now);
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    }
}

/// The webhook's number, the body, and where the call ends. `None`: it is not whole yet.
fn parse(bytes: &[u8]) -> Option<(usize, Vec<u8>, usize)> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(bytes.get(..at)?).ok()?;
    let hook = head.split(' ').nth(1)?.trim_start_matches('/').parse().ok()?;
    let length = head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1;
    let end = at + length.trim().parse::<usize>().ok()?;
    Some((hook, bytes.get(at..end)?.to_vec(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_once_it_is_whole() {
        let call = b"POST /7 HTTP/1.1\r\nhost: x\r\nContent-Length: 2\r\n\r\n{}POST /8";
        assert_eq!(parse(&call[..49]), None);
        assert_eq!(parse(call), Some((7, b"{}".to_vec(), call.len() - 7)));
    }

    #[test]
    fn only_the_sound_are_counted() {
        let (told, now) = (Told::default(), Instant::now());
        let changed = HashMap::from([("cus_1".to_owned(), now)]);
        assert_eq!(micros(&told, &changed), (Vec::new(), HOOKS - 2));
        for hook in [0, 1, 2] {
            told.lock().unwrap().first.insert((hook, "cus_1".to_owned()), now + Duration::from_millis(3));
        }
        assert_eq!(micros(&told, &changed), (vec![3_000; 2], HOOKS - 4));
    }

    #[test]
    fn twenty_webhooks_are_declared() {
        let text = hooks(9, HOOKS);
        assert_eq!(text.matches("[[tenants.webhooks]]").count(), HOOKS);
        assert!(text.contains("http://127.0.0.1:9/19\""));
    }
}
