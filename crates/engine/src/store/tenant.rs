//! Tenants and their hosts. The two tables that are not within a tenant.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::TenantId;
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO tenants (id, slug, settings, version, created_at, updated_at) VALUES ($1, $2, $3, 1, $4, $4) ON CONFLICT (slug) DO NOTHING";
    UPDATE = "UPDATE tenants SET settings = $2, version = version + 1, updated_at = $3 WHERE id = $1 AND version = $4";
    BUMP = "UPDATE tenants SET version = version + 1, updated_at = $2 WHERE id = $1";
    DISABLE = "UPDATE tenants SET disabled_at = $2, version = version + 1, updated_at = $2 WHERE id = $1 AND disabled_at IS NULL";
    BY_SLUG = "SELECT id, slug, settings, version, disabled_at, created_at FROM tenants WHERE slug = $1";
    BY_ID = "SELECT id, slug, settings, version, disabled_at, created_at FROM tenants WHERE id = $1";
    BY_HOST = "SELECT t.id, t.slug, t.settings, t.version, t.disabled_at, t.created_at FROM tenants t JOIN tenant_hosts h ON h.tenant_id = t.id WHERE h.host = $1";
    LIST = "SELECT id, slug, settings, version, disabled_at, created_at FROM tenants ORDER BY slug";
    FIRST = "SELECT id, slug, settings, version, disabled_at, created_at FROM tenants ORDER BY slug LIMIT 1";
    HOSTS = "SELECT host FROM tenant_hosts WHERE tenant_id = $1 ORDER BY host";
    DELETE_HOSTS = "DELETE FROM tenant_hosts WHERE tenant_id = $1";
    INSERT_HOST = "INSERT INTO tenant_hosts (host, tenant_id) VALUES ($1, $2) ON CONFLICT (host) DO NOTHING";
}

/// A tenant as it is stored; its settings are sealed.
#[derive(Debug, Clone)]
pub struct TenantRow {
    pub id: TenantId,
    pub slug: String,
    pub settings: Vec<u8>,
    pub version: i64,
    pub disabled_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl FromRow for TenantRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.id(0)?,
            slug: row.get(1)?,
            settings: row.get(2)?,
            version: row.get(3)?,
            disabled_at: row.optional_time(4)?,
            created_at: row.time(5)?,
        })
    }
}

/// False: the slug is taken.
pub async fn insert(tx: &mut Tx, id: TenantId, slug: &str, settings: &[u8]) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(INSERT, &[id.into(), slug.into(), settings.into(), now.into()]).await? == 1)
}

/// False: the tenant is no longer of `version`, and nothing was changed.
pub async fn update(tx: &mut Tx, id: TenantId, version: i64, settings: &[u8]) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(UPDATE, &[id.into(), settings.into(), now.into(), version.into()]).await? == 1)
}

/// Tells every cache that something of this tenant has changed.
pub async fn bump(tx: &mut Tx, id: TenantId) -> Result<()> {
    let now = tx.now();
    tx.exec(BUMP, &[id.into(), now.into()]).await?;
    Ok(())
}

/// False: it is disabled already, or unknown.
pub async fn disable(tx: &mut Tx, id: TenantId) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(DISABLE, &[id.into(), now.into()]).await? == 1)
}

pub async fn by_slug(reader: &mut Reader, slug: &str) -> Result<Option<TenantRow>> {
    reader.one(BY_SLUG, &[slug.into()]).await
}

pub async fn by_id(reader: &mut Reader, id: TenantId) -> Result<Option<TenantRow>> {
    reader.one(BY_ID, &[id.into()]).await
}

pub async fn by_host(reader: &mut Reader, host: &str) -> Result<Option<TenantRow>> {
    reader.one(BY_HOST, &[host.into()]).await
}

pub async fn list(reader: &mut Reader) -> Result<Vec<TenantRow>> {
    reader.all(LIST, &[]).await
}

/// The first by slug. `None`: there is no tenant.
pub async fn first(reader: &mut Reader) -> Result<Option<TenantRow>> {
    reader.one(FIRST, &[]).await
}

pub async fn hosts(reader: &mut Reader, id: TenantId) -> Result<Vec<String>> {
    Ok(reader.all::<(String,)>(HOSTS, &[id.into()]).await?.into_iter().map(|(host,)| host).collect())
}

/// Replaces the tenant's hosts. The first host that belongs to another tenant is returned and nothing may be kept.
pub async fn set_hosts(tx: &mut Tx, id: TenantId, hosts: &[String]) -> Result<Option<String>> {
    tx.exec(DELETE_HOSTS, &[id.into()]).await?;
    for host in hosts {
        if tx.exec(INSERT_HOST, &[host.into(), id.into()]).await? == 0 {
            return Ok(Some(host.clone()));
        }
    }
    Ok(None)
}
