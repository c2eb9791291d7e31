//! A shop's staff.

use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::email::Email;
use crate::model::ids::{TenantId, UserId};

statements! {
    INSERT = "INSERT INTO users (tenant_id, id, email, email_key, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (tenant_id, email_key) WHERE deleted_at IS NULL DO NOTHING";
    ADDRESS = "SELECT email FROM users WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
}

/// False: the tenant has a user with this address.
pub async fn insert(tx: &mut Tx, tenant: TenantId, id: UserId, email: &Email) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(INSERT, &[tenant.into(), id.into(), email.as_written().into(), email.key().into(), now.into()]).await? == 1)
}

/// The address of a member of staff, as it was written. `None`: there is no such member.
pub async fn address(reader: &mut Reader, tenant: TenantId, id: UserId) -> Result<Option<String>> {
    Ok(reader.one::<(String,)>(ADDRESS, &[tenant.into(), id.into()]).await?.map(|(email,)| email))
}
