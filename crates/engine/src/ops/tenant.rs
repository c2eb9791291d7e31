//! Tenants: found by host, made by configuration or command.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::Engine;
use crate::crypto::token::{SigningKey, TenantKeys};
use crate::error::{Code, Error, Result};
use crate::model::ids::{KeyId, TenantId};
use crate::model::tenant::{Algorithm, Tenant, TenantSettings, is_slug};
use crate::model::time::Timestamp;
use crate::ops::api_key::{self, Kind};
use crate::store::{self, Reader, Tx, tenant::TenantRow};

/// How long a cached tenant is believed before its version is read again.
const FRESH: Duration = Duration::from_millis(500);

/// How many hosts are remembered. Any host may fall to the default tenant, so strangers choose what stands here.
const HOSTS: usize = 4_096;

/// Tenants that were used lately, ready for use, and the hosts that led to them.
#[derive(Default)]
pub struct Tenants {
    ready: RwLock<HashMap<TenantId, Cached>>,
    hosts: RwLock<HashMap<String, (TenantId, Timestamp)>>,
}

struct Cached {
    tenant: Arc<Tenant>,
    checked_at: Timestamp,
}

/// A tenant as a list shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: TenantId,
    pub slug: String,
    pub hosts: Vec<String>,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

fn unknown_host() -> Error {
    Error::new(Code::NotFound, "There is no store at this host")
}

/// The tenant that answers at `host` (without port).
///
/// # Errors
/// `NotFound` for a host that belongs to nobody.
pub async fn at_host(engine: &Engine, host: &str) -> Result<Arc<Tenant>> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let now = engine.clock.now();
    let known = read_lock(&engine.tenants.hosts).get(&host).copied();
    if let Some((id, at)) = known
        && is_fresh(now, at)
        && let Some(tenant) = ready(engine, id)
    {
        return Ok(tenant);
    }
    let row = find_row(engine, &host).await?.filter(|row| row.disabled_at.is_none()).ok_or_else(unknown_host)?;
    let tenant = current(engine, row).await?;
    let mut hosts = write_lock(&engine.tenants.hosts);
    if hosts.len() >= HOSTS {
        hosts.clear();
    }
    hosts.insert(host, (tenant.id, now));
    Ok(tenant)
}

/// Whether what was read at `at` is still believed. Not what was read later than now: the clock was set back, and would call it fresh for as long.
fn is_fresh(now: Timestamp, at: Timestamp) -> bool {
    now >= at && now.since(at) < FRESH
}

/// The slug in `{slug}.{tenant_domain}` or `{slug}.localhost`. May hold dots, and is then nobody's.
fn slug_in<'h>(engine: &Engine, host: &'h str) -> Option<&'h str> {
    tenant_domains(engine).find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.'))
}

/// Under these a name is the slug of its tenant.
fn tenant_domains(engine: &Engine) -> impl Iterator<Item = &str> {
    engine.config.server.tenant_domain.as_deref().into_iter().chain(std::iter::once("localhost"))
}

async fn find_row(engine: &Engine, host: &str) -> Result<Option<TenantRow>> {
    let slug = slug_in(engine, host).map(str::to_owned);
    let default = engine.config.server.default_tenant.clone();
    let host = host.to_owned();
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                if let Some(slug) = &slug
                    && let Some(row) = store::tenant::by_slug(reader, slug).await?
                {
                    return Ok(Some(row));
                }
                if let Some(row) = store::tenant::by_host(reader, &host).await? {
                    return Ok(Some(row));
                }
                // Under the domain of the tenants a name is somebody's or nobody's.
                match default.filter(|_| slug.is_none()) {
                    Some(slug) => store::tenant::by_slug(reader, &slug).await,
                    None => Ok(None),
                }
            })
        })
        .await
}

/// The tenant with this id, for work that carries its tenant along. `None`: it is gone or disabled.
pub async fn by_id(engine: &Engine, id: TenantId) -> Result<Option<Arc<Tenant>>> {
    let checked = read_lock(&engine.tenants.ready).get(&id).map(|cached| (cached.tenant.clone(), cached.checked_at));
    if let Some((tenant, at)) = checked
        && is_fresh(engine.clock.now(), at)
    {
        return Ok(Some(tenant));
    }
    anew(engine, id).await
}

