//! What a fault did, in one line of a fixed form. `scripts/faults.sh` prints the lines of a run as one table.

use std::io::Write as _;
use std::time::Duration;

use vestibule_engine::testing::TestDatabase;

use crate::crash::ms;

/// The figures of one test. What does not apply stays empty, and is printed as a dash.
#[derive(Default)]
pub struct Report {
    /// Which database, as it is printed.
    pub database: &'static str,
    pub trials: u64,
    pub acknowledged: usize,
    /// What was acknowledged and is not there, each in words.
    pub lost: Vec<String>,
    /// What came more than once.
    pub duplicates: usize,
    /// How long each recovery took.
    pub recovery: Vec<Duration>,
    /// How long each answer took to those whom the fault is no business of.
    pub bystanders: Vec<Duration>,
}

impl Report {
    /// Of a test on this database.
    pub fn on(database: &TestDatabase) -> Self {
        let database = if database.directory().is_some() { "SQLite" } else { "PostgreSQL" };
        Self { database, ..Self::default() }
    }

    /// Prints the line, and adds it to the file that the environment names. Whatever was lost fails the test.
    #[track_caller]
    pub fn tell(mut self, name: &str) {
        let [recovery, bystanders] = [&mut self.recovery, &mut self.bystanders].map(|times| {
            times.sort_unstable();
            move |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).map(|time| ms(*time))
        });
        let recovery = recovery(50).zip(recovery(100)).map_or("–".to_owned(), |(p50, max)| format!("{p50}/{max}"));
        let bystanders = bystanders(99).unwrap_or("–".to_owned());
        let (trials, acknowledged, lost, duplicates) = (self.trials, self.acknowledged, self.lost.len(), self.duplicates);
        let name = format!("{name}, {}", self.database);
        let line = format!("{name:<70} {trials:>6} {acknowledged:>12} {lost:>5} {duplicates:>10} {recovery:>15} {bystanders:>10}\n");
        print!("{line}");
        #[expect(clippy::disallowed_methods, reason = "a longer run asks for its lines by the environment")]
        if let Ok(path) = std::env::var("VESTIBULE_TEST_REPORT") {
            // One write at the end of the file: lines of tests that run at once do not mix.
            std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert!(self.lost.is_empty(), "lost: {:?}", self.lost);
    }
}

#[test]
#[should_panic(expected = "lost: [\"a mail\"]")]
fn what_was_lost_fails_the_test() {
    Report { trials: 1, lost: vec!["a mail".into()], ..Report::default() }.tell("a report");
}
