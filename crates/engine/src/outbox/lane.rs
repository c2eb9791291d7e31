//! Lanes: what waits in one does not wait for what is under way in another, and in each every tenant and every subscriber has its share.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::Id;

use crate::model::ids::TenantId;
use crate::ops::event::{MAILER, MEDUSA, NATS};
use crate::store::delivery::Party;

/// Each kind of subscriber goes apart, so that a webhook that hangs or a broker that is away delays no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Jobs,
    Mail,
    Webhooks,
    Nats,
    Medusa,
}

impl Lane {
    pub const ALL: [Self; 5] = [Self::Jobs, Self::Mail, Self::Webhooks, Self::Nats, Self::Medusa];

    /// Where what is due to `subscriber` goes.
    pub(super) fn of(subscriber: &str) -> Self {
        match subscriber {
            MAILER => Self::Mail,
            NATS => Self::Nats,
            MEDUSA => Self::Medusa,
            _ => Self::Webhooks,
        }
    }

    /// How many may be under way at once, of all tenants.
    const fn most(self) -> usize {
        match self {
            Self::Jobs | Self::Mail | Self::Webhooks | Self::Nats | Self::Medusa => 1024,
        }
    }

    /// As above, of one tenant. Jobs wait for nobody but the database; a mail server or a webhook may hang, and what hangs must leave room.
    const fn most_of_tenant(self) -> usize {
        match self {
            Self::Jobs | Self::Nats => 128,
            // Four times the connections that one mail server gets: the next mails stand ready, and it takes many shops to fill the lane.
            Self::Mail => 32,
            Self::Webhooks => 256,
            Self::Medusa => 16,
        }
    }

    /// As above, of one subscriber.
    const fn most_of_subscriber(self) -> usize {
        match self {
            Self::Jobs | Self::Nats => 128,
            Self::Mail => 32,
            Self::Webhooks | Self::Medusa => 16,
        }
    }

    /// As above, of one whose last answer was a failure: one call at a time shows whether it is back. A mail server refuses one recipient
    /// for a while and takes the others, so its failures say nothing of the rest.
    const fn most_of_failing(self) -> usize {
        match self {
            Self::Jobs | Self::Mail => self.most_of_subscriber(),
            Self::Webhooks | Self::Nats | Self::Medusa => 1,
        }
    }

    /// How long a worker may hold a piece before another takes it: for a delivery, longer than the longest conversation with a mail server.
    pub(super) const fn lease(self) -> Duration {
        match self {
            Self::Jobs => Duration::from_secs(30),
            Self::Mail | Self::Webhooks | Self::Nats | Self::Medusa => Duration::from_secs(150),
        }
    }
}

/// What a piece of work told of the subscriber that it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Sound,
    Failing,
    /// It was not asked.
    Unknown,
}

/// What this process has under way in one lane.
pub(crate) struct Slots {
    lane: Lane,
    taken: HashMap<Id, Party>,
    /// Whose last answer was a failure.
    failing: HashSet<Party>,
    /// The last that a claim went to. The next claim begins behind it.
    pub(super) last: Option<Party>,
    /// Whether the last claim left something behind, or may have.
    pub(super) more: bool,
}

