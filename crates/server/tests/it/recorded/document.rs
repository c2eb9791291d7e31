//! `docs/differences.md`, written from the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::differences::{DIFFERENCES, FORESEEN, NOT_BUILT};
use super::fixture::{Case, cases};

const INTRODUCTION: &str = "# Differences from Medusa 2.21.2

Generated from `crates/server/tests/it/recorded/differences.rs`; `UPDATE_DOCS=1` on the test `recorded::document::the_paper_is_fresh` writes it anew.

Real answers of a running Medusa were recorded, and are sent again to Vestibule by the test `recorded::every_recorded_answer_is_ours_or_in_the_table`,
in their order and on both databases. Status, type, CORS headers, body, claims of tokens and events are the recorded ones, or as this page says.
The shop of the test has the settings that restore Medusa's answers where Vestibule is stricter by default:

```toml
[tenants.passwords]
min_length = 1
revoke_sessions_on_change = false
[tenants.customers]
email_must_match_identity = false
[tenants.limits]
enabled = false
```

Its tokens are signed with HS256. The secret is a longer one than the recorded one, which the program refuses, because everybody knows it.

## In every answer

- A **401** whose message is exactly `Unauthorized` is plain text unless `Accept` names JSON, varies by `Accept`, and names `Bearer` in `WWW-Authenticate`.
- A **404** for a path or a method that does not exist is JSON, not a page.
- Refusals of a body, and 404s under `/store`, `/auth` and `/admin`, carry the CORS headers, so that a script can read them.
- Scripts may read `Idempotency-Key`, `Idempotency-Replayed`, `Retry-After` and `WWW-Authenticate`.
- A `POST` heeds its `Idempotency-Key`, which Medusa does not read; see [api.md](api.md#sending-again).
- A token has the recorded claims, and `iss`, `aud`, `jti` and `sid`. It needs its `exp`, and is good with the shop's own algorithm alone.
- The cookie of a session is `__Host-vestibule`, and lives as long as the session. Signing out ends the session with its tokens, so the replay signs in anew after it.
- There are further events: `auth.password_updated`, `auth.signed_in`, `auth.session_ended`, `auth.sign_in_failed`, `auth.identity_linked`, `auth.identity_unlinked`.
- A preflight of a path that is there is answered as recorded, and one of a path that is not is a 404 (under `/store` without the key 400, under `/admin` without credentials 401).

## In single cases

What differs from run to run is masked. Times, ids and tokens stand in angle brackets.

| Case | For example | Medusa | Vestibule | Why |
|---|---|---|---|---|
";

/// Text in a cell of a table, shortened.
fn cell(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let short: String = text.chars().take(200).collect();
    let more = if short.len() < text.len() { " …" } else { "" };
    if text.is_empty() { String::new() } else { format!(" `{short}`{more}") }
}

fn counts(out: &mut String, cases: &[Case]) {
    out.push_str("\n## How many\n\n| Group | Recorded answers | The same | Others on purpose | Not there yet |\n|---|---|---|---|---|\n");
    let mut groups: Vec<&str> = cases.iter().map(|case| case.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let recorded: Vec<&str> = cases.iter().filter(|case| case.group == group && case.response.is_some()).map(|case| case.id.as_str()).collect();
        let among = |listed: &[&str]| recorded.iter().filter(|id| listed.contains(id)).count();
        let differ: usize = DIFFERENCES.iter().map(|difference| among(difference.ids)).sum();
        let missing: usize = NOT_BUILT.iter().map(|(_, ids)| among(ids)).sum();
        writeln!(out, "| {group} | {} | {} | {differ} | {missing} |", recorded.len(), recorded.len() - differ - missing).unwrap();
    }
}

fn written(cases: &[Case]) -> String {
    let by_id: BTreeMap<&str, &Case> = cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let mut out = INTRODUCTION.to_owned();
    for difference in DIFFERENCES {
        let ids: Vec<String> = difference.ids.iter().map(|id| format!("`{id}`")).collect();
        let first = by_id[difference.ids[0]];
        let recorded = first.response.as_ref().unwrap();
        let ours = serde_json::from_str(difference.body).unwrap_or_else(|_| Value::from(difference.body));
        let claims = if difference.claims.is_empty() { String::new() } else { format!(", claims `{}`", difference.claims) };
        writeln!(
            out,
            "| {} | `{}` | {}{} | {}{}{claims} | {} |",
            ids.join("<br>"),
            first.line(),
            recorded.status,
            cell(&recorded.body),
            difference.status,
            cell(&ours),
            difference.why
        )
        .unwrap();
    }
    out += "\n## In cases whose recorded answer is not at hand\n\nThe test sends them and holds our status.\n\n| Case | For example | Vestibule | Why |\n|---|---|---|---|\n";
    for (ids, status, why) in FORESEEN {
        let names: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
        writeln!(out, "| {} | `{}` | {status} | {why} |", names.join("<br>"), by_id[ids[0]].line()).unwrap();
    }
    counts(&mut out, cases);
    out += "\n## Not there yet\n\n| What | Cases |\n|---|---|\n";
    for (what, ids) in NOT_BUILT {
        let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
        writeln!(out, "| {what} | {} |", ids.join(", ")).unwrap();
    }
    out
}

#[test]
fn the_paper_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/differences.md");
    let written = written(&cases());
    #[expect(clippy::disallowed_methods, reason = "tests are configured by their environment")]
    if std::env::var("UPDATE_DOCS").is_ok_and(|v| v == "1") {
        std::fs::write(&path, &written).unwrap();
    }
    let standing = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(standing == written, "docs/differences.md is stale: run this test with UPDATE_DOCS=1");
}

#[test]
fn a_case_stands_in_one_list_and_was_recorded() {
    let cases = cases();
    let recorded: BTreeSet<&str> = cases.iter().filter(|case| case.response.is_some()).map(|case| case.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    for id in DIFFERENCES.iter().flat_map(|difference| difference.ids).chain(NOT_BUILT.iter().flat_map(|(_, ids)| *ids)) {
        assert!(recorded.contains(id), "{id} was not recorded");
        assert!(seen.insert(*id), "{id} is there twice");
    }
    let sent: BTreeSet<&str> = cases.iter().filter(|case| case.response.is_none()).map(|case| case.id.as_str()).collect();
    for id in FORESEEN.iter().flat_map(|(ids, ..)| *ids) {
        assert!(sent.contains(id), "{id} has an answer to compare, or is not sent");
        assert!(seen.insert(*id), "{id} is there twice");
    }
}
