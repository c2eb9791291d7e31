//! Waiting on purpose, so that an answer's time tells nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::clock::Clock;

/// How it is waited.
#[derive(Debug, Clone)]
pub enum Pause {
    Real,
    /// Not at all: a test looks at until when it would have been waited.
    Noted(Arc<Mutex<Vec<Instant>>>),
}

impl Pause {
    /// Where time stands still, nobody waits.
    #[must_use]
    pub fn beside(clock: &Clock) -> Self {
        match clock {
            Clock::System => Self::Real,
            Clock::Frozen(_) => Self::Noted(Arc::default()),
        }
    }

    pub async fn until(&self, at: Instant) {
        match self {
            Self::Real => tokio::time::sleep_until(at.into()).await,
            Self::Noted(noted) => noted.lock().unwrap_or_else(PoisonError::into_inner).push(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_waits_for_what_is_left_and_no_more() {
        let hour = Duration::from_hours(1);
        assert!(Pause::Real.until(Instant::now() + hour).now_or_never().is_none());
        assert!(tokio::time::timeout(Duration::from_mins(1), Pause::Real.until(Instant::now())).await.is_ok());
    }
}
