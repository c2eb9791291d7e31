//! Requests a second, interleaved: each run takes every measurement once, so that a change of the machine's mood meets them all. `/health` takes turns of a second
//! with each `me`, and raw Argon2id comes right before each sign-in.

use std::sync::Arc;
use std::time::Duration;

use crate::backlog::Backlog;
use crate::client::{Caller, get};
use crate::config::Limits;
use crate::hashing;
use crate::load::{Requests, Tally, closed_loop};
use crate::report::{Figures, Target};
use crate::seed::Shop;
use crate::server::Server;
use crate::stats::real;
use crate::{Bench, Result};

pub const SIGN_IN_CONNECTIONS: usize = 32;
const POLL: Duration = Duration::from_millis(100);
/// How long one of two loads runs before the other has its turn.
const TURN: Duration = Duration::from_secs(1);

struct Lane {
    algorithm: &'static str,
    me: Arc<Requests>,
    resets: Arc<Requests>,
    sign_ins: Arc<Requests>,
}

pub fn run(bench: &Bench, shops: &[Shop]) -> Result<Figures> {
    let server = bench.site.start(Limits::Raised)?;
    let health = Requests::new(vec![get(Caller::nobody("localhost"), "/health")]);
    let lanes: Vec<Lane> =
        shops.iter().map(|shop| Lane { algorithm: shop.tenant.algorithm, me: shop.me(), resets: shop.resets(), sign_ins: shop.sign_ins() }).collect();
    let mut phases = Phases { bench, server: &server, figures: Figures::default(), unexpected: 0 };
    phases.warm_up(&health, &lanes)?;
    for run in 1..=bench.options.runs {
        eprintln!("throughput, {}: run {run} of {}", bench.database, bench.options.runs);
        for lane in &lanes {
            phases.me_and_reset(lane, &health)?;
        }
        phases.sign_ins(&lanes)?;
    }
    let Phases { mut figures, unexpected, .. } = phases;
    figures.add("throughput: answers refused, failed or missing", Target::AtMost(0.0), real(unexpected));
    Ok(figures)
}

struct Phases<'a> {
    bench: &'a Bench<'a>,
    server: &'a Server,
    figures: Figures,
    unexpected: usize,
}

impl Phases<'_> {
    /// A second of each kind, counted nowhere; the first use of every token is part of the first run.
    fn warm_up(&mut self, health: &Arc<Requests>, lanes: &[Lane]) -> Result<()> {
        for requests in std::iter::once(health).chain(lanes.iter().flat_map(|lane| [&lane.me, &lane.resets])) {
            self.closed_loop(requests, TURN)?;
        }
        self.drain()?;
        Ok(())
    }

    fn me_and_reset(&mut self, lane: &Lane, health: &Arc<Requests>) -> Result<()> {
        let algorithm = lane.algorithm;
        let (mut base, mut me) = (Tally::default(), Tally::default());
        for _ in 0..self.bench.options.seconds {
            base.follow(self.closed_loop(health, TURN)?);
            me.follow(self.closed_loop(&lane.me, TURN)?);
        }
        let (base, me) = (self.figures_of("health", base), self.figures_of(&format!("me {algorithm}"), me));
        self.figures.add(format!("me {algorithm} / health"), Target::AtLeast(0.45), me / base);
        let mails_before = self.bench.sink.mails();
        let reset = self.load(&format!("reset {algorithm}"), &lane.resets)?;
        self.figures.add(format!("reset {algorithm} / health"), Target::AtLeast(0.10), reset / base);
        let drained = self.drain()?.as_secs_f64() / self.duration().as_secs_f64();
        self.figures.add(format!("reset {algorithm}: backlog drained, in lengths of the run"), Target::AtMost(2.0), drained);
        self.figures.add(
            format!("reset {algorithm}: mails sent in the run and the drain"),
            Target::None,
            real(self.bench.sink.mails() - mails_before),
        );
        Ok(())
    }

    fn sign_ins(&mut self, lanes: &[Lane]) -> Result<()> {
        self.drain()?;
        for lane in lanes {
            let raw = hashing::rate(self.bench.cores, self.duration())?;
            self.figures.add("raw Argon2id, hashes/s", Target::None, raw);
            let name = format!("sign-in {}", lane.algorithm);
            let rate = self.load_over(&name, &lane.sign_ins, SIGN_IN_CONNECTIONS)?;
            self.figures.add(format!("{name} / raw Argon2id"), Target::AtLeast(0.9), rate / raw);
        }
        self.drain()?;
        Ok(())
    }

    fn load(&mut self, name: &str, requests: &Arc<Requests>) -> Result<f64> {
        self.load_over(name, requests, self.bench.options.connections)
    }

    fn load_over(&mut self, name: &str, requests: &Arc<Requests>, connections: usize) -> Result<f64> {
        let tally = self.bench.runtime.block_on(closed_loop(self.server.address, requests, connections, self.duration()))?;
        Ok(self.figures_of(name, tally))
    }

    fn closed_loop(&self, requests: &Arc<Requests>, time: Duration) -> Result<Tally> {
        self.bench.runtime.block_on(closed_loop(self.server.address, requests, self.bench.options.connections, time))
    }

    /// Prints what a load came to; its rate.
    fn figures_of(&mut self, name: &str, mut tally: Tally) -> f64 {
        eprintln!("  {name}: {:.0}/s, {}", tally.rate(), tally.describe());
        self.figures.add(format!("{name}, requests/s"), Target::None, tally.rate());
        self.figures.add(format!("{name}, p50 ms"), Target::None, tally.percentile_ms(50));
        self.figures.add(format!("{name}, p99 ms"), Target::None, tally.percentile_ms(99));
        self.unexpected += tally.unexpected();
        tally.rate()
    }

    fn drain(&self) -> Result<Duration> {
        self.bench.runtime.block_on(Backlog::of(self.server.address).drain(POLL))
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.bench.options.seconds)
    }
}
