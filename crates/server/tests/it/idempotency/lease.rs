//! A claim whose process died, and one whose worker wakes too late.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use vestibule_engine::error::Code;
use vestibule_engine::model::customer::{Change, Profile};
use vestibule_engine::model::ids::CustomerId;
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::ops::customer::WithAddresses;
use vestibule_engine::ops::idempotency::{Answer as Kept, Claim, Claimed, Receipt, Request, claim, finish};
use vestibule_engine::ops::{self, Client};
use vestibule_engine::testing::Fault;

use super::{KEY, KEYS, SIGN_IN, assert_fresh, assert_in_flight, assert_replay, credentials};
use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer};
use crate::support::client::claims;
use crate::support::each_db;

const ALMOST: Duration = Duration::from_secs(59);
const SECOND: Duration = Duration::from_secs(1);

async fn claimed(app: &TestApp, tenant: &Arc<Tenant>) -> Claimed {
    let client = Client { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: None };
    let request = Request { key: "k-1", caller: Some("ann"), client: &client, method: "POST", path: "/x", query: "", authority: &[], body: b"{}" };
    claim(&app.engine, tenant, &request).await.unwrap()
}

fn now(claimed: Claimed) -> Claim {
    match claimed {
        Claimed::Now(claim) => claim,
        Claimed::Before(answer) => panic!("it was answered: {}", answer.body),
    }
}

fn before(claimed: Claimed) -> String {
    match claimed {
        Claimed::Before(answer) => answer.body,
        Claimed::Now(_) => panic!("it was not answered"),
    }
}

/// What a worker with `claim` does: it gives the customer a name.
async fn rename(app: &TestApp, tenant: &Arc<Tenant>, id: CustomerId, claim: &Claim, name: &str) -> Result<(), Code> {
    let render = |updated: &WithAddresses| {
        let body = updated.customer.first_name.clone().unwrap_or_default();
        Ok(Kept { status: 200, content_type: "text/plain".into(), cookie: None, body })
    };
    let profile = Profile { first_name: Change::Set(Some(name.to_owned())), ..Profile::default() };
    let outcome = ops::customer::update(&app.engine, tenant, id, profile, false, &Receipt::new(Some(claim.clone()), render)).await;
    outcome.map(drop).map_err(|e| e.code)
}

/// The name of the only customer, and how often it was changed.
async fn name(app: &TestApp) -> Vec<String> {
    app.rows("SELECT first_name, (SELECT COUNT(*) FROM events WHERE name = 'customer.updated') FROM customers").await
}

each_db! {
    async fn r142_the_request_of_a_dead_process_is_taken_over_after_a_minute(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let wrong = async || shop.post(SIGN_IN).header(KEY, "k-1").json(&credentials(ADDRESS, "a-Wrong-pass-1")).send().await;
        app.engine.faults().arm(Fault::Death, 1);
        // This answer is lost: nothing says that the request was answered.
        wrong().await.expect_status(401);
        assert_in_flight(&wrong().await, "k-1");
        app.restart(|_| {}).await;
        let shop = app.acme();
        let wrong = async |password: &str| shop.post(SIGN_IN).header(KEY, "k-1").json(&credentials(ADDRESS, password)).send().await;
        app.clock.advance(ALMOST);
        assert_in_flight(&wrong("a-Wrong-pass-1").await, "k-1");
        app.clock.advance(SECOND);
        // Another request never gets the key.
        wrong(PASSWORD).await.expect_status(422);
        let first = wrong("a-Wrong-pass-1").await.expect_status(401);
        assert_fresh(&first);
        assert_replay(&first, &wrong("a-Wrong-pass-1").await);
    }

    async fn r142_a_worker_that_wakes_too_late_undoes_its_effect(app: TestApp) {
        let token = customer(&app.acme(), ADDRESS).await;
        let id: CustomerId = claims(&token)["actor_id"].as_str().unwrap().parse().unwrap();
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let old = now(claimed(app, &tenant).await);
        app.clock.advance(ALMOST + SECOND);
        let new = now(claimed(app, &tenant).await);
        assert_eq!(rename(app, &tenant, id, &old, "Old").await, Err(Code::Conflict));
        assert_eq!(name(app).await, [" 0"]);
        // Nor does it let go of what is not its own, or say how it ended.
        assert!(finish(&app.engine, &old, None, None).await.unwrap());
        let refusal = Kept { status: 400, content_type: "text/plain".into(), cookie: None, body: "no".into() };
        assert!(!finish(&app.engine, &old, Some(&refusal), None).await.unwrap());
        assert_eq!(rename(app, &tenant, id, &new, "New").await, Ok(()));
        assert_eq!(rename(app, &tenant, id, &old, "Old").await, Err(Code::Conflict));
        assert_eq!(rename(app, &tenant, id, &new, "Twice").await, Err(Code::Conflict));
        assert_eq!((name(app).await, before(claimed(app, &tenant).await)), (vec!["New 1".to_owned()], "New".to_owned()));
        // A worker that is only slow keeps what nobody took.
        let slow = Request { key: "k-2", caller: Some("ann"), client: &Client { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: None }, method: "POST", path: "/x", query: "", authority: &[], body: b"{}" };
        let slow = now(claim(&app.engine, &tenant, &slow).await.unwrap());
        app.clock.advance(ALMOST + SECOND);
        assert_eq!(rename(app, &tenant, id, &slow, "Slow").await, Ok(()));
        assert_eq!(name(app).await, ["Slow 2"]);
    }

    async fn r142_a_commit_whose_answer_is_lost_is_done_once(app: TestApp) {
        let token = customer(&app.acme(), ADDRESS).await;
        let id: CustomerId = claims(&token)["actor_id"].as_str().unwrap().parse().unwrap();
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        app.settle().await;
        let first = now(claimed(app, &tenant).await);
        app.engine.faults().arm(Fault::CommitLost, 1);
        assert_eq!(rename(app, &tenant, id, &first, "Ann").await, Err(Code::Busy));
        app.engine.faults().arm(Fault::CommitLost, 0);
        // Nobody knows whether it is done; whoever asks again with the key gets it done, once.
        assert!(finish(&app.engine, &first, None, None).await.unwrap());
        if let Claimed::Now(second) = claimed(app, &tenant).await {
            assert_eq!(rename(app, &tenant, id, &second, "Ann").await, Ok(()));
        }
        assert_eq!((name(app).await, before(claimed(app, &tenant).await)), (vec!["Ann 1".to_owned()], "Ann".to_owned()));
        assert_eq!(app.rows(KEYS).await, ["1"]);
    }
}
