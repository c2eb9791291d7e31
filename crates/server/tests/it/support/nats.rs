//! A NATS server with `JetStream` in a folder of its own: a real process on loopback, that can be killed, paused and made anew.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, Context, stream};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use vestibule_engine::ports::rng::Rng;

use super::binary::signal;

/// Who may connect.
const USER: &str = "vestibule";
pub const PASSWORD: &str = "p&s+ w%";

/// It ends when it is dropped.
pub struct NatsServer {
    folder: TempDir,
    port: u16,
    process: Child,
}

/// A message of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub subject: String,
    /// `Nats-Msg-Id`.
    pub id: String,
    pub body: Value,
}

impl NatsServer {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        loop {
            // Below the range that the kernel hands out, so that nobody takes it while the server is away.
            let port = 20_000 + u16::from_be_bytes(Rng::os().bytes()) % 12_000;
            if let Some(process) = run(&folder, port).await {
                return Self { folder, port, process };
            }
        }
    }

    pub fn url(&self) -> String {
        format!("nats://{USER}:p&s+%20w%25@127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, after a kill, on what it had stored.
    pub async fn restart(&mut self) {
        self.process = run(&self.folder, self.port).await.expect("NATS did not start again");
    }

    /// Deletes what it had stored, after a kill.
    pub fn forget(&self) {
        std::fs::remove_dir_all(self.folder.path().join("jetstream")).unwrap();
    }

    pub fn pause(&self) {
        signal(self.process.id(), "STOP");
    }

    pub fn resume(&self) {
        signal(self.process.id(), "CONT");
    }

    async fn context(&self) -> Context {
        let options = ConnectOptions::with_user_and_password(USER.to_owned(), PASSWORD.to_owned());
        jetstream::new(options.connect(format!("127.0.0.1:{}", self.port)).await.unwrap())
    }

    /// How the stream `VESTIBULE` was made.
    pub async fn made(&self) -> stream::Config {
        self.context().await.get_stream("VESTIBULE").await.unwrap().cached_info().config.clone()
    }

    /// What the stream `VESTIBULE` holds, oldest first.
    pub async fn messages(&self) -> Vec<Stored> {
        let context = self.context().await;
        let Ok(stream) = context.get_stream("VESTIBULE").await else { return Vec::new() };
        let state = &stream.cached_info().state;
        let mut found = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let id = message.headers.get("Nats-Msg-Id").unwrap().to_string();
            found.push(Stored { subject: message.subject.to_string(), id, body: serde_json::from_slice(&message.payload).unwrap() });
        }
        found
    }
}

/// `None`: it ended, because the port is taken, say.
async fn run(folder: &TempDir, port: u16) -> Option<Child> {
    let mut command = Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "--user", USER, "--pass", PASSWORD, "-js", "-sd"]).arg(folder.path());
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nats-server is missing: scripts/test.sh installs it");
    loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
            let mut greeting = [0; 4];
            if stream.read_exact(&mut greeting).await.is_ok() && &greeting == b"INFO" && process.try_wait().unwrap().is_none() {
                return Some(process);
            }
        }
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
