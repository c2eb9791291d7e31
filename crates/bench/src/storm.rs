//! Two hundred people sign in at once and keep at it; meanwhile others are only looking at their accounts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::Connection;
use crate::config::Limits;
use crate::load::{Requests, Tally, closed_loop};
use crate::report::{Figures, Target};
use crate::seed::Shop;
use crate::server::Server;
use crate::stats::real;
use crate::{Bench, Result};

const IDLE: Duration = Duration::from_secs(10);
const STORM: Duration = Duration::from_secs(15);
const AFTER: Duration = Duration::from_mins(1);
const SIGN_INS: usize = 200;
const CHECKERS: u32 = 20;
const CHECKS_PER_SECOND: u32 = 200;
const SAMPLE: Duration = Duration::from_millis(100);

pub fn run(bench: &Bench, shop: &Shop) -> Result<Figures> {
    let mut figures = Figures::default();
    let server = bench.site.start(Limits::Raised)?;
    eprintln!("storm, {}: idle for {IDLE:?}, storm for {STORM:?}, then {AFTER:?} of calm", bench.database);
    std::thread::sleep(IDLE);
    figures.add("RssAnon idle 10 s after start, MiB", Target::AtMost(25.0), server.rss_anon_mib()?);
    let (sign_ins, mut checks, peak) = bench.runtime.block_on(storm(&server, shop))?;
    figures.add("RssAnon in the storm, highest, MiB", Target::AtMost(140.0), peak);
    figures.add("storm: session check p50 ms", Target::None, checks.percentile_ms(50));
    figures.add("storm: session check p99 ms", Target::AtMost(50.0), checks.percentile_ms(99));
    figures.add("storm: session checks refused, failed or missing", Target::AtMost(0.0), real(checks.unexpected()));
    figures.add("storm: sign-ins/s", Target::None, sign_ins.rate());
    figures.add("storm: sign-ins refused or failed", Target::None, real(sign_ins.unexpected()));
    eprintln!("  sign-ins {}, session checks {}", sign_ins.describe(), checks.describe());
    std::thread::sleep(AFTER);
    figures.add("RssAnon 60 s after the storm, MiB", Target::None, server.rss_anon_mib()?);
    Ok(figures)
}

async fn storm(server: &Server, shop: &Shop) -> Result<(Tally, Tally, f64)> {
    let (sign_in_requests, check_requests) = (shop.sign_ins(), shop.me());
    let end = Instant::now() + STORM;
    let (sign_ins, checks, peak) = tokio::join!(
        closed_loop(server.address, &sign_in_requests, SIGN_INS, STORM),
        session_checks(server.address, &check_requests, end),
        highest_rss(server, end)
    );
    Ok((sign_ins?, checks?, peak?))
}

/// An open loop: each check has its time, and a late one counts from that time, so a stall of the server is seen in full.
async fn session_checks(address: SocketAddr, requests: &Arc<Requests>, end: Instant) -> Result<Tally> {
    let began = Instant::now();
    let mut checkers = JoinSet::new();
    for number in 0..CHECKERS {
        let first = began + Duration::from_secs(1) * number / CHECKS_PER_SECOND;
        checkers.spawn(one_checker(address, Arc::clone(requests), first, end));
    }
    let mut total = Tally::default();
    while let Some(done) = checkers.join_next().await {
        total.merge(done?);
    }
    Ok(total)
}

async fn one_checker(address: SocketAddr, requests: Arc<Requests>, first: Instant, end: Instant) -> Tally {
    let mut connection = Connection::to(address);
    let mut tally = Tally::default();
    let mut due = first;
    while due < end {
        sleep_until(due).await;
        let status = connection.exchange(requests.take()).await.map(|answer| answer.status).ok();
        tally.record(status, due.elapsed());
        due += Duration::from_secs(1) * CHECKERS / CHECKS_PER_SECOND;
    }
    tally
}

async fn highest_rss(server: &Server, end: Instant) -> Result<f64> {
    let mut highest = 0.0_f64;
    while Instant::now() < end {
        highest = highest.max(server.rss_anon_mib()?);
        tokio::time::sleep(SAMPLE).await;
    }
    Ok(highest)
}
