//! The built program from the command line: results to stdout, everything else to stderr; exit 0 done, 1 failed, 2 wrong usage or configuration.

mod check;
mod delivery;
mod dev;
mod event;
mod example;
mod manage;
mod serve;
mod template;
mod timeline;

use crate::support::binary::{Desk, MASTER};

/// A configuration with nothing to find fault with: `public` is its server section's.
fn config(server: &str, tenants: &str) -> String {
    format!("[server]\n{server}\n[database]\nurl = \"sqlite://v.db\"\n[keys]\nmaster = \"{MASTER}\"\n{tenants}")
}

/// A server that only this machine reaches, on a free port.
const LOCAL: &str = "listen = \"127.0.0.1:0\"";
/// One that everybody reaches.
const PUBLIC: &str = "listen = \"127.0.0.1:0\"\npublic_url = \"https://id.example.com\"";
/// A shop that can send its mails.
const ACME: &str = "[[tenants]]\nslug = \"acme\"\n[tenants.mail]\nfrom = \"Acme <no-reply@acme.example>\"\ntransport = \"smtp://127.0.0.1:1\"\n";

#[test]
fn version_is_a_result() {
    let ended = Desk::new("").run(&["version"]).expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (concat!("vestibule ", env!("CARGO_PKG_VERSION"), "\n"), ""));
}

#[test]
fn openapi_prints_the_committed_document() {
    let ended = Desk::new("").run(&["openapi"]).expect(0);
    let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json")).unwrap();
    assert!(ended.stdout == committed && ended.stderr.is_empty());
}

#[test]
fn wrong_words_are_wrong_usage() {
    let desk = Desk::new("");
    let wrong: [&[&str]; 15] = [
        &[],
        &["tennant"],
        &["tenant"],
        &["serve", "--port", "1"],
        &["tenant", "show"],
        &["key", "create", "--tenant", "acme", "--type", "private"],
        &["key", "revoke", "--tenant", "acme", "no-id"],
        &["user", "create", "--tenant", "acme", "--email", "nobody"],
        &["delivery", "list", "--state", "lost"],
        &["delivery", "list", "--event", "auth.pasword_reset"],
        &["delivery", "retry", "--tenant", "acme"],
        &["delivery", "retry", "--tenant", "acme", "no-id"],
        &["delivery", "retry", "--tenant", "acme", "01M84S77XJ8BVH81B179KQ8Y5B", "--since", "2h"],
        &["dev", "--listen", "9000"],
        &["dev", "--storefront", "https://acme.example"],
    ];
    for words in wrong {
        let ended = desk.run_with(words, "a-password-99\n").expect(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{words:?}: {ended:?}");
    }
}

#[test]
fn every_command_takes_the_configuration_and_misses_it_in_words() {
    let commands: [&[&str]; 14] = [
        &["serve"],
        &["tenant", "create", "acme"],
        &["tenant", "list"],
        &["tenant", "show", "acme"],
        &["tenant", "disable", "acme"],
        &["user", "create", "--tenant", "acme", "--email", "ann@example.com", "--password", "a-password-99"],
        &["customer", "import", "--tenant", "acme", "customers.jsonl"],
        &["key", "create", "--tenant", "acme", "--type", "secret"],
        &["key", "list", "--tenant", "acme"],
        &["delivery", "list"],
        &["delivery", "show", "--tenant", "acme", "01M84S77XJ8BVH81B179KQ8Y5B"],
        &["delivery", "retry", "--tenant", "acme", "--since", "2h"],
        &["webhook", "list", "--tenant", "acme"],
        &["webhook", "enable", "--tenant", "acme", "webhook:1"],
    ];
    let desk = Desk::new("");
    for words in commands {
        super::support::binary::end(&mut desk.command(words), "").expect_words(2, &["--config FILE or VESTIBULE_CONFIG"]);
        let elsewhere = [words, &["--config", "elsewhere.toml"]].concat();
        desk.run(&elsewhere).expect_words(2, &["elsewhere.toml", "No such file"]);
    }
    assert!(!desk.path("v.db").exists(), "no database is made for a command that may not run");
}
