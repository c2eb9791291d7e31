//! Sign-ins that are away at a third party, and the one-time codes with which they end.

use super::value::{FromRow, Row};
use super::{Tx, statements};
use crate::error::Result;
use crate::model::identity::ActorType;
use crate::model::ids::{IdentityId, TenantId};
use crate::model::time::Timestamp;

statements! {
    BEGIN = "INSERT INTO callback_states (tenant_id, id, actor_type, provider, redirect_uri, return_to, browser, browser_required, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    SPEND = "UPDATE callback_states SET used_at = $3 WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND expires_at > $3 AND provider = $4
        RETURNING actor_type, redirect_uri, return_to, browser, browser_required";
    SWEEP = "DELETE FROM callback_states WHERE tenant_id = $1 AND id IN (SELECT id FROM callback_states WHERE tenant_id = $1 AND expires_at <= $2 LIMIT 500)";
    HAND_OVER = "INSERT INTO callback_codes (tenant_id, id, identity_id, actor_type, provider, origin, account_exists, created_at, expires_at, browser, browser_required)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    REDEEM = "UPDATE callback_codes SET used_at = $3 WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND expires_at > $3 AND actor_type = $4 AND provider = $5
        RETURNING identity_id, origin, account_exists, browser, browser_required";
    SWEEP_CODES = "DELETE FROM callback_codes WHERE tenant_id = $1 AND id IN (SELECT id FROM callback_codes WHERE tenant_id = $1 AND expires_at <= $2 LIMIT 500)";
}

/// A sign-in that is away. It is found by its state, of which only a hash is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    pub actor: ActorType,
    pub redirect_uri: String,
    /// The shop's page, where the server itself is what the provider sends back to.
    pub return_to: Option<String>,
    /// Hash of the cookie that the browser was given.
    pub browser: Option<Vec<u8>>,
    /// Whether the cookie must come back; otherwise it must only be no other.
    pub browser_required: bool,
}

impl FromRow for Away {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            actor: ActorType::new(row.get::<String>(0)?),
            redirect_uri: row.get(1)?,
            return_to: row.get(2)?,
            browser: row.get(3)?,
            browser_required: row.get::<i64>(4)? == 1,
        })
    }
}

pub async fn begin(tx: &mut Tx, tenant: TenantId, id: &[u8], provider: &str, away: &Away, expires_at: Timestamp) -> Result<()> {
    let now = tx.now();
    let values = [
        tenant.into(),
        id.into(),
        away.actor.as_str().into(),
        provider.into(),
        (&away.redirect_uri).into(),
        away.return_to.as_deref().into(),
        away.browser.as_deref().into(),
        away.browser_required.into(),
        now.into(),
        expires_at.into(),
    ];
    tx.exec(BEGIN, &values).await?;
    Ok(())
}

/// Spends the state. `None`: unknown, expired, spent, begun with another provider, or another tenant's.
/// One guarded UPDATE, so of two concurrent calls exactly one goes on.
pub async fn spend(tx: &mut Tx, tenant: TenantId, id: &[u8], provider: &str) -> Result<Option<Away>> {
    let now = tx.now();
    tx.returning(SPEND, &[tenant.into(), id.into(), now.into(), provider.into()]).await
}

/// What a one-time code is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    pub identity: IdentityId,
    /// The origin of the page that may redeem it.
    pub origin: String,
    pub account_exists: bool,
    /// As in `Away`.
    pub browser: Option<Vec<u8>>,
    pub browser_required: bool,
}

impl FromRow for HandedOver {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            identity: row.id(0)?,
            origin: row.get(1)?,
            account_exists: row.get::<i64>(2)? == 1,
            browser: row.get(3)?,
            browser_required: row.get::<i64>(4)? == 1,
        })
    }
}

pub async fn hand_over(
    tx: &mut Tx,
    tenant: TenantId,
    id: &[u8],
    actor: &ActorType,
    provider: &str,
    over: &HandedOver,
    expires_at: Timestamp,
) -> Result<()> {
    let now = tx.now();
    let values = [
        tenant.into(),
        id.into(),
        over.identity.into(),
        actor.as_str().into(),
        provider.into(),
        (&over.origin).into(),
        over.account_exists.into(),
        now.into(),
        expires_at.into(),
        over.browser.as_deref().into(),
        over.browser_required.into(),
    ];
    tx.exec(HAND_OVER, &values).await?;
    Ok(())
}

/// Spends the code; otherwise as `spend`.
pub async fn redeem(tx: &mut Tx, tenant: TenantId, id: &[u8], actor: &ActorType, provider: &str) -> Result<Option<HandedOver>> {
    let now = tx.now();
    tx.returning(REDEEM, &[tenant.into(), id.into(), now.into(), actor.as_str().into(), provider.into()]).await
}

/// Deletes what expired before now, a batch of each.
pub async fn sweep(tx: &mut Tx, tenant: TenantId) -> Result<u64> {
    let now = tx.now();
    let states = tx.exec(SWEEP, &[tenant.into(), now.into()]).await?;
    Ok(states.max(tx.exec(SWEEP_CODES, &[tenant.into(), now.into()]).await?))
}
