//! The binary as a process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::binary::signal;
use crate::support::raw;

/// How long a start or an orderly stop may take at most; a bound, not a measurement.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Server {
    child: Child,
    started_at: Instant,
    pub base: String,
    /// Reads what the process writes to stderr, to its end.
    log: Option<JoinHandle<String>>,
}

impl Server {
    pub async fn start(config: &Path) -> Self {
        let started_at = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["serve", "--config"])
            .arg(config)
            .env("VESTIBULE_LOG", "debug")
            .env_remove("VESTIBULE_CONFIG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (told, listening) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let mut all = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(base) = line.strip_prefix("vestibule: listening on ") {
                    let _ = told.send(base.to_owned());
                }
                all += &line;
                all.push('\n');
            }
            all
        });
        let base = tokio::task::spawn_blocking(move || listening.recv_timeout(PATIENCE)).await.unwrap();
        let mut server = Self { child, started_at, base: String::new(), log: Some(log) };
        match base {
            Ok(base) => server.base = base,
            Err(e) => panic!("the server did not start ({e}): {}", server.kill()),
        }
        server
    }

    /// Waits for the first 200 of `/readyz`; how long it took from the start of the process.
    pub async fn ready(&self) -> Duration {
        for _ in 0..PATIENCE.as_millis() {
            if raw::get(&self.base, "/readyz", &["Host: x"]).await.status == 200 {
                return self.started_at.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the server is not ready");
    }

    /// The memory of the process that is no file's, in KiB.
    pub fn anonymous_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// kill -9; what it had written to its log.
    pub fn kill(&mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }

    /// STOP or CONT.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// SIGTERM; the exit code and the log.
    pub async fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        for _ in 0..PATIENCE.as_millis() / 10 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.log.take().unwrap().join().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server did not stop: {}", self.kill());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a failed test; a process that has ended already is left alone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
