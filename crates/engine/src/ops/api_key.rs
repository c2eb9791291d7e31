//! API keys of a tenant: shown once, stored as hashes.

use std::sync::Arc;

use crate::Engine;
use crate::crypto::sha256;
use crate::error::{Code, Error, Result};
use crate::model::ids::ApiKeyId;
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::store::{self, api_key::ApiKeyRow};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Names the tenant to a storefront and grants nothing more.
    Publishable,
    /// Lets the shop's own servers act.
    Secret,
}

impl Kind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publishable => "publishable",
            Self::Secret => "secret",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Publishable => "pk_",
            Self::Secret => "sk_",
        }
    }
}

/// A key as a list shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: ApiKeyId,
    pub kind: String,
    pub title: String,
    /// Its first and last characters.
    pub redacted: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// SHA-256 of a key: it has 256 random bits, so nothing slower is needed.
#[must_use]
pub fn digest(token: &str) -> [u8; 32] {
    sha256(&[token.as_bytes()])
}

/// Whether `token` has the form of a key of this kind: the prefix and 64 hexadecimal digits.
#[must_use]
pub fn is_well_formed(kind: Kind, token: &str) -> bool {
    token.strip_prefix(kind.prefix()).is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Makes a key; its text is returned here and never again.
pub async fn create(engine: &Engine, tenant: &Arc<Tenant>, kind: Kind, title: &str) -> Result<(ApiKeyId, String)> {
    let token = format!("{}{}", kind.prefix(), crate::model::hex(&engine.rng.bytes::<32>()));
    let row = row(engine, kind, title, &token);
    let id = row.id;
    let input = Arc::new((tenant.id, row));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                store::api_key::insert(tx, input.0, &input.1).await?;
                store::tenant::bump(tx, input.0).await
            })
        })
        .await?;
    Ok((id, token))
}

pub(super) fn row(engine: &Engine, kind: Kind, title: &str, token: &str) -> ApiKeyRow {
    let now = engine.clock.now();
    let start: String = token.chars().take(6).collect();
    let end: String = token.chars().skip(token.chars().count().saturating_sub(3)).collect();
    ApiKeyRow {
        id: ApiKeyId(engine.rng.ulid(now)),
        kind: kind.as_str().into(),
        token_hash: digest(token).to_vec(),
        redacted: format!("{start}***{end}"),
        title: title.into(),
        created_at: now,
        revoked_at: None,
    }
}

/// Ends a key at once.
pub async fn revoke(engine: &Engine, tenant: &Arc<Tenant>, id: ApiKeyId) -> Result<()> {
    let tenant_id = tenant.id;
    let revoked = engine
        .db
        .write(move |tx| {
            Box::pin(async move {
                let revoked = store::api_key::revoke(tx, tenant_id, id).await?;
                store::tenant::bump(tx, tenant_id).await?;
                Ok(revoked)
            })
        })
        .await?;
    if revoked { Ok(()) } else { Err(Error::new(Code::NotFound, format!("Api key with id: {id} was not found"))) }
}

/// The tenant's keys, oldest first.
pub async fn list(engine: &Engine, tenant: &Tenant) -> Result<Vec<Listed>> {
    let tenant_id = tenant.id;
    let rows = engine.db.read(move |reader| Box::pin(store::api_key::list(reader, tenant_id))).await?;
    Ok(rows
        .into_iter()
        .map(|r| Listed { id: r.id, kind: r.kind, title: r.title, redacted: r.redacted, created_at: r.created_at, revoked_at: r.revoked_at })
        .collect())
}

/// Whether `token` is a live publishable key of `tenant`.
#[must_use]
pub fn is_publishable(tenant: &Tenant, token: &str, now: Timestamp) -> bool {
    let digest = digest(token);
    tenant.publishable.iter().any(|(known, revoked_at)| *known == digest && revoked_at.is_none_or(|at| at > now))
}

/// The live secret key `token` of `tenant`. The row is read at each use, so one that is revoked is refused at once; it is found by its hash, whose bytes
/// a guess cannot come closer to.
pub async fn secret(engine: &Engine, tenant: &Tenant, token: &str) -> Result<Option<ApiKeyId>> {
    if !is_well_formed(Kind::Secret, token) {
        return Ok(None);
    }
    let (tenant_id, digest) = (tenant.id, digest(token));
    engine.db.read(move |reader| Box::pin(async move { store::api_key::secret(reader, tenant_id, &digest).await })).await
}
