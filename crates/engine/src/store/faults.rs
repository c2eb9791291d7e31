//! Switches that make the database fail on purpose. Only tests can arm them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What can be made to fail.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// `BEGIN` is refused.
    Begin,
    /// `COMMIT` is refused, and the database says so.
    Commit,
    /// Nobody learns how the commit ended: the connection is lost while it is on its way (PostgreSQL), or it is done and its answer is lost
    /// (SQLite).
    CommitLost,
    #[cfg(feature = "testing")]
    /// Another transaction wanted the same rows, as often as a caller's work was tried.
    Conflict,
    #[cfg(feature = "testing")]
    /// The process ends once the effect of a request is committed: nothing more is written for it.
    Death,
}

/// How many more times each fault strikes. Clones share their counters.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<[AtomicU32; 5]>);

impl Faults {
    #[cfg(feature = "testing")]
    /// Lets `fault` strike the next `times` times.
    pub fn arm(&self, fault: Fault, times: u32) {
        self.slot(fault).store(times, Ordering::SeqCst);
    }

    /// Whether `fault` strikes now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        self.slot(fault).fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn slot(&self, fault: Fault) -> &AtomicU32 {
        let [begin, commit, lost, ..] = &*self.0;
        #[cfg(feature = "testing")]
        let [.., conflict, death] = &*self.0;
        match fault {
            Fault::Begin => begin,
            Fault::Commit => commit,
            Fault::CommitLost => lost,
            #[cfg(feature = "testing")]
            Fault::Conflict => conflict,
            #[cfg(feature = "testing")]
            Fault::Death => death,
        }
    }
}
