//! How soon a new process serves: from its spawn to the first 200 of `/readyz`, on a database that has its customers, and as `dev` in an empty folder.

use crate::config::Limits;
use crate::report::{Figures, Target};
use crate::{Bench, Result};

const STARTS: usize = 10;

pub fn run(bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::default();
    for _ in 0..STARTS {
        let server = bench.site.start(Limits::Raised)?;
        figures.add("cold start to /readyz, ms", Target::AtMost(100.0), server.ready_after.as_secs_f64() * 1000.0);
    }
    for _ in 0..STARTS {
        let folder = tempfile::tempdir_in(&bench.site.directory)?;
        let server = bench.site.dev(folder.path())?;
        figures.add("start of dev in an empty folder to /readyz, ms", Target::AtMost(1000.0), server.ready_after.as_secs_f64() * 1000.0);
    }
    Ok(figures)
}
