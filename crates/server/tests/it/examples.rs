//! The examples of the README and of `docs/` work as they stand.
//!
//! A fenced block says in its first line what it is: `sh run` is run, `sh server` is a server that runs until the file ends, `toml file=NAME`
//! is written to a file. A block `json answer` or `text answer` right after it is what it prints; `…` stands for anything.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The port of the examples, with the colon before it.
const PORT: &str = ":9000";
/// How the examples call the program from the source tree.
const FROM_SOURCE: &str = "cargo run --release -p vestibule -- ";
/// What a server prints once it listens.
const READY: &str = "-e 'listening on' -e 'Stop it with Ctrl-C'";
/// The script's exit code when its server ended before it listened: the port was taken.
const NO_SERVER: i32 = 75;

#[derive(Debug, PartialEq)]
enum Kind {
    Run,
    Server,
    File(String),
    Answer { json: bool },
}

struct Block {
    line: usize,
    kind: Kind,
    text: String,
}

/// The blocks of a page that mean something here, and what is wrong with the others.
fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        loop {
            match lines.next() {
                Some((_, line)) if line.trim_end() == "```" => break,
                Some((_, line)) => text.extend([line, "\n"]),
                None => return Err(format!("line {}: the block has no end", at + 1)),
            }
        }
        let kind = match info.trim() {
            "sh run" => Kind::Run,
            "sh server" => Kind::Server,
            "json answer" => Kind::Answer { json: true },
            "text answer" => Kind::Answer { json: false },
            other => match other.strip_prefix("toml file=") {
                Some(name) => Kind::File(name.to_owned()),
                None if other.split(' ').next() == Some("sh") => return Err(format!("line {}: `sh` must be `run` or `server`", at + 1)),
                None => continue,
            },
        };
        found.push(Block { line: at + 1, kind, text });
    }
    Ok(found)
}

/// Blocks with the answers that belong to them.
fn steps(blocks: Vec<Block>) -> Result<Vec<(Block, Option<Block>)>, String> {
    let mut steps: Vec<(Block, Option<Block>)> = Vec::new();
    for block in blocks {
        match (&block.kind, steps.last_mut()) {
            (Kind::Answer { .. }, Some((Block { kind: Kind::Run | Kind::Server, .. }, answer @ None))) => *answer = Some(block),
            (Kind::Answer { .. }, _) => return Err(format!("line {}: an answer to nothing", block.line)),
            _ => steps.push((block, None)),
        }
    }
    Ok(steps)
}

/// Whether `actual` is `expected`, in which `…` stands for anything. White space counts in text and not in JSON.
fn agree(expected: &str, actual: &str, json: bool) -> bool {
    let plain = |text: &str| if json { text.split_whitespace().collect() } else { text.trim().to_owned() };
    let (expected, actual) = (plain(expected), plain(actual));
    let mut pieces = expected.split('…');
    let Some(mut rest) = actual.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// The script that runs the steps, each with its output in `out.N`.
fn script(steps: &[(Block, Option<Block>)], port: &str) -> String {
    let mut script =
        String::from("set -eu -o pipefail\nserver=\ntrap '[ -z \"$server\" ] || { kill $server || true; wait $server || true; } 2>/dev/null' EXIT\n");
    for (n, (block, _)) in steps.iter().enumerate() {
        let text = block.text.replace(FROM_SOURCE, "vestibule ").replace(PORT, &format!(":{port}"));
        let _ = match block.kind {
            Kind::Run if text.contains("/dev/inbox") => {
                let waiting = format!("curl -s http://127.0.0.1:{port}/readyz | grep -q '\"waiting\":0'");
                writeln!(script, "for _ in $(seq 200); do {waiting} && break; sleep 0.05; done\nexec >out.{n}\n{text}")
            }
            Kind::Run => writeln!(script, "exec >out.{n}\n{text}"),
            Kind::Server => {
                let command = text.trim_end().replace("vestibule dev", &format!("vestibule dev --listen 127.0.0.1:{port}"));
                let wait = format!("grep -q {READY} out.{n} && break; kill -0 $server || exit {NO_SERVER}; sleep 0.05");
                writeln!(script, "{command} >out.{n} 2>&1 &\nserver=$!\nfor _ in $(seq 400); do {wait}; done")
            }
            Kind::File(_) | Kind::Answer { .. } => Ok(()),
        };
    }
    script
}

/// Runs the examples of one page in a folder of their own. `None`: the port was taken.
fn attempt(page: &str) -> Option<Result<(), String>> {
    let steps = match blocks(page).and_then(steps) {
        Ok(steps) => steps,
        Err(fault) => return Some(Err(fault)),
    };
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for (block, _) in &steps {
        if let Kind::File(name) = &block.kind {
            fs::write(dir.path().join(name), block.text.replace(PORT, &format!(":{port}"))).unwrap();
        }
    }
    // A curl that waits for ever, or asks a proxy, would tell nothing.
    fs::write(dir.path().join(".curlrc"), "max-time = 20\nnoproxy = *\n").unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_vestibule")).parent().unwrap();
    let path = std::env::join_paths([program.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap()))).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-c", &script(&steps, &port)]).current_dir(dir.path()).env_clear().env("PATH", path).env("HOME", dir.path());
    let ended = bash.output().unwrap();
    if ended.status.code() == Some(NO_SERVER) {
        return None;
    }
    let printed = |n: usize| fs::read_to_string(dir.path().join(format!("out.{n}"))).ok();
    for (n, (block, answer)) in steps.iter().enumerate().filter(|(_, (block, _))| !matches!(block.kind, Kind::File(_))) {
        let Some(actual) = printed(n).map(|text| text.replace(&format!(":{port}"), PORT)) else { break };
        let last = printed(n + 1).is_none() && !ended.status.success();
        let good = match answer {
            Some(Block { kind, text, .. }) => agree(text, &actual, *kind == Kind::Answer { json: true }),
            None => block.kind == Kind::Server || actual.is_empty(),
        };
        if !good || last {
            let expected = answer.as_ref().map_or("", |answer| &answer.text);
            let errors = String::from_utf8_lossy(&ended.stderr);
            return Some(Err(format!("line {}: expected\n{expected}\ngot ({})\n{actual}\n{errors}", block.line, ended.status)));
        }
    }
    Some(if ended.status.success() { Ok(()) } else { Err(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr))) })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn works(name: &str) {
    let page = fs::read_to_string(root().join(name)).unwrap();
    assert!(page.contains("```sh run"), "{name} has no example");
    let outcome = (0..5).find_map(|_| attempt(&page)).expect("no server ever listened");
    if let Err(fault) = outcome {
        panic!("{name}, {fault}");
    }
}

