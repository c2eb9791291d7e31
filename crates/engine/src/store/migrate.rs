//! Migrations: numbered, run once, under a lock, and checked against what was run before.

use crate::error::{Code, Error, Result};
use crate::model::time::Timestamp;

struct Migration {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal;)+) => {
        &[$(Migration {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        }),+]
    };
}

const ALL: &[Migration] = migrations! {
    1 "0001_init";
    2 "0002_unlinked_identities";
};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";
const APPLIED: &str = "SELECT number, checksum FROM schema_migrations ORDER BY number";
/// Any number will do, as long as every version of the program uses the same.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7305512894)";

/// What is still to run, given what ran. A checksum that differs means that a released file was edited.
fn pending(applied: &[(i64, String)], text: fn(&Migration) -> &'static str) -> Result<Vec<&'static Migration>> {
    for (number, checksum) in applied {
        let Some(known) = ALL.iter().find(|m| m.number == *number) else {
            return Err(Error::new(
                Code::StorageFailed,
                format!("the database was written by a newer version (migration {number}); start that version, or restore a backup"),
            ));
        };
        if digest(text(known)) != *checksum {
            return Err(Error::new(Code::StorageFailed, format!("migration {} differs from the one that made this database", known.name)));
        }
    }
    Ok(ALL.iter().filter(|m| !applied.iter().any(|(number, _)| number == &m.number)).collect())
}

fn digest(text: &str) -> String {
    crate::model::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}

pub(super) fn sqlite(connection: &rusqlite::Connection, now: Timestamp) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let outcome = (|| {
        connection.execute_batch(TABLE)?;
        let applied = connection.prepare(APPLIED)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<(i64, String)>, _>>()?;
        for migration in pending(&applied, |m| m.sqlite)? {
            connection.execute_batch(migration.sqlite)?;
            connection.execute(
                "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                (migration.number, migration.name, digest(migration.sqlite), now.micros()),
            )?;
        }
        Ok(())
    })();
    connection.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    outcome
}

pub(super) async fn postgres(connection: &mut deadpool_postgres::Object, now: Timestamp) -> Result<()> {
    let tx = connection.transaction().await?;
    tx.batch_execute(LOCK).await.map_err(|e| Error::conflict(format!("the migration lock: {e}")))?;
    tx.batch_execute(TABLE).await?;
    let applied = tx
        .query(APPLIED, &[])
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<Vec<(i64, String)>, tokio_postgres::Error>>()?;
    for migration in pending(&applied, |m| m.postgres)? {
        tx.batch_execute(migration.postgres).await?;
        tx.execute(
            "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
            &[&migration.number, &migration.name, &digest(migration.postgres), &now.micros()],
        )
        .await?;
    }
    Ok(tx.commit().await?)
}
