//! Logins: unique by their key within a tenant, linked once, and locked by an UPDATE.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Fixture, MINUTE, RACERS, key, login};
use crate::model::identity::ActorType;
use crate::model::ids::{IdentityId, JobId};
use crate::ports::clock::Clock;
use crate::ports::rng::Rng;
use crate::store::{identity, session};
use crate::testing::Backend;

each_db! {
    a_refused_reset_is_noted_at_its_login_alone
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
    an_address_is_proven_once
    what_a_provider_tells_is_kept_and_the_key_stays
    r102_only_an_unproven_password_is_taken
    the_logins_of_an_actor_are_its_own
    a_foreign_hash_is_found_until_it_is_replaced
    a_token_without_a_session_stands_for_its_own_login_until_sessions_are_ended
    an_id_that_is_taken_is_no_error
    what_nobody_became_a_customer_with_is_swept
}

async fn r1_a_login_is_unique_within_its_tenant(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let ids: [IdentityId; 4] = std::array::from_fn(|_| f.id());
    let inserted = commit!(f, |tx| {
        let staff = || crate::model::identity::IdentityKey { actor_type: ActorType::user(), ..key("ann") };
        let mut inserted = Vec::new();
        inserted.push(identity::insert(tx, acme, &login(ids[0], key("ann"), "Ann@x.test", "one")).await?);
        inserted.push(identity::insert(tx, acme, &login(ids[1], key("ann"), "ann@x.test", "two")).await?);
        inserted.push(identity::insert(tx, other, &login(ids[2], key("ann"), "ann@x.test", "three")).await?);
        inserted.push(identity::insert(tx, acme, &login(ids[3], staff(), "ann@x.test", "four")).await?);
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
            0 => wrong.actor_type = ActorType::user(),
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
            Box::pin(async move { Ok((id, identity::insert(tx, acme, &login(id, key("ann"), "ann", "hash")).await?)) })
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
    let (requests, now): ([JobId; 3], _) = (std::array::from_fn(|_| f.id()), f.clock.now());
    let mut claims = Vec::new();
    for request in [requests[1], requests[0], requests[1], requests[2]] {
        claims.push(commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("ann"), request, now).await));
    }
    let ours = Some((ann, "ann".to_owned()));
    assert_eq!(claims, [ours.clone(), None, None, ours], "first, older, the same once more, newer");
    let later: JobId = f.id();
    assert_eq!(commit!(f, |tx| identity::claim_newest_reset(tx, other, &key("ann"), later, now).await), None);
    assert_eq!(commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("eve"), later, now).await), None);
    // A request for one login leaves the others' alone.
    assert!(commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("bob"), requests[0], now).await).is_some());
}

async fn a_reset_request_is_not_measured_by_one_from_the_future(f: &Fixture) {
    let acme = f.acme;
    f.identity("ann").await;
    let claim = async |request: JobId| {
        let now = f.clock.now();
        commit!(f, |tx| identity::claim_newest_reset(tx, acme, &key("ann"), request, now).await).is_some()
    };
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
    assert_eq!(commit!(f, |tx| identity::adopt(tx, other, &login(IdentityId(other.0), key("ann"), "Ann", "new"), "stranger").await), None);
    assert_eq!(commit!(f, |tx| identity::adopt(tx, acme, &login(IdentityId(acme.0), key("eve"), "Eve", "new"), "nobody").await), None);
    let won = f
        .race(move |tx| Box::pin(async move { identity::adopt(tx, acme, &login(IdentityId(acme.0), key("ann"), "Ann", "new"), "owner").await }))
        .await;
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
            Box::pin(async move { Ok((request, identity::claim_newest_reset(tx, acme, &key("ann"), request, now).await?.is_some())) })
        })
        .await;
    let newest = claims.iter().map(|(request, _)| *request).max().unwrap();
    assert!(claims.contains(&(newest, true)), "the newest request is always issued");
    assert!(!commit!(f, |tx| Ok(identity::claim_newest_reset(tx, acme, &key("ann"), newest, now).await?.is_some())));
}

async fn a_lock_tells_whether_the_login_exists(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    assert!(commit!(f, |tx| identity::lock(tx, acme, ann).await));
    assert!(!commit!(f, |tx| identity::lock(tx, other, ann).await));
    assert!(!commit!(f, |tx| identity::lock(tx, acme, IdentityId(acme.0)).await));
}

