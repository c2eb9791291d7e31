//! A new password for somebody who is signed in and knows the old one.

use std::sync::Arc;

use crate::Engine;
use crate::crypto::password_hash::Verdict;
use crate::error::{Code, Error, Result};
use crate::limits::Failures;
use crate::model::event::EventName;
use crate::model::identity::Identity;
use crate::model::password;
use crate::model::tenant::Tenant;
use crate::ops::event::{self, Planned};
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, Caller, Ending, Reason};
use crate::ops::{Client, password_reset, registration, sign_in};
use crate::provider::emailpass;
use crate::store::{self, Tx};

/// Replaces the password of the caller's login. The other sessions of the login end, the caller's stays. A try at the current password is a try at signing in: who has
/// taken a token must not be able to guess.
///
/// # Errors
/// `NotAllowed` for a login without a password, `InvalidData` for a new one that the rules refuse, `TooManyRequests`, `Unauthorized` if `current` is wrong,
/// `Unauthenticated` if the session has ended meanwhile, `Busy`.
pub async fn change(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    client: &Client,
    caller: &Caller,
    current: &str,
    secret: &str,
    receipt: &Receipt<()>,
) -> Result<()> {
    let (tenant_id, id) = (tenant.id, caller.identity);
    let login = engine.db.read(move |reader| Box::pin(store::identity::by_id(reader, tenant_id, id))).await?.ok_or_else(Error::unauthenticated)?;
    if login.key.provider != emailpass::NAME || login.password_hash.is_none() {
        return Err(Error::new(Code::NotAllowed, "This login has no password to change"));
    }
    registration::check_password(tenant, login.key.entity_id.split('@').next().unwrap_or_default(), secret)?;
    let failures = Failures::at(engine, tenant, &login.key, Some(client.ip));
    let (login, failures) = sign_in::admit(engine, tenant, client, failures, login.key).await?;
    let mut login = login.filter(|login| login.id == id).ok_or_else(wrong)?;
    // One that is too long can be nobody's.
    let too_long = current.len() > password::MAX_BYTES;
    let candidate = if too_long { "" } else { current };
    // A sign-in beside may keep the hash anew. Then it is looked at once more: the password may be right still.
    for _ in 0..2 {
        let verdict = failures.judged(engine, tenant, engine.hasher.verify(candidate, login.password_hash.as_deref()).await).await?;
        if too_long || verdict == Verdict::Wrong {
            engine.failed_sign_ins.note(tenant.id, Some(id), engine.clock.now());
            return Err(wrong());
        }
        let hash = failures.judged(engine, tenant, engine.hasher.hash(password::normalise(secret), engine.rng.bytes()).await).await?;
        let planned = event::plan(engine, tenant, EventName::PasswordUpdated, password_reset::updated_data(&login), None);
        let ending = Ending::draw(engine, tenant, Reason::PasswordChanged);
        let (caller, failures, receipt) = (caller.clone(), failures.clone(), receipt.clone());
        let input = Arc::new((tenant.clone(), Change { caller, verified: login, hash, failures, planned, ending, receipt }));
        let work = engine.db.write(move |tx| {
            let input = input.clone();
            Box::pin(async move { change_tx(tx, &input.0, &input.1).await })
        });
        let Some(now) = work.await? else {
            engine.outbox.wake();
            return Ok(());
        };
        login = now;
    }
    Err(wrong())
}

fn wrong() -> Error {
    Error::unauthorized("The current password is wrong")
}

/// What was drawn and computed before the transaction.
struct Change {
    caller: Caller,
    verified: Identity,
    hash: String,
    failures: Failures,
    planned: Planned,
    ending: Ending,
    receipt: Receipt<()>,
}

/// The login, where it has another password hash than the one that was verified.
async fn change_tx(tx: &mut Tx, tenant: &Arc<Tenant>, change: &Change) -> Result<Option<Identity>> {
    let id = change.verified.id;
    // The lock orders this against a reset and a sign-in: whoever comes second sees what the first did.
    if !store::identity::lock(tx, tenant.id, id).await? || !session::stands(tx, tenant.id, &change.caller).await? {
        return Err(Error::unauthenticated());
    }
    // Guarded by the hash that was verified: where another password was set meanwhile, the one that was shown is no longer current.
    let old = change.verified.password_hash.as_deref().unwrap_or_default();
    if !store::identity::replace_hash(tx, tenant.id, id, old, &change.hash).await? {
        return Ok(Some(store::identity::by_id(tx, tenant.id, id).await?.ok_or_else(Error::unauthenticated)?));
    }
    if tenant.settings.passwords.revoke_sessions_on_change {
        let ended = match change.caller.session {
            Some(own) => store::session::end_others(tx, tenant.id, id, own).await?,
            None => store::session::end_all(tx, tenant.id, id).await?,
        };
        change.ending.tell(tx, tenant.id, &change.verified, ended).await?;
    }
    store::password_reset::void(tx, tenant.id, id).await?;
    change.failures.give_back(tx, tenant).await?;
    event::append(tx, tenant, &change.planned).await?;
    change.receipt.settle(tx, &(), None).await?;
    Ok(None)
}
