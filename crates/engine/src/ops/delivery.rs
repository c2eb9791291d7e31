//! Deliveries as an operator sees them: listed, shown, tried again.

use std::time::Duration;

use ulid::Ulid;

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::model::event::EventName;
use crate::model::ids::DeliveryId;
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::store;
use crate::store::delivery::Which;
pub use crate::store::delivery::{DeliveryRow, Ending};

/// The state of a delivery that is not done.
pub const WAITING: &str = "waiting";
/// How many one transaction makes due again.
const BATCH: usize = 500;

/// What a list is of. All that is absent means all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The first and the last by id.
    pub from: Option<DeliveryId>,
    pub to: Option<DeliveryId>,
    /// Made not before and not after these times; the second to the millisecond.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// `WAITING` or an ending's name.
    pub state: Option<&'static str>,
    pub subscriber: Option<String>,
    pub event: Option<EventName>,
}

/// A millisecond without the next: a time is shown to the millisecond, and what is shown must be found by it.
const LAST_MICROS: Duration = Duration::from_micros(999);

impl Filter {
    fn one(id: DeliveryId) -> Self {
        Self { from: Some(id), to: Some(id), ..Self::default() }
    }

    fn which(&self) -> Which {
        Which {
            from: self.from.unwrap_or(DeliveryId(Ulid(0))),
            to: self.to.unwrap_or(DeliveryId(Ulid(u128::MAX))),
            since: self.since.unwrap_or(Timestamp::from_micros(i64::MIN)),
            until: self.until.map_or(Timestamp::from_micros(i64::MAX), |until| until.after(LAST_MICROS)),
            state: self.state.unwrap_or_default(),
            subscriber: self.subscriber.clone().unwrap_or_default(),
            event: self.event.map_or("", EventName::as_str),
        }
    }
}

/// The newest `most` of the tenant's deliveries that `filter` covers, newest first.
pub async fn list(engine: &Engine, tenant: &Tenant, filter: &Filter, most: i64) -> Result<Vec<DeliveryRow>> {
    let (tenant, which) = (tenant.id, filter.which());
    engine.db.read(move |reader| Box::pin(async move { store::delivery::list(reader, tenant, &which, most).await })).await
}

/// One delivery.
///
/// # Errors
/// `NotFound` if the tenant has none of this id.
pub async fn show(engine: &Engine, tenant: &Tenant, id: DeliveryId) -> Result<DeliveryRow> {
    let found = list(engine, tenant, &Filter::one(id), 1).await?;
    found.into_iter().next().ok_or_else(|| Error::new(Code::NotFound, format!("Delivery with id: {id} was not found")))
}

/// Has a delivery that was given up tried again, at once and for three days more.
///
/// # Errors
/// `NotFound` if the tenant has none of this id, `NotAllowed` with the reason if it is not dead.
pub async fn retry(engine: &Engine, tenant: &Tenant, id: DeliveryId) -> Result<()> {
    if !retry_batch(engine, tenant, Filter::one(id).which()).await?.is_empty() {
        return Ok(());
    }
    let found = show(engine, tenant, id).await?;
    let at = found.done_at.unwrap_or(found.created_at);
    let why = match found.state.as_str() {
        "delivered" => format!("was delivered at {at} and is not sent again"),
        "superseded" => "was superseded: a newer secret took the place of the one it would carry".to_owned(),
        "expired" => "is expired: the secret that it would carry is no longer good".to_owned(),
        _ if found.held => "is under way".to_owned(),
        _ => format!("is waiting, and is tried at {}", found.due_at),
    };
    Err(Error::new(Code::NotAllowed, format!("Delivery {id} {why}")))
}

/// Has all that `filter` covers and that were given up tried again; how many. Its state means nothing here.
pub async fn retry_all(engine: &Engine, tenant: &Tenant, filter: &Filter) -> Result<u64> {
    let (mut all, mut which) = (0, filter.which());
    loop {
        let retried = retry_batch(engine, tenant, which.clone()).await?;
        all += u64::try_from(retried.len()).unwrap_or(u64::MAX);
        // On behind the last: one that has failed again meanwhile is not retried once more.
        let Some(last) = retried.iter().max().filter(|_| retried.len() == BATCH) else { return Ok(all) };
        which.from = DeliveryId(Ulid(last.0.0.saturating_add(1)));
    }
}

async fn retry_batch(engine: &Engine, tenant: &Tenant, which: Which) -> Result<Vec<DeliveryId>> {
    let (tenant, most) = (tenant.id, i64::try_from(BATCH).unwrap_or(i64::MAX));
    let retried = engine.db.write(move |tx| {
        let which = which.clone();
        Box::pin(async move { store::delivery::retry(tx, tenant, &which, most).await })
    });
    let retried = retried.await?;
    engine.outbox.wake();
    Ok(retried)
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::testing::{Backend, execute, one_shop};

    #[tokio::test]
    async fn what_is_not_dead_is_not_retried_and_it_is_said_why() {
        const ROWS: &str =
            "INSERT INTO deliveries (tenant_id, id, event_id, subscriber, state, due_at, attempts, begun_at, created_at, done_at, lease)
            SELECT tenants.id, '0000000000000000000000000' || n, '00000000000000000000000000', 'mail', state, 1, 1, 1, 1, done_at, lease FROM tenants,
            (SELECT 1 AS n, 'delivered' AS state, 2000000 AS done_at, NULL AS lease UNION ALL SELECT 2, 'superseded', 1, NULL
            UNION ALL SELECT 3, 'expired', 1, NULL UNION ALL SELECT 4, 'waiting', NULL, 'w' UNION ALL SELECT 5, 'waiting', NULL, NULL
            UNION ALL SELECT 6, 'dead', 1, NULL) AS rows";
        let (engine, tenant, database) = one_shop(Backend::Sqlite).await.unwrap();
        execute(&engine, ROWS).await.unwrap();
        let id = |n: u128| DeliveryId(Ulid(n));
        for (n, code, says) in [
            (1, Code::NotAllowed, "was delivered at 1970-01-01T00:00:02.000Z"),
            (2, Code::NotAllowed, "was superseded"),
            (3, Code::NotAllowed, "is expired"),
            (4, Code::NotAllowed, "is under way"),
            (5, Code::NotAllowed, "is waiting, and is tried at 1970-01-01T00:00:00.000Z"),
            (7, Code::NotFound, "was not found"),
        ] {
            let refused = retry(&engine, &tenant, id(n)).await.unwrap_err();
            assert!(refused.code == code && refused.message.contains(says), "{n}: {refused:?}");
        }
        retry(&engine, &tenant, id(6)).await.unwrap();
        let waiting = "SELECT id FROM deliveries WHERE state = 'waiting' AND attempts = 0";
        assert_eq!(database.rows(waiting).await.unwrap(), [[id(6).bare()]]);
    }
}
