//! The cookie of a session: a secret of its own, which stands for the session in a browser as a token does elsewhere.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Engine;
use crate::crypto::sha256;
use crate::error::{Error, Result};
use crate::model::ids::TenantId;
use crate::model::tenant::Tenant;
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, Adoption, Caller, Ending, Reason};
use crate::store;

/// Random characters of a value: 32 bytes.
const LENGTH: usize = 43;

/// What a cookie opens. The values of each have a form of their own, so that none is good under another's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// The API of a storefront.
    Api,
    /// The pages of the console.
    Console,
}

impl Opens {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Api => "",
            Self::Console => "app_",
        }
    }

    /// What is no cookie of ours buys no look into the database.
    fn is_one(self, value: &str) -> bool {
        value.strip_prefix(self.prefix()).is_some_and(|random| random.len() == LENGTH)
    }
}

/// A cookie for a browser to keep.
#[derive(Debug)]
pub struct Given {
    pub value: String,
    /// As long as the session.
    pub lasts: Duration,
}

/// Gives the caller's session a new cookie; the one that it had is dead. `shown` is the cookie that the browser has: the session behind it ends, because this one
/// takes its place.
///
/// # Errors
/// `Unauthenticated` if the session has ended meanwhile.
pub async fn give(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    caller: &Caller,
    opens: Opens,
    shown: Option<&str>,
    receipt: &Receipt<Given>,
) -> Result<Given> {
    let value = format!("{}{}", opens.prefix(), URL_SAFE_NO_PAD.encode(engine.rng.bytes::<32>()));
    // A token of a former secret begins its session here.
    let adoption = Adoption::draw(engine, tenant, caller);
    let (tenant_id, identity, now) = (tenant.id, caller.identity, engine.clock.now());
    let replaced = shown.filter(|shown| opens.is_one(shown)).map(hash);
    let ending = Ending::draw(engine, tenant, Reason::Replaced);
    let input = Arc::new((value, tenant.clone(), caller.clone(), adoption, ending, receipt.clone()));
    let given = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (value, tenant, caller, adoption, ending, receipt) = &*input;
                let id = match caller.session {
                    Some(id) => id,
                    None => match session::adopt_tx(tx, tenant, caller, adoption).await? {
                        Ok(_) => adoption.new.id(),
                        // What was counted must be committed.
                        Err(refusal) => return Ok(Err(refusal)),
                    },
                };
                let Some(expires_at) = store::session::set_cookie(tx, tenant_id, id, identity, &hash(value)).await? else {
                    return Ok(Err(Error::unauthenticated()));
                };
                if let Some(replaced) = replaced
                    && let Some((ended, login)) = store::session::end_replaced(tx, tenant_id, &replaced, id).await?
                {
                    ending.tell_of(tx, tenant_id, login, vec![ended]).await?;
                }
                let given = Given { value: value.clone(), lasts: expires_at.since(now) };
                receipt.settle(tx, &given, Some(id)).await?;
                Ok(Ok(given))
            })
        })
        .await?;
    engine.outbox.wake();
    given
}

/// Whether the cookie that `line`, a `Set-Cookie`, gave is the one of a live session.
pub(super) async fn is_current(engine: &Engine, tenant: TenantId, line: &str) -> Result<bool> {
    let value = line.split(';').next().and_then(|pair| pair.split_once('=')).map_or("", |(_, value)| value);
    let hash = hash(value);
    let found = engine.db.read(move |reader| Box::pin(async move { store::session::by_cookie(reader, tenant, &hash).await })).await?;
    Ok(found.is_some())
}

/// The caller who shows `cookie`, from what the login is now, if the session neither ended nor expired.
pub async fn authenticate(engine: &Engine, tenant: &Tenant, opens: Opens, cookie: &str) -> Result<Option<Caller>> {
    if !opens.is_one(cookie) {
        return Ok(None);
    }
    let (tenant_id, hash) = (tenant.id, hash(cookie));
    let found = engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let Some(row) = store::session::by_cookie(reader, tenant_id, &hash).await? else { return Ok(None) };
                Ok(store::identity::by_id(reader, tenant_id, row.identity).await?.map(|identity| (row, identity)))
            })
        })
        .await?;
    Ok(found.map(|(row, identity)| session::known(engine, tenant, &row, &identity)))
}

/// What is stored of it.
fn hash(value: &str) -> [u8; 32] {
    sha256(&[value.as_bytes()])
}