impl Slots {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, taken: HashMap::new(), failing: HashSet::new(), last: None, more: false }
    }

    pub(super) fn free(&self) -> usize {
        self.lane.most().saturating_sub(self.taken.len())
    }

    /// Whether a claim is worth its transaction: a claim for each piece that ends would cost more than the pieces.
    pub(super) fn roomy(&self) -> bool {
        self.free() >= self.lane.most() / 8
    }

    pub(super) fn take(&mut self, task: Id, party: Party) {
        self.taken.insert(task, party);
    }

    /// Gives back the slot of a task. True: something was left behind, and there is room for a batch of its subscriber now.
    pub(super) fn give_back(&mut self, task: Id, health: Health) -> bool {
        let Some(party) = self.taken.remove(&task) else { return false };
        let (held, most) = (self.taken.values().filter(|holder| **holder == party).count(), self.most_of(&party));
        match health {
            Health::Sound => drop(self.failing.remove(&party)),
            Health::Failing => drop(self.failing.insert(party)),
            Health::Unknown => {}
        }
        self.more && (held == 0 || held == most / 2)
    }

    fn most_of(&self, party: &Party) -> usize {
        if self.failing.contains(party) { self.lane.most_of_failing() } else { self.lane.most_of_subscriber() }
    }

    /// How many each of those that are due may claim: what is free in equal parts, of all and within each tenant, none above its bound, and
    /// nothing for who has more than half of it under way, whose turn comes when that has ended.
    pub(super) fn shares(&self, due: &[Party]) -> Vec<(Party, usize)> {
        let mut held: HashMap<&Party, usize> = HashMap::new();
        let mut room: HashMap<TenantId, usize> = due.iter().map(|party| (party.tenant, self.lane.most_of_tenant())).collect();
        for party in self.taken.values() {
            *held.entry(party).or_default() += 1;
            room.entry(party.tenant).and_modify(|room| *room = room.saturating_sub(1));
        }
        let left = |party| {
            let (held, most) = (held.get(party).copied().unwrap_or_default(), self.most_of(party));
            (held <= most / 2).then(|| (party, most - held))
        };
        let ready: Vec<(&Party, usize)> = due.iter().filter_map(left).collect();
        let mut waiting: HashMap<TenantId, usize> = HashMap::new();
        for (party, _) in &ready {
            *waiting.entry(party.tenant).or_default() += 1;
        }
        let part = self.free().checked_div(ready.len()).unwrap_or_default().max(1);
        let share = |(party, most): (&Party, usize)| {
            let (room, waiting) = (room.get_mut(&party.tenant)?, waiting.get_mut(&party.tenant)?);
            let share = part.min(most).min(room.div_ceil(*waiting));
            *room -= share;
            *waiting -= 1;
            (share > 0).then(|| (party.clone(), share))
        };
        ready.into_iter().filter_map(share).take(self.free()).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn party(tenant: u128, subscriber: &str) -> Party {
        Party { tenant: TenantId(ulid::Ulid(tenant)), subscriber: subscriber.to_owned() }
    }

    /// Ids of tasks that do nothing.
    async fn tasks(n: usize) -> Vec<Id> {
        let mut set = JoinSet::new();
        let ids = (0..n).map(|_| set.spawn(std::future::ready(())).id()).collect();
        set.join_all().await;
        ids
    }

    #[test]
    fn each_subscriber_has_the_lane_of_its_kind() {
        let of = [MAILER, NATS, MEDUSA, "webhook:0123456789abcdef"].map(Lane::of);
        assert_eq!(of, [Lane::Mail, Lane::Nats, Lane::Medusa, Lane::Webhooks]);
    }

    #[tokio::test]
    async fn who_has_its_share_under_way_leaves_the_rest_to_the_others() {
        let (lane, greedy, other) = (Lane::Webhooks, party(1, "webhook:1"), party(1, "webhook:2"));
        let most = lane.most_of_subscriber();
        let mut slots = Slots { more: true, ..Slots::new(lane) };
        assert_eq!(slots.shares(std::slice::from_ref(&greedy)), [(greedy.clone(), most)]);
        let tasks = tasks(most).await;
        for task in &tasks {
            slots.take(*task, greedy.clone());
        }
        assert!(slots.roomy());
        assert_eq!(slots.shares(&[greedy, other.clone()]), [(other, most)]);
        let room = tasks.iter().map(|task| slots.give_back(*task, Health::Sound));
        let turns: Vec<_> = room.enumerate().filter(|(_, room)| *room).map(|(place, _)| place + 1).collect();
        assert_eq!(turns, [most / 2, most], "claims are batches");
    }

    #[tokio::test]
    async fn who_fails_is_called_once_at_a_time_until_it_answers() {
        let (lane, hook) = (Lane::Webhooks, party(1, "webhook:1"));
        let mut slots = Slots { more: true, ..Slots::new(lane) };
        for (health, share) in [(Health::Failing, 1), (Health::Unknown, 1), (Health::Sound, lane.most_of_subscriber())] {
            let task = tasks(1).await[0];
            slots.take(task, hook.clone());
            assert!(slots.give_back(task, health));
            assert_eq!(slots.shares(std::slice::from_ref(&hook)), [(hook.clone(), share)], "{health:?}");
        }
        assert!(slots.failing.is_empty(), "who answers is forgotten");
        let mut slots = Slots::new(Lane::Mail);
        let task = tasks(1).await[0];
        slots.take(task, party(1, "mail"));
        slots.give_back(task, Health::Failing);
        assert_eq!(slots.shares(&[party(1, "mail")])[0].1, Lane::Mail.most_of_subscriber());
    }

    #[tokio::test]
    async fn a_crowd_shares_what_is_free() {
        let slots = Slots::new(Lane::Jobs);
        let crowd: Vec<_> = (0..2_000).map(|n| party(n, "")).collect();
        let shares = slots.shares(&crowd);
        assert_eq!(shares.len(), slots.free());
        assert!(shares.iter().all(|(_, share)| *share == 1));
        let part = slots.free() / 10;
        assert!(slots.shares(crowd.get(..10).unwrap()).iter().all(|(_, share)| *share == part));
    }

    #[tokio::test]
    async fn the_webhooks_of_one_tenant_share_its_room() {
        let lane = Lane::Webhooks;
        let mut slots = Slots::new(lane);
        let crowd: Vec<_> = (0..100).map(|n| party(1, &format!("webhook:{n}"))).collect();
        let given = |slots: &Slots, crowd: &[Party]| slots.shares(crowd).into_iter().map(|(_, share)| share).collect::<Vec<_>>();
        let shares = given(&slots, &crowd);
        assert_eq!(shares.iter().sum::<usize>(), lane.most_of_tenant());
        assert!(shares.iter().all(|share| (2..=3).contains(share)), "{shares:?}");
        for task in tasks(lane.most_of_tenant()).await {
            slots.take(task, party(1, "webhook:gone"));
        }
        assert!(given(&slots, &crowd).is_empty());
        assert_eq!(given(&slots, &[party(2, "webhook:0")]), [lane.most_of_subscriber()]);
    }
}
