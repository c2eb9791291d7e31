//! What a database holds, as text, read past every layer of ours. For tests alone.

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::error::{Error, Result};

/// What `sql` selects from the database at `url`, each value as text. NULL is empty; bytes are read as text as far as they are.
pub async fn rows(url: &str, sql: &str) -> Result<Vec<Vec<String>>> {
    match url.strip_prefix("sqlite://") {
        Some(path) => sqlite(path, sql),
        None => postgres(url, sql).await,
    }
}

/// Every table's name.
pub async fn tables(url: &str) -> Result<Vec<String>> {
    let sql = if url.starts_with("sqlite://") {
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    } else {
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name"
    };
    Ok(rows(url, sql).await?.into_iter().flatten().collect())
}

fn sqlite(path: &str, sql: &str) -> Result<Vec<Vec<String>>> {
    use rusqlite::types::ValueRef;
    let connection = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut found = statement.query([])?;
    let mut out = Vec::new();
    while let Some(row) = found.next()? {
        let text = |column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => String::new(),
                ValueRef::Integer(n) => n.to_string(),
                ValueRef::Real(n) => n.to_string(),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            })
        };
        out.push((0..columns).map(text).collect::<Result<_>>()?);
    }
    Ok(out)
}

async fn postgres(url: &str, sql: &str) -> Result<Vec<Vec<String>>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let work = async { client.simple_query(sql).await };
    let messages = tokio::select! {
        outcome = work => outcome?,
        ended = connection => return Err(ended.err().map_or_else(|| Error::busy("the connection ended"), Into::into)),
    };
    let rows = messages.iter().filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
    Ok(rows.map(|row| (0..row.len()).map(|column| row.get(column).map_or_else(String::new, unhexed)).collect()).collect())
}

/// PostgreSQL shows bytes as `\x` and their digits.
fn unhexed(shown: &str) -> String {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = |digits: &str| digits.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?)).collect();
    let bytes: Option<Vec<u8>> = shown.strip_prefix("\\x").and_then(pairs);
    bytes.map_or_else(|| shown.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}
