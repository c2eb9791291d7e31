//! Customers.

use super::value::{FromRow, Row, Val};
use super::{Reader, Tx, statements};
use crate::error::{Error, Result};
use crate::model::customer::{Customer, Search};
use crate::model::ids::{CustomerId, IdentityId, SessionId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO customers (tenant_id, id, email, email_key, has_account, company_name, first_name, last_name, phone, metadata, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
        ON CONFLICT DO NOTHING";
    BY_SESSION = "SELECT c.id, c.email, c.company_name, c.first_name, c.last_name, c.phone, c.metadata, c.has_account, c.created_at, c.updated_at, c.deleted_at,
        EXISTS (SELECT 1 FROM customer_addresses a WHERE a.tenant_id = c.tenant_id AND a.customer_id = c.id)
        FROM sessions s JOIN customers c ON c.tenant_id = s.tenant_id
        WHERE s.tenant_id = $1 AND s.id = $2 AND s.identity_id = $3 AND s.ended_at IS NULL AND s.expires_at > $5 AND c.id = $4 AND c.deleted_at IS NULL";
    BY_LOGIN = "SELECT c.id, c.email, c.company_name, c.first_name, c.last_name, c.phone, c.metadata, c.has_account, c.created_at, c.updated_at, c.deleted_at,
        EXISTS (SELECT 1 FROM customer_addresses a WHERE a.tenant_id = c.tenant_id AND a.customer_id = c.id)
        FROM identities i JOIN customers c ON c.tenant_id = i.tenant_id AND c.id = i.actor_id
        WHERE i.tenant_id = $1 AND i.id = $2 AND i.actor_type = 'customer' AND (i.sessions_ended_at IS NULL OR i.sessions_ended_at < $4)
        AND c.id = $3 AND c.deleted_at IS NULL";
    BY_ADDRESS = "SELECT id FROM customers WHERE tenant_id = $1 AND email_key = $2 AND has_account = 1 AND deleted_at IS NULL";
    LOCK = "UPDATE customers SET updated_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
        RETURNING id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at";
    HOLD = "UPDATE customers SET updated_at = updated_at WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
        RETURNING id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at";
    UPDATE = "UPDATE customers SET company_name = $3, first_name = $4, last_name = $5, phone = $6, metadata = $7, updated_at = $8
        WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
    BY_ID = "SELECT id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at
        FROM customers WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
    OLDEST_FIRST = "SELECT id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at
        FROM customers WHERE tenant_id = $1 AND id >= $2 AND id <= $3 AND deleted_at IS NULL ORDER BY id LIMIT $4 OFFSET $5";
    NEWEST_FIRST = "SELECT id, email, company_name, first_name, last_name, phone, metadata, has_account, created_at, updated_at, deleted_at
        FROM customers WHERE tenant_id = $1 AND id >= $2 AND id <= $3 AND deleted_at IS NULL ORDER BY id DESC LIMIT $4 OFFSET $5";
    COUNT_BETWEEN = "SELECT COUNT(*) FROM (SELECT id FROM customers WHERE tenant_id = $1 AND id >= $2 AND id <= $3 AND deleted_at IS NULL LIMIT $4) AS found";
    COUNT = "SELECT live FROM customer_counts WHERE tenant_id = $1";
    ADDRESSES_BETWEEN = "SELECT id FROM customers WHERE tenant_id = $1 AND email_key >= $2 AND email_key <= $3 AND deleted_at IS NULL
        ORDER BY email_key, has_account LIMIT $4";
    DELETE = "UPDATE customers SET deleted_at = $3, updated_at = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
    COUNT_ONE_MORE = "INSERT INTO customer_counts (tenant_id, live) VALUES ($1, 1) ON CONFLICT (tenant_id) DO UPDATE SET live = customer_counts.live + 1";
    COUNT_ONE_LESS = "UPDATE customer_counts SET live = live - 1 WHERE tenant_id = $1";
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

/// False: the tenant has a live customer with this address and this kind of account, or one with this id. Its id begins with the time at which it was made, by which lists go.
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
    let inserted = tx.exec(INSERT, &values).await? == 1;
    if inserted {
        tx.exec(COUNT_ONE_MORE, &[tenant.into()]).await?;
    }
    Ok(inserted)
}

/// Marks a customer as deleted. False: there is none with this id, or no longer.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: CustomerId) -> Result<bool> {
    let now = tx.now();
    let deleted = tx.exec(DELETE, &[tenant.into(), id.into(), now.into()]).await? == 1;
    if deleted {
        tx.exec(COUNT_ONE_LESS, &[tenant.into()]).await?;
    }
    Ok(deleted)
}

/// A customer that is not deleted.
pub async fn by_id(reader: &mut Reader, tenant: TenantId, id: CustomerId) -> Result<Option<Customer>> {
    reader.one(BY_ID, &[tenant.into(), id.into()]).await
}

/// A page of the customers that are not deleted, of those whose ids lie in `search.between`.
pub async fn page(reader: &mut Reader, tenant: TenantId, search: &Search) -> Result<Vec<Customer>> {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX).into();
    let (first, last) = search.between;
    let values = [tenant.into(), first.into(), last.into(), number(search.limit), number(search.offset)];
    reader.all(if search.newest_first { NEWEST_FIRST } else { OLDEST_FIRST }, &values).await
}

/// How many customers are not deleted.
pub async fn count(reader: &mut Reader, tenant: TenantId) -> Result<i64> {
    Ok(reader.one::<(i64,)>(COUNT, &[tenant.into()]).await?.map_or(0, |(count,)| count))
}

/// How many customers with ids from `first` to `last` are not deleted, counted up to `most`.
pub async fn count_between(reader: &mut Reader, tenant: TenantId, (first, last): (CustomerId, CustomerId), most: i64) -> Result<i64> {
    let values = [tenant.into(), first.into(), last.into(), most.into()];
    Ok(reader.one::<(i64,)>(COUNT_BETWEEN, &values).await?.map_or(0, |(count,)| count))
}

/// At most `most` customers that are not deleted and whose address, in its look-up form and by its bytes, lies from `first` to `last`.
pub async fn with_addresses_between(reader: &mut Reader, tenant: TenantId, first: &str, last: &str, most: i64) -> Result<Vec<CustomerId>> {
    let found = reader.all::<(String,)>(ADDRESSES_BETWEEN, &[tenant.into(), first.into(), last.into(), most.into()]).await?;
    Ok(found.into_iter().filter_map(|(id,)| id.parse().ok()).collect())
}

/// The customer, if the session lives and is that identity's. One statement for the reads that go together most often.
pub async fn by_session(reader: &mut Reader, tenant: TenantId, session: SessionId, identity: IdentityId, id: CustomerId) -> Result<Option<Signed>> {
    let now = reader.now();
    reader.one(BY_SESSION, &[tenant.into(), session.into(), identity.into(), id.into(), now.into()]).await
}

/// The customer, if it is that identity's and the identity's sessions were not ended since `issued_at`: for a token that no session row knows.
pub async fn by_login(reader: &mut Reader, tenant: TenantId, identity: IdentityId, id: CustomerId, issued_at: Timestamp) -> Result<Option<Signed>> {
    reader.one(BY_LOGIN, &[tenant.into(), identity.into(), id.into(), issued_at.into()]).await
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
