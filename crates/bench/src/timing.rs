//! Can a stranger tell by the clock whether an address has an account? The rank test says how well: 0.5 is not at all.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::backlog::Backlog;
use crate::client::Connection;
use crate::config::Limits;
use crate::report::{Figures, Target};
use crate::seed::{Shop, imports};
use crate::sink::Mood;
use crate::stats::{auc, median, real, shuffle};
use crate::{Bench, Result};

pub const CALLS: usize = 1000;
const WARM_UP: usize = 50;
const POLL: Duration = Duration::from_millis(1);
/// Connections on which a tenant with imported hashes is asked at once: each of its refusals takes a second.
const AT_ONCE: usize = 10;

struct Call {
    known: bool,
    request: Vec<u8>,
}

/// What is asked, and the one answer that known and unknown addresses must both get.
struct Question {
    name: &'static str,
    status: u16,
    render: fn(&Shop, char, usize) -> Vec<u8>,
    /// What stands for the known and for the unknown: `c` a customer, `m` an imported one, `u` nobody.
    kinds: [char; 2],
}

const QUESTIONS: [Question; 2] = [
    Question { name: "refused sign-in", status: 401, render: Shop::refused_sign_in, kinds: ['c', 'u'] },
    Question { name: "reset request", status: 201, render: Shop::reset, kinds: ['c', 'u'] },
];

/// What the mail server does while resets are asked for, besides taking every mail at once. Slow first: the next series begins when it is done.
const MOODS: [(&str, Mood); 3] = [("slow", Mood::Slow), ("refusing", Mood::Refuses), ("hanging", Mood::Hangs)];

const OF_IMPORTED: [Question; 2] = [
    Question { name: "refused sign-in, imported hash against nobody", status: 401, render: Shop::refused_sign_in, kinds: ['m', 'u'] },
    Question { name: "refused sign-in, imported hash against own", status: 401, render: Shop::refused_sign_in, kinds: ['m', 'c'] },
];

pub fn run(bench: &Bench, shop: &Shop) -> Result<Figures> {
    let server = bench.site.start(Limits::Off)?;
    let mut figures = Figures::default();
    for (turn, question) in (0..).zip(&QUESTIONS) {
        for settled in [true, false] {
            let background = if settled { "settled" } else { "not settled" };
            let name = format!("timing, {}, {background}", question.name);
            eprintln!("{name}, {}", bench.database);
            let calls = shuffled_calls(shop, question, bench.options.seed + 2 * turn + u64::from(settled));
            add(&mut figures, &name, bench.runtime.block_on(series(server.address, question, &calls, settled))?);
        }
    }
    for (turn, (does, mood)) in (20..).zip(MOODS) {
        let [_, question] = &QUESTIONS;
        let name = format!("timing, {}, mail server {does}", question.name);
        eprintln!("{name}, {}", bench.database);
        let calls = shuffled_calls(shop, question, bench.options.seed + turn);
        // What the series before has left is done first, by a server that takes it.
        bench.sink.be(Mood::Takes);
        bench.runtime.block_on(Backlog::of(server.address).drain(POLL))?;
        bench.sink.be(mood);
        let measured = bench.runtime.block_on(series(server.address, question, &calls, false));
        bench.sink.be(Mood::Takes);
        add(&mut figures, &name, measured?);
    }
    bench.runtime.block_on(Backlog::of(server.address).drain(POLL))?;
    Ok(figures)
}

/// The same of a tenant some of whose customers were imported with their hashes, which cost more than its own.
pub fn run_of_imported(bench: &Bench, shop: &Shop) -> Result<Figures> {
    let server = bench.site.start(Limits::Off)?;
    bench.site.import(shop.tenant.slug, &imports(CALLS.min(shop.customers())))?;
    let mut figures = Figures::default();
    for (turn, question) in (0..).zip(&OF_IMPORTED) {
        let name = format!("timing, {}", question.name);
        eprintln!("{name}, {}", bench.database);
        let mut parts: Vec<Vec<Call>> = (0..AT_ONCE).map(|_| Vec::new()).collect();
        for (part, call) in (0..AT_ONCE).cycle().zip(shuffled_calls(shop, question, bench.options.seed + 10 + turn)) {
            parts.get_mut(part).ok_or("no such part")?.push(call);
        }
        add(&mut figures, &name, bench.runtime.block_on(at_once(server.address, question, parts))?);
    }
    Ok(figures)
}

fn add(figures: &mut Figures, name: &str, (known, unknown): (Vec<u64>, Vec<u64>)) {
    let (known_ms, unknown_ms) = (median_ms(&known), median_ms(&unknown));
    figures.add(format!("{name}: distance of the AUC from 0.5"), Target::AtMost(0.05), (auc(&known, &unknown) - 0.5).abs());
    figures.add(format!("{name}: difference of medians, ms"), Target::AtMost(1.0), (known_ms - unknown_ms).abs());
    figures.add(format!("{name}: median of known, ms"), Target::None, known_ms);
    figures.add(format!("{name}: median of unknown, ms"), Target::None, unknown_ms);
}

fn shuffled_calls(shop: &Shop, question: &Question, seed: u64) -> Vec<Call> {
    let calls_of = |known, kind| (0..CALLS.min(shop.customers())).map(move |index| Call { known, request: (question.render)(shop, kind, index) });
    let [known, unknown] = question.kinds;
    let mut calls: Vec<Call> = calls_of(true, known).chain(calls_of(false, unknown)).collect();
    shuffle(&mut calls, seed);
    calls
}

/// A series on each of several connections.
async fn at_once(address: SocketAddr, question: &'static Question, parts: Vec<Vec<Call>>) -> Result<(Vec<u64>, Vec<u64>)> {
    let mut running = JoinSet::new();
    for part in parts {
        running.spawn(async move { series(address, question, &part, false).await });
    }
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    while let Some(ended) = running.join_next().await {
        let (more_known, more_unknown) = ended??;
        known.extend(more_known);
        unknown.extend(more_unknown);
    }
    Ok((known, unknown))
}

/// One call after the other over one connection. The nanoseconds of the known and of the unknown.
async fn series(address: SocketAddr, question: &Question, calls: &[Call], settled: bool) -> Result<(Vec<u64>, Vec<u64>)> {
    let mut connection = Connection::to(address);
    let mut backlog = Backlog::of(address);
    backlog.drain(POLL).await?;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let warm_up = calls.iter().take(WARM_UP).map(|call| (call, false));
    for (call, counts) in warm_up.chain(calls.iter().map(|call| (call, true))) {
        if settled {
            backlog.drain(POLL).await?;
        }
        let sent = Instant::now();
        let answer = connection.exchange(&call.request).await?;
        let nanos = u64::try_from(sent.elapsed().as_nanos())?;
        if answer.status != question.status {
            let body = String::from_utf8_lossy(answer.body);
            return Err(format!("timing: a {} was answered {}: {body}", question.name, answer.status).into());
        }
        if counts {
            if call.known { known.push(nanos) } else { unknown.push(nanos) }
        }
    }
    Ok((known, unknown))
}

fn median_ms(nanos: &[u64]) -> f64 {
    median(&nanos.iter().map(|nanos| real(usize::try_from(nanos / 1000).unwrap_or(usize::MAX)) / 1000.0).collect::<Vec<f64>>())
}
