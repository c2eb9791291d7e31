//! The server under measurement: our own child, started on a free port and ended by its id.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::config::{self, Limits, Secrets};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What a server needs to be started, as often as we like, on one database.
pub struct Site {
    pub binary: PathBuf,
    pub directory: PathBuf,
    pub secrets: Secrets,
    pub database_url: String,
    pub smtp_port: u16,
}

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// From the spawn to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

impl Site {
    pub fn start(&self, limits: Limits) -> Result<Server> {
        self.start_with(limits, "")
    }

    /// With `more` at the end of its configuration, which is in the settings of the last tenant.
    pub fn start_with(&self, limits: Limits, more: &str) -> Result<Server> {
        let port = free_port()?;
        let config = self.directory.join("vestibule.toml");
        fs::write(&config, config::render(&self.secrets, &self.database_url, port, self.smtp_port, limits) + more)?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(&config);
        launch(&mut command, port, &self.directory.join("server.log"))
    }

    /// `vestibule dev` in `folder`.
    pub fn dev(&self, folder: &Path) -> Result<Server> {
        let port = free_port()?;
        let mut command = Command::new(&self.binary);
        command.args(["dev", "--listen", &format!("{}:{port}", Ipv4Addr::LOCALHOST)]).current_dir(folder);
        launch(&mut command, port, &self.directory.join("dev.log"))
    }

    /// Imports customers into `tenant`, beside the server or without it. What an earlier run imported stays.
    pub fn import(&self, tenant: &str, lines: &str) -> Result<()> {
        let (file, config) = (self.directory.join("import.jsonl"), self.directory.join("vestibule.toml"));
        fs::write(&file, lines)?;
        let ended = Command::new(&self.binary).args(["customer", "import", "--tenant", tenant, "--config"]).arg(&config).arg(&file).output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        if ended.status.success() { Ok(()) } else { Err(format!("the import failed: {said}").into()) }
    }
}

/// Starts a server on `port`; it is ready.
fn launch(command: &mut Command, port: u16, log: &PathBuf) -> Result<Server> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    let began = Instant::now();
    let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    let mut server = Server { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ready_after: Duration::ZERO };
    while !answers_ready(server.address) {
        let ended = server.child.try_wait()?;
        if ended.is_some() || began.elapsed() > START_LIMIT {
            let why = ended.map_or_else(|| "is not ready".to_owned(), |status| format!("ended ({status})"));
            return Err(format!("the server {why} after {:?}; its log:\n{}", began.elapsed(), last_lines(log)).into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    server.ready_after = began.elapsed();
    Ok(server)
}

impl Server {
    /// Anonymous resident memory in MiB: what the process itself holds, without mapped files.
    pub fn rss_anon_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc: not a Linux machine?")?;
        let kib: u32 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(f64::from(kib) / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The shell's own `kill` is there everywhere, and asks the server for an orderly end, which `Child::kill` does not.
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(self.child.id().to_string()).status();
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < STOP_LIMIT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        eprintln!("the server did not end within {STOP_LIMIT:?} of SIGTERM; killing it");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server reads settings from the environment too; what stands there must not change a figure unseen.
fn is_setting(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("VESTIBULE_")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn answers_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(&status == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn last_lines(log: &PathBuf) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
}
