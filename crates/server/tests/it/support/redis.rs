//! A Redis server that keeps nothing on disk: a real process on loopback, that can be killed and made anew.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue};
use vestibule_engine::ports::rng::Rng;

/// It ends when it is dropped.
pub struct RedisServer {
    port: u16,
    process: Child,
}

impl RedisServer {
    pub async fn start() -> Self {
        loop {
            // Below the range that the kernel hands out, so that nobody takes it while the server is away.
            let port = 20_000 + u16::from_be_bytes(Rng::os().bytes()) % 12_000;
            if let Some(process) = run(port).await {
                return Self { port, process };
            }
        }
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    /// kill -9. What it held is gone.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub async fn restart(&mut self) {
        self.process = run(self.port).await.expect("Redis did not start again");
    }

    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = connect(self.port).await.unwrap();
        let (command, arguments) = words.split_first().unwrap();
        redis::cmd(command).arg(arguments).query_async(&mut connection).await.unwrap()
    }

    /// The hash of each job that waits in the queue of `prefix`, the next first, with its id.
    pub async fn jobs(&self, prefix: &str) -> Vec<(String, HashMap<String, String>)> {
        let ids: Vec<String> = self.ask(&["ZRANGE", &format!("{prefix}:prioritized"), "0", "-1"]).await;
        let mut jobs = Vec::new();
        for id in ids {
            let job = self.ask(&["HGETALL", &format!("{prefix}:{id}")]).await;
            jobs.push((id, job));
        }
        jobs
    }
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

async fn connect(port: u16) -> redis::RedisResult<MultiplexedConnection> {
    Client::open(url(port))?.get_multiplexed_async_connection().await
}

/// `None`: it ended, because the port is taken, say.
async fn run(port: u16) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]).current_dir(std::env::temp_dir());
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is missing: scripts/test.sh installs it");
    loop {
        let answers = async { redis::cmd("INFO").arg("server").query_async::<String>(&mut connect(port).await?).await };
        // Another's server may be at this port.
        if answers.await.is_ok_and(|info| info.contains(&format!("process_id:{}\r", process.id()))) {
            return Some(process);
        }
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
