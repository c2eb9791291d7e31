//! Each statement is planned over the index that is meant for it. Another one gives the same answer, and walks all that a tenant has.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use super::Fixture;
use super::statements::ALL;
use crate::error::Result;
use crate::store::value::{FromRow, Row, Val};
use crate::testing::Backend;

/// What SQLite does for each statement that does more than find one row by its whole primary key.
const PLANS: &[(&str, &str)] = &[
    ("address OF_CUSTOMER", "SEARCH customer_addresses PRIMARY KEY (tenant_id=? AND customer_id=?)"),
    ("address COUNT", "SEARCH customer_addresses PRIMARY KEY (tenant_id=? AND customer_id=?)"),
    ("address CLEAR_DEFAULT_SHIPPING", "SEARCH customer_addresses customer_addresses_default_shipping (tenant_id=? AND customer_id=?)"),
    ("address CLEAR_DEFAULT_BILLING", "SEARCH customer_addresses customer_addresses_default_billing (tenant_id=? AND customer_id=?)"),
    ("api_key SECRET", "SEARCH api_keys api_keys_by_hash (tenant_id=? AND token_hash=?)"),
    ("api_key LIST", "SEARCH api_keys PRIMARY KEY (tenant_id=?)"),
    (
        "callback SWEEP",
        "SEARCH callback_states PRIMARY KEY (tenant_id=? AND id=?); SEARCH callback_states callback_states_by_end (tenant_id=? AND expires_at<?)",
    ),
    (
        "callback SWEEP_CODES",
        "SEARCH callback_codes PRIMARY KEY (tenant_id=? AND id=?); SEARCH callback_codes callback_codes_by_end (tenant_id=? AND expires_at<?)",
    ),
    (
        "customer BY_SESSION",
        "SEARCH s PRIMARY KEY (tenant_id=? AND id=?); SEARCH c PRIMARY KEY (tenant_id=? AND id=?); SEARCH a PRIMARY KEY (tenant_id=? AND customer_id=?)",
    ),
    (
        "customer BY_LOGIN",
        "SEARCH i PRIMARY KEY (tenant_id=? AND id=?); SEARCH c PRIMARY KEY (tenant_id=? AND id=?); SEARCH a PRIMARY KEY (tenant_id=? AND customer_id=?)",
    ),
    ("customer BY_ADDRESS", "SEARCH customers customers_by_email (tenant_id=? AND email_key=? AND has_account=?)"),
    ("customer OLDEST_FIRST", "SEARCH customers PRIMARY KEY (tenant_id=? AND id>? AND id<?)"),
    ("customer NEWEST_FIRST", "SEARCH customers PRIMARY KEY (tenant_id=? AND id>? AND id<?)"),
    ("customer COUNT_BETWEEN", "SEARCH customers PRIMARY KEY (tenant_id=? AND id>? AND id<?); SCAN found"),
    ("customer ADDRESSES_BETWEEN", "SEARCH customers customers_by_email (tenant_id=? AND email_key>? AND email_key<?)"),
    ("delivery WAITING", "SCAN deliveries deliveries_due"),
    (
        "event SWEEP",
        "SEARCH events PRIMARY KEY (tenant_id=? AND id=?); SEARCH events PRIMARY KEY (tenant_id=? AND id<?); SEARCH deliveries deliveries_by_event (tenant_id=? AND event_id=?)",
    ),
    (
        "idempotency SWEEP",
        "SEARCH idempotency_keys PRIMARY KEY (tenant_id=? AND id=?); SEARCH idempotency_keys idempotency_keys_by_end (tenant_id=? AND expires_at<?)",
    ),
    ("identity BY_KEY", "SEARCH identities identities_by_key (tenant_id=? AND actor_type=? AND provider=? AND issuer=? AND entity_id=?)"),
    ("identity CLAIM_NEWEST_RESET", "SEARCH identities identities_by_key (tenant_id=? AND actor_type=? AND provider=? AND issuer=? AND entity_id=?)"),
    ("identity ADOPT", "SEARCH identities identities_by_key (tenant_id=? AND actor_type=? AND provider=? AND issuer=? AND entity_id=?)"),
    ("identity DISARM", "SEARCH identities identities_by_key (tenant_id=? AND actor_type=? AND provider=? AND issuer=? AND entity_id=?)"),
    ("identity OF_ACTOR", "SEARCH identities identities_by_actor (tenant_id=? AND actor_type=? AND actor_id=?)"),
    ("identity LOCK_ACTOR", "SEARCH identities identities_by_actor (tenant_id=? AND actor_type=? AND actor_id=?)"),
    (
        "identity SWEEP_UNLINKED",
        "SEARCH identities PRIMARY KEY (tenant_id=? AND id=?); SEARCH i identities_unlinked (tenant_id=? AND created_at<?); SEARCH s sessions_by_identity (tenant_id=? AND identity_id=?)",
    ),
    ("identity FOREIGN_HASH", "SEARCH identities identities_foreign (tenant_id=?)"),
    (
        "job DUE",
        "SEARCH jobs jobs_due (tenant_id>?); SCAN holders; SEARCH later jobs_due (tenant_id>?); SCAN holders; SEARCH jobs jobs_due (tenant_id=?)",
    ),
    ("job CLAIM", "SEARCH jobs PRIMARY KEY (tenant_id=? AND id=?); SEARCH jobs jobs_due (tenant_id=? AND due_at<?); SCAN due"),
    ("job WAITING", "SCAN jobs jobs_due"),
    ("limit SWEEP", "SEARCH limits PRIMARY KEY (tenant_id=? AND name=? AND subject=?); SEARCH limits limits_by_end (tenant_id=? AND resets_at<?)"),
    ("password_reset VOID", "SEARCH password_resets password_resets_live (tenant_id=? AND identity_id=?)"),
    ("password_reset GOOD", "SEARCH password_resets password_resets_live (tenant_id=? AND identity_id=?)"),
    (
        "password_reset SWEEP",
        "SEARCH password_resets PRIMARY KEY (tenant_id=? AND id=?); SEARCH password_resets password_resets_by_end (tenant_id=? AND expires_at<?)",
    ),
    ("session OF_IDENTITY", "SEARCH sessions sessions_by_identity (tenant_id=? AND identity_id=?)"),
    ("session BY_COOKIE", "SEARCH sessions sessions_by_cookie (tenant_id=? AND cookie_hash=?)"),
    ("session END_REPLACED", "SEARCH sessions sessions_by_cookie (tenant_id=? AND cookie_hash=?)"),
    ("session END_OTHERS", "SEARCH sessions sessions_by_identity (tenant_id=? AND identity_id=?)"),
    ("session END_ALL", "SEARCH sessions sessions_by_identity (tenant_id=? AND identity_id=?)"),
    ("session SWEEP", "SEARCH sessions PRIMARY KEY (tenant_id=? AND id=?); SEARCH sessions sessions_by_end (tenant_id=? AND expires_at<?)"),
    ("signing_key RETIRE", "SEARCH signing_keys PRIMARY KEY (tenant_id=?)"),
    ("signing_key LIST", "SEARCH signing_keys PRIMARY KEY (tenant_id=?)"),
    ("tenant BY_SLUG", "SEARCH tenants sqlite_autoindex_tenants_2 (slug=?)"),
    ("tenant BY_HOST", "SEARCH h PRIMARY KEY (host=?); SEARCH t PRIMARY KEY (id=?)"),
    ("tenant LIST", "SCAN tenants sqlite_autoindex_tenants_2"),
    ("tenant FIRST", "SCAN tenants sqlite_autoindex_tenants_2"),
    ("tenant HOSTS", "SEARCH tenant_hosts tenant_hosts_by_tenant (tenant_id=?)"),
    ("tenant DELETE_HOSTS", "SEARCH tenant_hosts tenant_hosts_by_tenant (tenant_id=?)"),
    (
        "delivery DUE",
        "SCAN CONSTANT ROW; SEARCH deliveries deliveries_due ((tenant_id,subscriber)>(?,?)); SCAN parties; SEARCH later deliveries_due ((tenant_id,subscriber)>(?,?)); SCAN parties; SEARCH deliveries deliveries_due (tenant_id=? AND subscriber=?)",
    ),
    (
        "delivery CLAIM",
        "SEARCH deliveries PRIMARY KEY (tenant_id=? AND id=?); SEARCH deliveries deliveries_due (tenant_id=? AND subscriber=? AND due_at<?); SCAN due",
    ),
    ("delivery LIST", "SEARCH d PRIMARY KEY (tenant_id=? AND id>? AND id<?); SEARCH e PRIMARY KEY (tenant_id=? AND id=?) LEFT-JOIN"),
    (
        "delivery RETRY",
        "SEARCH deliveries PRIMARY KEY (tenant_id=? AND id=?); SEARCH d PRIMARY KEY (tenant_id=? AND id>? AND id<?); SEARCH e PRIMARY KEY (tenant_id=? AND id=?); SCAN dead",
    ),
    (
        "delivery SWEEP",
        "SEARCH deliveries PRIMARY KEY (tenant_id=? AND id=?); SEARCH deliveries deliveries_done (tenant_id=? AND state=? AND done_at<?)",
    ),
    ("event INSERT", "SEARCH events events_unnumbered (tenant_id=?)"),
    ("event PAGE", "SEARCH events events_by_number (tenant_id=? AND number>? AND number<?)"),
    ("event OF_SUBJECT", "SEARCH events events_by_subject (tenant_id=? AND subject=? AND id>?)"),
    ("delivery REPLAY", "SEARCH events PRIMARY KEY (tenant_id=? AND id=?); SEARCH deliveries deliveries_by_event (tenant_id=? AND event_id=?)"),
    ("delivery OF_EVENT", "SEARCH d deliveries_by_event (tenant_id=? AND event_id=?); SEARCH e PRIMARY KEY (tenant_id=? AND id=?) LEFT-JOIN"),
    ("sequence DUE", "SEARCH events events_unnumbered (tenant_id>?); SCAN holders; SEARCH later events_unnumbered (tenant_id>?); SCAN holders"),
    (
        "sequence NUMBER",
        "SEARCH events events_unnumbered (tenant_id=?); SCAN (subquery-3); SCAN batch; SEARCH events events_unnumbered (tenant_id=? AND place=?)",
    ),
    ("template LIST", "SEARCH templates PRIMARY KEY (tenant_id=?)"),
    ("template OF_MESSAGE", "SEARCH templates PRIMARY KEY (tenant_id=? AND message=?)"),
    ("webhook DISABLED", "SEARCH disabled_webhooks PRIMARY KEY (tenant_id=?)"),
];

