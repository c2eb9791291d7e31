//! `config.example.toml`: it is whole, it is true, and with secrets of one's own it is good.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};
use vestibule_engine::config::{Config, Server};
use vestibule_engine::model::tenant::TenantSettings;

use crate::support::binary::{Desk, MASTER};

/// A key that was made for this test.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgM4XyrXrLxcomq8vp
XnfC96Y/ume10gvwXZ/+wJM09lGhRANCAARq4SJIyf8idwI0falicdrGEL9yY13q
+8wE40n/E5WS4HbiWaTmRxKiSPt1h12B2ZeDSVpNAjcSfrPi9bn52hrr
-----END PRIVATE KEY-----";

/// Of providers: what is wrong with one closes it alone.
const PROVIDER_PLACEHOLDERS: [(&str, &str); 2] = [("REPLACE-CLIENT-SECRET", "a client secret of our own"), ("REPLACE-PRIVATE-KEY", PRIVATE_KEY)];
const PLACEHOLDERS: [(&str, &str); 5] = [
    ("REPLACE-MASTER", MASTER),
    ("REPLACE-SECRET-KEY", "sk_0000000000000000000000000000000000000000000000000000000000000001"),
    ("REPLACE-TOKEN-SECRET", "thirty-two-bytes-are-enough-here"),
    ("REPLACE-WEBHOOK-SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"),
    ("REPLACE-FORMER-WEBHOOK-SECRET", "whsec_NzY1NDMyMTBmZWRjYmE5ODc2NTQzMjEw"),
];

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The example, with secrets in place of its placeholders.
fn filled() -> String {
    fill(file("config.example.toml"), PLACEHOLDERS.iter().chain(&PROVIDER_PLACEHOLDERS))
}

fn fill<'p>(text: String, placeholders: impl Iterator<Item = &'p (&'p str, &'p str)>) -> String {
    placeholders.fold(text, |text, (placeholder, secret)| text.replace(placeholder, secret))
}

#[test]
fn with_secrets_of_ones_own_it_is_good() {
    let found = Desk::new(&filled()).run(&["check", "--json"]).json();
    assert_eq!(found, serde_json::json!({"ok": true, "errors": [], "warnings": []}));
}

#[test]
fn r14_as_it_stands_it_is_refused() {
    for left in PLACEHOLDERS {
        let text = fill(file("config.example.toml"), PLACEHOLDERS.iter().filter(|other| **other != left).chain(&PROVIDER_PLACEHOLDERS));
        let ended = Desk::new(&text).run(&["check", "--json"]).expect(2);
        assert!(!ended.stdout.contains("\"errors\": []"), "{left:?} is taken for a secret");
    }
}

#[test]
fn it_names_every_setting() {
    let structs: BTreeMap<String, Vec<(String, String)>> =
        ["crates/engine/src/config.rs", "crates/engine/src/model/tenant.rs", "crates/engine/src/model/provider.rs"]
            .iter()
            .flat_map(|path| structs_in(&file(path)))
            .collect();
    let mut known = BTreeSet::new();
    settings(&structs, "Config", "", &mut known);
    assert!(known.contains("tenants.webhooks.events") && known.contains("server.listen"), "the settings were not found: {known:?}");
    let mut named = BTreeSet::new();
    keys(&filled().parse().unwrap(), "", &known, &mut named);
    let missing: Vec<_> = known.difference(&named).collect();
    assert!(missing.is_empty(), "config.example.toml does not name {missing:?}");
}

#[test]
fn r111_a_provider_that_is_not_finished_is_warned_of() {
    let found = Desk::new(&fill(file("config.example.toml"), PLACEHOLDERS.iter())).run(&["check", "--json"]).expect(0).json();
    let warnings: Vec<String> = serde_json::from_value(found["warnings"].clone()).unwrap();
    let closed = |name: &str| warnings.iter().any(|w| w.starts_with(&format!("tenant acme: the provider {name} is closed: ")));
    assert!(warnings.len() == 3 && ["apple", "google", "staff"].into_iter().all(closed), "{warnings:?}");
}

