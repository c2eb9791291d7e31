//! Failed sign-ins, gathered in memory and told of later: the answer to a guess waits for no row and does the same whether the login exists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::Engine;
use crate::error::Result;
use crate::model::event::EventName;
use crate::model::ids::{IdentityId, TenantId};
use crate::model::time::Timestamp;
use crate::ops::account::linked_data;
use crate::ops::event;
use crate::store;

/// Logins of one tenant that are held at once. Tries at further ones are counted and not told of.
const HELD: usize = 256;
/// Events that one tenant has in an hour, so that guessers do not fill its disk.
const HOURLY: u32 = 1_000;
const HOUR: Duration = Duration::from_hours(1);

/// What was tried since it was told last.
#[derive(Default)]
pub struct Tally(Mutex<HashMap<TenantId, OfTenant>>);

#[derive(Default)]
struct OfTenant {
    /// `None` holds what was tried at logins that nobody has. It is never told of.
    tries: HashMap<Option<IdentityId>, Tries>,
    /// Tries that are not told of.
    dropped: u64,
    hour_from: Option<Timestamp>,
    told_in_hour: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tries {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

/// What one tenant is to be told.
struct Due {
    tenant: TenantId,
    logins: Vec<(IdentityId, Tries)>,
    dropped: u64,
}

impl Tally {
    /// Counts a try at `login`, `None` for one that nobody has.
    pub(super) fn note(&self, tenant: TenantId, login: Option<IdentityId>, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.entry(tenant).or_default();
        let room = of.tries.len() < HELD;
        if let Some(tries) = of.tries.get_mut(&login) {
            tries.count += 1;
            tries.last = tries.last.max(now);
        } else if room || login.is_none() {
            of.tries.insert(login, Tries { count: 1, first: now, last: now });
        } else {
            of.dropped += 1;
        }
    }

    /// Takes out what is to be told, each tenant within its hour's share.
    fn due(&self, now: Timestamp) -> Vec<Due> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for (&tenant, of) in all.iter_mut() {
            if of.hour_from.is_none_or(|from| now.since(from) >= HOUR) {
                (of.hour_from, of.told_in_hour) = (Some(now), 0);
            }
            let mut dropped = std::mem::take(&mut of.dropped);
            let mut logins = Vec::new();
            for (login, tries) in of.tries.drain() {
                let Some(login) = login else { continue };
                if of.told_in_hour < HOURLY {
                    of.told_in_hour += 1;
                    logins.push((login, tries));
                } else {
                    dropped += tries.count;
                }
            }
            if !logins.is_empty() || dropped > 0 {
                due.push(Due { tenant, logins, dropped });
            }
        }
        due
    }
}

/// Writes an event for each login at which a wrong password was tried since the last call. What cannot be written is logged and lost.
pub(crate) async fn tell(engine: &Engine) {
    for Due { tenant, logins, dropped } in engine.failed_sign_ins.due(engine.clock.now()) {
        if dropped > 0 {
            tracing::warn!(%tenant, tries = dropped, "failed sign-ins that no event tells of: too many logins at once or in an hour");
        }
        if let Err(e) = tell_one(engine, tenant, logins).await {
            tracing::warn!(error = %e, %tenant, "failed sign-ins could not be told of");
        }
    }
}

async fn tell_one(engine: &Engine, id: TenantId, logins: Vec<(IdentityId, Tries)>) -> Result<()> {
    if logins.is_empty() {
        return Ok(());
    }
    // `None`: it was disabled meanwhile.
    let Some(tenant) = super::tenant::by_id(engine, id).await? else { return Ok(()) };
    let drawn: Vec<_> = logins.into_iter().map(|(login, tries)| (login, tries, event::draw(engine, &tenant, EventName::SignInFailed))).collect();
    let input = Arc::new(drawn);
    let work = engine.db.write_behind(move |tx| {
        let input = input.clone();
        Box::pin(async move {
            for (login, tries, drawn) in &*input {
                // Gone meanwhile: nobody is left whom it is of.
                let Some(login) = store::identity::by_id(tx, id, *login).await? else { continue };
                let mut data = linked_data(&login);
                data.insert("attempts".to_owned(), tries.count.into());
                data.insert("first_at".to_owned(), Value::String(tries.first.to_string()));
                data.insert("last_at".to_owned(), Value::String(tries.last.to_string()));
                event::append_with(tx, id, drawn, data).await?;
            }
            Ok(())
        })
    });
    work.await?;
    engine.outbox.wake();
    Ok(())
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn login(n: usize) -> IdentityId {
        IdentityId(Ulid::from_parts(1, n as u128))
    }

    #[test]
    fn many_tries_at_one_login_are_one_and_an_unknown_one_is_none() {
        let (tally, tenant) = (Tally::default(), TenantId(Ulid::nil()));
        for second in 0..3 {
            tally.note(tenant, Some(login(1)), at(second));
            tally.note(tenant, None, at(second));
        }
        let due = tally.due(at(5));
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].tenant, due[0].dropped), (tenant, 0));
        assert_eq!(due[0].logins, [(login(1), Tries { count: 3, first: at(0), last: at(2) })]);
        tally.note(tenant, None, at(6));
        assert!(tally.due(at(7)).is_empty());
    }

    #[test]
    fn a_flood_is_bounded_at_once_and_by_the_hour_and_another_tenant_has_its_own_room() {
        let (tally, tenant, other) = (Tally::default(), TenantId(Ulid::nil()), TenantId(Ulid::from_parts(1, 1)));
        let mut told = 0;
        for round in 0..10 {
            for n in 0..HELD + 10 {
                tally.note(tenant, Some(login(n)), at(round));
            }
            let due = tally.due(at(round));
            let left = (HOURLY as usize).saturating_sub(told).min(HELD);
            assert_eq!((due[0].logins.len(), due[0].dropped), (left, (HELD + 10 - left) as u64), "round {round}");
            told += left;
        }
        assert_eq!(told, HOURLY as usize);
        tally.note(other, Some(login(1)), at(10));
        assert_eq!(tally.due(at(10))[0].logins.len(), 1);
        tally.note(tenant, Some(login(1)), at(3_600));
        assert_eq!(tally.due(at(3_600))[0].logins.len(), 1, "the hour is over");
    }
}