async fn an_address_is_proven_once(f: &Fixture) {
    let (acme, other, start, ann) = (f.acme, f.other, f.clock.now(), f.identity("ann").await);
    commit!(f, |tx| identity::prove(tx, other, ann).await);
    assert_eq!(look!(f, |r| identity::by_id(r, acme, ann).await).unwrap().proven_at, None);
    commit!(f, |tx| identity::prove(tx, acme, ann).await);
    f.clock.advance(MINUTE);
    commit!(f, |tx| identity::prove(tx, acme, ann).await);
    assert_eq!(look!(f, |r| identity::by_id(r, acme, ann).await).unwrap().proven_at, Some(start), "the first time stands");
}

async fn what_a_provider_tells_is_kept_and_the_key_stays(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    let told = || serde_json::Map::from_iter([("name".to_owned(), "Ann".into())]);
    commit!(f, |tx| identity::told(tx, other, ann, "eve@x.test", true, &told()).await);
    let kept = look!(f, |r| identity::by_id(r, acme, ann).await).unwrap();
    assert_eq!((kept.address.as_str(), kept.proven_at, kept.user_metadata.len()), ("ann", None, 0));
    commit!(f, |tx| identity::told(tx, acme, ann, "new@x.test", true, &told()).await);
    let kept = look!(f, |r| identity::by_id(r, acme, ann).await).unwrap();
    assert_eq!((kept.key, kept.address.as_str(), kept.proven_at, kept.user_metadata), (key("ann"), "new@x.test", Some(f.clock.now()), told()));
    commit!(f, |tx| identity::told(tx, acme, ann, "new@x.test", false, &told()).await);
    assert_eq!(look!(f, |r| identity::by_id(r, acme, ann).await).unwrap().proven_at, None);
}

async fn r102_only_an_unproven_password_is_taken(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    commit!(f, |tx| identity::prove(tx, acme, bob).await);
    assert_eq!(commit!(f, |tx| identity::disarm(tx, other, &key("ann")).await), None, "another tenant's");
    assert_eq!(commit!(f, |tx| identity::disarm(tx, acme, &key("bob")).await), None, "proven");
    assert_eq!(commit!(f, |tx| identity::disarm(tx, acme, &key("ann")).await), Some(ann));
    assert_eq!(commit!(f, |tx| identity::disarm(tx, acme, &key("ann")).await), None, "nothing is left to take");
    assert_eq!(look!(f, |r| identity::by_id(r, acme, ann).await).unwrap().password_hash, None);
    assert_eq!(look!(f, |r| identity::by_id(r, acme, bob).await).unwrap().password_hash.as_deref(), Some("hash"));
}

async fn the_logins_of_an_actor_are_its_own(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (ann, second, bob) = (f.identity("ann").await, f.identity("second").await, f.identity("bob").await);
    for (login, actor) in [(ann, "one"), (second, "one"), (bob, "two")] {
        assert!(commit!(f, |tx| identity::link(tx, acme, login, actor).await));
    }
    let customer = ActorType::customer;
    let ids = |logins: Vec<crate::model::identity::Identity>| logins.into_iter().map(|login| login.id).collect::<Vec<_>>();
    assert_eq!(ids(look!(f, |r| identity::of_actor(r, acme, &customer(), "one").await)), [ann, second]);
    assert!(look!(f, |r| identity::of_actor(r, other, &customer(), "one").await).is_empty());
    assert!(look!(f, |r| identity::of_actor(r, acme, &ActorType::user(), "one").await).is_empty());
    assert_eq!(commit!(f, |tx| identity::lock_actor(tx, acme, &customer(), "one").await), 2);
    assert_eq!(commit!(f, |tx| identity::lock_actor(tx, other, &customer(), "one").await), 0);
    assert!(!commit!(f, |tx| identity::remove(tx, other, second, &customer(), "one").await), "another tenant's");
    assert!(!commit!(f, |tx| identity::remove(tx, acme, second, &customer(), "two").await), "another actor's");
    assert!(!commit!(f, |tx| identity::remove(tx, acme, second, &ActorType::user(), "one").await), "another kind of actor's");
    assert!(commit!(f, |tx| identity::remove(tx, acme, second, &customer(), "one").await));
    assert_eq!(ids(look!(f, |r| identity::of_actor(r, acme, &customer(), "one").await)), [ann]);
}

