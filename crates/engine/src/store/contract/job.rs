//! Jobs: bounded, claimed by one worker at a time, ended by the holder of the lease.

use std::collections::BTreeSet;

use super::{ALMOST, Fixture, MINUTE, Open, RACERS, SECOND};
use crate::model::ids::{JobId, TenantId};
use crate::store::job::{self, ClaimedJob};
use crate::testing::Backend;

each_db! {
    a_backlog_is_bounded_per_tenant_and_kind
    of_many_appends_the_bound_is_kept
    a_claimed_job_is_nobody_elses_until_its_lease_ends
    a_claim_takes_so_many_of_each_tenant
    of_many_claims_no_job_is_claimed_twice
    only_the_holder_of_the_lease_ends_a_job
    of_many_finishes_one_wins
    only_the_holder_of_the_lease_reschedules_a_job
    a_backlog_keeps_no_other_tenant_from_the_first_claim
    the_tenants_that_are_due_are_found_in_order
}

async fn append(f: &Fixture, tenant: TenantId) -> JobId {
    let id = f.id();
    assert!(commit!(f, |tx| job::append(tx, tenant, id, "mail", "{}", 1_000).await));
    id
}

/// Claims from every tenant with due work, as the dispatcher does.
async fn claim(f: &Fixture, lease: &'static str, most: i64) -> Vec<ClaimedJob> {
    let until = f.in_a_minute();
    let mut claimed = Vec::new();
    for tenant in due(f, None).await {
        claimed.extend(commit!(f, |tx| job::claim(tx, tenant, lease, until, most).await));
    }
    claimed
}

async fn due(f: &Fixture, after: Option<TenantId>) -> Vec<TenantId> {
    look!(f, |r| job::due(r, after, 100).await)
}

async fn claim_one(f: &Fixture, lease: &'static str) -> &'static ClaimedJob {
    let mut claimed = claim(f, lease, 1).await;
    assert_eq!(claimed.len(), 1);
    Box::leak(Box::new(claimed.remove(0)))
}

async fn a_backlog_is_bounded_per_tenant_and_kind(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let ids: [JobId; 8] = std::array::from_fn(|_| f.id());
    let append = async |id, tenant, kind| commit!(f, |tx| job::append(tx, tenant, id, kind, "{}", 2).await);
    assert!(append(ids[0], acme, "mail").await && append(ids[1], acme, "mail").await);
    assert!(!append(ids[2], acme, "mail").await, "two wait already");
    assert_eq!(look!(f, |r| job::waiting(r).await), 2);
    assert!(append(ids[3], acme, "other").await && append(ids[4], other, "mail").await);
    let first: &'static ClaimedJob = Box::leak(Box::new(claim(f, "w", 9).await.into_iter().find(|job| job.id == ids[0]).unwrap()));
    assert!(!append(ids[5], acme, "mail").await, "a claimed job waits still");
    assert!(commit!(f, |tx| job::finish(tx, first, "w").await));
    assert!(append(ids[6], acme, "mail").await, "one is done");
    assert!(!append(ids[7], acme, "mail").await);
    let counted = f.count("SELECT CAST(SUM(waiting) AS BIGINT) FROM backlogs").await;
    assert_eq!(counted, look!(f, |r| job::waiting(r).await), "another tenant's or another kind's was counted down");
}

async fn of_many_appends_the_bound_is_kept(f: &Fixture) {
    let (acme, now) = (f.acme, f.clock.now());
    let rng: &'static crate::ports::rng::Rng = Box::leak(Box::new(f.rng.clone()));
    let won = f
        .race(move |tx| {
            let id = JobId(rng.ulid(now));
            Box::pin(job::append(tx, acme, id, "mail", "{}", 7))
        })
        .await;
    assert_eq!(won.iter().filter(|won| **won).count(), 7);
    assert_eq!(look!(f, |r| job::waiting(r).await), 7);
}

async fn a_claimed_job_is_nobody_elses_until_its_lease_ends(f: &Fixture) {
    let (acme, now) = (f.acme, f.clock.now());
    let id = append(f, acme).await;
    let first = claim_one(f, "one").await;
    assert_eq!((first.tenant, first.id, first.kind.as_str(), first.payload.as_str()), (acme, id, "mail", "{}"));
    assert_eq!((first.attempts, first.created_at), (1, now));
    f.clock.advance(ALMOST);
    assert!(claim(f, "two", 1).await.is_empty());
    f.clock.advance(SECOND);
    assert_eq!(claim_one(f, "two").await.attempts, 2);
}

async fn a_claim_takes_so_many_of_each_tenant(f: &Fixture) {
    let mut oldest = BTreeSet::new();
    for tenant in [f.acme, f.other] {
        for place in 0..4 {
            let id = append(f, tenant).await;
            if place < 3 {
                oldest.insert(id);
            }
        }
    }
    let claimed = claim(f, "w", 3).await;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<BTreeSet<_>>(), oldest);
    assert_eq!(claim(f, "w", 3).await.len(), 2);
}