#[test]
fn of_the_readme() {
    works("README.md");
}

#[test]
fn of_the_quickstart() {
    works("docs/quickstart.md");
}

#[test]
fn of_the_api() {
    works("docs/api.md");
}

#[test]
fn of_the_move_from_medusa() {
    works("docs/guides/move-from-medusa.md");
}

#[test]
fn no_other_page_has_examples_that_nobody_runs() {
    let pages = super::tidy::source::files(&root(), "docs", ".md").unwrap();
    assert!(pages.len() > 3, "docs/ was not found");
    for (path, text) in pages {
        let runs = blocks(&text).unwrap_or_else(|fault| panic!("{path}, {fault}")).len();
        assert!(
            runs == 0 || ["docs/quickstart.md", "docs/api.md", "docs/guides/move-from-medusa.md"].contains(&path.as_str()),
            "{path}: give it a test above"
        );
    }
}

/// The reader of the pages itself.
mod checkers {
    use super::*;

    #[test]
    fn answers_agree_around_the_gaps() {
        for (expected, actual, json, good) in [
            ("Created\n", "Created", false, true),
            ("Created", "Created.", false, false),
            ("{\"a\": \"x…\"}", "{\"a\":\"xyz\"}", true, true),
            ("{\"a\": \"x…\"}", "{\"a\":\"yz\"}", true, false),
            ("{\"a\": 1}", "{\"a\":1,\"b\":2}", true, false),
            ("a … c", "a b", false, false),
            ("a…b…c", "a1b2b3c", false, true),
            ("a…b…c", "a1c2b", false, false),
            ("a b", "ab", false, false),
            ("…", "", false, true),
        ] {
            assert_eq!(agree(expected, actual, json), good, "{expected} / {actual}");
        }
    }

    #[test]
    fn a_wrong_answer_a_failing_command_and_unasked_output_are_found() {
        let page = |block: &str| attempt(&block.replace("~~~", "```")).unwrap();
        assert_eq!(page("~~~sh run\nA=1\n~~~\n~~~sh run\necho $A\n~~~\n~~~text answer\n1\n~~~\n"), Ok(()));
        assert!(page("~~~sh run\necho 1\n~~~\n~~~text answer\n2\n~~~\n").unwrap_err().contains("line 1: expected\n2"));
        assert!(page("~~~sh run\nfalse | cat\n~~~\n").unwrap_err().contains("line 1"));
        assert!(page("~~~sh run\necho 1\n~~~\n").unwrap_err().contains("line 1"));
        assert!(page("~~~sh\necho 1\n~~~\n").unwrap_err().contains("must be"));
        assert!(page("~~~text answer\n1\n~~~\n").unwrap_err().contains("to nothing"));
        assert!(page("~~~sh run\necho 1\n").unwrap_err().contains("no end"));
        assert_eq!(page("~~~toml file=a.toml\nx = 1\n~~~\n~~~sh run\ncat a.toml\n~~~\n~~~text answer\nx = 1\n~~~\n"), Ok(()));
        assert!(attempt("```sh server\nfalse\n```\n").is_none());
    }
}
