//! Events as they are pulled: numbered without a gap, waited for, and no longer there.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vestibule_engine::outbox::MOST_WAITING;
use vestibule_engine::testing::Backend;
use vestibule_engine::{ops, testing};

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, run, secret_key};
use crate::support::client::{Answer, Shop, basic, claims};
use crate::support::each_db;

const DAY: Duration = Duration::from_hours(24);

/// The data of all events of this name, in the order of their numbers.
async fn told(app: &TestApp, name: &str) -> Vec<Value> {
    app.numbered().await;
    let page = Puller::of(app, "acme").await.pull(&format!("?limit=500&name={name}")).await.expect_status(200).json();
    page["events"].as_array().unwrap().iter().map(|event| event["data"].clone()).collect()
}

/// A program of the shop that pulls.
#[derive(Clone)]
struct Puller {
    shop: Shop,
    authorization: String,
}

impl Puller {
    async fn of(app: &TestApp, slug: &str) -> Self {
        Self { shop: app.shop(slug), authorization: basic(&secret_key(app, slug).await.1) }
    }

    async fn pull(&self, query: &str) -> Answer {
        self.shop.get(&format!("/admin/events{query}")).header("authorization", &self.authorization).send().await
    }

    async fn numbers(&self, query: &str) -> (Vec<i64>, Value, Value) {
        let page = self.pull(query).await.expect_status(200).json();
        let numbers = page["events"].as_array().unwrap().iter().map(|event| event["number"].as_i64().unwrap()).collect();
        (numbers, page["next"].clone(), page["last"].clone())
    }

    /// The last number that was given.
    async fn last(&self, app: &TestApp) -> i64 {
        app.numbered().await;
        self.pull("?limit=1").await.json()["last"].as_i64().unwrap()
    }

    /// As many requests that wait as may, once one more was refused.
    async fn crowd(&self, query: &str) -> JoinSet<Answer> {
        let mut waiting = JoinSet::new();
        for _ in 0..=MOST_WAITING {
            let (puller, query) = (self.clone(), query.to_owned());
            waiting.spawn(async move { puller.pull(&query).await });
        }
        let refused = waiting.join_next().await.unwrap().unwrap();
        assert_eq!(refused.expect_error(429, "Too many requests. Please try again later.").header("retry-after"), "1");
        waiting
    }
}

async fn rename(shop: &Shop, token: &str, name: &str) {
    shop.post("/store/customers/me").bearer(token).json(&json!({"first_name": name})).send().await.expect_status(200);
}