/// One step of a plan.
struct Step(String);

impl FromRow for Step {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self(row.get(3)?))
    }
}

/// A plan as `PLANS` has it: what is searched or walked, over which columns of which index, and what is sorted.
fn shown(steps: &[String]) -> String {
    let steps = steps.iter().filter(|step| ["SEARCH ", "SCAN ", "USE "].iter().any(|kind| step.starts_with(kind)));
    steps.map(|step| step.replace("USING ", "").replace("COVERING ", "").replace("INDEX ", "")).collect::<Vec<_>>().join("; ")
}

/// The columns of each table's primary key.
fn primary_keys(connection: &rusqlite::Connection) -> BTreeMap<String, BTreeSet<String>> {
    let sql = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND c.pk > 0";
    let mut keys = BTreeMap::<String, BTreeSet<String>>::new();
    for row in connection.prepare(sql).unwrap().query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap() {
        let (table, column): (String, String) = row.unwrap();
        keys.entry(table).or_default().insert(column);
    }
    keys
}

/// Whether all that is done is to find one row by its whole primary key, or nothing but to insert.
fn is_one_row(steps: &[String], keys: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let [step] = steps else { return steps.is_empty() };
    let Some((table, columns)) = step.strip_prefix("SEARCH ").and_then(|rest| rest.split_once(" USING PRIMARY KEY (")) else { return false };
    let asked = columns.trim_end_matches(')').split(" AND ").filter_map(|column| column.strip_suffix("=?")).map(ToOwned::to_owned).collect();
    keys.get(table) == Some(&asked)
}