async fn a_foreign_hash_is_found_until_it_is_replaced(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let (ann, bob) = (f.identity("ann").await, f.identity("bob").await);
    let holds = async |tenant| look!(f, |r| identity::holds_foreign_hash(r, tenant).await);
    assert!(holds(acme).await, "the fixture's is none of ours");
    assert!(!holds(other).await);
    commit!(f, |tx| identity::set_password(tx, acme, ann, "$argon2id$v=19$x").await);
    assert!(holds(acme).await, "bob's");
    assert!(commit!(f, |tx| identity::replace_hash(tx, acme, bob, "hash", "$argon2id$v=19$y").await));
    assert!(!holds(acme).await);
    commit!(f, |tx| tx.exec("UPDATE identities SET password_hash = NULL WHERE tenant_id = $1", &[acme.into()]).await);
    assert!(!holds(acme).await, "no password is none of a foreign format");
}

async fn a_token_without_a_session_stands_for_its_own_login_until_sessions_are_ended(f: &Fixture) {
    let (acme, other, start) = (f.acme, f.other, f.clock.now());
    let (ann, bob) = (f.identity("ann").await, f.identity("bob").await);
    assert!(commit!(f, |tx| identity::link(tx, acme, ann, "one").await));
    let customer = ActorType::customer;
    let stands = async |tenant, id, actor: ActorType, actor_id: &'static str, at| {
        let actor: &'static ActorType = Box::leak(Box::new(actor));
        look!(f, |r| identity::stands(r, tenant, id, actor, actor_id, at).await)
    };
    assert!(stands(acme, ann, customer(), "one", start).await && stands(acme, ann, customer(), "", start).await);
    assert!(!stands(other, ann, customer(), "one", start).await, "another tenant's");
    assert!(!stands(acme, ann, ActorType::user(), "one", start).await, "another kind of actor's");
    assert!(!stands(acme, ann, customer(), "two", start).await, "another actor's");
    assert!(!stands(acme, bob, customer(), "one", start).await, "another login's");
    assert!(!stands(acme, IdentityId(acme.0), customer(), "", start).await, "nobody's");
    f.clock.advance(MINUTE);
    commit!(f, |tx| session::end_all(tx, other, ann).await);
    commit!(f, |tx| session::end_all(tx, acme, bob).await);
    assert!(stands(acme, ann, customer(), "one", start).await, "others' were ended");
    let ended = f.clock.now();
    commit!(f, |tx| session::end_all(tx, acme, ann).await);
    assert!(!stands(acme, ann, customer(), "one", start).await && !stands(acme, ann, customer(), "one", ended).await);
    assert!(stands(acme, ann, customer(), "one", ended.after(MINUTE)).await, "issued since");
    // A clock that was set back revives nothing.
    let Clock::Frozen(micros) = &f.clock else { panic!("the clock runs") };
    micros.fetch_sub(30_000_000, Ordering::SeqCst);
    commit!(f, |tx| session::end_all(tx, acme, ann).await);
    assert!(!stands(acme, ann, customer(), "one", ended).await);
}

async fn an_id_that_is_taken_is_no_error(f: &Fixture) {
    let (acme, other, ann) = (f.acme, f.other, f.identity("ann").await);
    assert!(!commit!(f, |tx| identity::insert(tx, acme, &login(ann, key("bob"), "bob", "hash")).await));
    assert!(commit!(f, |tx| identity::insert(tx, other, &login(ann, key("bob"), "bob", "hash")).await), "another tenant's ids are its own");
}

async fn a_refused_reset_is_noted_at_its_login_alone(f: &Fixture) {
    let (acme, other, ann, bob) = (f.acme, f.other, f.identity("ann").await, f.identity("bob").await);
    let refused = async |tenant, id| look!(f, |r| identity::reset_refused_at(r, tenant, id).await);
    assert_eq!(refused(acme, ann).await, None);
    commit!(f, |tx| identity::refuse_reset(tx, other, ann).await);
    assert_eq!(refused(acme, ann).await, None);
    commit!(f, |tx| identity::refuse_reset(tx, acme, ann).await);
    assert_eq!((refused(acme, ann).await, refused(acme, bob).await, refused(other, ann).await), (Some(f.clock.now()), None, None));
}

