//! Who waits for a tenant's next events. They hold no connection to the database while they wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::model::ids::TenantId;

/// How many may wait at once for one tenant's events, in this process.
pub const MOST_OF_ONE: usize = 64;

/// Everybody who waits.
#[derive(Clone, Default)]
pub(super) struct Waiters(Arc<Mutex<HashMap<TenantId, Bell>>>);

#[derive(Default)]
struct Bell {
    bell: Arc<Notify>,
    waiting: usize,
}

/// A place among those who wait; given back when this is dropped.
pub struct Waiting {
    waiters: Waiters,
    tenant: TenantId,
    bell: Arc<Notify>,
}

impl Waiters {
    /// A place, if the tenant has one left.
    pub(super) fn admit(&self, tenant: TenantId) -> Option<Waiting> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(tenant).or_default();
        if entry.waiting >= MOST_OF_ONE {
            return None;
        }
        entry.waiting += 1;
        Some(Waiting { waiters: self.clone(), tenant, bell: entry.bell.clone() })
    }

    /// Tells those who wait that there is more.
    pub(super) fn ring(&self, tenant: TenantId) {
        if let Some(entry) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant) {
            entry.bell.notify_waiters();
        }
    }
}

impl Waiting {
    /// Resolves when events are numbered from now on. Ask for it before looking, so that nothing falls between.
    pub fn rung(&self) -> OwnedNotified {
        self.bell.clone().notified_owned()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut all = self.waiters.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.get_mut(&self.tenant) {
            entry.waiting -= 1;
            if entry.waiting == 0 {
                all.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_so_many_places_and_who_is_gone_is_forgotten() {
        let (waiters, [acme, other]) = (Waiters::default(), [1_u128, 2].map(|n| TenantId(n.into())));
        let mut held: Vec<_> = (0..MOST_OF_ONE).map(|_| waiters.admit(acme).unwrap()).collect();
        assert!(waiters.admit(acme).is_none());
        let _another = waiters.admit(other).unwrap();
        held.pop();
        held.push(waiters.admit(acme).unwrap());
        drop(held);
        assert_eq!(waiters.0.lock().unwrap().len(), 1);
    }
}
