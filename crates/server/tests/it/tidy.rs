//! The rules of the house that no compiler knows. Each test reads the source tree; `source.rs` tells code from text.
//!
//! An exception is a line in one of the lists below. The lists may only shrink: an exception that is no longer needed fails its test.

pub mod source;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use source::{Function, Source, bracketed, closing, files, line_at, names, schema, split_outside_brackets, sql_statements, words};

const LINES_OF_A_FUNCTION: usize = 70;
const LINES_OF_A_FILE: usize = 500;

/// `path::function` and the lines it may have.
const LONG_FUNCTIONS: &[(&str, usize)] = &[];
/// Path and the lines it may have.
const LONG_FILES: &[(&str, usize)] = &[];

const DRIVERS: &[&str] = &["rusqlite", "tokio_postgres", "deadpool_postgres"];
/// Files outside `store/` that may name a driver.
const DRIVER_USERS: &[&str] = &[];

/// The tables that belong to no tenant.
const SHARED_TABLES: &[&str] = &["tenants", "tenant_hosts", "schema_migrations", "store_state"];
/// SQL that names a tenant's table and no `tenant_id`: the file and a piece of the statement. Only what the dispatcher asks belongs here:
/// how much waits.
const CROSS_TENANT_SQL: &[(&str, &str)] = &[
    ("crates/engine/src/store/delivery.rs", "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting'"),
    ("crates/engine/src/store/job.rs", "SELECT COUNT(*) FROM jobs"),
];
/// Keys and indexes that do not begin with `tenant_id`, besides due indexes `(due_at, tenant_id, …)`: a piece of the statement.
const CROSS_TENANT_KEYS: &[&str] = &[];

/// Functions of `store` over a transaction that no contract test names: `file_stem::function`.
const WITHOUT_CONTRACT: &[&str] = &[];

/// The rooms, and which others each may use. ARCHITECTURE.md draws them.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("model", &["error", "crypto"]),
    ("config", &["model"]),
    ("ports", &["error", "model"]),
    ("crypto", &["error", "model"]),
    ("provider", &["error", "model", "ports", "crypto"]),
    ("notify", &["error", "model", "ports"]),
    ("store", &["error", "model", "ports"]),
    ("limits", &["error", "model", "ports", "store"]),
    ("ops", &["error", "model", "config", "ports", "crypto", "provider", "store", "limits"]),
    ("outbox", &["error", "model", "ports", "notify", "store", "ops"]),
    ("server", &["error", "model", "config", "ports", "crypto", "provider", "notify", "ops", "outbox"]),
];

