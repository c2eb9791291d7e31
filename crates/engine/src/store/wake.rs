//! LISTEN and NOTIFY: what one process commits wakes the others. Only a wake-up: whoever misses it looks by itself, a little later.
//!
//! The notification is sent after the commit, on a connection of its own. In the transaction, all commits that notify would queue for one lock.

use std::future::poll_fn;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use super::postgres_url::{Stream, Target};
use crate::error::{Error, Result};

const LISTEN: &str = "LISTEN vestibule_outbox";
const NOTIFY: &str = "NOTIFY vestibule_outbox";
/// How long to rest between two notifications: one tells of many commits.
const REST: Duration = Duration::from_millis(10);
/// How long to leave the connection silent before asking whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before a connection that was lost is made anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Never ends: a connection that was lost is made anew.
pub async fn relay(target: &Target, told: &Notify, heard: impl Fn() + Send + Sync) {
    loop {
        // On the heap: with TLS in it, a connection is large.
        if let Err(e) = Box::pin(over_one_connection(target, told, &heard)).await {
            tracing::warn!(error = %e, "other processes on the database are not heard for a while; what they commit is found by looking");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn over_one_connection(target: &Target, told: &Notify, heard: &(impl Fn() + Send + Sync)) -> Result<()> {
    let (client, connection) = tokio::time::timeout(TIMEOUT, target.connect()).await.map_err(|_| Error::busy("no connection"))??;
    let own = OnceLock::new();
    // The connection answers the client only while it is polled, so both run side by side.
    tokio::select! {
        ended = hear(connection, &own, heard) => ended,
        ended = tell(&client, &own, told, heard) => ended,
    }
}

/// Calls `heard` for what others tell. `own` is our own process at the server, whose notifications come back, too.
async fn hear(mut connection: Connection<Socket, Stream>, own: &OnceLock<i32>, heard: &(impl Fn() + Send + Sync)) -> Result<()> {
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notification(notification) = message?
            && own.get() != Some(&notification.process_id())
        {
            heard();
        }
    }
    Err(Error::busy("the connection was closed"))
}

async fn tell(client: &Client, own: &OnceLock<i32>, told: &Notify, heard: &(impl Fn() + Send + Sync)) -> Result<()> {
    let row = within(client.query_one("SELECT pg_backend_pid()", &[])).await?;
    let _ = own.set(row.try_get(0)?);
    within(client.batch_execute(LISTEN)).await?;
    // Whatever was told before we listened.
    heard();
    loop {
        tokio::select! {
            () = told.notified() => within(client.batch_execute(NOTIFY)).await?,
            () = tokio::time::sleep(SILENCE) => within(client.batch_execute("SELECT")).await?,
        }
        tokio::time::sleep(REST).await;
    }
}

async fn within<T>(answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>) -> Result<T> {
    Ok(tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| Error::busy("no answer"))??)
}
