//! Lanes: what waits in one does not wait for what is under way in another, and in each every tenant has its share.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::Id;

use crate::model::ids::TenantId;

/// Mail and webhooks go apart, so that a webhook that hangs delays no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Jobs,
    Mail,
    Webhooks,
}

impl Lane {
    pub const ALL: [Self; 3] = [Self::Jobs, Self::Mail, Self::Webhooks];

    /// How many may be under way at once, of all tenants.
    const fn most(self) -> usize {
        match self {
            Self::Jobs | Self::Mail | Self::Webhooks => 1024,
        }
    }

    /// As above, of one tenant. Jobs wait for nobody but the database; a mail server or a webhook may hang, and what hangs must leave room.
    const fn most_of_one(self) -> usize {
        match self {
            Self::Jobs | Self::Mail => 128,
            Self::Webhooks => 16,
        }
    }

    /// How long a worker may hold a piece before another takes it: for a delivery, longer than the longest conversation with a mail server.
    pub(super) const fn lease(self) -> Duration {
        match self {
            Self::Jobs => Duration::from_secs(30),
            Self::Mail | Self::Webhooks => Duration::from_secs(150),
        }
    }
}

/// What this process has under way in one lane.
pub(crate) struct Slots {
    lane: Lane,
    taken: HashMap<Id, TenantId>,
    /// The last tenant that a claim went to. The next claim begins behind it.
    pub(super) last: Option<TenantId>,
    /// Whether the last claim left something behind, or may have.
    pub(super) more: bool,
}

impl Slots {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, taken: HashMap::new(), last: None, more: false }
    }

    pub(super) fn free(&self) -> usize {
        self.lane.most().saturating_sub(self.taken.len())
    }

    /// Whether a claim is worth its transaction: a claim for each piece that ends would cost more than the pieces.
    pub(super) fn roomy(&self) -> bool {
        self.free() >= self.lane.most() / 8
    }

    pub(super) fn take(&mut self, task: Id, tenant: TenantId) {
        self.taken.insert(task, tenant);
    }

    /// Gives back the slot of a task. True: something was left behind, and there is room for a batch of its tenant now.
    pub(super) fn give_back(&mut self, task: Id) -> bool {
        let Some(tenant) = self.taken.remove(&task) else { return false };
        let held = self.held(tenant);
        self.more && (held == 0 || held == self.lane.most_of_one() / 2)
    }

    fn held(&self, tenant: TenantId) -> usize {
        self.taken.values().filter(|holder| **holder == tenant).count()
    }

    /// How many each of the tenants that are due may claim: what is free in equal parts, none above its cap, and nothing for who has
    /// more than half of it under way, whose turn comes when that has ended.
    pub(super) fn shares(&self, due: &[TenantId]) -> Vec<(TenantId, usize)> {
        let cap = self.lane.most_of_one();
        let held = due.iter().map(|tenant| (*tenant, self.held(*tenant)));
        let ready: Vec<_> = held.filter(|(_, held)| *held <= cap / 2).collect();
        let part = self.free().checked_div(ready.len()).unwrap_or_default().max(1);
        ready.into_iter().take(self.free()).map(|(tenant, held)| (tenant, part.min(cap - held))).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId(ulid::Ulid(n))
    }

    /// Ids of tasks that do nothing.
    async fn tasks(n: usize) -> Vec<Id> {
        let mut set = JoinSet::new();
        let ids = (0..n).map(|_| set.spawn(std::future::ready(())).id()).collect();
        set.join_all().await;
        ids
    }

    #[tokio::test]
    async fn who_has_its_share_under_way_leaves_the_rest_to_the_others() {
        let (lane, greedy, other) = (Lane::Webhooks, tenant(1), tenant(2));
        let mut slots = Slots { more: true, ..Slots::new(lane) };
        assert_eq!(slots.shares(&[greedy]), [(greedy, lane.most_of_one())]);
        let tasks = tasks(lane.most_of_one()).await;
        for task in &tasks {
            slots.take(*task, greedy);
        }
        assert!(slots.roomy());
        assert_eq!(slots.shares(&[greedy, other]), [(other, lane.most_of_one())]);
        let room = tasks.iter().map(|task| slots.give_back(*task));
        let turns: Vec<_> = room.enumerate().filter(|(_, room)| *room).map(|(place, _)| place + 1).collect();
        assert_eq!(turns, [lane.most_of_one() / 2, lane.most_of_one()], "claims are batches");
    }

    #[tokio::test]
    async fn a_crowd_of_tenants_shares_what_is_free() {
        let slots = Slots::new(Lane::Jobs);
        let crowd: Vec<_> = (0..2_000).map(tenant).collect();
        let shares = slots.shares(&crowd);
        assert_eq!(shares.len(), slots.free());
        assert!(shares.iter().all(|(_, share)| *share == 1));
        let part = slots.free() / 10;
        assert!(slots.shares(crowd.get(..10).unwrap()).iter().all(|(_, share)| *share == part));
    }
}