each_db! {
    async fn r139_events_are_pulled_in_order_and_without_a_gap(app: TestApp) {
        let (shop, puller) = (app.acme(), Puller::of(app, "acme").await);
        assert_eq!(puller.pull("").await.expect_status(200).json(), json!({"events": [], "next": 0, "next_id": null, "last": 0}));
        let token = customer(&shop, ADDRESS).await;
        customer(&app.globex(), "foreign@example.com").await;
        for round in 0..100 {
            rename(&shop, &token, &round.to_string()).await;
        }
        let reset = app.reset_token(&shop, ADDRESS).await;
        let last = puller.last(app).await;
        assert_eq!(puller.numbers("?limit=500").await, ((1..=last).collect(), json!(last), json!(last)));
        let (mut after, mut seen) = (0, Vec::new());
        while after < last {
            let (numbers, next, _) = puller.numbers(&format!("?after={after}&limit=7")).await;
            seen.extend(numbers);
            after = next.as_i64().unwrap();
        }
        assert_eq!(seen, (1..=last).collect::<Vec<_>>());
        // What is left out by its name is left out of the answer, not of the numbers.
        let (updates, next, _) = puller.numbers("?name=customer.updated&limit=500").await;
        assert_eq!((updates.len(), next), (100, json!(last)));
        // Each was made after the answer to the one before, and nothing else happened in this shop.
        assert_eq!(updates, (updates[0]..updates[0] + 100).collect::<Vec<_>>());
        let both = puller.pull("?name[]=auth.password_reset&name[]=customer.created").await.json();
        let [created, asked] = both["events"].as_array().unwrap().as_slice() else { panic!("{both}") };
        assert_eq!(created["type"], "customer.created");
        let told = json!({"number": asked["number"], "id": asked["id"], "type": "auth.password_reset", "timestamp": app.clock.now().to_string(),
            "data": {"entity_id": ADDRESS, "actor_type": "customer", "metadata": {}}, "metadata": {"tenant": "acme"}});
        assert_eq!(asked, &told, "without the token, and without what it is made from");
        assert!(!puller.pull("?limit=500").await.text.contains(&reset));
        let all = puller.pull("?limit=500").await.text;
        assert!(!all.contains("foreign"), "nothing of another shop");
    }

    async fn a_sign_in_is_told_and_a_registration_a_refresh_and_a_refusal_are_not(app: TestApp) {
        let shop = app.acme();
        let first = shop.register(ADDRESS, PASSWORD).await.expect_status(200).token();
        shop.post("/store/customers").bearer(&first).json(&json!({"email": ADDRESS})).send().await.expect_status(200);
        assert_eq!(told(app, "auth.signed_in").await, [Value::Null; 0], "a registration");
        let token = shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200).token();
        shop.post("/auth/token/refresh").bearer(&token).send().await.expect_status(200);
        shop.sign_in(ADDRESS, "an-Other-pass-7").await.expect_status(401);
        let claims = claims(&token);
        let expected = json!({"auth_identity_id": claims["auth_identity_id"], "actor_type": "customer", "auth_provider": "emailpass",
            "actor_id": claims["actor_id"], "session_id": claims["sid"]});
        assert_eq!(told(app, "auth.signed_in").await, [expected]);
    }

    async fn sessions_that_are_ended_are_told_of_once_with_the_reason(app: TestApp) {
        let shop = app.acme();
        let mut ended = 0;
        let mut says = async |app: &TestApp, reason: &str, count: u64| {
            ended += 1;
            let all = told(app, "auth.session_ended").await;
            assert_eq!(all.len(), ended, "{reason}: {all:?}");
            let last = all.last().unwrap();
            assert_eq!((&last["reason"], &last["count"]), (&json!(reason), &json!(count)), "{last}");
            assert_eq!(last["session_ids"].as_array().unwrap().len() as u64, count, "{last}");
        };
        // Two: the registration's, and the sign-in's.
        let token = customer(&shop, ADDRESS).await;
        shop.call(Method::DELETE, "/auth/sessions").bearer(&token).send().await.expect_status(200);
        says(app, "ended_by_owner", 1).await;
        let again = shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200).token();
        let reset = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        says(app, "password_reset", 2).await;
        shop.me(&again).await.expect_status(401);
        // A session that runs out is nobody's act.
        app.settle().await;
        app.next_mail(ADDRESS).await;
        shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        app.advance(400 * DAY);
        let id = claims(&token)["actor_id"].as_str().unwrap().to_owned();
        let key = basic(&secret_key(app, "acme").await.1);
        shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        shop.call(Method::DELETE, &format!("/admin/customers/{id}")).header("authorization", &key).send().await.expect_status(200);
        let all = told(app, "auth.session_ended").await;
        assert_eq!((&all.last().unwrap()["reason"], &all.last().unwrap()["count"]), (&json!("customer_deleted"), &json!(1)));
    }

    async fn of_two_who_sign_out_at_once_one_is_told_of(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let id = claims(&token)["sid"].as_str().unwrap().to_owned();
        let mut outs = JoinSet::new();
        for _ in 0..8 {
            let call = shop.call(Method::DELETE, &format!("/auth/sessions/{id}")).bearer(&token);
            outs.spawn(async move { call.send().await });
        }
        let done = outs.join_all().await.into_iter().filter(|answer| answer.status == 200).count();
        assert_eq!((done, told(app, "auth.session_ended").await.len()), (1, 1));
        assert_eq!(told(app, "auth.session_ended").await[0]["session_ids"], json!([id]));
    }

    async fn many_wrong_passwords_are_one_event_when_the_server_stops_and_an_unknown_address_none(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        for _ in 0..3 {
            shop.sign_in(ADDRESS, "an-Other-pass-7").await.expect_status(401);
            shop.sign_in("nobody@example.com", "an-Other-pass-7").await.expect_status(401);
        }
        // The other doors at which a password is tried. With the right one only the address is taken.
        for password in ["an-Other-pass-7", PASSWORD] {
            shop.register(ADDRESS, password).await.expect_status(401);
        }
        let change = shop.post("/auth/customer/emailpass/change-password").bearer(&token);
        change.json(&json!({"current_password": "an-Other-pass-7", "password": NEW_PASSWORD})).send().await.expect_status(401);
        app.restart(|_| {}).await;
        let all = told(app, "auth.sign_in_failed").await;
        // A window may end between two tries.
        assert_eq!(all.iter().map(|data| data["attempts"].as_u64().unwrap()).sum::<u64>(), 5, "{all:?}");
        assert!(all.iter().all(|data| data["auth_identity_id"] == claims(&token)["auth_identity_id"]), "{all:?}");
    }

    async fn who_waits_is_told_at_once_and_holds_no_connection(app: TestApp) {
        let (shop, puller) = (app.acme(), Puller::of(app, "acme").await);
        let token = customer(&shop, ADDRESS).await;
        let last = puller.last(app).await;
        let mut waiting = puller.crowd(&format!("?after={last}&wait=30&name=customer.*")).await;
        // More wait than there are connections to the database; and whoever does not wait is not refused.
        assert!(puller.numbers(&format!("?after={last}")).await.0.is_empty());
        Puller::of(app, "globex").await.pull("?wait=1").await.expect_status(200);
        rename(&shop, &token, "Ann").await;
        while let Some(answer) = waiting.join_next().await {
            let page = answer.unwrap().expect_status(200).json();
            assert_eq!((&page["events"][0]["number"], &page["events"][0]["type"]), (&json!(last + 1), &json!("customer.updated")));
        }
        assert_eq!(puller.numbers(&format!("?after={}&wait=1", last + 1)).await.0, [0; 0], "the places were given back");
    }

    async fn a_wait_ends_with_the_server_and_with_the_right_to_wait(app: TestApp) {
        let (shop, puller) = (app.acme(), Puller::of(app, "acme").await);
        let token = customer(&shop, ADDRESS).await;
        let last = puller.last(app).await;
        let (id, key) = secret_key(app, "acme").await;
        let revoked = Puller { shop: shop.clone(), authorization: basic(&key) };
        let waiting = revoked.crowd(&format!("?after={last}&wait=30")).await;
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        ops::api_key::revoke(&app.engine, &tenant, id).await.unwrap();
        rename(&shop, &token, "Ann").await;
        for answer in waiting.join_all().await {
            answer.expect_error(401, "Unauthorized");
        }
        let last = puller.last(app).await;
        let page = puller.pull(&format!("?after={}", last - 1)).await.json();
        assert_eq!(page["next_id"], page["events"][0]["id"]);
        let waiting = puller.crowd(&format!("?after={last}&wait=30")).await;
        app.restart(|_| {}).await;
        for answer in waiting.join_all().await {
            assert_eq!(answer.expect_status(200).json(), json!({"events": [], "next": last, "next_id": page["next_id"], "last": last}));
        }
    }

    async fn what_is_no_longer_kept_is_said(app: TestApp) {
        let (shop, puller) = (app.acme(), Puller::of(app, "acme").await);
        let token = customer(&shop, ADDRESS).await;
        let old = puller.last(app).await;
        app.advance(31 * DAY);
        ops::sweep::sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows("SELECT swept FROM sequences").await, [old.to_string()]);
        assert_eq!(puller.numbers("").await, (vec![], json!(old), json!(old)));
        assert_eq!(puller.numbers(&format!("?after={old}")).await.0, [0; 0]);
        puller.pull(&format!("?after={}", old - 1)).await.expect_error(410, &format!("Events up to number {old} are no longer kept"));
        puller.pull(&format!("?after={}&wait=1", old + 1)).await.expect_error(400, &format!("There is no event with number {} yet", old + 1));
        // Numbers go on where they were.
        drop(token);
        customer(&shop, "bob@example.com").await;
        let last = puller.last(app).await;
        assert_eq!(puller.numbers("").await, ((old + 1..=last).collect(), json!(last), json!(last)));
    }

    async fn who_knows_of_events_that_a_restored_database_does_not_is_told(app: TestApp) {
        let (shop, puller) = (app.acme(), Puller::of(app, "acme").await);
        customer(&shop, ADDRESS).await;
        puller.last(app).await;
        let page = puller.pull("?name=auth.*").await.json();
        let known = format!("?after={}&after_id={}", page["next"], page["next_id"].as_str().unwrap());
        puller.pull(&known).await.expect_status(200);
        // As if the number had been given again, to another event.
        let restored = "UPDATE events SET id = '01M84S77XJ8BVH81B179KQ8Y5B' WHERE number = (SELECT last FROM sequences)";
        assert_eq!(testing::execute(&app.engine, restored).await.unwrap(), 1);
        let message = format!("The event with number {} is another one: the database was restored from a backup", page["next"]);
        puller.pull(&known).await.expect_error(400, &message);
        puller.pull(&format!("{known}&wait=1")).await.expect_error(400, &message);
    }

    async fn what_is_asked_for_wrongly_is_refused(app: TestApp) {
        let puller = Puller::of(app, "acme").await;
        for (query, message) in [
            ("limit=0", "Invalid request: Value for field 'limit' too small, expected at least: '1'"),
            ("limit=501", "Invalid request: Value for field 'limit' too big, expected at most: '500'"),
            ("wait=31", "Invalid request: Value for field 'wait' too big, expected at most: '30'"),
            ("after=-1", "Invalid request: Value for field 'after' too small, expected at least: '0'"),
            ("after=x", "Invalid request: Expected type: 'number' for field 'after', got: 'x'"),
            ("after=9223372036854775807", "There is no event with number 9223372036854775807 yet"),
            ("after_id=evt_01M84S77XJ8BVH81B179KQ8Y5B", "Invalid request: Field 'after_id' needs 'after'"),
            ("after=0&after_id=x", "There is no event id x"),
            ("name=auth", "There is no event auth"),
            ("name=%25", "There is no event %"),
            ("offset=1", "Invalid request: Unrecognized fields: 'offset'"),
        ] {
            puller.pull(&format!("?{query}")).await.expect_error(400, message);
        }
        let many = (0..101).map(|_| "name[]=*").collect::<Vec<_>>().join("&");
        puller.pull(&format!("?{many}")).await.expect_error(400, "Invalid request: Value for field 'name' too big, expected at most: '100'");
    }

    async fn a_subscriber_is_told_once_more(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let reset = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        app.numbered().await;
        drop(token);
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let last = Puller::of(app, "acme").await.last(app).await;
        let engine = app.engine.clone();
        let replay = async |subscriber: &str, from, to| ops::event::replay(&engine, &tenant, subscriber, from, to).await;
        for (subscriber, from, to) in [("webhook:1", 1, 2), ("mail", 0, 2), ("mail", 2, 1), ("mail", 1, 10_001), ("mail", last + 2, last + 2)] {
            assert!(replay(subscriber, from, to).await.is_err(), "{subscriber} {from} {to}");
        }
        // Nothing that the mailer does not hear, and no link that was used.
        assert_eq!(replay("mail", 1, last).await.unwrap(), 2);
        app.settle().await;
        let notice = app.next_mail(ADDRESS).await;
        assert!(notice.part("text/plain").is_some_and(|text| !text.contains("token=")));
        let resets = "SELECT state FROM deliveries WHERE event_id IN (SELECT id FROM events WHERE name = 'auth.password_reset') ORDER BY id";
        assert_eq!(app.rows(resets).await, ["delivered", "superseded"]);
        assert_eq!(testing::number(&app.engine, "SELECT COUNT(*) FROM deliveries").await.unwrap(), 4);
        // Nor is there a new one in place of a link that nobody used in time.
        app.reset_token(&shop, ADDRESS).await;
        app.advance(DAY);
        let last = Puller::of(app, "acme").await.last(app).await;
        assert_eq!(replay("mail", last, last).await.unwrap(), 1);
        app.settle().await;
        assert_eq!(app.rows(resets).await, ["delivered", "superseded", "delivered", "expired"]);
    }
}

