//! A shop's staff.

use super::{Tx, statements};
use crate::error::Result;
use crate::model::email::Email;
use crate::model::ids::{TenantId, UserId};

statements! {
    INSERT = "INSERT INTO users (tenant_id, id, email, email_key, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (tenant_id, email_key) WHERE deleted_at IS NULL DO NOTHING";
}

/// False: the tenant has a user with this address.
pub async fn insert(tx: &mut Tx, tenant: TenantId, id: UserId, email: &Email) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(INSERT, &[tenant.into(), id.into(), email.as_written().into(), email.key().into(), now.into()]).await? == 1)
}
