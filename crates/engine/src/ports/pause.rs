//! Waiting on purpose, so that an answer's time tells nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::clock::Clock;

/// How it is waited.
#[derive(Debug, Clone)]
pub enum Pause {
    Real,
    /// Not at all: a test looks at what would have been waited for, and since when.
    Noted(Arc<Mutex<Vec<(Instant, Duration)>>>),
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

    /// Waits until `span` has passed since `began`.
    pub async fn until(&self, began: Instant, span: Duration) {
        match self {
            Self::Real => tokio::time::sleep_until((began + span).into()).await,
            Self::Noted(noted) => noted.lock().unwrap_or_else(PoisonError::into_inner).push((began, span)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_waits_for_what_is_left_and_no_more() {
        let hour = Duration::from_hours(1);
        assert!(Pause::Real.until(Instant::now(), hour).now_or_never().is_none());
        let earlier = Instant::now().checked_sub(hour).unwrap();
        assert!(tokio::time::timeout(Duration::from_mins(1), Pause::Real.until(earlier, hour)).await.is_ok());
    }
}
