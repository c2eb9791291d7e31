//! Budgets: one row per limit and subject, counted by one guarded statement.

use super::value::Val;
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::TenantId;
use crate::model::time::Timestamp;

statements! {
    TAKE = "INSERT INTO limits (tenant_id, name, subject, spent, strikes, resets_at) VALUES ($1, $2, $3, 1, 0, $4 + CAST($5 AS BIGINT))
        ON CONFLICT (tenant_id, name, subject) DO UPDATE SET
            spent = CASE WHEN limits.resets_at > $4 THEN limits.spent + 1 ELSE 1 END,
            strikes = CASE WHEN limits.resets_at > $4 THEN limits.strikes WHEN limits.spent >= $6 THEN limits.strikes + 1 ELSE 0 END,
            resets_at = CASE WHEN limits.resets_at > $4 THEN limits.resets_at + CAST($9 AS BIGINT)
                WHEN limits.spent < $6 THEN $4 + CAST($5 AS BIGINT)
                WHEN limits.strikes = 0 THEN $4 + CAST($7 AS BIGINT)
                ELSE $4 + CAST($8 AS BIGINT) END
        WHERE limits.resets_at <= $4 OR limits.spent < $6";
    RESETS_AT = "SELECT resets_at FROM limits WHERE tenant_id = $1 AND name = $2 AND subject = $3";
    CLEAR = "DELETE FROM limits WHERE tenant_id = $1 AND name = $2 AND subject = $3";
    GRANT = "INSERT INTO limits (tenant_id, name, subject, spent, strikes, resets_at) VALUES ($1, $2, $3, 0, 0, $4 + CAST($5 AS BIGINT))
        ON CONFLICT (tenant_id, name, subject) DO UPDATE SET spent = 0, resets_at = excluded.resets_at";
    SPEND_GRANTED = "UPDATE limits SET spent = spent + 1 WHERE tenant_id = $1 AND name = $2 AND subject = $3 AND spent < $5 AND resets_at > $4";
    // The time is asked twice: a budget may have begun anew since the rows were chosen.
    SWEEP = "DELETE FROM limits WHERE (tenant_id, name, subject) IN (SELECT tenant_id, name, subject FROM limits
        WHERE tenant_id = $1 AND resets_at <= $2 LIMIT 500) AND resets_at <= $2";
    GIVE_BACK_ONE = "UPDATE limits SET spent = spent - 1, resets_at = resets_at - CAST($5 AS BIGINT)
        WHERE tenant_id = $1 AND name = $2 AND subject = $3 AND spent > 0 AND resets_at > $4";
}

/// A budget: `most` tries in a window, and the windows that follow one that was used up, and two. Each try after the first makes the running window
/// longer by `growth`. Lengths are in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub most: i64,
    pub window: i64,
    pub second_window: i64,
    pub later_window: i64,
    pub growth: i64,
}

/// Takes one try. False: the budget is spent, and nothing was changed.
pub async fn take(tx: &mut Tx, tenant: TenantId, name: &str, subject: &[u8], budget: Budget) -> Result<bool> {
    let now = tx.now();
    let values: [Val; 9] = [
        tenant.into(),
        name.into(),
        subject.into(),
        now.into(),
        budget.window.into(),
        budget.most.into(),
        budget.second_window.into(),
        budget.later_window.into(),
        budget.growth.into(),
    ];
    Ok(tx.exec(TAKE, &values).await? == 1)
}

/// When the running window ends.
pub async fn resets_at(reader: &mut Reader, tenant: TenantId, name: &str, subject: &[u8]) -> Result<Option<Timestamp>> {
    let found = reader.one::<(i64,)>(RESETS_AT, &[tenant.into(), name.into(), subject.into()]).await?;
    Ok(found.map(|(micros,)| Timestamp::from_micros(micros)))
}

/// Gives the subject its whole budget back.
pub async fn clear(tx: &mut Tx, tenant: TenantId, name: &str, subject: &[u8]) -> Result<()> {
    tx.exec(CLEAR, &[tenant.into(), name.into(), subject.into()]).await?;
    Ok(())
}

/// Grants a whole budget to a subject that has none without it; its window begins now.
pub async fn grant(tx: &mut Tx, tenant: TenantId, name: &str, subject: &[u8], budget: Budget) -> Result<()> {
    let now = tx.now();
    tx.exec(GRANT, &[tenant.into(), name.into(), subject.into(), now.into(), budget.window.into()]).await?;
    Ok(())
}

/// Takes one try of what was granted. False: nothing was, or it is spent or over, and nothing was changed.
pub async fn spend_granted(tx: &mut Tx, tenant: TenantId, name: &str, subject: &[u8], budget: Budget) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(SPEND_GRANTED, &[tenant.into(), name.into(), subject.into(), now.into(), budget.most.into()]).await? == 1)
}

/// Gives one try of the running window back, with what it made the window longer.
pub async fn give_back_one(tx: &mut Tx, tenant: TenantId, name: &str, subject: &[u8], budget: Budget) -> Result<()> {
    let now = tx.now();
    tx.exec(GIVE_BACK_ONE, &[tenant.into(), name.into(), subject.into(), now.into(), budget.growth.into()]).await?;
    Ok(())
}

/// Deletes the rows whose window ended before `until`, a batch of them.
pub async fn sweep(tx: &mut Tx, tenant: TenantId, until: Timestamp) -> Result<u64> {
    tx.exec(SWEEP, &[tenant.into(), until.into()]).await
}
