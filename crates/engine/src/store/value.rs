//! Values and rows of either database.

use std::fmt;

use bytes::BytesMut;
use serde_json::{Map, Value};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use ulid::ULID_LEN;

use crate::error::{Error, Result};
use crate::model::ids::{AddressId, ApiKeyId, CustomerId, DeliveryId, EventId, IdentityId, JobId, KeyId, SessionId, TenantId, UserId};
use crate::model::time::Timestamp;

/// A value to bind: text, an id, a 64-bit number (times and booleans too), or bytes.
#[derive(Clone)]
pub enum Val {
    Null,
    Int(i64),
    /// Text, too, but of one length: every statement binds some, and none of them is worth an allocation.
    Id([u8; ULID_LEN]),
    Text(String),
    Bytes(Vec<u8>),
}

/// Names the kind alone: the driver of PostgreSQL writes what it binds to the log, and hashes and addresses are bound, too.
impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Int(_) => "number",
            Self::Id(_) | Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        })
    }
}

impl From<i64> for Val {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}
impl From<bool> for Val {
    fn from(v: bool) -> Self {
        Self::Int(v.into())
    }
}
impl From<Timestamp> for Val {
    fn from(v: Timestamp) -> Self {
        Self::Int(v.micros())
    }
}
impl From<&str> for Val {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}
impl From<&String> for Val {
    fn from(v: &String) -> Self {
        Self::Text(v.clone())
    }
}
impl From<String> for Val {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}
impl From<&[u8]> for Val {
    fn from(v: &[u8]) -> Self {
        Self::Bytes(v.to_owned())
    }
}
impl<T: Into<Self>> From<Option<T>> for Val {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Into::into)
    }
}
macro_rules! id_values {
    ($($id:ident)+) => {$(impl From<$id> for Val {
        fn from(v: $id) -> Self {
            let mut text = [0; ULID_LEN];
            v.0.array_to_str(&mut text);
            Self::Id(text)
        }
    })+};
}
id_values!(TenantId IdentityId CustomerId AddressId UserId SessionId KeyId ApiKeyId JobId EventId DeliveryId);

impl rusqlite::ToSql for Val {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(v) => ValueRef::Integer(*v),
            Self::Id(v) => ValueRef::Text(v),
            Self::Text(v) => ValueRef::Text(v.as_bytes()),
            Self::Bytes(v) => ValueRef::Blob(v),
        }))
    }
}

impl ToSql for Val {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(v) => v.to_sql(ty, out),
            // Base 32 is UTF-8.
            Self::Id(v) => std::str::from_utf8(v)?.to_sql(ty, out),
            Self::Text(v) => v.to_sql(ty, out),
            Self::Bytes(v) => v.to_sql(ty, out),
        }
    }
    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::TEXT | Type::BYTEA)
    }
    to_sql_checked!();
}

/// A row of either database, read by column number from 0.
pub enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

/// What a column can be read as.
pub trait Column: rusqlite::types::FromSql + for<'a> tokio_postgres::types::FromSql<'a> + Send {}
impl<T: rusqlite::types::FromSql + for<'a> tokio_postgres::types::FromSql<'a> + Send> Column for T {}

impl Row<'_> {
    pub fn get<T: Column>(&self, column: usize) -> Result<T> {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// An id. A text that is none means that the row was damaged.
    pub fn id<T: std::str::FromStr>(&self, column: usize) -> Result<T> {
        let read = match self {
            Self::Sqlite(row) => row.get_ref(column)?.as_str().ok().and_then(|text| text.parse().ok()),
            Self::Postgres(row) => row.try_get::<_, &str>(column)?.parse().ok(),
        };
        read.ok_or_else(|| Error::storage(format!("column {column} holds no id")))
    }

    pub fn time(&self, column: usize) -> Result<Timestamp> {
        Ok(Timestamp::from_micros(self.get(column)?))
    }

    pub fn optional_time(&self, column: usize) -> Result<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }
}

/// A JSON object; NULL is an empty one.
pub fn map(text: Option<String>) -> Result<Map<String, Value>> {
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map(Option::unwrap_or_default).map_err(|e| Error::storage(format!("a JSON object: {e}")))
}

/// How a row becomes a value.
pub trait FromRow: Sized + Send {
    fn from_row(row: &Row<'_>) -> Result<Self>;
}

macro_rules! tuples {
    ($($($t:ident $i:tt),+;)+) => {$(
        impl<$($t: Column),+> FromRow for ($($t,)+) {
            fn from_row(row: &Row<'_>) -> Result<Self> {
                Ok(($(row.get::<$t>($i)?,)+))
            }
        }
    )+};
}
tuples! { A 0; A 0, B 1; A 0, B 1, C 2; A 0, B 1, C 2, D 3; A 0, B 1, C 2, D 3, E 4; }

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match e.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::busy(e.to_string()),
            _ => Self::storage(e.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(e: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        let detail = match e.as_db_error() {
            Some(db) => format!("{}: {}", db.code().code(), db.message()),
            None => with_causes(&e),
        };
        match e.code() {
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => Error::conflict(detail),
            Some(code) if may_pass(code) => Self::busy(detail),
            None if e.is_closed() || std::error::Error::source(&e).is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>) => {
                Self::busy(detail)
            }
            _ => Self::storage(detail),
        }
    }
}

/// Class 57: the server is being shut down or the statement was cancelled; 53: out of connections or memory; 08: a proxy lost its server;
/// 25006: read-only; 25P03: it stood still for too long; 55P03: somebody held a lock for too long.
fn may_pass(code: &tokio_postgres::error::SqlState) -> bool {
    let code = code.code();
    ["57", "53", "08"].iter().any(|class| code.starts_with(class)) || matches!(code, "25006" | "25P03" | "55P03")
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(e: deadpool_postgres::PoolError) -> Self {
        let why = match &e {
            deadpool_postgres::PoolError::Backend(e) => with_causes(e),
            other => other.to_string(),
        };
        Self::busy(format!("no database connection: {why}"))
    }
}

/// The driver's own words are few: what was wrong with a certificate, say, stands in the causes.
pub fn with_causes(e: &tokio_postgres::Error) -> String {
    let causes = std::iter::successors(Some(e as &dyn std::error::Error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A row as text, whatever its columns. For tests that compare whole tables.
#[cfg(test)]
pub struct Dump(pub String);

#[cfg(test)]
impl FromRow for Dump {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let count = match row {
            Row::Sqlite(row) => row.as_ref().column_count(),
            Row::Postgres(row) => row.len(),
        };
        let column = |at| {
            let number = row.get::<Option<i64>>(at).map(|n| format!("{n:?}"));
            let text = number.or_else(|_| row.get::<Option<String>>(at).map(|t| format!("{t:?}")));
            text.or_else(|_| row.get::<Option<Vec<u8>>>(at).map(|b| format!("{b:?}")))
        };
        Ok(Self((0..count).map(column).collect::<Result<Vec<_>>>()?.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_is_not_logged() {
        let values = [Val::Null, Val::from(17_i64), Val::from("$argon2id$"), Val::from([1_u8, 2].as_slice())];
        assert_eq!(format!("{values:?}"), "[null, number, text, bytes]");
    }
}
