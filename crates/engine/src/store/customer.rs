//! Customers.

use super::value::{FromRow, Row, Val};
use super::{Reader, Tx, statements};
use crate::error::{Error, Result};
use crate::model::customer::Customer;
use crate::model::ids::{CustomerId, IdentityId, SessionId, TenantId};

statements! {
    INSERT = "INSERT INTO customers (tenant_id, id, email, email_key, has_account, company_name, first_name, last_name, phone, metadata, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
        ON CONFLICT (tenant_id, email_key, has_account) WHERE deleted_at IS NULL DO NOTHING";
    BY_SESSION = "SELECT c.id, c.email, c.company_name, c.first_name, c.last_name, c.phone, c.metadata, c.has_account, c.created_at, c.updated_at, c.deleted_at,
        EXISTS (SELECT 1 FROM customer_addresses a WHERE a.tenant_id = c.tenant_id AND a.customer_id = c.id)
        FROM sessions s JOIN customers c ON c.tenant_id = s.tenant_id
        WHERE s.tenant_id = $1 AND s.id = $2 AND s.identity_id = $3 AND s.ended_at IS NULL AND s.expires_at > $5 AND c.id = $4 AND c.deleted_at IS NULL";
    BY_ADDRESS = "SELECT id FROM customers WHERE tenant_id = $1 AND email_key = $2 AND has_account = 1 AND deleted_at IS NULL";
    LOCK = "UPDATE customers SET updated_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
        RETURNING id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at";
    HOLD = "UPDATE customers SET updated_at = updated_at WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
        RETURNING id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at";
    UPDATE = "UPDATE customers SET company_name = $3, first_name = $4, last_name = $5, phone = $6, metadata = $7, updated_at = $8
        WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
}

impl FromRow for Customer {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let metadata: Option<String> = row.get(6)?;
        Ok(Self {
            id: row.id(0)?,
            email: row.get(1)?,
            company_name: row.get(2)?,
            first_name: row.get(3)?,
            last_name: row.get(4)?,
            phone: row.get(5)?,
            metadata: metadata.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| Error::storage(format!("metadata: {e}")))?,
            has_account: row.get::<i64>(7)? == 1,
            created_at: row.time(8)?,
            updated_at: row.time(9)?,
            deleted_at: row.optional_time(10)?,
        })
    }
}

/// A customer who is signed in, and whether it has addresses: most have none, and those are spared a second statement.
pub struct Signed {
    pub customer: Customer,
    pub has_addresses: bool,
}

impl FromRow for Signed {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { customer: Customer::from_row(row)?, has_addresses: row.get::<bool>(11)? })
    }
}

fn metadata(customer: &Customer) -> Val {
    customer.metadata.as_ref().map(|m| serde_json::Value::Object(m.clone()).to_string()).into()
}

/// False: the tenant has a live customer with this address and this kind of account.
pub async fn insert(tx: &mut Tx, tenant: TenantId, customer: &Customer, email_key: &str) -> Result<bool> {
    let values = [
        tenant.into(),
        customer.id.into(),
        customer.email.as_deref().into(),
        email_key.into(),
        customer.has_account.into(),
        customer.company_name.as_deref().into(),
        customer.first_name.as_deref().into(),
        customer.last_name.as_deref().into(),
        customer.phone.as_deref().into(),
        metadata(customer),
        customer.created_at.into(),
    ];
    Ok(tx.exec(INSERT, &values).await? == 1)
}

/// The customer, if the session lives and is that identity's. One statement for the reads that go together most often.
pub async fn by_session(reader: &mut Reader, tenant: TenantId, session: SessionId, identity: IdentityId, id: CustomerId) -> Result<Option<Signed>> {
    let now = reader.now();
    reader.one(BY_SESSION, &[tenant.into(), session.into(), identity.into(), id.into(), now.into()]).await
}

/// The customer with an account who has this address in its look-up form.
pub async fn by_address(reader: &mut Reader, tenant: TenantId, email_key: &str) -> Result<Option<CustomerId>> {
    let found = reader.one::<(String,)>(BY_ADDRESS, &[tenant.into(), email_key.into()]).await?;
    Ok(found.and_then(|(id,)| id.parse().ok()))
}

/// Locks the customer's row until the transaction ends, so that a merge of its metadata loses nothing.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: CustomerId) -> Result<Option<Customer>> {
    let now = tx.now();
    tx.returning(LOCK, &[tenant.into(), id.into(), now.into()]).await
}

/// Locks the customer's row as `lock` does and leaves it as it is: whoever changes its addresses goes one after the other.
pub async fn hold(tx: &mut Tx, tenant: TenantId, id: CustomerId) -> Result<Option<Customer>> {
    tx.returning(HOLD, &[tenant.into(), id.into()]).await
}

/// Writes the profile of a customer that is locked.
pub async fn update(tx: &mut Tx, tenant: TenantId, customer: &Customer) -> Result<()> {
    let values = [
        tenant.into(),
        customer.id.into(),
        customer.company_name.as_deref().into(),
        customer.first_name.as_deref().into(),
        customer.last_name.as_deref().into(),
        customer.phone.as_deref().into(),
        metadata(customer),
        customer.updated_at.into(),
    ];
    tx.exec(UPDATE, &values).await?;
    Ok(())
}