/// A value without a remark is the default.
#[test]
fn what_it_gives_as_a_default_is_one() {
    let config: Config = toml::from_str(&filled()).unwrap();
    assert_eq!(config.server.listen, Server::default().listen);
    let (shown, default) = (&config.tenants[0], &TenantSettings::default());
    let json = |settings: &TenantSettings| serde_json::to_value(settings).unwrap();
    for section in ["passwords", "customers", "limits", "callbacks", "cookies"] {
        assert_eq!(json(shown)[section], json(default)[section]);
    }
    for span in ["ttl", "reset_ttl", "session_max_age"] {
        assert_eq!(json(shown)["tokens"][span], json(default)["tokens"][span]);
    }
    let remarks = file("config.example.toml");
    for (section, key) in [("tokens", "algorithm"), ("mail", "messages")] {
        let value = json(default)[section][key].to_string().replace(',', ", ");
        assert!(remarks.lines().any(|line| line.starts_with(key) && line.contains(&format!("# default: {value}"))), "{key}: {value}");
    }
}

/// Each struct of a source file that is read from the configuration, with its fields and their types.
fn structs_in(source: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    let mut derives = false;
    let mut open: Option<(String, Vec<(String, String)>)> = None;
    let (mut skipped, mut renamed) = (false, None);
    for line in source.lines() {
        if line.starts_with("#[derive") {
            derives = line.contains("Deserialize");
        } else if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) {
            open = derives.then(|| (name.to_owned(), Vec::new()));
            derives = false;
        } else if line == "}" {
            found.extend(open.take());
        } else if line.trim() == "#[serde(skip)]" {
            skipped = true;
        } else if let Some(name) = line.trim().strip_prefix("#[serde(rename = \"").and_then(|rest| rest.strip_suffix("\")]"))
            && open.is_some()
        {
            renamed = Some(name.to_owned());
        } else if let (Some((_, fields)), Some((name, kind))) = (&mut open, line.trim().strip_prefix("pub ").and_then(|field| field.split_once(": ")))
            && !std::mem::take(&mut skipped)
        {
            fields.push((renamed.take().unwrap_or_else(|| name.to_owned()), kind.trim_end_matches(',').to_owned()));
        }
    }
    found
}

/// The paths of all settings below the struct `name`.
fn settings(structs: &BTreeMap<String, Vec<(String, String)>>, name: &str, prefix: &str, out: &mut BTreeSet<String>) {
    for (field, kind) in &structs[name] {
        let path = if prefix.is_empty() { field.clone() } else { format!("{prefix}.{field}") };
        // What has names of the operator's own: each of them has the same settings.
        let named = kind.strip_prefix("BTreeMap<String, ").and_then(|rest| rest.strip_suffix('>')).filter(|inner| structs.contains_key(*inner));
        if let Some(inner) = named {
            settings(structs, inner, &format!("{path}.*"), out);
            continue;
        }
        let inner = ["Option<", "Vec<"].iter().find_map(|wrapper| kind.strip_prefix(wrapper)?.strip_suffix('>')).unwrap_or(kind);
        if structs.contains_key(inner) {
            settings(structs, inner, &path, out);
        } else {
            out.insert(path);
        }
    }
}

/// The paths of all keys in `table`, down to what is known as a setting.
fn keys(table: &Table, prefix: &str, known: &BTreeSet<String>, out: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            _ if known.contains(&path) => drop(out.insert(path)),
            Value::Table(inner) if known.iter().any(|name| name.starts_with(&format!("{prefix}.*."))) => {
                keys(inner, &format!("{prefix}.*"), known, out);
            }
            Value::Table(inner) => keys(inner, &path, known, out),
            Value::Array(list) => list.iter().filter_map(Value::as_table).for_each(|inner| keys(inner, &path, known, out)),
            _ => {}
        }
    }
}