fn expected(name: &str) -> Option<&'static str> {
    PLANS.iter().find(|(known, _)| *known == name).map(|(_, plan)| *plan)
}

#[tokio::test]
async fn sqlite_plans_every_statement_over_its_index() {
    let f = Fixture::create(Backend::Sqlite).await;
    let path = f.database.url().strip_prefix("sqlite://").unwrap().to_owned();
    let opened = rusqlite::Connection::open(&path).unwrap();
    let keys = primary_keys(&opened);
    // What a copy that is put back has.
    let copy = tempfile::tempdir().unwrap();
    let copy = copy.path().join("copy.db");
    opened.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let restored = rusqlite::Connection::open(&copy).unwrap();
    let (mut wrong, mut known) = (Vec::new(), 0);
    for (file, name, sql) in ALL.iter().flat_map(|(file, list)| list.iter().map(move |(name, sql)| (file, name, sql))) {
        let explain: &'static str = format!("EXPLAIN QUERY PLAN {sql}").leak();
        let plan = |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare(explain).unwrap();
            statement.raw_query().mapped(|row| row.get(3)).collect::<Result<Vec<String>, _>>().unwrap()
        };
        // The writer is the connection that made the tables.
        let by_writer = commit!(f, |tx| tx.returning_all::<Step>(explain, &vec![Val::Null; 20]).await);
        let name = format!("{file} {name}");
        known += usize::from(expected(&name).is_some());
        for steps in [by_writer.into_iter().map(|step| step.0).collect(), plan(&opened), plan(&restored)] {
            if expected(&name).map_or(!is_one_row(&steps, &keys), |plan| plan != shown(&steps)) {
                wrong.push(format!("(\"{name}\", \"{}\"),", shown(&steps)));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "not planned as PLANS says:\n{}", wrong.join("\n"));
    assert_eq!(known, PLANS.len(), "a plan of no statement");
}

/// Statements with the values that follow the tenant, and the index that PostgreSQL must use.
const POSTGRES: &[(&str, &[&str], &str)] = &[
    ("customer OLDEST_FIRST", &["'00000000000000000000000001'", "'00000000000000000000000500'", "50", "0"], "customers_"),
    ("customer NEWEST_FIRST", &["'00000000000000000000000001'", "'00000000000000000000000500'", "50", "0"], "customers_"),
    ("customer COUNT_BETWEEN", &["'00000000000000000000000001'", "'00000000000000000000000500'", "50"], "customers_"),
    ("customer ADDRESSES_BETWEEN", &["'700'", "'705'", "50"], "customers_by_email"),
    ("identity BY_KEY", &["'customer'", "'emailpass'", "''", "'7@x.test'"], "identities_by_key"),
    ("identity OF_ACTOR", &["'customer'", "'7'"], "identities_by_actor"),
    ("identity LOCK_ACTOR", &["'customer'", "'7'", "1"], "identities_by_actor"),
    ("identity FOREIGN_HASH", &[], "identities_foreign"),
    ("identity SWEEP_UNLINKED", &["1", "1"], "identities_unlinked"),
    ("session OF_IDENTITY", &["'7'", "1", "50"], "sessions_by_identity"),
    ("session END_OTHERS", &["'7'", "'x'", "1"], "sessions_by_identity"),
    ("session END_ALL", &["'7'", "1"], "sessions_by_identity"),
    ("session BY_COOKIE", &["'\\x07'", "1"], "sessions_by_cookie"),
];

/// 20 000 rows of each table for each tenant.
const MANY: &str = "
    INSERT INTO customers (tenant_id, id, email_key, has_account, created_at, updated_at)
        SELECT t.id, LPAD(n::text, 26, '0'), n || '@x.test', 1, 1, 1 FROM tenants t, generate_series(1, 20000) AS n;
    INSERT INTO identities (tenant_id, id, actor_type, provider, issuer, entity_id, address, password_hash, actor_id, created_at, updated_at)
        SELECT t.id, n, 'customer', 'emailpass', '', n || '@x.test', '', '$argon2id$' || n, n, 1, 1 FROM tenants t, generate_series(1, 20000) AS n;
    INSERT INTO sessions (tenant_id, id, identity_id, created_at, expires_at) SELECT t.id, n, n % 9000, 1, 2 FROM tenants t, generate_series(1, 20000) AS n;
    ANALYZE customers, identities, sessions";

#[tokio::test]
async fn postgres_plans_what_a_tenant_has_much_of_over_its_index() {
    let f = Fixture::create(Backend::Postgres).await;
    let (client, connection) = tokio_postgres::connect(f.database.url(), NoTls).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    client.batch_execute(MANY).await.unwrap();
    let tenant = format!("'{}'", f.acme);
    let mut wrong = Vec::new();
    for (name, values, index) in POSTGRES {
        let (file, statement) = name.split_once(' ').unwrap();
        let (_, list) = ALL.iter().find(|(known, _)| *known == file).unwrap();
        let (_, sql) = list.iter().find(|(known, _)| *known == statement).unwrap();
        let values = [&[tenant.as_str()], *values].concat();
        let bound = values.iter().enumerate().fold((*sql).to_owned(), |sql, (at, value)| sql.replace(&format!("${}", at + 1), value));
        let rows = client.query(&format!("EXPLAIN {bound}"), &[]).await.unwrap();
        let plan = rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("; ");
        if !plan.contains(index) || plan.contains("Seq Scan") || file == "customer" && plan.contains("Sort") {
            wrong.push(format!("{name}: {plan}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(client);
    f.database.remove().await.unwrap();
}
