//! Pages that repeat what the code says: they are held to it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vestibule_engine::model::account::{Account, Login, Outcome, decide};
use vestibule_engine::model::tenant::{Limits, SameAddress};

use super::tidy::source::{Source, files};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The cells of the table rows of a page whose first cell is `` `name` ``.
fn rows<'p>(page: &'p str, name: &str) -> Vec<Vec<&'p str>> {
    let cells = |line: &'p str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    page.lines().filter(|line| line.starts_with("| ")).map(cells).filter(|row| row.first() == Some(&format!("`{name}`").as_str())).collect()
}

/// The words between single backticks, outside fenced blocks.
fn quoted(page: &str) -> Vec<&str> {
    page.split("\n```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

/// Whether the page has `table` between `<!-- name -->` and `<!-- /name -->`. With `UPDATE_DOCS` it is written there.
pub fn assert_generated(path: &str, name: &str, table: &str) {
    let (start, end, text) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"), page(path));
    let (before, rest) = text.split_once(&start).unwrap();
    let (shown, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(path), format!("{before}{start}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(shown, table, "UPDATE_DOCS=1 on this test writes it anew");
}

/// The pages that speak of the source tree.
fn pages() -> Vec<(String, String)> {
    let mut all = files(&root(), "docs", ".md").unwrap();
    all.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| (name.to_owned(), page(name))));
    all
}

/// The table of `decide`, as `docs/providers.md` shows it.
fn decisions() -> String {
    let mut table =
        "| login | address at the provider | account with the address | `ask` | `auto` | `never` |\n|---|---|---|---|---|---|\n".to_owned();
    let said = |login, proven, account, policy| match decide(login, proven, account, policy) {
        Outcome::SignIn => "signed in",
        Outcome::Stranger { account_exists: false } => "a login of its own",
        Outcome::Stranger { account_exists: true } => "a login of its own, `account_exists`",
        Outcome::Join => "linked",
    };
    for (login, what) in [(Login::Unknown, "unknown"), (Login::OfNobody, "known, without a customer"), (Login::OfCustomer, "known, with a customer")]
    {
        for (proven, address) in [(false, "not proven"), (true, "proven")] {
            for (account, whose) in [(Account::None, "none"), (Account::Unproven, "not proven"), (Account::Proven, "proven")] {
                let cells = [SameAddress::Ask, SameAddress::Auto, SameAddress::Never].map(|policy| said(login, proven, account, policy));
                writeln!(table, "| {what} | {address} | {whose} | {} |", cells.join(" | ")).unwrap();
            }
        }
    }
    table
}

#[test]
fn the_providers_page_has_the_table_of_decisions() {
    assert_generated("docs/providers.md", "decisions", &decisions());
}

#[test]
fn the_api_page_has_every_limit_with_its_default() {
    let page = page("docs/api.md");
    let Value::Object(defaults) = serde_json::to_value(Limits::default()).unwrap() else { panic!("the limits are no object") };
    assert!(defaults.len() > 5);
    for (name, default) in defaults.iter().filter(|(name, _)| *name != "enabled") {
        let row = rows(&page, name);
        assert_eq!(row.len(), 1, "docs/api.md has one row for {name}");
        assert_eq!(row[0][1], default.to_string(), "{name}");
    }
}

#[test]
fn every_route_is_on_the_api_page() {
    let page = page("docs/api.md");
    let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for route in vestibule::router::ROUTES {
        let path = route.path.replace("{auth_provider}", "{provider}").replace("/t/{slug}", "");
        // What pages link to by themselves.
        let part_of_a_page = ["/account/assets", "/dev/assets", "/dev/inbox/"].iter().any(|start| path.starts_with(start));
        let named = table.iter().any(|row| row.contains(&format!("`{} {path}`", route.method)));
        assert!(named || part_of_a_page, "no table of docs/api.md names {} {path}", route.method);
    }
}

/// A name with three words or more and no path is a test or a function; one that ends in `()` is a function.
#[test]
fn the_functions_that_pages_name_exist() {
    let sources: Vec<Source> = files(&root(), "crates", ".rs").unwrap().iter().map(|(path, text)| Source::new(path, text)).collect();
    let exists =
        |name: &str| sources.iter().any(|file| file.functions().iter().any(|f| f.name == name) || file.text.contains(&format!("fn {name}(")));
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let mut seen = 0;
    for (path, text) in pages() {
        for word in quoted(&text) {
            // The SDK's are not ours.
            let function = word.strip_suffix("()").filter(|name| !name.starts_with("sdk.")).map(|name| name.rsplit("::").next().unwrap_or_default());
            let test = Some(word).filter(|name| plain(name) && name.matches('_').count() >= 3 && path != "docs/api.md");
            let Some(name) = function.or(test) else { continue };
            seen += 1;
            assert!(exists(name), "{path} names `{word}`, which does not exist");
        }
    }
    assert!(seen > 50, "only {seen} names were found");
}

#[test]
fn the_files_that_pages_name_exist() {
    let mut seen = 0;
    for (path, text) in pages() {
        let is_file = |word: &&str| {
            let extension = word.rsplit('.').next().unwrap_or_default();
            word.contains('/') && (word.ends_with('/') || ["rs", "sh", "toml", "sql", "html"].contains(&extension))
        };
        let plain = |word: &&str| !word.starts_with('/') && !word.contains(['{', ' ', ':', '$', '*']) && !word.starts_with("./");
        for word in quoted(&text).into_iter().filter(is_file).filter(plain) {
            seen += 1;
            let places = ["", "crates/engine", "crates/server", "crates/engine/src", "crates/server/src"];
            assert!(places.iter().any(|place| root().join(place).join(word).exists()), "{path} names `{word}`, which does not exist");
        }
    }
    assert!(seen > 20, "only {seen} files were found");
}

/// A block of settings without a file name is a piece of a configuration.
#[test]
fn the_settings_that_pages_show_exist() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vestibule.toml");
    let mut seen = 0;
    for (path, text) in pages() {
        for block in text.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            seen += 1;
            // A whole configuration, whose secrets come from the environment: the page's own test runs it.
            if block.starts_with("[server]") {
                fs::write(&file, block).unwrap();
                let secret = ("VESTIBULE__TENANTS__0__WEBHOOKS__0__SECRET".to_owned(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
                let secrets = block.contains("[[tenants.webhooks]]").then_some(secret).into_iter();
                let loaded = vestibule::config::load(&file, secrets).map(|_| ());
                assert_eq!(loaded, Ok(()), "{path}:\n{block}");
                continue;
            }
            fs::write(&file, format!("[database]\nurl = \"sqlite://x.db\"\n[[tenants]]\nslug = \"acme\"\n{block}\n")).unwrap();
            let judged = vestibule::config::load(&file, std::iter::empty()).map(|config| vestibule::config::judge(&config).errors);
            assert_eq!(judged, Ok(Vec::new()), "{path}:\n{block}");
        }
    }
    assert!(seen > 1, "only {seen} blocks were found");
}

#[test]
fn the_links_of_pages_lead_somewhere() {
    let mut seen = 0;
    for (path, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.starts_with("http")) {
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = if file.is_empty() { root().join(&path) } else { root().join(&path).parent().unwrap().join(file) };
            assert!(place.exists(), "{path} links to {target}, which does not exist");
            let headings = || {
                fs::read_to_string(&place)
                    .unwrap()
                    .lines()
                    .any(|l| l.starts_with('#') && l.to_lowercase().replace(' ', "-").replace('\'', "").ends_with(anchor))
            };
            assert!(anchor.is_empty() || headings(), "{path} links to {target}, which has no such heading");
        }
    }
    assert!(seen > 20, "only {seen} links were found");
}
