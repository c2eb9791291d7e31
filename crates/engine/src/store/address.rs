//! Addresses of customers. Each statement names the customer too: another's address is not found.

use super::value::{FromRow, Row, Val};
use super::{Reader, Tx, statements};
use crate::error::{Error, Result};
use crate::model::address::{Address, TEXTS};
use crate::model::ids::{AddressId, CustomerId, TenantId};

statements! {
    INSERT = "INSERT INTO customer_addresses (tenant_id, customer_id, id, first_name, last_name, phone, company, address_1, address_2, city, country_code,
        province, postal_code, address_name, metadata, is_default_shipping, is_default_billing, updated_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
    OF_CUSTOMER = "SELECT id, customer_id, first_name, last_name, phone, company, address_1, address_2, city, country_code,
        province, postal_code, address_name, metadata, is_default_shipping, is_default_billing, created_at, updated_at
        FROM customer_addresses WHERE tenant_id = $1 AND customer_id = $2 ORDER BY id";
    BY_ID = "SELECT id, customer_id, first_name, last_name, phone, company, address_1, address_2, city, country_code,
        province, postal_code, address_name, metadata, is_default_shipping, is_default_billing, created_at, updated_at
        FROM customer_addresses WHERE tenant_id = $1 AND customer_id = $2 AND id = $3";
    COUNT = "SELECT COUNT(*) FROM customer_addresses WHERE tenant_id = $1 AND customer_id = $2";
    UPDATE = "UPDATE customer_addresses SET first_name = $4, last_name = $5, phone = $6, company = $7, address_1 = $8, address_2 = $9, city = $10,
        country_code = $11, province = $12, postal_code = $13, address_name = $14, metadata = $15, is_default_shipping = $16, is_default_billing = $17,
        updated_at = $18
        WHERE tenant_id = $1 AND customer_id = $2 AND id = $3";
    CLEAR_DEFAULT_SHIPPING = "UPDATE customer_addresses SET is_default_shipping = 0, updated_at = $4
        WHERE tenant_id = $1 AND customer_id = $2 AND is_default_shipping = 1 AND id <> $3";
    CLEAR_DEFAULT_BILLING = "UPDATE customer_addresses SET is_default_billing = 0, updated_at = $4
        WHERE tenant_id = $1 AND customer_id = $2 AND is_default_billing = 1 AND id <> $3";
    DELETE = "DELETE FROM customer_addresses WHERE tenant_id = $1 AND customer_id = $2 AND id = $3";
}

impl FromRow for Address {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let mut texts: [Option<String>; TEXTS.len()] = Default::default();
        for (column, text) in (2..).zip(texts.iter_mut()) {
            *text = row.get(column)?;
        }
        let metadata: Option<String> = row.get(13)?;
        Ok(Self {
            id: row.id(0)?,
            customer: row.id(1)?,
            texts,
            metadata: metadata.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| Error::storage(format!("metadata: {e}")))?,
            is_default_shipping: row.get::<i64>(14)? == 1,
            is_default_billing: row.get::<i64>(15)? == 1,
            created_at: row.time(16)?,
            updated_at: row.time(17)?,
        })
    }
}

/// What both writing statements bind, in their order.
fn values(tenant: TenantId, address: &Address) -> Vec<Val> {
    let metadata = address.metadata.as_ref().map(|m| serde_json::Value::Object(m.clone()).to_string());
    let mut values: Vec<Val> = vec![tenant.into(), address.customer.into(), address.id.into()];
    values.extend(address.texts.iter().map(|text| text.as_deref().into()));
    values.extend([metadata.into(), address.is_default_shipping.into(), address.is_default_billing.into(), address.updated_at.into()]);
    values
}

/// Hold the customer, and clear a default that this one is going to be.
pub async fn insert(tx: &mut Tx, tenant: TenantId, address: &Address) -> Result<()> {
    let mut values = values(tenant, address);
    values.push(address.created_at.into());
    tx.exec(INSERT, &values).await?;
    Ok(())
}

/// All addresses of a customer, the oldest first.
pub async fn of_customer(reader: &mut Reader, tenant: TenantId, customer: CustomerId) -> Result<Vec<Address>> {
    reader.all(OF_CUSTOMER, &[tenant.into(), customer.into()]).await
}

pub async fn by_id(reader: &mut Reader, tenant: TenantId, customer: CustomerId, id: AddressId) -> Result<Option<Address>> {
    reader.one(BY_ID, &[tenant.into(), customer.into(), id.into()]).await
}

/// How many addresses a customer has.
pub async fn count(reader: &mut Reader, tenant: TenantId, customer: CustomerId) -> Result<i64> {
    Ok(reader.one::<(i64,)>(COUNT, &[tenant.into(), customer.into()]).await?.map_or(0, |(count,)| count))
}

/// Writes an address whose customer is held. False: there is none with this id.
pub async fn update(tx: &mut Tx, tenant: TenantId, address: &Address) -> Result<bool> {
    Ok(tx.exec(UPDATE, &values(tenant, address)).await? == 1)
}

/// Takes the mark of the default shipping address from every other address than `id`.
pub async fn clear_default_shipping(tx: &mut Tx, tenant: TenantId, customer: CustomerId, id: AddressId) -> Result<()> {
    let now = tx.now();
    tx.exec(CLEAR_DEFAULT_SHIPPING, &[tenant.into(), customer.into(), id.into(), now.into()]).await?;
    Ok(())
}

/// Takes the mark of the default billing address from every other address than `id`.
pub async fn clear_default_billing(tx: &mut Tx, tenant: TenantId, customer: CustomerId, id: AddressId) -> Result<()> {
    let now = tx.now();
    tx.exec(CLEAR_DEFAULT_BILLING, &[tenant.into(), customer.into(), id.into(), now.into()]).await?;
    Ok(())
}

/// False: there is none with this id.
pub async fn delete(tx: &mut Tx, tenant: TenantId, customer: CustomerId, id: AddressId) -> Result<bool> {
    Ok(tx.exec(DELETE, &[tenant.into(), customer.into(), id.into()]).await? == 1)
}
