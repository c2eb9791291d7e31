//! Keys that sign tokens, sealed.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{KeyId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO signing_keys (tenant_id, id, algorithm, material, created_at) VALUES ($1, $2, $3, $4, $5)";
    RETIRE = "UPDATE signing_keys SET retired_at = $2 WHERE tenant_id = $1 AND retired_at IS NULL";
    LIST = "SELECT id, algorithm, material, retired_at FROM signing_keys WHERE tenant_id = $1 ORDER BY id DESC";
}

pub struct SigningKeyRow {
    pub id: KeyId,
    pub algorithm: String,
    pub material: Vec<u8>,
    pub retired_at: Option<Timestamp>,
}

impl FromRow for SigningKeyRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { id: row.id(0)?, algorithm: row.get(1)?, material: row.get(2)?, retired_at: row.optional_time(3)? })
    }
}

pub async fn insert(tx: &mut Tx, tenant: TenantId, id: KeyId, algorithm: &str, material: &[u8]) -> Result<()> {
    let now = tx.now();
    tx.exec(INSERT, &[tenant.into(), id.into(), algorithm.into(), material.into(), now.into()]).await?;
    Ok(())
}

/// Ends the signing of every current key; they go on verifying.
pub async fn retire(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    let now = tx.now();
    tx.exec(RETIRE, &[tenant.into(), now.into()]).await?;
    Ok(())
}

/// Newest first.
pub async fn list(reader: &mut Reader, tenant: TenantId) -> Result<Vec<SigningKeyRow>> {
    reader.all(LIST, &[tenant.into()]).await
}
