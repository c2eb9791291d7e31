//! No compiler checks SQL, so every statement is prepared on both databases.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

use super::Fixture;
use crate::store;
use crate::testing::Backend;

/// The files that have statements, and these.
const ALL: &[(&str, &[&str])] = &[
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
const POSTGRES_ONLY: &[(&str, &[&str])] =
    &[("delivery", store::delivery::POSTGRES_ONLY), ("event", store::event::POSTGRES_ONLY), ("job", store::job::POSTGRES_ONLY)];

/// The files of the store that contain `text`.
fn files_with(text: &str) -> BTreeSet<String> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")).unwrap().map(|entry| entry.unwrap().path());
    let files = folder.filter(|path| path.is_file() && std::fs::read_to_string(path).unwrap().contains(text));
    files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

fn names(list: &[(&str, &[&str])]) -> BTreeSet<String> {
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
    for (file, sql) in ALL.iter().flat_map(|(file, list)| list.iter().map(move |sql| (file, sql))) {
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
    for (file, sql) in ALL.iter().chain(POSTGRES_ONLY).flat_map(|(file, list)| list.iter().map(move |sql| (file, sql))) {
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

/// The statements that list and count customers.
fn lists() -> Vec<&'static str> {
    let listing =
        |sql: &&&str| sql.starts_with("SELECT") && (sql.contains("LIMIT") || sql.contains("customer_counts")) && sql.contains("FROM customer");
    store::customer::STATEMENTS.iter().filter(listing).copied().collect()
}

#[tokio::test]
async fn sqlite_lists_customers_by_an_index() {
    let f = Fixture::create(Backend::Sqlite).await;
    let connection = rusqlite::Connection::open(f.database.url().strip_prefix("sqlite://").unwrap()).unwrap();
    assert_eq!(lists().len(), 5, "{:?}", lists());
    for sql in lists() {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let (mut rows, mut steps) = (explained.raw_query(), Vec::new());
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        let steps = steps.join("; ");
        assert!(steps.contains("SEARCH customer") && !steps.contains("SCAN customer") && !steps.contains("TEMP B-TREE"), "{sql}: {steps}");
    }
}

#[tokio::test]
async fn postgres_lists_customers_by_an_index() {
    let f = Fixture::create(Backend::Postgres).await;
    let (client, connection) = tokio_postgres::connect(f.database.url(), NoTls).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let many = "INSERT INTO customers (tenant_id, id, email_key, has_account, created_at, updated_at)
        SELECT t.id, LPAD(n::text, 26, '0'), n || '@x.test', 1, 1, 1 FROM tenants t, generate_series(1, 20000) AS n";
    client.batch_execute(&format!("{many}; ANALYZE customers")).await.unwrap();
    for sql in lists() {
        let bound =
            ["'t'", "'0'", "'9'", "50", "0"].iter().enumerate().fold(sql.to_owned(), |sql, (at, value)| sql.replace(&format!("${}", at + 1), value));
        let rows = client.query(&format!("EXPLAIN {bound}"), &[]).await.unwrap();
        let plan = rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("; ");
        assert!(plan.contains("Index") && !plan.contains("Seq Scan on customers") && !plan.contains("Sort"), "{sql}: {plan}");
    }
    drop(client);
    f.database.remove().await.unwrap();
}
