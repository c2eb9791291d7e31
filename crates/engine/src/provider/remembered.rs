//! What an issuer said, kept for a while.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use url::Url;

use super::{Refusal, UNREACHABLE};
use crate::model::ids::TenantId;
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;

/// How long an answer is good.
const FRESH: Duration = Duration::from_hours(1);
/// How long a failure is repeated to whoever asks again, so that a dead issuer is not asked by every customer.
const FAILURE: Duration = Duration::from_secs(5);
/// How long to wait for a fetch of somebody else's.
const WAIT: Duration = Duration::from_secs(10);
/// An answer that is fresh and yet lacks something is fetched again at most so often: `FETCHES` in `WINDOW`, the first fetch included.
const WINDOW: Duration = Duration::from_mins(1);
const FETCHES: usize = 2;
/// Places that are remembered; tenants times providers seldom are more.
const ENTRIES: u64 = 4_096;
const IDLE: Duration = Duration::from_hours(24);

/// Answers by tenant and place, so that one shop's fetches neither serve nor use up another's.
pub struct Remembered<T> {
    entries: Cache<(TenantId, String), Arc<Entry<T>>>,
}

struct Entry<T> {
    state: Mutex<State<T>>,
    /// Held while fetching, so that of many who need an answer one asks. What is known already is read without it.
    fetching: tokio::sync::Mutex<()>,
}

struct State<T> {
    value: Option<(Arc<T>, Timestamp)>,
    failure: Option<(Refusal, Timestamp)>,
    /// The newest fetches.
    fetches: [Option<Timestamp>; FETCHES],
}

impl<T: Send + Sync + 'static> Default for Remembered<T> {
    fn default() -> Self {
        Self { entries: Cache::builder().max_capacity(ENTRIES).time_to_idle(IDLE).build() }
    }
}

impl<T: Send + Sync + 'static> Remembered<T> {
    /// What lies at `place`: remembered if it is fresh and `serves`, else from `fetch`.
    ///
    /// If it is fresh, does not serve, and may not be fetched again now, it is returned as it is.
    ///
    /// # Errors
    /// Those of `fetch`, now or within the last seconds.
    pub async fn get<F: Future<Output = Result<T, Refusal>>>(
        &self,
        tenant: TenantId,
        place: &Url,
        clock: &Clock,
        serves: impl Fn(&T) -> bool,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<T>, Refusal> {
        let entry = self.entries.get_with((tenant, place.as_str().to_owned()), || Arc::new(Entry::new()));
        if let Some(value) = entry.fresh(clock.now()).filter(|value| serves(value)) {
            return Ok(value);
        }
        // Whoever waits for somebody else's fetch gets its outcome, or gives up: a queue before an issuer that hangs would grow for as long as it does.
        let waiting = tokio::time::timeout(WAIT, entry.fetching.lock()).await;
        let _fetching = waiting.map_err(|_| Refusal::new(UNREACHABLE, "another request still waits for the answer"))?;
        let now = clock.now();
        let known = entry.fresh(now);
        if let Some(value) = &known
            && (serves(value) || !entry.may_refetch(now))
        {
            return Ok(Arc::clone(value));
        }
        if known.is_none()
            && let Some(refusal) = entry.failed(now)
        {
            return Err(refusal);
        }
        let outcome = fetch().await;
        // The time after it: a fetch that hung for longer than a failure is remembered would never be remembered.
        let fetched = entry.note(outcome, clock.now());
        match known {
            // What is still good is not lost because the issuer would not say it again.
            Some(known) => Ok(fetched.unwrap_or(known)),
            None => fetched,
        }
    }
}

impl<T> Entry<T> {
    fn new() -> Self {
        Self { state: Mutex::new(State { value: None, failure: None, fetches: [None; FETCHES] }), fetching: tokio::sync::Mutex::new(()) }
    }

    fn fresh(&self, now: Timestamp) -> Option<Arc<T>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.value.as_ref().filter(|(_, at)| now.since(*at) < FRESH).map(|(value, _)| Arc::clone(value))
    }

    fn failed(&self, now: Timestamp) -> Option<Refusal> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.as_ref().filter(|(_, at)| now.since(*at) < FAILURE).map(|(refusal, _)| refusal.clone())
    }

    fn may_refetch(&self, now: Timestamp) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.fetches.iter().any(|at| at.is_none_or(|at| now.since(at) >= WINDOW))
    }

    /// Remembers the outcome of a fetch that ended at `now`.
    fn note(&self, outcome: Result<T, Refusal>, now: Timestamp) -> Result<Arc<T>, Refusal> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Ordered from the oldest, which makes room.
        state.fetches.rotate_left(1);
        if let Some(newest) = state.fetches.last_mut() {
            *newest = Some(now);
        }
        match outcome {
            Ok(value) => {
                let value = Arc::new(value);
                state.value = Some((Arc::clone(&value), now));
                state.failure = None;
                Ok(value)
            }
            Err(refusal) => {
                state.failure = Some((refusal.clone(), now));
                Err(refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    #[tokio::test]
    async fn r112_a_fetch_that_hangs_is_remembered_from_its_end_on() {
        let clock = Clock::frozen(Timestamp::from_seconds(1_000));
        let (remembered, tenant, place) = (Remembered::<()>::default(), TenantId(ulid::Ulid(1)), Url::parse("https://issuer.test").unwrap());
        let mut fetches = 0;
        for _ in 0..3 {
            let outcome = remembered
                .get(
                    tenant,
                    &place,
                    &clock,
                    |()| true,
                    || {
                        fetches += 1;
                        clock.advance(Duration::from_secs(10));
                        std::future::ready(Err(Refusal::new(UNREACHABLE, "hung")))
                    },
                )
                .await;
            assert_eq!(outcome.unwrap_err().detail, "hung");
        }
        assert_eq!(fetches, 1);
    }
}