/// As `by_id`, read now: for who finds something that the tenant of a moment ago does not explain.
pub async fn anew(engine: &Engine, id: TenantId) -> Result<Option<Arc<Tenant>>> {
    let row = engine.db.read(move |reader| Box::pin(store::tenant::by_id(reader, id))).await?;
    match row.filter(|row| row.disabled_at.is_none()) {
        Some(row) => current(engine, row).await.map(Some),
        None => Ok(None),
    }
}

/// The tenant with this slug, also one that is disabled: for its operator.
pub async fn by_slug(engine: &Engine, slug: &str) -> Result<Arc<Tenant>> {
    let row = row_by_slug(engine, slug).await?.ok_or_else(|| Error::new(Code::NotFound, format!("There is no tenant `{slug}`")))?;
    current(engine, row).await
}

/// The tenant whose pages are under `/t/{slug}`.
///
/// # Errors
/// `NotFound` for a slug that is nobody's or that of a disabled tenant.
pub async fn at_path(engine: &Engine, slug: &str) -> Result<Arc<Tenant>> {
    let row = row_by_slug(engine, slug).await?.filter(|row| row.disabled_at.is_none());
    current(engine, row.ok_or_else(|| Error::new(Code::NotFound, "There is no store at this path"))?).await
}

async fn row_by_slug(engine: &Engine, slug: &str) -> Result<Option<TenantRow>> {
    let slug = slug.to_owned();
    engine.db.read(move |reader| Box::pin(async move { store::tenant::by_slug(reader, &slug).await })).await
}

fn read_lock<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_lock<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn ready(engine: &Engine, id: TenantId) -> Option<Arc<Tenant>> {
    read_lock(&engine.tenants.ready).get(&id).map(|cached| cached.tenant.clone())
}

/// The tenant of a row that was just read: the one that is ready, if it is of the same version.
async fn current(engine: &Engine, row: TenantRow) -> Result<Arc<Tenant>> {
    if row.disabled_at.is_some() {
        // What is in the cache answers.
        return load(engine, row).await;
    }
    let tenant = match ready(engine, row.id).filter(|ready| ready.version == row.version) {
        Some(tenant) => tenant,
        None => load(engine, row).await?,
    };
    let cached = Cached { tenant: tenant.clone(), checked_at: engine.clock.now() };
    write_lock(&engine.tenants.ready).insert(tenant.id, cached);
    Ok(tenant)
}

fn settings_context(id: TenantId) -> String {
    format!("tenant/{}/settings", id.bare())
}

fn key_context(id: TenantId, key: KeyId) -> String {
    format!("tenant/{}/signing_keys/{}", id.bare(), key.bare())
}

/// Unseals a tenant.
async fn load(engine: &Engine, row: TenantRow) -> Result<Arc<Tenant>> {
    let id = row.id;
    let (hosts, keys, api_keys) = engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                Ok((store::tenant::hosts(reader, id).await?, store::signing_key::list(reader, id).await?, store::api_key::list(reader, id).await?))
            })
        })
        .await?;
    let settings = unseal_settings(engine, id, &row.settings)?;
    let (mut current, mut retired) = (None, Vec::new());
    for key in keys {
        let algorithm = if key.algorithm == Algorithm::Hs256.as_str() { Algorithm::Hs256 } else { Algorithm::EdDsa };
        let signing = SigningKey::from_parts(key.id, algorithm, &engine.master.open(&key_context(id, key.id), &key.material)?)?;
        match (key.retired_at, &current) {
            (None, None) => current = Some(signing),
            // Past the last token made with it, be it a session's or a reset's, a retired key verifies nothing.
            (Some(at), _) if engine.clock.now().since(at) <= settings.tokens.ttl.0.max(settings.tokens.reset_ttl.0) => retired.push(signing),
            _ => {}
        }
    }
    let current = current.ok_or_else(|| Error::unexpected(format!("tenant {} has no signing key", row.slug)))?;
    let former = former(&settings)?;
    // What is listed verifies no reset, also where it was this tenant's own a moment ago.
    retired.retain(|key| !former.iter().any(|listed| key.algorithm() == Algorithm::Hs256 && listed.material() == key.material()));
    let publishable = api_keys
        .into_iter()
        .filter(|key| key.kind == Kind::Publishable.as_str())
        .filter_map(|key| Some((<[u8; 32]>::try_from(key.token_hash.as_slice()).ok()?, key.revoked_at)))
        .collect();
    Ok(Arc::new(Tenant {
        id,
        slug: row.slug,
        hosts,
        settings,
        keys: Arc::new(TenantKeys { current, retired, former }),
        publishable,
        version: row.version,
    }))
}

