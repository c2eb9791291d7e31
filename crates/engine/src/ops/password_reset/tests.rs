use super::*;

fn job(millis: u64) -> JobId {
    JobId(ulid::Ulid::from_parts(millis, 1))
}

#[test]
fn only_a_newer_request_overtakes_and_none_from_the_future() {
    let (newest, login, now) = (Newest::default(), [1; 16], Timestamp::from_seconds(2));
    newest.note(login, job(1_000));
    newest.note(login, job(900));
    assert!(newest.is_overtaken(login, job(998), now));
    assert!(newest.is_overtaken(login, job(999), now), "however many are older");
    assert!(!newest.is_overtaken([2; 16], job(999), now), "another login");
    assert!(!newest.is_overtaken(login, job(1_000), now), "the newest itself");
    assert!(!newest.is_overtaken(login, job(999), now), "and then it is forgotten");
    newest.note(login, job(2_001));
    assert!(!newest.is_overtaken(login, job(999), now), "a clock was ahead");
}

/// A worker's transaction begins, and the worker pauses. Meanwhile its owner asks again, and another worker issues that.
#[cfg(feature = "testing")]
async fn a_worker_that_wakes_in_its_transaction_issues_nothing_older(backend: crate::testing::Backend) {
    let (engine, tenant, database) = crate::testing::one_shop(backend).await.unwrap();
    let (email, acme) = (emailpass::address("ann@example.com").unwrap(), tenant.id);
    let client = Client { ip: std::net::Ipv4Addr::LOCALHOST.into(), user_agent: None };
    let key = emailpass::key(&ActorType::customer(), &email);
    let id = crate::model::ids::IdentityId(engine.rng.ulid(engine.clock.now()));
    let ann = Arc::new(Identity::with_password(id, key.clone(), "ann@example.com", "hash".into(), engine.clock.now()));
    request(&engine, &tenant, &client, &key.actor_type, &email, Map::new(), &Receipt::none()).await.unwrap();
    let until = engine.clock.now().after(Duration::from_secs(30));
    let claim = engine.db.write(move |tx| {
        let ann = ann.clone();
        Box::pin(async move {
            assert!(store::identity::insert(tx, acme, &ann).await?);
            store::job::claim(tx, acme, "lease", until, 1).await
        })
    });
    let older = claim.await.unwrap().remove(0);
    let input = Arc::new((engine.clone(), draft(&engine, &tenant, older, "lease").unwrap(), tenant));
    let woken = engine.db.write(move |tx| {
        let input = input.clone();
        Box::pin(async move {
            let (engine, draft, tenant) = &*input;
            engine.clock.advance(Duration::from_secs(1));
            let (now, newer) = (engine.clock.now(), JobId(engine.rng.ulid(engine.clock.now())));
            let issued = store::identity::claim_newest_reset(tx, acme, &draft.key, newer, now).await?;
            issue_tx(tx, tenant, draft).await.map(|()| issued.is_some())
        })
    });
    assert!(woken.await.unwrap());
    assert_eq!(crate::testing::number(&engine, "SELECT COUNT(*) FROM password_resets").await.unwrap(), 0);
    database.remove().await.unwrap();
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn f27_a_worker_that_wakes_in_its_transaction_issues_nothing_older_on_sqlite() {
    a_worker_that_wakes_in_its_transaction_issues_nothing_older(crate::testing::Backend::Sqlite).await;
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn f27_a_worker_that_wakes_in_its_transaction_issues_nothing_older_on_postgres() {
    a_worker_that_wakes_in_its_transaction_issues_nothing_older(crate::testing::Backend::Postgres).await;
}
