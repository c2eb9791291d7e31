//! `JetStream`: every event once, under its id, whatever becomes of the server meanwhile (F14, F15).

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use vestibule_engine::config::Nats;
use vestibule_engine::model::tenant::Secret;

use crate::faults::report::Report;
use crate::support::app::{ADDRESS, TestApp, customer, token_in};
use crate::support::client::claims;
use crate::support::each_db;
use crate::support::nats::{NatsServer, Stored};

const ROWS: &str = "SELECT state, attempts FROM deliveries WHERE subscriber = 'nats' ORDER BY id";

/// The app with a NATS server, to which `events` are published.
async fn connected(app: &mut TestApp, events: &[&str]) -> NatsServer {
    let nats = NatsServer::start().await;
    let settings = Nats { url: Secret::new(nats.url()), events: events.iter().map(|event| (*event).to_owned()).collect() };
    app.restart(|config| config.nats = Some(settings)).await;
    nats
}

/// Every event of the database is in the stream, once; what is there.
async fn each_once(app: &TestApp, nats: &NatsServer) -> Vec<Stored> {
    let (stored, report) = figures(app, nats).await;
    assert!(report.lost.is_empty() && report.duplicates == 0, "{:?} of {stored:?}", report.lost);
    stored
}

/// What is in the stream, and what of the events is not there or there twice.
async fn figures(app: &TestApp, nats: &NatsServer) -> (Vec<Stored>, Report) {
    let (stored, mut report) = (nats.messages().await, Report { trials: 1, ..Report::on(&app.database) });
    let ids: BTreeSet<String> = stored.iter().map(|message| message.id.clone()).collect();
    let events: BTreeSet<String> = app.rows("SELECT id FROM events").await.into_iter().map(|id| format!("evt_{id}")).collect();
    assert!(ids.is_subset(&events), "what is in the stream is an event: {stored:?}");
    report.acknowledged = events.len();
    report.lost = events.difference(&ids).cloned().collect();
    report.duplicates = stored.len() - ids.len();
    (stored, report)
}

