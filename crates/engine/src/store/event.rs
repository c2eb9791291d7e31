//! Events: what happened, written in the transaction of the change.

use super::value::{FromRow, Row};
use super::{Reader, Tx, delivery, sequence, statements};
use crate::error::{Error, Result};
use crate::model::event::{Event, EventName, NumberedEvent};
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::model::time::Timestamp;

statements! {
    // One writer, so the next place is behind the last. What has a number is before everything that has none.
    INSERT = "INSERT INTO events (tenant_id, id, name, data, secret_ref, created_at, subject, place) VALUES ($1, $2, $3, $4, $5, $6, $7,
        (SELECT COALESCE(MAX(place), 0) + 1 FROM events WHERE tenant_id = $1 AND number IS NULL))";
    BY_ID = "SELECT id, name, data, secret_ref, created_at FROM events WHERE tenant_id = $1 AND id = $2";
    NUMBERED = "SELECT id, name, data, secret_ref, created_at, number FROM events WHERE tenant_id = $1 AND id = $2";
    // A list of names as one text, because the databases take lists differently.
    PAGE = "SELECT id, name, data, secret_ref, created_at, number FROM events
        WHERE tenant_id = $1 AND number > $2 AND number <= $3 AND $4 LIKE '% ' || name || ' %' ORDER BY number LIMIT $5";
    OF_SUBJECT = "SELECT id, name, data, secret_ref, created_at, number FROM events
        WHERE tenant_id = $1 AND subject = $2 AND id >= $3 ORDER BY id DESC LIMIT $4";
    SWEEP = "DELETE FROM events WHERE tenant_id = $1 AND id IN (SELECT id FROM events WHERE tenant_id = $1 AND id < $2 AND number IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.tenant_id = events.tenant_id AND deliveries.event_id = events.id AND deliveries.state = 'waiting')
        ORDER BY id LIMIT 500) RETURNING number";
}

/// On PostgreSQL, where writers do not wait for each other, the next place is drawn from a counter that no transaction holds.
const INSERT_POSTGRES: &str = "INSERT INTO events (tenant_id, id, name, data, secret_ref, created_at, subject) VALUES ($1, $2, $3, $4, $5, $6, $7)";
#[cfg(test)]
pub(super) const POSTGRES_ONLY: &[(&str, &str)] = &[("INSERT_POSTGRES", INSERT_POSTGRES)];

impl FromRow for Event {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let name: String = row.get(1)?;
        let data: String = row.get(2)?;
        Ok(Self {
            id: row.id(0)?,
            name: EventName::parse(&name).ok_or_else(|| Error::storage(format!("unknown event {name}")))?,
            data: serde_json::from_str(&data).map_err(|e| Error::storage(format!("event data: {e}")))?,
            secret_ref: row.get(3)?,
            created_at: row.time(4)?,
        })
    }
}

impl FromRow for NumberedEvent {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { event: Event::from_row(row)?, number: row.get(5)? })
    }
}

/// Writes the event, and one delivery for each subscriber. Lock what the event is about before: two events of one customer are numbered in the order in
/// which they were written here.
pub async fn append(tx: &mut Tx, tenant: TenantId, event: &Event, subscribers: &[(DeliveryId, String)]) -> Result<()> {
    let data = serde_json::Value::Object(event.data.clone()).to_string();
    let values = [
        tenant.into(),
        event.id.into(),
        event.name.as_str().into(),
        data.into(),
        event.secret_ref.as_deref().into(),
        event.created_at.into(),
        event.subject().into(),
    ];
    tx.exec(if tx.is_postgres() { INSERT_POSTGRES } else { INSERT }, &values).await?;
    for (id, subscriber) in subscribers {
        delivery::insert(tx, tenant, *id, event.id, subscriber).await?;
    }
    Ok(())
}

pub async fn by_id(reader: &mut Reader, tenant: TenantId, id: EventId) -> Result<Option<Event>> {
    reader.one(BY_ID, &[tenant.into(), id.into()]).await
}

/// As `by_id`, with its number.
pub async fn numbered(reader: &mut Reader, tenant: TenantId, id: EventId) -> Result<Option<NumberedEvent>> {
    reader.one(NUMBERED, &[tenant.into(), id.into()]).await
}

/// Which events a page holds.
#[derive(Debug, Clone, Copy)]
pub struct Range<'n> {
    /// Numbers above this one,
    pub after: i64,
    /// and up to this one.
    pub until: i64,
    pub names: &'n [EventName],
    /// How many at most.
    pub most: i64,
}

/// The first events of a range, in the order of their numbers.
pub async fn page(reader: &mut Reader, tenant: TenantId, range: Range<'_>) -> Result<Vec<NumberedEvent>> {
    let names = range.names.iter().fold(" ".to_owned(), |text, name| text + name.as_str() + " ");
    reader.all(PAGE, &[tenant.into(), range.after.into(), range.until.into(), names.into(), range.most.into()]).await
}

/// The newest `most` events of a subject that happened since `from`, the newest first. An id begins with its time.
pub async fn of_subject(reader: &mut Reader, tenant: TenantId, subject: &str, from: Timestamp, most: i64) -> Result<Vec<NumberedEvent>> {
    let bound = EventId(ulid::Ulid::from_parts(u64::try_from(from.millis()).unwrap_or(0), 0));
    reader.all(OF_SUBJECT, &[tenant.into(), subject.into(), bound.into(), most.into()]).await
}

/// Deletes events that happened before `until`, have a number, and of which nobody waits to be told: a batch of them. An id begins with its time.
pub async fn sweep(tx: &mut Tx, tenant: TenantId, until: Timestamp) -> Result<u64> {
    let bound = EventId(ulid::Ulid::from_parts(u64::try_from(until.millis()).unwrap_or(0), 0));
    let gone = tx.returning_all::<(i64,)>(SWEEP, &[tenant.into(), bound.into()]).await?;
    if let Some(last) = gone.iter().map(|(number,)| *number).max() {
        sequence::swept(tx, tenant, last).await?;
    }
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}