async fn of_many_claims_no_job_is_claimed_twice(f: &Fixture) {
    let mut all = BTreeSet::new();
    for _ in 0..30 {
        all.insert(append(f, f.acme).await);
    }
    let (acme, until) = (f.acme, f.in_a_minute());
    let claimed = f.race(move |tx| Box::pin(job::claim(tx, acme, "w", until, 2))).await;
    assert!(claimed.iter().all(|jobs| jobs.len() <= 2), "more than asked for");
    let ids: Vec<_> = claimed.into_iter().flatten().map(|job| job.id).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "claimed twice");
    let rest = claim(f, "w", 100).await;
    assert_eq!(ids.into_iter().chain(rest.into_iter().map(|job| job.id)).collect::<BTreeSet<_>>(), all);
}

async fn only_the_holder_of_the_lease_ends_a_job(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    append(f, acme).await;
    let asleep = claim_one(f, "asleep").await;
    f.clock.advance(MINUTE);
    let awake = claim_one(f, "awake").await;
    assert!(!commit!(f, |tx| job::finish(tx, asleep, "asleep").await), "its lease has ended");
    let strangers: &'static ClaimedJob = Box::leak(Box::new(ClaimedJob { tenant: other, ..awake.clone() }));
    assert!(!commit!(f, |tx| job::finish(tx, strangers, "awake").await), "another tenant's");
    assert_eq!(look!(f, |r| job::waiting(r).await), 1);
    assert!(commit!(f, |tx| job::finish(tx, awake, "awake").await));
    assert!(!commit!(f, |tx| job::finish(tx, awake, "awake").await), "done already");
    assert_eq!(f.count("SELECT COUNT(*) FROM backlogs WHERE waiting <> 0").await, 0);
}

async fn of_many_finishes_one_wins(f: &Fixture) {
    append(f, f.acme).await;
    let job = claim_one(f, "w").await;
    let won = f.race(move |tx| Box::pin(job::finish(tx, job, "w"))).await;
    assert_eq!((won.len(), won.iter().filter(|won| **won).count()), (RACERS, 1));
}

async fn only_the_holder_of_the_lease_reschedules_a_job(f: &Fixture) {
    let other = f.other;
    append(f, f.acme).await;
    let job = claim_one(f, "w").await;
    let strangers: &'static ClaimedJob = Box::leak(Box::new(ClaimedJob { tenant: other, ..job.clone() }));
    let due = f.clock.now().after(SECOND);
    assert!(!commit!(f, |tx| job::reschedule(tx, job, "another", due).await));
    assert!(!commit!(f, |tx| job::reschedule(tx, strangers, "w", due).await));
    assert!(commit!(f, |tx| job::reschedule(tx, job, "w", due).await));
    assert!(!commit!(f, |tx| job::finish(tx, job, "w").await), "the lease was given back");
    assert!(claim(f, "w", 1).await.is_empty());
    f.clock.advance(SECOND);
    assert_eq!(claim_one(f, "w").await.attempts, 2);
}

async fn a_backlog_keeps_no_other_tenant_from_the_first_claim(f: &Fixture) {
    let (acme, other, ids) = (f.acme, f.other, Box::leak(Box::new((0..2_000).map(|_| f.id()).collect::<Vec<JobId>>())));
    let ids: &'static [JobId] = ids;
    commit!(f, |tx| {
        for id in ids {
            assert!(job::append(tx, acme, *id, "mail", "{}", 2_000).await?);
        }
        Ok(())
    });
    f.clock.advance(SECOND);
    let single = append(f, other).await;
    assert_eq!(due(f, None).await, [acme, other]);
    let claimed = claim(f, "w", 64).await;
    assert_eq!(claimed.iter().filter(|job| job.tenant == acme).count(), 64);
    assert_eq!(claimed.iter().filter(|job| job.tenant == other).map(|job| job.id).collect::<Vec<_>>(), [single]);
}

async fn the_tenants_that_are_due_are_found_in_order(f: &Fixture) {
    assert!(due(f, None).await.is_empty());
    append(f, f.other).await;
    assert_eq!(due(f, None).await, [f.other]);
    append(f, f.acme).await;
    append(f, f.acme).await;
    assert_eq!(due(f, None).await, [f.acme, f.other]);
    assert_eq!(look!(f, |r| job::due(r, None, 1).await), [f.acme]);
    assert_eq!(due(f, Some(f.acme)).await, [f.other]);
    assert!(due(f, Some(f.other)).await.is_empty());
    assert_eq!(claim(f, "w", 1).await.len(), 2);
    assert_eq!(due(f, None).await, [f.acme], "what is held is not due");
    assert_eq!(look!(f, |r| job::waiting(r).await), 3);
    f.clock.advance(MINUTE);
    assert_eq!(due(f, None).await, [f.acme, f.other], "the leases have ended");
}

/// On SQLite one transaction writes at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_what_another_is_claiming_is_passed_over() {
    let f = Fixture::create(Backend::Postgres).await;
    let (acme, until) = (f.acme, f.in_a_minute());
    let ids = [append(&f, acme).await, append(&f, acme).await, append(&f, acme).await];
    let open = Open::begin(&f, move |tx| Box::pin(job::claim(tx, acme, "open", until, 1))).await;
    let beside = claim(&f, "beside", 9).await;
    assert_eq!(beside.iter().map(|job| job.id).collect::<BTreeSet<_>>(), ids[1..].iter().copied().collect());
    open.commit().await;
    f.database.remove().await.unwrap();
}
