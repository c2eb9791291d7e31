//! Two builds side by side: what `me` and a refresh cost now, against what they cost at an earlier commit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{EDDSA, HS256, Limits, Secrets};
use crate::load::{Requests, closed_loop};
use crate::report::{Figures, Target};
use crate::seed::Shop;
use crate::server::{Server, Site};
use crate::stats::real;
use crate::{Bench, Result, open_shops};

/// A build that runs, and what it is asked.
struct Side {
    server: Server,
    lanes: Vec<(String, Arc<Requests>)>,
}

/// `baseline` is the earlier server. Each has customers of its own, because tables change between commits. The runs of both take turns, and who begins changes.
pub fn run(bench: &Bench, baseline: &Path) -> Result<Figures> {
    let directory = bench.site.directory.join("baseline");
    std::fs::create_dir_all(&directory)?;
    let site = Site {
        binary: baseline.canonicalize()?,
        database_url: format!("sqlite://{}", directory.join("bench.db").display()),
        secrets: Secrets::load_or_draw(&directory)?,
        smtp_port: bench.site.smtp_port,
        directory,
    };
    let earlier = Bench { site, ..*bench };
    let (before, now) = (Side::open(&earlier)?, Side::open(bench)?);
    let (mut figures, mut unexpected) = (Figures::default(), 0);
    for run in 0..=bench.options.runs {
        eprintln!("compare: run {run} of {}; the first warms up", bench.options.runs);
        for ((name, old), (_, new)) in before.lanes.iter().zip(&now.lanes) {
            let mut load = |of: &str, server: &Server, requests| -> Result<f64> {
                let length = Duration::from_secs(bench.options.seconds);
                let tally = bench.runtime.block_on(closed_loop(server.address, requests, bench.options.connections, length))?;
                eprintln!("  {name}, {of}: {:.0}/s", tally.rate());
                unexpected += tally.unexpected();
                Ok(tally.rate())
            };
            let first_of_all = run % 2 == 0;
            let early = if first_of_all { Some(load("earlier", &before.server, old)?) } else { None };
            let rate = load("now", &now.server, new)?;
            let early = early.map_or_else(|| load("earlier", &before.server, old), Ok)?;
            if run > 0 {
                figures.add(format!("{name}, earlier, requests/s"), Target::None, early);
                figures.add(format!("{name}, now, requests/s"), Target::None, rate);
                figures.add(format!("{name}: now / earlier"), Target::AtLeast(0.8), rate / early);
            }
        }
    }
    figures.add("compare: answers refused, failed or missing", Target::AtMost(0.0), real(unexpected));
    Ok(figures)
}

impl Side {
    fn open(bench: &Bench) -> Result<Self> {
        let shops = open_shops(bench, &[&EDDSA, &HS256], bench.options.customers)?;
        let of = |shop: &Shop| {
            let algorithm = shop.tenant.algorithm;
            [(format!("me {algorithm}"), shop.me()), (format!("refresh {algorithm}"), shop.refreshes())]
        };
        Ok(Self { lanes: shops.iter().flat_map(of).collect(), server: bench.site.start(Limits::Raised)? })
    }
}
