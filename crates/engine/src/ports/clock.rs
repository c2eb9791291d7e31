//! The time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::model::time::Timestamp;

/// Where the time comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    System,
    /// Stands still until a test moves it.
    Frozen(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn frozen(start: Timestamp) -> Self {
        Self::Frozen(Arc::new(AtomicI64::new(start.micros())))
    }

    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }
            Self::Frozen(micros) => Timestamp::from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a frozen clock forward; a system clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Self::Frozen(micros) = self {
            micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}