/// Whether `file` belongs to `room`: the server, or a folder or file of the engine.
fn is_in(file: &Source, room: &str) -> bool {
    if room == "server" {
        return file.path.starts_with("crates/server/src/");
    }
    file.path.strip_prefix("crates/engine/src/").is_some_and(|path| path.starts_with(&format!("{room}/")) || path == format!("{room}.rs"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &str) -> io::Result<Vec<Source>> {
    Ok(files(&root(), folder, ".rs")?.iter().map(|(path, text)| Source::new(path, text)).collect())
}

fn migrations(database: &str) -> io::Result<Vec<(String, String)>> {
    files(&root(), &format!("crates/engine/migrations/{database}"), ".sql")
}

/// The SQL layer without its tests.
fn store() -> io::Result<Vec<Source>> {
    Ok(sources("crates/engine/src/store")?.into_iter().filter(|file| !file.is_test()).collect())
}

fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

/// Faults for what is over `limit` or over its exception, and for exceptions that are no longer needed.
fn too_long(found: &[(String, usize)], limit: usize, exceptions: &[(&str, usize)]) -> Vec<String> {
    let allowed = |name: &str| exceptions.iter().find(|(known, _)| *known == name).map_or(limit, |&(_, lines)| lines.max(limit));
    let mut faults: Vec<String> =
        found.iter().filter(|(name, lines)| *lines > allowed(name)).map(|(name, lines)| format!("{name}: {lines} lines")).collect();
    let needed = |name: &str| found.iter().any(|(known, lines)| known == name && *lines > limit);
    faults.extend(exceptions.iter().filter(|(name, _)| !needed(name)).map(|(name, _)| format!("{name}: take it off the list of exceptions")));
    faults
}

/// Splits `found` into faults and excepted ones; an exception that excuses nothing is a fault too.
fn beyond<'a>(found: &'a [String], exceptions: &[&'a str]) -> Vec<String> {
    let mut faults: Vec<String> = found.iter().filter(|fault| !exceptions.iter().any(|known| fault.contains(known))).cloned().collect();
    let idle = exceptions.iter().filter(|known| !found.iter().any(|fault| fault.contains(*known)));
    faults.extend(idle.map(|known| format!("{known}: take it off the list of exceptions")));
    faults
}

/// Where a file uses the module `module` of either crate, as a path or by `use`.
fn uses(file: &Source, module: &str) -> Vec<String> {
    let reaches = |path: &str| {
        let mut segments = path.split("::").skip_while(|part| matches!(*part, "crate" | "self" | "super" | "vestibule_engine" | "engine"));
        segments.next() == Some(module)
    };
    file.paths().into_iter().filter(|(_, path)| reaches(path)).map(|(line, path)| format!("{}:{line}: {path}", file.path)).collect()
}

/// SQL in the strings of `file` that names a table of a tenant and not `tenant_id`.
fn sql_without_tenant(file: &Source, tables: &BTreeSet<String>) -> Vec<String> {
    let is_sql = |text: &str| ["SELECT", "INSERT", "UPDATE", "DELETE", "FROM", "INTO", "JOIN"].iter().any(|word| names(text, word));
    let unsafe_sql = |text: &str| is_sql(text) && !names(text, "tenant_id") && words(text).iter().any(|(_, word)| tables.contains(*word));
    let found = file.strings.iter().filter(|literal| unsafe_sql(&literal.text));
    found.map(|literal| format!("{}:{}: {}", file.path, literal.line, literal.text.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

/// Keys and indexes of tenants' tables that do not begin with `tenant_id`.
fn keys_without_tenant(sql: &str) -> Vec<String> {
    let shared = |statement: &str| words(statement).iter().any(|(_, word)| SHARED_TABLES.contains(word));
    let mut found = Vec::new();
    for statement in sql_statements(sql).into_iter().filter(|statement| statement.starts_with("CREATE ")) {
        let head = statement.split('(').next().unwrap_or_default();
        if shared(head) {
            continue;
        }
        let inner = split_outside_brackets(bracketed(&statement));
        if names(head, "TABLE") {
            let keyed = inner.iter().any(|part| part.contains("PRIMARY KEY") && bracketed(part).starts_with("tenant_id"));
            let loose = inner.iter().any(|part| names(part, "UNIQUE") && !bracketed(part).starts_with("tenant_id"));
            if !keyed || loose {
                found.push(statement.clone());
            }
        } else if names(head, "INDEX") && !matches!(inner.as_slice(), ["tenant_id", ..] | ["due_at", "tenant_id", ..]) {
            found.push(statement.clone());
        }
    }
    found
}

/// The variants of `enum {name}` in `file`.
fn variants(file: &Source, name: &str) -> Vec<String> {
    let Some(start) = file.code.find(&format!("enum {name} ")) else { return Vec::new() };
    let Some(open) = file.code.get(start..).and_then(|rest| rest.find('{')).map(|at| start + at) else { return Vec::new() };
    let body = closing(&file.code, open).and_then(|end| file.code.get(open + 1..end)).unwrap_or_default();
    let first_word = |part: &str| words(part.rsplit(']').next().unwrap_or_default()).first().map(|&(_, word)| word.to_owned());
    split_outside_brackets(body).into_iter().filter_map(first_word).collect()
}

fn needs_contract(function: &Function) -> bool {
    function.public && ["&mut Tx", "&mut Reader"].iter().any(|kind| function.signature.contains(kind))
}

/// Whether `contract` names `stem::name`, or `name` alone in the file of the same noun.
fn has_contract(contract: &[Source], stem: &str, name: &str) -> bool {
    let full = format!("{stem}::{name}");
    contract.iter().any(|file| file.paths().iter().any(|(_, path)| path == &full || path.ends_with(&format!("::{full}"))))
        || contract.iter().any(|file| file.stem() == stem && names(&file.code, name))
}

/// `#[allow(…)]` outside tests.
fn allows(file: &Source) -> Vec<String> {
    let places = ["#[allow(", "#![allow("].into_iter().flat_map(|pattern| file.code.match_indices(pattern));
    let lines = places.map(|(at, _)| line_at(&file.code, at)).filter(|&line| !file.is_test() && line < file.first_test_line());
    lines.map(|line| format!("{}:{line}", file.path)).collect()
}

#[test]
fn no_function_is_too_long() {
    let files = sources("crates").unwrap();
    assert!(files.len() > 5, "the source tree was not found");
    let functions = files.iter().flat_map(|file| file.functions().into_iter().map(|f| (format!("{}::{}", file.path, f.name), f.lines)));
    let found: Vec<_> = functions.collect();
    assert!(found.len() > 20, "no functions were found");
    assert_none("functions above 70 lines:", &too_long(&found, LINES_OF_A_FUNCTION, LONG_FUNCTIONS));
}

#[test]
fn no_file_is_too_long() {
    let found: Vec<_> = sources("crates").unwrap().iter().map(|file| (file.path.clone(), file.text.lines().count())).collect();
    assert_none("files above 500 lines:", &too_long(&found, LINES_OF_A_FILE, LONG_FILES));
}

#[test]
fn only_the_store_names_a_database_driver() {
    let outside = sources("crates").unwrap().into_iter().filter(|file| !file.path.starts_with("crates/engine/src/store/"));
    let found: Vec<String> = outside
        .flat_map(|file| {
            DRIVERS.iter().filter(|driver| names(&file.code, driver)).map(|driver| format!("{}: {driver}", file.path)).collect::<Vec<_>>()
        })
        .collect();
    assert_none("database drivers outside crates/engine/src/store/:", &beyond(&found, DRIVER_USERS));
}

#[test]
fn sql_over_a_tenants_table_names_the_tenant() {
    let tables: BTreeSet<String> =
        schema(&migrations("sqlite").unwrap()).into_keys().filter(|table| !SHARED_TABLES.contains(&table.as_str())).collect();
    assert!(!tables.is_empty(), "no tables were found in the migrations");
    let files = store().unwrap();
    assert!(files.iter().any(|file| file.strings.iter().any(|text| names(&text.text, "tenant_id"))), "no SQL was found in the store");
    let found: Vec<String> = files.iter().flat_map(|file| sql_without_tenant(file, &tables)).collect();
    let excepted = |fault: &String| CROSS_TENANT_SQL.iter().any(|(path, piece)| fault.starts_with(path) && fault.contains(piece));
    let idle = CROSS_TENANT_SQL.iter().filter(|(path, piece)| !found.iter().any(|f| f.starts_with(path) && f.contains(piece)));
    let mut faults: Vec<String> = found.iter().filter(|fault| !excepted(fault)).cloned().collect();
    faults.extend(idle.map(|(path, piece)| format!("{path}: {piece}: take it off the list of exceptions")));
    assert_none("SQL that names a tenant's table and no tenant_id:", &faults);
}

#[test]
fn keys_and_indexes_begin_with_the_tenant() {
    let all = [migrations("sqlite").unwrap(), migrations("postgres").unwrap()].concat();
    let found: Vec<String> = all.iter().flat_map(|(_, sql)| keys_without_tenant(sql)).collect();
    assert_none("keys that do not begin with tenant_id:", &beyond(&found, CROSS_TENANT_KEYS));
}

#[test]
fn nobody_uses_what_is_not_his() {
    let mut all = sources("crates/engine/src").unwrap();
    all.extend(sources("crates/server/src").unwrap());
    let mut faults = Vec::new();
    for (room, may_use) in ROOMS {
        let files: Vec<&Source> = all.iter().filter(|file| is_in(file, room)).collect();
        assert!(!files.is_empty(), "{room} was not found");
        let others = ROOMS.iter().map(|(other, _)| *other).filter(|other| other != room && !may_use.contains(other));
        faults.extend(others.flat_map(|other| files.iter().flat_map(move |file| uses(file, other)).collect::<Vec<_>>()));
    }
    assert_none("uses against the order of the rooms:", &faults);
}

#[test]
fn both_databases_have_the_same_tables() {
    let (lite, postgres) = (migrations("sqlite").unwrap(), migrations("postgres").unwrap());
    let file_names = |all: &[(String, String)]| all.iter().filter_map(|(path, _)| path.rsplit('/').next().map(str::to_owned)).collect::<Vec<_>>();
    assert!(!lite.is_empty(), "no migrations were found");
    assert_eq!(file_names(&lite), file_names(&postgres), "the names of the migrations differ");
    assert_eq!(schema(&lite), schema(&postgres), "the tables differ: SQLite left, PostgreSQL right");
}

#[test]
fn every_code_is_described() {
    let file = "crates/engine/src/error.rs";
    let errors = Source::new(file, &std::fs::read_to_string(root().join(file)).unwrap());
    let codes = variants(&errors, "Code");
    assert!(codes.len() > 3, "the codes were not found: {codes:?}");
    let described = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let missing: Vec<String> = codes.into_iter().filter(|code| !described.contains(&format!("`{code}`"))).collect();
    assert_none("codes that docs/errors.md does not name in backticks:", &missing);
}

#[test]
fn every_function_of_the_store_has_a_contract_test() {
    let contract = sources("crates/engine/src/store/contract").unwrap();
    assert!(!contract.is_empty(), "store/contract/ was not found");
    let mut missing = Vec::new();
    let mut seen = 0;
    for file in store().unwrap().iter().filter(|file| file.stem() != "mod") {
        for function in file.functions().iter().filter(|function| needs_contract(function)) {
            seen += 1;
            if !has_contract(&contract, file.stem(), &function.name) {
                missing.push(format!("{}::{}", file.stem(), function.name));
            }
        }
    }
    assert!(seen > 0, "no functions of the store were found");
    assert_none("functions of the store without a contract test:", &beyond(&missing, WITHOUT_CONTRACT));
}

#[test]
fn lints_are_expected_not_allowed() {
    let faults: Vec<String> = sources("crates").unwrap().iter().flat_map(allows).collect();
    assert_none("#[allow] outside tests; write #[expect(…, reason = \"…\")]:", &faults);
}

/// The checkers themselves, on small strings.
mod checkers {
    use super::*;

    fn read(text: &str) -> Source {
        Source::new("crates/engine/src/store/thing.rs", text)
    }

    #[test]
    fn text_and_remarks_are_no_code() {
        let file = read("let a = \"x \\\" }\"; // }\nlet b = r#\"\"}\"#; /* { /* */ */ let c = '{'; let d: &'a str = b\"}\"; let e = '\\'';");
        assert!(!file.code.contains(['{', '}']), "{}", file.code);
        assert_eq!(file.code.lines().count(), 2);
        assert_eq!(file.strings.iter().map(|s| s.line).collect::<Vec<_>>(), [1, 2, 2]);
        assert!(file.code.contains("&'a str"));
    }

    #[test]
    fn functions_are_measured_from_fn_to_the_last_brace() {
        let file = read(
            "pub(crate) async fn one(\n    tx: &mut Tx,\n) -> [u8; 4] {\n    \"}\"\n}\ntrait T { fn none(&self); }\nfn two() {}\ntype F = fn(u8) -> u8;",
        );
        let found: Vec<_> = file.functions().into_iter().map(|f| (f.name.clone(), f.lines, f.public, needs_contract(&f))).collect();
        assert_eq!(found, [("one".to_owned(), 5, true, true), ("two".to_owned(), 1, false, false)]);
    }

    #[test]
    fn exceptions_may_only_shrink() {
        let found = [("a".to_owned(), 71), ("b".to_owned(), 90), ("c".to_owned(), 3)];
        assert_eq!(too_long(&found, 70, &[("b", 95)]), ["a: 71 lines"]);
        assert_eq!(too_long(&found, 70, &[("a", 71), ("b", 89)]), ["b: 90 lines"]);
        assert_eq!(too_long(&found, 70, &[("a", 71), ("b", 90), ("c", 99)]), ["c: take it off the list of exceptions"]);
        assert_eq!(beyond(&["x: rusqlite".to_owned()], &["x", "y"]), ["y: take it off the list of exceptions"]);
    }

    #[test]
    fn a_use_is_seen_however_it_is_spelled() {
        for text in [
            "use crate::store::Db;",
            "use crate::{\n  error::Error,\n  store::{self, Db as D},\n};",
            "fn f() { super::super::store::x(); }",
            "use vestibule_engine::store as s;",
        ] {
            assert!(!uses(&read(text), "store").is_empty(), "{text}");
        }
        for text in ["// crate::store::Db", "use crate::keystore::store;", "let store = 1; store.x();", "f(\"crate::store::x\")", "api::store::x()"] {
            assert!(uses(&read(text), "store").is_empty(), "{text}");
        }
    }

    #[test]
    fn sql_without_its_tenant_is_seen() {
        let tables = BTreeSet::from(["customers".to_owned()]);
        assert_eq!(sql_without_tenant(&read("const SQL: &str = \"SELECT 1\n FROM customers WHERE id = $1\";"), &tables).len(), 1);
        assert!(
            sql_without_tenant(&read("\"SELECT 1 FROM customers WHERE tenant_id = $1\"; \"no such customers\"; // UPDATE customers"), &tables)
                .is_empty()
        );
    }

    #[test]
    fn migrations_are_read_to_their_end() {
        let first = "CREATE TABLE a (\n tenant_id TEXT NOT NULL, -- a, b\n n NUMERIC(1, 2) DEFAULT ',x',\n PRIMARY KEY (tenant_id, n)\n) STRICT; CREATE TABLE IF NOT EXISTS b(x TEXT);";
        let second = "ALTER TABLE a ADD COLUMN c TEXT; DROP TABLE b; ALTER TABLE a RENAME TO d;";
        let found = schema(&[(String::new(), first.to_owned()), (String::new(), second.to_owned())]);
        let columns = ["c", "n", "tenant_id"].map(str::to_owned);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("d".to_owned(), BTreeSet::from(columns))]);
    }

    #[test]
    fn keys_without_their_tenant_are_seen() {
        assert!(
            keys_without_tenant("CREATE TABLE a (tenant_id TEXT, id TEXT, PRIMARY KEY (tenant_id, id)); CREATE TABLE tenants (id TEXT PRIMARY KEY);")
                .is_empty()
        );
        assert!(
            keys_without_tenant("CREATE INDEX i ON jobs (due_at, tenant_id, id) WHERE x = 1; CREATE UNIQUE INDEX j ON jobs (tenant_id, k);")
                .is_empty()
        );
        assert_eq!(keys_without_tenant("CREATE TABLE a (id TEXT PRIMARY KEY); CREATE INDEX i ON a (k, tenant_id); CREATE TABLE b (tenant_id TEXT, k TEXT UNIQUE, PRIMARY KEY (tenant_id, k));").len(), 3);
    }

    #[test]
    fn codes_and_contracts_are_found() {
        let file = read("pub enum Code {\n /// One, Two\n #[a(b, c)]\n One,\n Two(u8, u8),\n Three { a: u8 },\n}");
        assert_eq!(variants(&file, "Code"), ["One", "Two", "Three"]);
        let contract = [
            Source::new("store/contract/other.rs", "fn t() { store::thing::consume(tx); }"),
            Source::new("store/contract/thing.rs", "fn t() { find(tx) }"),
        ];
        assert!(has_contract(&contract, "thing", "consume") && has_contract(&contract, "thing", "find"));
        assert!(!has_contract(&contract, "thing", "insert") && !has_contract(&contract, "another", "find"));
    }

    #[test]
    fn an_allowed_lint_is_seen_outside_tests() {
        assert_eq!(allows(&read("#[allow(dead_code)]\nfn a() {}\n// #[allow(x)]\n#[cfg(test)]\nmod tests { #[allow(y)] fn b() {} }")).len(), 1);
        assert!(allows(&Source::new("crates/server/tests/it/a.rs", "#![allow(x)]")).is_empty());
    }
}
