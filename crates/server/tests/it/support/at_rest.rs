//! What a test leaves where data rests: every file of SQLite; on PostgreSQL every row and the write-ahead log of the time since.

use vestibule_engine::model::hex;

use super::app::TestApp;

/// Bytes of a page of PostgreSQL's log, and of the header that each begins with; the first of a segment has the longer one.
const PAGE: u64 = 8192;
const HEADER: usize = 24;
const FIRST_HEADER: usize = 40;

/// The place in PostgreSQL's log from which on is searched.
pub struct AtRest {
    since: Option<u64>,
}

impl AtRest {
    /// From now on.
    pub async fn begin(app: &TestApp) -> Self {
        let since = if app.database.directory().is_none() { Some(log_end(app).await) } else { None };
        Self { since }
    }

    /// Every place where data rests: its name, and what lies there in hexadecimal digits.
    pub async fn places(&self, app: &TestApp) -> Vec<(String, String)> {
        if let Some(directory) = app.database.directory() {
            let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            return entries.map(|path| (path.display().to_string(), hex(&std::fs::read(path).unwrap()))).collect();
        }
        let mut places = Vec::new();
        for table in app.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'").await {
            // Bytes stand in the text of a row as hexadecimal digits.
            places.push((table.clone(), app.rows(&format!("SELECT encode(convert_to(t::text, 'UTF8'), 'hex') FROM {table} AS t")).await.join(" ")));
        }
        places.push(("the write-ahead log".to_owned(), log(app, self.since.unwrap()).await));
        places
    }

    /// Asserts that `secret` lies nowhere among `places`: not as it is, nor in digits, nor in base64.
    pub fn assert_absent(places: &[(String, String)], name: &str, secret: &[u8]) {
        for (place, content) in places {
            assert!(!holds(content, secret), "{place} holds {name}");
        }
    }

    /// Whether any of `places` holds `bytes`: shows that a search finds what is there.
    pub fn found(places: &[(String, String)], bytes: &[u8]) -> Vec<String> {
        places.iter().filter(|(_, content)| holds(content, bytes)).map(|(place, _)| place.clone()).collect()
    }
}

fn holds(content: &str, bytes: &[u8]) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    assert!(bytes.len() >= 8, "what is so short is found by chance");
    let forms = [bytes.to_vec(), hex(bytes).into_bytes(), STANDARD_NO_PAD.encode(bytes).into_bytes(), URL_SAFE_NO_PAD.encode(bytes).into_bytes()];
    forms.iter().any(|form| content.contains(&hex(form)))
}

async fn number(app: &TestApp, sql: &str) -> u64 {
    app.rows(sql).await.pop().unwrap().parse().unwrap()
}

/// Where PostgreSQL's log ends, after all of it was written to its files.
async fn log_end(app: &TestApp) -> u64 {
    // A commit that waits for the log, whatever the server is set to.
    app.rows("BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_logical_emit_message(true, 'test', ''); COMMIT").await;
    number(app, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").await
}

/// PostgreSQL's log from `since` to now without the headers of its pages, so that a record that crosses pages lies in one piece.
async fn log(app: &TestApp, since: u64) -> String {
    let end = log_end(app).await;
    let segment = number(app, "SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'").await;
    let mut out = String::new();
    for place in since / segment..=end / segment {
        let begin = place * segment;
        let from = since.saturating_sub(begin) / PAGE * PAGE;
        let length = (end - begin).min(segment) - from;
        let file = format!("'pg_wal/' || pg_walfile_name('0/0'::pg_lsn + {begin} + 1)");
        let text = app.rows(&format!("SELECT encode(pg_read_binary_file({file}, {from}, {length}), 'hex')")).await.pop().unwrap();
        for (page, digits) in text.as_bytes().chunks(2 * usize::try_from(PAGE).unwrap()).enumerate() {
            let header = if from == 0 && page == 0 { FIRST_HEADER } else { HEADER };
            out.push_str(std::str::from_utf8(digits.get(2 * header..).unwrap_or_default()).unwrap());
        }
    }
    out
}
