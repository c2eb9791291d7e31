//! Logins: unique by their key within a tenant, linked once, and locked by an UPDATE.

use std::sync::atomic::Ordering;

use super::{Fixture, MINUTE, RACERS, key};
use crate::model::identity::ActorType;
use crate::model::ids::{IdentityId, JobId};
use crate::ports::clock::Clock;
use crate::ports::rng::Rng;
use crate::store::identity;

each_db! {
    r1_a_login_is_unique_within_its_tenant
    what_was_inserted_is_found_by_its_tenant_alone
    r8_of_many_registrations_one_wins
    an_actor_is_linked_once
    of_many_links_one_wins
    a_password_is_set_within_the_tenant
    a_hash_is_replaced_only_if_it_is_still_the_old_one
    r51_an_older_reset_request_is_not_issued_after_a_newer_one
    a_reset_request_is_not_measured_by_one_from_the_future
    a_login_without_an_actor_is_adopted_once
    of_many_reset_requests_the_newest_is_kept
    a_lock_tells_whether_the_login_exists
}

async fn r1_a_login_is_unique_within_its_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let ids: [IdentityId; 4] = std::array::from_fn(|_| f.id());
    let inserted = commit!(f, |tx| {
        let staff = || crate::model::identity::IdentityKey { actor_type: ActorType::new("user"), ..key("ann") };
        let mut inserted = Vec::new();
        inserted.push(identity::insert(tx, acme, ids[0], &key("ann"), "Ann@x.test", "one").await?);
        inserted.push(identity::insert(tx, acme, ids[1], &key("ann"), "ann@x.test", "two").await?);
        inserted.push(identity::insert(tx, other, ids[2], &key("ann"), "ann@x.test", "three").await?);
        inserted.push(identity::insert(tx, acme, ids[3], &staff(), "ann@x.test", "four").await?);
        Ok(inserted)
    });
    assert_eq!(inserted, [true, false, true, true]);
    let kept = look!(f, |r| identity::by_key(r, acme, &key("ann")).await).unwrap();
    assert_eq!((kept.id, kept.address.as_str(), kept.password_hash.as_deref()), (ids[0], "Ann@x.test", Some("one")));
}

async fn what_was_inserted_is_found_by_its_tenant_alone(f: &Fixture) {
    let (acme, other, now) = (f.acme, f.other, f.clock.now());
    let id = f.identity("ann").await;
    f.clock.advance(MINUTE);
    let found = look!(f, |r| identity::by_id(r, acme, id).await).unwrap();
    assert_eq!((found.id, &found.key, found.created_at), (id, &key("ann"), now));
    assert_eq!((found.address.as_str(), found.actor_id), ("ann", None));
    assert_eq!(look!(f, |r| identity::by_key(r, acme, &key("ann")).await).unwrap().id, id);
    assert!(look!(f, |r| identity::by_id(r, other, id).await).is_none());
    assert!(look!(f, |r| identity::by_key(r, other, &key("ann")).await).is_none());
    for part in 0..4 {
        let mut wrong = key("ann");
        match part {
            0 => wrong.actor_type = ActorType::new("user"),
            1 => wrong.provider = "google".into(),
            2 => wrong.issuer = "https://issuer.test".into(),
            _ => wrong.entity_id = "bob@x.test".into(),
        }
        let given = wrong.clone();
        assert!(look!(f, |r| identity::by_key(r, acme, &given).await).is_none(), "{wrong:?}");
    }
}

async fn r8_of_many_registrations_one_wins(f: &Fixture) {
    let (acme, rng, now) = (f.acme, Box::leak(Box::new(f.rng.clone())), f.clock.now());
    let rng: &'static crate::ports::rng::Rng = rng;
    let won = f
        .race(move |tx| {
            let id = IdentityId(rng.ulid(now));
            Box::pin(async move { Ok((id, identity::insert(tx, acme, id, &key("ann"), "ann", "hash").await?)) })
        })
        .await;
    let winners: Vec<_> = won.iter().filter(|(_, won)| *won).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(look!(f, |r| identity::by_key(r, acme, &key("ann")).await).unwrap().id, winners[0].0);
}

async fn an_actor_is_linked_once(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (ann, bob) = (f.identity("ann").await, f.identity("bob").await);
    assert!(!commit!(f, |tx| identity::link(tx, other, ann, "stranger").await), "another tenant's");
    assert!(!commit!(f, |tx| identity::link(tx, acme, IdentityId(acme.0), "nobody").await), "unknown");
    assert!(commit!(f, |tx| identity::link(tx, acme, ann, "first").await));
    assert!(!commit!(f, |tx| identity::link(tx, acme, ann, "second").await), "linked already");
    assert_eq!(look!(f, |r| identity::by_id(r, acme, ann).await).unwrap().actor_id.as_deref(), Some("first"));
    assert_eq!(look!(f, |r| identity::by_id(r, acme, bob).await).unwrap().actor_id, None);
}

async fn of_many_links_one_wins(f: &Fixture) {
    let (acme, ann) = (f.acme, f.identity("ann").await);
    let won = f.race(move |tx| Box::pin(identity::link(tx, acme, ann, "customer"))).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(won.len(), RACERS);
}