/// Notes which transaction changed a customer, while it has the row, and which wrote an event.
const WITNESSES: [&str; 6] = [
    "CREATE TABLE changes (place BIGINT GENERATED BY DEFAULT AS IDENTITY, tx BIGINT)",
    "CREATE TABLE told (tx BIGINT, event TEXT)",
    "CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO changes (tx) VALUES (txid_current()); RETURN NULL; END'",
    "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO told VALUES (txid_current(), NEW.id); RETURN NULL; END'",
    "CREATE TRIGGER changed AFTER UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION changed()",
    "CREATE TRIGGER tell AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell()",
];

/// On SQLite one transaction writes at a time.
#[test]
fn i8_events_of_one_customer_are_numbered_in_the_order_of_its_changes_however_many_come_at_once() {
    run(Backend::Postgres, |app| {
        Box::pin(async move {
            let (shop, puller) = (app.acme(), Puller::of(app, "acme").await);
            let token = customer(&shop, ADDRESS).await;
            for sql in WITNESSES {
                testing::execute(&app.engine, sql).await.unwrap();
            }
            let mut updates = JoinSet::new();
            for round in 0..60 {
                let (shop, token) = (shop.clone(), token.clone());
                updates.spawn(async move { rename(&shop, &token, &round.to_string()).await });
            }
            updates.join_all().await;
            puller.last(app).await;
            let numbered = app.rows("SELECT id FROM events WHERE name = 'customer.updated' ORDER BY number").await;
            let changed = app.rows("SELECT event FROM told JOIN (SELECT tx, MAX(place) AS place FROM changes GROUP BY tx) AS changed ON changed.tx = told.tx ORDER BY place").await;
            assert_eq!((numbered.len(), numbered), (60, changed));
        })
    });
}
