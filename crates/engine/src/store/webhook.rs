//! Webhooks that are switched off. What a webhook is stands in its tenant's settings.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::TenantId;
use crate::model::time::Timestamp;

statements! {
    DISABLE = "INSERT INTO disabled_webhooks (tenant_id, subscriber, disabled_at) VALUES ($1, $2, $3) ON CONFLICT (tenant_id, subscriber) DO NOTHING";
    ENABLE = "DELETE FROM disabled_webhooks WHERE tenant_id = $1 AND subscriber = $2";
    DISABLED = "SELECT subscriber, disabled_at FROM disabled_webhooks WHERE tenant_id = $1 ORDER BY subscriber";
    IS_DISABLED = "SELECT subscriber FROM disabled_webhooks WHERE tenant_id = $1 AND subscriber = $2";
}

/// A webhook that is switched off, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    pub subscriber: String,
    pub at: Timestamp,
}

impl FromRow for Disabled {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { subscriber: row.get(0)?, at: row.time(1)? })
    }
}

/// Switches a webhook off. False: it is off already.
pub async fn disable(tx: &mut Tx, tenant: TenantId, subscriber: &str) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(DISABLE, &[tenant.into(), subscriber.into(), now.into()]).await? == 1)
}

/// Switches a webhook on again. False: it is not off.
pub async fn enable(tx: &mut Tx, tenant: TenantId, subscriber: &str) -> Result<bool> {
    Ok(tx.exec(ENABLE, &[tenant.into(), subscriber.into()]).await? == 1)
}

/// The tenant's webhooks that are off, also those that its settings no longer name.
pub async fn disabled(reader: &mut Reader, tenant: TenantId) -> Result<Vec<Disabled>> {
    reader.all(DISABLED, &[tenant.into()]).await
}

pub async fn is_disabled(reader: &mut Reader, tenant: TenantId, subscriber: &str) -> Result<bool> {
    Ok(reader.one::<(String,)>(IS_DISABLED, &[tenant.into(), subscriber.into()]).await?.is_some())
}
