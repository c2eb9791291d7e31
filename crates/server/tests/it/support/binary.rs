//! The built program as an operator runs it: in a folder of its own, with nothing of our environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::client::Shop;

/// 32 bytes in base64, and another 32.
pub const MASTER: &str = "bWFzdGVyLWtleS1vZi10aGUtdGVzdHMtMDEyMzQ1Njc=";
pub const OTHER_MASTER: &str = "YW5vdGhlci1rZXktb2YtdGhlLXRlc3RzLTEyMzQ1Njc=";

/// How long the program may take for anything. Nobody waits for it: it is where a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// A little longer than the second within which a running server knows of a change by command.
const LOOKS: usize = 110;

/// A folder with a configuration, in which commands run.
pub struct Desk {
    pub folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A server that runs until it is told to stop, or dropped.
pub struct Running {
    child: Child,
    pub base: String,
    lines: Receiver<String>,
    printed: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Desk {
    /// With `config` as its `vestibule.toml`.
    pub fn new(config: &str) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.write("vestibule.toml", config);
        desk
    }

    /// A file that only its owner reads.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `vestibule` with these words, in this folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.args(words).current_dir(self.folder.path()).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command with the configuration.
    pub fn run(&self, words: &[&str]) -> Ended {
        end(self.command(words).env("VESTIBULE_CONFIG", "vestibule.toml"), "")
    }

    /// The same, with these variables.
    pub fn run_in(&self, words: &[&str], environment: &[(&str, &str)]) -> Ended {
        end(self.command(words).env("VESTIBULE_CONFIG", "vestibule.toml").envs(environment.iter().copied()), "")
    }

    /// The same, with `input` on standard input.
    pub fn run_with(&self, words: &[&str], input: &str) -> Ended {
        end(self.command(words).env("VESTIBULE_CONFIG", "vestibule.toml").stdin(Stdio::piped()), input)
    }

    /// `vestibule serve`, listening.
    pub fn serve(&self) -> Running {
        self.serve_in(&[])
    }

    pub fn serve_in(&self, environment: &[(&str, &str)]) -> Running {
        let command = &mut self.command(&["serve", "--config", "vestibule.toml"]);
        Running::start(command.envs(environment.iter().copied()), |line| line.split_once("listening on ").map(|(_, base)| base.trim().to_owned()))
    }

    /// `vestibule dev` on a free port, greeted.
    pub fn dev(&self) -> Running {
        let command = &mut self.command(&["dev", "--listen", "127.0.0.1:0"]);
        Running::start(command, |line| line.starts_with("curl ").then(|| line.split('"').nth(1).unwrap().split("/auth").next().unwrap().to_owned()))
    }
}

pub fn end(command: &mut Command, input: &str) -> Ended {
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        // A command that refuses its words does not read on.
        let _ = stdin.write_all(input.as_bytes());
    }
    let (sender, receiver) = channel();
    let pid = child.id();
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        signal(pid, "KILL");
        panic!("the command does not end");
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ended {
    /// It ended with this exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// It failed with this code, printed no result, and says all of `words` on stderr. Nothing of our insides is told.
    #[track_caller]
    pub fn expect_words(self, code: i32, words: &[&str]) -> Self {
        let ended = self.expect(code);
        assert_eq!(ended.stdout, "", "a failure is no result");
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{words:?} in: {}", ended.stderr);
        for inside in ["panicked", "unwrap", "Unexpected", "StorageFailed", "InvalidData", "NotFound:", "Error {"] {
            assert!(!ended.stderr.contains(inside), "{}", ended.stderr);
        }
        ended
    }

    /// It succeeded, and its result is JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let ended = self.expect(0);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {}", ended.stdout))
    }
}

impl Running {
    fn start(command: &mut Command, base_in: impl Fn(&str) -> Option<String>) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let printed = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = streams.map(|stream| {
            let (sender, printed) = (sender.clone(), printed.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    printed.lock().unwrap().extend([line.as_str(), "\n"]);
                    let _ = sender.send(line);
                }
            })
        });
        let mut running = Self { child, base: String::new(), lines, printed, readers: readers.into() };
        running.base = running.line(base_in);
        running
    }

    /// Waits for the line in which `found` finds something.
    pub fn line(&self, found: impl Fn(&str) -> Option<String>) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(found) = found(&line) {
                        return found;
                    }
                }
                Err(e) => panic!("it did not come ({e}); printed so far:\n{}", self.printed()),
            }
        }
    }

    /// Everything that it has printed, on either stream.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// A storefront of the shop that answers at `host`.
    pub fn shop(&self, host: &str, key: &str) -> Shop {
        Shop::new(&self.base, host, key)
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// SIGTERM, then its exit and everything that it printed.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.terminate();
        let (sender, ended) = channel();
        let readers = std::mem::take(&mut self.readers);
        std::thread::spawn(move || {
            for reader in readers {
                let _ = reader.join();
            }
            let _ = sender.send(());
        });
        assert!(ended.recv_timeout(PATIENCE).is_ok(), "it does not stop; printed so far:\n{}", self.printed());
        (self.child.wait().unwrap(), self.printed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The signal `name` to the process `pid`, which is ours.
pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap().success());
}

/// Asks until `look` is content, for about the second within which a change by command is known.
pub async fn within_a_second<T, F: Future<Output = Result<T, String>>>(mut look: impl FnMut() -> F) -> T {
    let mut last = String::new();
    for _ in 0..LOOKS {
        match look().await {
            Ok(seen) => return seen,
            Err(what) => last = what,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a second: {last}");
}

/// The files of a SQLite database with what they hold.
pub fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