async fn a_password_is_set_within_the_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (ann, bob) = (f.identity("ann").await, f.identity("bob").await);
    let hash = async |id| look!(f, |r| identity::by_id(r, acme, id).await).unwrap().password_hash.unwrap();
    commit!(f, |tx| identity::set_password(tx, other, ann, "stolen").await);
    assert_eq!(hash(ann).await, "hash");
    commit!(f, |tx| identity::set_password(tx, acme, ann, "new").await);
    assert_eq!((hash(ann).await.as_str(), hash(bob).await.as_str()), ("new", "hash"));
}

async fn a_hash_is_replaced_only_if_it_is_still_the_old_one(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (ann, bob) = (f.identity("ann").await, f.identity("bob").await);
    assert!(!commit!(f, |tx| identity::replace_hash(tx, other, ann, "hash", "stolen").await));
    assert!(!commit!(f, |tx| identity::replace_hash(tx, acme, ann, "older", "stale").await));
    assert!(commit!(f, |tx| identity::replace_hash(tx, acme, ann, "hash", "stronger").await));
    assert!(!commit!(f, |tx| identity::replace_hash(tx, acme, ann, "hash", "again").await));
    let hashes = look!(f, |r| Ok([identity::by_id(r, acme, ann).await?, identity::by_id(r, acme, bob).await?]));
    assert_eq!(hashes.map(|i| i.unwrap().password_hash.unwrap()), ["stronger", "hash"]);
}

async fn r51_an_older_reset_request_is_not_issued_after_a_newer_one(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    f.identity("bob").await;
    let requests: [JobId; 3] = std::array::from_fn(|_| f.id());
    let mut claims = Vec::new();
    for request in [requests[1], requests[0], requests[1], requests[2]] {
        claims.push(commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("ann"), request).await));
    }
    let ours = Some((ann, "ann".to_owned()));
    assert_eq!(claims, [ours.clone(), None, None, ours], "first, older, the same once more, newer");
    let later: JobId = f.id();
    assert_eq!(commit!(f, |tx| identity::claim_newest_reset(tx, other, &key("ann"), later).await), None);
    assert_eq!(commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("eve"), later).await), None);
    // A request for one login leaves the others' alone.
    assert!(commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("bob"), requests[0]).await).is_some());
}

async fn a_reset_request_is_not_measured_by_one_from_the_future(f: &Fixture) {
    let acme = f.acme;
    f.identity("ann").await;
    let claim = async |request: JobId| commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("ann"), request).await).is_some();
    let ahead: JobId = f.id();
    assert!(claim(ahead).await);
    let Clock::Frozen(micros) = &f.clock else { panic!("the clock runs") };
    micros.fetch_sub(60_000_000, Ordering::SeqCst);
    // A process that began after the step: its ids know nothing of the time before.
    let rng = Rng::seeded(2);
    let [older, newer] = [(); 2].map(|()| JobId(rng.ulid(f.clock.now())));
    assert!(newer < ahead);
    assert!(claim(newer).await, "whoever asked now is served");
    assert!(!claim(older).await, "among requests of one time the newest counts");
    assert!(claim(f.id()).await, "one from the future, too");
    assert!(!claim(ahead).await, "and those have their order");
}

async fn a_login_without_an_actor_is_adopted_once(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    f.identity("bob").await;
    assert_eq!(commit!(f, |tx| identity::adopt(tx, other, &key("ann"), "Ann", "new", "stranger").await), None);
    assert_eq!(commit!(f, |tx| identity::adopt(tx, acme, &key("eve"), "Eve", "new", "nobody").await), None);
    let won = f.race(move |tx| Box::pin(async move { identity::adopt(tx, acme, &key("ann"), "Ann", "new", "owner").await })).await;
    assert_eq!(won.iter().flatten().collect::<Vec<_>>(), [&ann]);
    let found = look!(f, |r| identity::by_id(r, acme, ann).await).unwrap();
    assert_eq!((found.address.as_str(), found.password_hash.as_deref(), found.actor_id.as_deref()), ("Ann", Some("new"), Some("owner")));
    let bob = look!(f, |r| identity::by_key(r, acme, &key("bob")).await).unwrap();
    assert_eq!((bob.password_hash.as_deref(), bob.actor_id), (Some("hash"), None));
}

async fn of_many_reset_requests_the_newest_is_kept(f: &Fixture) {
    let (acme, rng, now) = (f.acme, Box::leak(Box::new(f.rng.clone())), f.clock.now());
    let rng: &'static crate::ports::rng::Rng = rng;
    f.identity("ann").await;
    let claims = f
        .race(move |tx| {
            let request = JobId(rng.ulid(now));
            Box::pin(async move { Ok((request, identity::claim_newest_reset(tx, acme, &key("ann"), request).await?.is_some())) })
        })
        .await;
    let newest = claims.iter().map(|(request, _)| *request).max().unwrap();
    assert!(claims.contains(&(newest, true)), "the newest request is always issued");
    assert!(!commit!(f, |tx| Ok(identity::claim_newest_reset(tx, acme, &key("ann"), newest).await?.is_some())));
}

async fn a_lock_tells_whether_the_login_exists(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    assert!(commit!(f, |tx| identity::lock(tx, acme, ann).await));
    assert!(!commit!(f, |tx| identity::lock(tx, other, ann).await));
    assert!(!commit!(f, |tx| identity::lock(tx, acme, IdentityId(acme.0)).await));
}