/// The keys of the former secrets. No token names them, so they have no id.
fn former(settings: &TenantSettings) -> Result<Vec<SigningKey>> {
    let secrets = settings.tokens.former_secrets.iter();
    secrets.map(|secret| SigningKey::from_parts(KeyId(ulid::Ulid::nil()), Algorithm::Hs256, secret.expose().as_bytes())).collect()
}

fn unseal_settings(engine: &Engine, id: TenantId, sealed: &[u8]) -> Result<TenantSettings> {
    let plain = engine.master.open(&settings_context(id), sealed)?;
    serde_json::from_slice(&plain).map_err(|e| Error::unexpected(format!("settings of tenant {id}: {e}")))
}

/// Whether the master key is the one that sealed this database: it opens what is sealed in it. An empty database takes any key.
pub(crate) async fn check_master_key(engine: &Engine) -> Result<()> {
    let Some(row) = engine.db.read(|reader| Box::pin(store::tenant::first(reader))).await? else { return Ok(()) };
    match engine.master.open(&settings_context(row.id), &row.settings) {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(Error::invalid("keys.master is not the key that sealed this database; set the right key, or restore the backup made with this one"))
        }
    }
}

/// How often a change is tried again that somebody else's has overtaken.
const TRIES: u32 = 3;

/// What is written for a tenant, drawn and sealed before the transaction.
struct Draft {
    id: TenantId,
    slug: String,
    settings: Vec<u8>,
    hosts: Vec<String>,
    key: Option<(KeyId, Algorithm, Vec<u8>)>,
    api_keys: Vec<store::api_key::ApiKeyRow>,
    /// The hosts that it has by its slug.
    names: Vec<String>,
    /// Hosts that would be another's by its slug, with that slug.
    borrowed: Vec<(String, String)>,
    changed: bool,
}