/// A login of `actor` at `name`.
async fn login_of(f: &Fixture, actor: &'static str, name: &'static str) -> IdentityId {
    let (id, tenant) = (f.id(), f.acme);
    let key = crate::model::identity::IdentityKey { actor_type: ActorType::new(actor), ..key(name) };
    let login = &*Box::leak(Box::new(login(id, key, name, "hash")));
    assert!(commit!(f, |tx| identity::insert(tx, tenant, login).await));
    id
}

async fn what_nobody_became_a_customer_with_is_swept(f: &Fixture) {
    let (acme, other, begun) = (f.acme, f.other, f.clock.now());
    let [ann, used, linked, staff, vendor, away, here] = [
        login_of(f, "customer", "ann").await,
        login_of(f, "customer", "used").await,
        login_of(f, "customer", "linked").await,
        login_of(f, "user", "staff").await,
        login_of(f, "vendor", "vendor").await,
        login_of(f, "customer", "away").await,
        login_of(f, "customer", "here").await,
    ];
    assert!(commit!(f, |tx| identity::link(tx, acme, linked, "customer").await));
    let [gone, lives, ended] = [f.id(), f.id(), f.id()];
    let soon = f.in_a_minute();
    let later = soon.after(MINUTE);
    commit!(f, |tx| {
        session::insert(tx, acme, gone, away, soon, None).await?;
        session::insert(tx, acme, lives, here, later, None).await?;
        session::insert(tx, acme, ended, ann, later, None).await?;
        session::end(tx, acme, ended, ann).await?;
        // Another tenant's session of the same login keeps nothing.
        session::insert(tx, other, lives, ann, later, None).await
    });
    f.clock.advance(MINUTE);
    let now = f.clock.now();
    assert!(commit!(f, |tx| identity::lock(tx, acme, used).await));
    assert_eq!(commit!(f, |tx| identity::sweep_unlinked(tx, acme, begun.before(MINUTE)).await), 0, "too young");
    assert_eq!(commit!(f, |tx| identity::sweep_unlinked(tx, other, now).await), 0, "another tenant's");
    assert_eq!(commit!(f, |tx| identity::sweep_unlinked(tx, acme, begun).await), 3);
    for (id, stays) in [(ann, false), (staff, false), (away, false), (used, true), (linked, true), (vendor, true), (here, true)] {
        assert_eq!(look!(f, |r| identity::by_id(r, acme, id).await).is_some(), stays);
    }
    f.clock.advance(MINUTE);
    assert_eq!(commit!(f, |tx| identity::sweep_unlinked(tx, acme, now).await), 2, "the one was used last, the other's session has ended");
}

/// On SQLite there is one writer, and nobody waits.
#[tokio::test]
async fn on_postgres_who_is_used_while_a_sweep_waits_for_it_stays() {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let f = Fixture::create(Backend::Postgres).await;
    let (acme, ann, until) = (f.acme, f.identity("ann").await, f.clock.now());
    f.clock.advance(MINUTE);
    let (inside, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (db, entered, wait) = (f.db.clone(), Arc::clone(&inside), Arc::clone(&let_go));
    let mut sign_in = JoinSet::new();
    sign_in.spawn(async move {
        db.write(move |tx| {
            let (entered, wait) = (Arc::clone(&entered), Arc::clone(&wait));
            Box::pin(async move {
                let found = identity::lock(tx, acme, ann).await?;
                entered.notify_one();
                wait.notified().await;
                Ok(found)
            })
        })
        .await
    });
    inside.notified().await;
    let (db, mut sweep) = (f.db.clone(), JoinSet::new());
    sweep.spawn(async move { db.write(move |tx| Box::pin(identity::sweep_unlinked(tx, acme, until))).await });
    let mut looks = 0;
    while f.count(WAITING).await == 0 {
        looks += 1;
        assert!(looks < 2_000, "the sweep waits for nobody");
    }
    let_go.notify_one();
    assert!(sign_in.join_next().await.unwrap().unwrap().unwrap());
    assert_eq!(sweep.join_next().await.unwrap().unwrap().unwrap(), 0);
    assert!(look!(f, |r| identity::by_id(r, acme, ann).await).is_some());
    f.database.remove().await.unwrap();
}
