//! Events: what happened, written in the transaction of the change.

use super::value::{FromRow, Row};
use super::{Reader, Tx, delivery, statements};
use crate::error::{Error, Result};
use crate::model::event::{Event, EventName};
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO events (tenant_id, id, name, data, secret_ref, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    BY_ID = "SELECT id, name, data, secret_ref, created_at FROM events WHERE tenant_id = $1 AND id = $2";
    SWEEP = "DELETE FROM events WHERE tenant_id = $1 AND id IN (SELECT id FROM events WHERE tenant_id = $1 AND id < $2 AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.tenant_id = events.tenant_id AND deliveries.event_id = events.id AND deliveries.state = 'waiting')
        ORDER BY id LIMIT 500)";
}

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

/// Writes the event, and one delivery for each subscriber.
pub async fn append(tx: &mut Tx, tenant: TenantId, event: &Event, subscribers: &[(DeliveryId, String)]) -> Result<()> {
    let data = serde_json::Value::Object(event.data.clone()).to_string();
    let values =
        [tenant.into(), event.id.into(), event.name.as_str().into(), data.into(), event.secret_ref.as_deref().into(), event.created_at.into()];
    tx.exec(INSERT, &values).await?;
    for (id, subscriber) in subscribers {
        delivery::insert(tx, tenant, *id, event.id, subscriber).await?;
    }
    Ok(())
}

pub async fn by_id(reader: &mut Reader, tenant: TenantId, id: EventId) -> Result<Option<Event>> {
    reader.one(BY_ID, &[tenant.into(), id.into()]).await
}

/// Deletes events that happened before `until` and of which nobody waits to be told, a batch of them. An id begins with its time.
pub async fn sweep(tx: &mut Tx, tenant: TenantId, until: Timestamp) -> Result<u64> {
    let bound = EventId(ulid::Ulid::from_parts(u64::try_from(until.millis()).unwrap_or(0), 0));
    tx.exec(SWEEP, &[tenant.into(), bound.into()]).await
}