/// Creates the declared tenant, or brings it to what the configuration says.
pub async fn declare(engine: &Engine, declared: &TenantSettings) -> Result<()> {
    let mut tries = 1;
    loop {
        let existing = match row_by_slug(engine, &declared.slug).await? {
            Some(row) => Some(current(engine, row).await?),
            None => None,
        };
        match write(engine, declared, existing.as_deref()).await {
            // Another server starts with the same configuration.
            Err(e) if matches!(e.code, Code::Conflict | Code::Duplicate) && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

/// Changes the settings of a tenant that is not declared. A running server knows within a second.
///
/// # Errors
/// `NotFound` for an unknown slug, `Conflict` if others change it all the time.
pub async fn change(engine: &Engine, slug: &str, change: impl Fn(&mut TenantSettings)) -> Result<()> {
    let mut tries = 1;
    loop {
        let tenant = by_slug(engine, slug).await?;
        let mut settings = TenantSettings { slug: slug.to_owned(), hosts: tenant.hosts.clone(), ..tenant.settings.clone() };
        change(&mut settings);
        match write(engine, &settings, Some(&tenant)).await {
            Err(e) if e.code == Code::Conflict && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

/// Creates a tenant that is not declared.
///
/// # Errors
/// `InvalidData` for a slug that is no host label, `Duplicate` for one that is taken.
pub async fn create(engine: &Engine, settings: &TenantSettings) -> Result<Arc<Tenant>> {
    write(engine, settings, None).await?;
    by_slug(engine, &settings.slug).await
}

async fn write(engine: &Engine, settings: &TenantSettings, existing: Option<&Tenant>) -> Result<()> {
    if !is_slug(&settings.slug) {
        return Err(Error::invalid(format!("`{}` is no slug: 1 to 40 of a-z, 0-9 and -, no - at an end", settings.slug)));
    }
    let draft = draft(engine, settings, existing)?;
    if !draft.changed && existing.is_some() && draft.api_keys.is_empty() {
        return Ok(());
    }
    let (draft, version) = (Arc::new(draft), existing.map(|tenant| tenant.version));
    engine
        .db
        .write(move |tx| {
            let draft = draft.clone();
            Box::pin(async move { write_tx(tx, &draft, version).await })
        })
        .await
}

fn draft(engine: &Engine, settings: &TenantSettings, existing: Option<&Tenant>) -> Result<Draft> {
    let now = engine.clock.now();
    let id = existing.map_or_else(|| TenantId(engine.rng.ulid(now)), |t| t.id);
    let borrowed = |host: &String| slug_in(engine, host).filter(|slug| *slug != settings.slug).map(|slug| (host.clone(), slug.to_owned()));
    let json = serde_json::to_vec(settings).map_err(|e| Error::unexpected(e.to_string()))?;
    let hosts: Vec<String> = settings.hosts.iter().map(|h| h.trim_end_matches('.').to_ascii_lowercase()).collect();
    let wanted = match (settings.tokens.algorithm, &settings.tokens.secret) {
        (Algorithm::Hs256, Some(secret)) => Some(secret.expose().as_bytes().to_vec()),
        (Algorithm::Hs256, None) => return Err(Error::invalid(format!("tenant {}: tokens.secret is required for HS256", settings.slug))),
        (Algorithm::EdDsa, _) => None,
    };
    if settings.tokens.former_secrets.iter().any(|secret| secret.expose().is_empty()) {
        return Err(Error::invalid(format!("tenant {}: tokens.former_secrets holds an empty one", settings.slug)));
    }
    let keep_key = existing.is_some_and(|tenant| match &wanted {
        Some(secret) => tenant.keys.current.algorithm() == Algorithm::Hs256 && tenant.keys.current.material() == secret.as_slice(),
        None => tenant.keys.current.algorithm() == Algorithm::EdDsa,
    });
    let key = if keep_key { None } else { Some(new_key(engine, id, settings.tokens.algorithm, wanted)?) };
    let publishable = settings.publishable_keys.iter().map(|token| (Kind::Publishable, token.as_str()));
    let secret = settings.secret_keys.iter().map(|token| (Kind::Secret, token.expose()));
    let api_keys = publishable
        .chain(secret)
        .filter(|(kind, token)| {
            *kind == Kind::Secret || !existing.is_some_and(|t| t.publishable.iter().any(|(known, _)| *known == api_key::digest(token)))
        })
        .map(|(kind, token)| api_key::row(engine, kind, "declared", token))
        .collect();
    let same_settings = existing.is_some_and(|t| serde_json::to_vec(&t.settings).is_ok_and(|old| old == json) && t.hosts == hosts);
    let changed = !same_settings || key.is_some();
    let sealed = engine.master.seal(&settings_context(id), &json);
    let names = tenant_domains(engine).map(|domain| format!("{}.{domain}", settings.slug)).collect();
    let borrowed = hosts.iter().filter_map(borrowed).collect();
    Ok(Draft { id, slug: settings.slug.clone(), settings: sealed, hosts, key, api_keys, names, borrowed, changed })
}

fn new_key(engine: &Engine, tenant: TenantId, algorithm: Algorithm, secret: Option<Vec<u8>>) -> Result<(KeyId, Algorithm, Vec<u8>)> {
    let id = KeyId(engine.rng.ulid(engine.clock.now()));
    let material = match secret {
        Some(secret) => zeroize::Zeroizing::new(secret),
        None => SigningKey::generate(id)?.1,
    };
    Ok((id, algorithm, engine.master.seal(&key_context(tenant, id), &material)))
}

/// `version` is that of the tenant that is changed; without one it is created.
async fn write_tx(tx: &mut Tx, draft: &Draft, version: Option<i64>) -> Result<()> {
    match version {
        None if !store::tenant::insert(tx, draft.id, &draft.slug, &draft.settings).await? => {
            return Err(Error::new(Code::Duplicate, format!("There is a tenant `{}` already", draft.slug)));
        }
        Some(version) if !store::tenant::update(tx, draft.id, version, &draft.settings).await? => {
            return Err(Error::new(Code::Conflict, format!("Tenant `{}` was changed by somebody else meanwhile", draft.slug)));
        }
        _ => {}
    }
    for (host, slug) in &draft.borrowed {
        if store::tenant::by_slug(tx, slug).await?.is_some() {
            return Err(Error::new(Code::Duplicate, format!("The host `{host}` is that of the tenant `{slug}`")));
        }
    }
    // Who exists already has had them all along.
    if version.is_none() {
        for name in &draft.names {
            if store::tenant::by_host(tx, name).await?.is_some() {
                return Err(Error::new(Code::Duplicate, format!("The host `{name}` belongs to another tenant")));
            }
        }
    }
    if let Some(host) = store::tenant::set_hosts(tx, draft.id, &draft.hosts).await? {
        return Err(Error::new(Code::Duplicate, format!("The host `{host}` belongs to another tenant")));
    }
    if let Some((id, algorithm, material)) = &draft.key {
        store::signing_key::retire(tx, draft.id).await?;
        store::signing_key::insert(tx, draft.id, *id, algorithm.as_str(), material).await?;
    }
    for key in &draft.api_keys {
        store::api_key::insert(tx, draft.id, key).await?;
    }
    Ok(())
}

/// Every tenant, by slug.
pub async fn list(engine: &Engine) -> Result<Vec<Listed>> {
    engine
        .db
        .read(|reader| {
            Box::pin(async move {
                let mut out = Vec::new();
                for row in store::tenant::list(reader).await? {
                    out.push(listed(reader, row).await?);
                }
                Ok(out)
            })
        })
        .await
}

async fn listed(reader: &mut Reader, row: TenantRow) -> Result<Listed> {
    let hosts = store::tenant::hosts(reader, row.id).await?;
    Ok(Listed { id: row.id, slug: row.slug, hosts, created_at: row.created_at, disabled_at: row.disabled_at })
}

/// Closes a tenant: it answers like an unknown host.
pub async fn disable(engine: &Engine, tenant: &Tenant) -> Result<()> {
    let id = tenant.id;
    engine.db.write(move |tx| Box::pin(store::tenant::disable(tx, id))).await?;
    Ok(())
}

impl Engine {
    /// The `iss` of a tenant's tokens: the URL of its API.
    #[must_use]
    pub fn issuer(&self, tenant: &Tenant) -> String {
        let host = tenant.hosts.first().cloned().unwrap_or_else(|| match &self.config.server.tenant_domain {
            Some(domain) => format!("{}.{domain}", tenant.slug),
            None => format!("{}.localhost", tenant.slug),
        });
        format!("https://{host}")
    }

    /// Where the tenant's hosted pages are: an origin, and with `public_url` a path.
    #[must_use]
    pub fn pages_url(&self, tenant: &Tenant) -> String {
        let server = &self.config.server;
        let (scheme, port) = if server.is_local() { ("http", format!(":{}", server.listen.port())) } else { ("https", String::new()) };
        match (tenant.hosts.first(), &server.tenant_domain, &server.public_url) {
            (Some(host), _, _) => format!("{scheme}://{host}{port}"),
            (None, Some(domain), _) => format!("{scheme}://{}.{domain}{port}", tenant.slug),
            (None, None, Some(url)) => format!("{}/t/{}", url.as_str().trim_end_matches('/'), tenant.slug),
            (None, None, None) => format!("{scheme}://{}.localhost{port}", tenant.slug),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_believed_for_half_a_second_and_never_from_the_future() {
        let read = Timestamp::from_seconds(1_795_447_000);
        assert!(is_fresh(read, read) && is_fresh(read.after(FRESH).before(Duration::from_micros(1)), read));
        assert!(!is_fresh(read.after(FRESH), read) && !is_fresh(read.before(Duration::from_micros(1)), read));
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn no_more_hosts_are_remembered_than_there_is_room_for() {
        let (engine, tenant, _database) = crate::testing::one_shop(crate::testing::Backend::Sqlite).await.unwrap();
        for (known, left) in [(HOSTS - 1, HOSTS), (HOSTS, 1)] {
            let hosts = (0..known).map(|n| (format!("{n}.example"), (tenant.id, engine.clock.now())));
            *write_lock(&engine.tenants.hosts) = hosts.collect();
            at_host(&engine, "acme.localhost").await.unwrap();
            assert_eq!(read_lock(&engine.tenants.hosts).len(), left);
        }
    }
}