/// Lets back-offs pass until everything is done. A server that comes back is asked again after a while, and what was under way when it went was refused.
async fn drained(app: &TestApp) {
    for _ in 0..120 {
        if app.engine.ready().await.unwrap() == 0 {
            return;
        }
        app.advance(Duration::from_secs(6));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the outbox did not empty");
}

fn names(stored: &[Stored]) -> Vec<&str> {
    let mut names: Vec<_> = stored.iter().map(|message| message.subject.as_str()).collect();
    names.sort_unstable();
    names
}

each_db! {
    async fn every_event_of_every_shop_is_stored_under_its_id_without_its_secret(app: TestApp) {
        let nats = connected(app, &["*"]).await;
        customer(&app.globex(), ADDRESS).await;
        customer(&app.acme(), ADDRESS).await;
        let token = app.reset_token(&app.acme(), ADDRESS).await;
        let stored = each_once(app, &nats).await;
        assert_eq!(names(&stored), [
            "vestibule.acme.auth.password_reset", "vestibule.acme.auth.signed_in", "vestibule.acme.customer.created",
            "vestibule.globex.auth.signed_in", "vestibule.globex.customer.created"
        ]);
        let reset = stored.iter().find(|message| message.subject.ends_with("password_reset")).unwrap();
        let expected = json!({
            "type": "auth.password_reset",
            "timestamp": app.clock.now().to_string(),
            "data": {"entity_id": ADDRESS, "actor_type": "customer", "metadata": {}},
            "metadata": {"tenant": "acme"},
        });
        assert_eq!(reset.body, expected);
        assert!(!format!("{stored:?}").contains(token.split('.').nth(2).unwrap()));
        assert_eq!(app.rows(ROWS).await, ["delivered 1"; 5]);
    }

    async fn the_stream_knows_an_id_for_a_day_and_keeps_a_message_for_a_week(app: TestApp) {
        let nats = connected(app, &["*"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        let made = nats.made().await;
        let day = Duration::from_hours(24);
        assert_eq!((made.duplicate_window, made.max_age, made.subjects), (day, 7 * day, vec!["vestibule.>".to_owned()]));
    }

    async fn only_what_is_named_is_published_and_exactly_named_with_its_secret(app: TestApp) {
        let nats = connected(app, &["auth.password_reset"]).await;
        customer(&app.acme(), ADDRESS).await;
        let token = app.reset_token(&app.acme(), ADDRESS).await;
        let stored = nats.messages().await;
        assert_eq!(names(&stored), ["vestibule.acme.auth.password_reset"]);
        assert_eq!(claims(stored[0].body["data"]["token"].as_str().unwrap()), claims(&token));
    }

    async fn a_secret_that_is_no_longer_good_is_not_published(app: TestApp) {
        let mut nats = connected(app, &["*", "auth.password_reset"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        nats.kill();
        for _ in 0..2 {
            app.acme().request_reset(ADDRESS).await.expect_status(201);
            app.next_mail(ADDRESS).await;
        }
        customer(&app.acme(), "late@example.com").await;
        nats.restart().await;
        drained(app).await;
        let ends = app.rows("SELECT state FROM deliveries WHERE subscriber = 'nats' ORDER BY state").await;
        assert_eq!(ends, ["delivered", "delivered", "delivered", "delivered", "delivered", "superseded"]);
        let stored = nats.messages().await;
        let tokens: Vec<&Value> = stored.iter().map(|message| &message.body["data"]["token"]).filter(|token| token.is_string()).collect();
        assert_eq!(tokens.len(), 1);
        nats.kill();
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.next_mail(ADDRESS).await;
        // A mail whose delivery is not yet written down would be sent once more, with a new link in place of this one.
        app.until("SELECT COUNT(*) FROM deliveries WHERE subscriber = 'mail' AND state = 'waiting'", &["0"]).await;
        app.advance(Duration::from_mins(15));
        nats.restart().await;
        drained(app).await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM deliveries WHERE subscriber = 'nats' AND state = 'expired'").await, ["1"]);
        assert_eq!(nats.messages().await.len(), stored.len());
    }

    async fn f14_while_it_is_away_events_wait_and_nothing_else_does(app: TestApp) {
        let mut nats = connected(app, &["*"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        nats.kill();
        for address in ["a@example.com", "b@example.com"] {
            customer(&app.acme(), address).await;
        }
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        app.next_mail(ADDRESS).await;
        app.until("SELECT state, attempts FROM deliveries WHERE subscriber = 'mail'", &["delivered 1"]).await;
        // However long: waiting uses up no try, and nothing is given up.
        app.advance(Duration::from_hours(100));
        assert_eq!(app.rows("SELECT COUNT(*) FROM deliveries WHERE subscriber = 'nats' AND state = 'waiting' AND attempts < 2").await, ["5"]);
        nats.restart().await;
        drained(app).await;
        let (stored, report) = figures(app, &nats).await;
        report.tell("F14 NATS away for 100 hours of a clock that was moved");
        assert_eq!(stored.len(), 7);
    }

    async fn a_server_that_was_made_anew_gets_what_was_not_acknowledged(app: TestApp) {
        let mut nats = connected(app, &["*"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        assert_eq!(nats.messages().await.len(), 2);
        nats.kill();
        nats.forget();
        for address in ["a@example.com", "b@example.com", "c@example.com"] {
            customer(&app.globex(), address).await;
        }
        nats.restart().await;
        drained(app).await;
        let expected = [["vestibule.globex.auth.signed_in"; 3], ["vestibule.globex.customer.created"; 3]].concat();
        assert_eq!(names(&nats.messages().await), expected);
    }

    async fn f15_what_was_stored_and_not_marked_is_published_again_and_dropped(app: TestApp) {
        let mut nats = connected(app, &["*"]).await;
        for address in [ADDRESS, "b@example.com"] {
            customer(&app.acme(), address).await;
        }
        app.settle().await;
        let before = each_once(app, &nats).await;
        // As if this process had died between the acknowledgement and its own note of it; and the server, too.
        vestibule_engine::testing::execute(&app.engine, "UPDATE deliveries SET state = 'waiting', due_at = 0, done_at = NULL WHERE subscriber = 'nats'").await.unwrap();
        nats.kill();
        nats.restart().await;
        drained(app).await;
        let (after, report) = figures(app, &nats).await;
        report.tell("F15 stored by NATS and not marked");
        assert_eq!(after, before);
        let answers = app.rows("SELECT answer FROM deliveries WHERE subscriber = 'nats'").await;
        assert!(answers.len() == 4 && answers.iter().all(|answer| answer.ends_with("known already")), "{answers:?}");
    }

    async fn f14_a_server_that_hangs_delays_nobody(app: TestApp) {
        let nats = connected(app, &["*"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        nats.pause();
        customer(&app.acme(), "b@example.com").await;
        app.acme().request_reset(ADDRESS).await.expect_status(201);
        let mail = app.next_mail(ADDRESS).await;
        assert!(!token_in(&mail).is_empty());
        let tried = "SELECT COUNT(*) FROM deliveries WHERE subscriber = 'nats' AND state = 'waiting' AND lease IS NULL";
        app.until(tried, &["3"]).await;
        nats.resume();
        drained(app).await;
        let (stored, report) = figures(app, &nats).await;
        report.tell("F14 NATS hangs");
        assert_eq!(stored.len(), 5);
    }
}
