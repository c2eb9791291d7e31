//! No compiler checks SQL, so every statement is prepared on both databases.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

use super::Fixture;
use crate::store;
use crate::testing::Backend;

/// A file of the store, and its statements with their names.
type Statements = (&'static str, &'static [(&'static str, &'static str)]);

/// The files that have statements, and these.
pub(super) const ALL: &[Statements] = &[
    ("address", store::address::STATEMENTS),
    ("api_key", store::api_key::STATEMENTS),
    ("callback", store::callback::STATEMENTS),
    ("customer", store::customer::STATEMENTS),
    ("delivery", store::delivery::STATEMENTS),
    ("event", store::event::STATEMENTS),
    ("idempotency", store::idempotency::STATEMENTS),
    ("identity", store::identity::STATEMENTS),
    ("job", store::job::STATEMENTS),
    ("limit", store::limit::STATEMENTS),
    ("mod", store::STATEMENTS),
    ("password_reset", store::password_reset::STATEMENTS),
    ("sequence", store::sequence::STATEMENTS),
    ("session", store::session::STATEMENTS),
    ("signing_key", store::signing_key::STATEMENTS),
    ("template", store::template::STATEMENTS),
    ("tenant", store::tenant::STATEMENTS),
    ("user", store::user::STATEMENTS),
    ("webhook", store::webhook::STATEMENTS),
];
const POSTGRES_ONLY: &[Statements] =
    &[("delivery", store::delivery::POSTGRES_ONLY), ("event", store::event::POSTGRES_ONLY), ("job", store::job::POSTGRES_ONLY)];

/// The files of the store that contain `text`.
fn files_with(text: &str) -> BTreeSet<String> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")).unwrap().map(|entry| entry.unwrap().path());
    let files = folder.filter(|path| path.is_file() && std::fs::read_to_string(path).unwrap().contains(text));
    files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

fn names(list: &[Statements]) -> BTreeSet<String> {
    list.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn no_file_with_statements_is_forgotten() {
    assert_eq!(files_with("\nstatements! {"), names(ALL));
    assert_eq!(files_with("const POSTGRES_ONLY"), names(POSTGRES_ONLY));
}

#[tokio::test]
async fn sqlite_prepares_every_statement() {
    let f = Fixture::create(Backend::Sqlite).await;
    let connection = rusqlite::Connection::open(f.database.url().strip_prefix("sqlite://").unwrap()).unwrap();
    for (file, sql) in ALL.iter().flat_map(|(file, list)| list.iter().map(move |(_, sql)| (file, sql))) {
        let statement = connection.prepare(sql).unwrap_or_else(|e| panic!("{file}: {sql}\n{e}"));
        // Values are bound by the number in the name, so each must be `$` and a number.
        for index in 1..=statement.parameter_count() {
            let name = statement.parameter_name(index).unwrap_or_else(|| panic!("{file}: {sql}: a parameter without a name"));
            assert!(name.strip_prefix('$').is_some_and(|number| number.parse::<usize>().is_ok()), "{file}: {sql}: {name}");
        }
    }
}

#[tokio::test]
async fn postgres_prepares_every_statement() {
    let f = Fixture::create(Backend::Postgres).await;
    let (client, connection) = tokio_postgres::connect(f.database.url(), NoTls).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    for (file, sql) in ALL.iter().chain(POSTGRES_ONLY).flat_map(|(file, list)| list.iter().map(move |(_, sql)| (file, sql))) {
        let statement = client.prepare(sql).await.unwrap_or_else(|e| panic!("{file}: {sql}\n{e:?}"));
        // What `Val` can bind and `Row` can read. Another type would be refused only when the statement runs.
        for kind in statement.params() {
            assert!([Type::INT8, Type::TEXT, Type::BYTEA].contains(kind), "{file}: {sql}: {kind}");
        }
        for kind in statement.columns().iter().map(tokio_postgres::Column::type_) {
            assert!([Type::INT8, Type::TEXT, Type::BYTEA, Type::BOOL].contains(kind), "{file}: {sql}: {kind}");
        }
    }
    drop(client);
    f.database.remove().await.unwrap();
}
