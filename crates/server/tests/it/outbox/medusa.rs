//! The bridge to Medusa: each event once in the queue of its bus, as a job of its own shape. `e2e/medusa_bridge.test.mjs` has a real worker take it.

use std::time::Duration;

use serde_json::{Value, json};
use vestibule_engine::model::tenant::{Medusa, Secret};
use vestibule_engine::ops;

use crate::support::app::{ADDRESS, TestApp, customer};
use crate::support::client::claims;
use crate::support::each_db;
use crate::support::redis::RedisServer;

const ROWS: &str = "SELECT state, attempts FROM deliveries WHERE subscriber = 'medusa' ORDER BY id";
const QUEUE: &str = "RedisEventBusService:events-queue";

/// `acme` with the bridge for `events`.
async fn bridged(app: &mut TestApp, events: &[&str]) -> RedisServer {
    let redis = RedisServer::start().await;
    let (url, events) = (Secret::new(redis.url()), events.iter().map(|event| (*event).to_owned()).collect());
    app.restart_acme(|acme| {
        acme.medusa = Some(Medusa { redis: url, events, queue: "events-queue".into(), prefix: "RedisEventBusService".into() });
    })
    .await;
    redis
}

async fn ask(app: &mut TestApp) {
    app.acme().request_reset(ADDRESS).await.expect_status(201);
    app.next_mail(ADDRESS).await;
}

async fn data(redis: &RedisServer) -> Vec<Value> {
    redis.jobs(QUEUE).await.into_iter().map(|(_, job)| serde_json::from_str(&job["data"]).unwrap()).collect()
}

each_db! {
    async fn events_are_queued_in_medusas_own_shape_for_this_shop_alone(app: TestApp) {
        let redis = bridged(app, &["auth.password_reset", "customer.*"]).await;
        customer(&app.globex(), ADDRESS).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        ask(app).await;
        app.settle().await;
        let jobs = redis.jobs(QUEUE).await;
        let queued = app.rows("SELECT id FROM deliveries WHERE subscriber = 'medusa' ORDER BY id").await;
        assert_eq!(jobs.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), queued);
        let (id, job) = &jobs[1];
        let now = app.clock.now();
        for (field, value) in [("name", "auth.password_reset"), ("priority", "100"), ("delay", "0"), ("timestamp", &now.millis().to_string())] {
            assert_eq!(job[field], value, "{field}");
        }
        let options: Value = serde_json::from_str(&job["opts"]).unwrap();
        assert_eq!(options, json!({"removeOnComplete": true, "attempts": 1, "priority": 100, "delay": 0, "jobId": id}));
        let mut told: Value = serde_json::from_str(&job["data"]).unwrap();
        let token = told["data"].as_object_mut().unwrap().remove("token").unwrap();
        assert_eq!(claims(token.as_str().unwrap())["entity_id"], ADDRESS);
        let metadata = json!({"created_at": now.to_string(), "published_at": now.to_string()});
        assert_eq!(told, json!({"data": {"entity_id": ADDRESS, "actor_type": "customer", "metadata": {}}, "metadata": metadata}));
        assert_eq!(redis.ask::<i64>(&["ZCARD", &format!("{QUEUE}:marker")]).await, 1, "a worker that waits is woken");
    }

    async fn r62_a_pattern_gets_no_token_and_what_is_not_named_is_not_queued(app: TestApp) {
        let redis = bridged(app, &["auth.*"]).await;
        customer(&app.acme(), ADDRESS).await;
        ask(app).await;
        app.settle().await;
        let mut queued = data(&redis).await;
        assert_eq!(queued.len(), 2, "the sign-in, too");
        queued.retain(|told| told["data"].get("session_id").is_none());
        assert_eq!(queued[0]["data"], json!({"entity_id": ADDRESS, "actor_type": "customer", "metadata": {}}));
    }

    async fn what_was_queued_is_not_queued_again_even_when_it_was_worked_off(app: TestApp) {
        let redis = bridged(app, &["customer.*"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        let (id, _) = redis.jobs(QUEUE).await.remove(0);
        for worked_off in [false, true] {
            if worked_off {
                // As a worker does that has finished.
                redis.ask::<i64>(&["DEL", &format!("{QUEUE}:prioritized"), &format!("{QUEUE}:{id}")]).await;
            }
            vestibule_engine::testing::execute(&app.engine, "UPDATE deliveries SET state = 'waiting', due_at = 0, done_at = NULL WHERE subscriber = 'medusa'").await.unwrap();
            app.engine.outbox.wake();
            app.settle().await;
            assert_eq!(redis.jobs(QUEUE).await.len(), usize::from(!worked_off));
            assert_eq!(app.rows("SELECT answer FROM deliveries WHERE subscriber = 'medusa'").await, ["queued before"]);
        }
    }

    async fn an_event_is_known_to_be_queued_for_longer_than_it_is_tried(app: TestApp) {
        let redis = bridged(app, &["customer.*"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        let (id, _) = redis.jobs(QUEUE).await.remove(0);
        let left = redis.ask::<i64>(&["TTL", &format!("{QUEUE}:vestibule:{id}")]).await;
        // Three days from the first try, and what the last one may take.
        assert!((72 * 3_600 + 1_800..=73 * 3_600).contains(&left), "{left} s");
    }

    async fn a_worker_is_woken_unless_the_queue_is_paused_or_as_many_are_at_work_as_may(app: TestApp) {
        let redis = bridged(app, &["customer.*"]).await;
        let key = |name: &str| format!("{QUEUE}:{name}");
        let mut queued = 0;
        for (meta, value, active, woken) in [
            ("paused", "1", 0, false),
            ("concurrency", "2", 2, false),
            ("concurrency", "2", 3, false),
            ("concurrency", "2", 1, true),
            ("concurrency", "10", 2, true),
            ("other", "1", 5, true),
        ] {
            redis.ask::<i64>(&["DEL", &key("meta"), &key("active"), &key("marker")]).await;
            redis.ask::<i64>(&["HSET", &key("meta"), meta, value]).await;
            for job in 0..active {
                redis.ask::<i64>(&["LPUSH", &key("active"), &job.to_string()]).await;
            }
            customer(&app.acme(), &format!("{queued}@example.com")).await;
            app.settle().await;
            queued += 1;
            assert_eq!(redis.jobs(QUEUE).await.len(), queued, "it is queued in any case");
            assert_eq!(redis.ask::<i64>(&["ZCARD", &key("marker")]).await, i64::from(woken), "{meta} {value}, {active} at work");
        }
    }

    async fn an_event_that_is_replayed_is_queued_once_more(app: TestApp) {
        let redis = bridged(app, &["customer.created"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        let (id, first) = redis.jobs(QUEUE).await.remove(0);
        redis.ask::<i64>(&["DEL", &format!("{QUEUE}:prioritized"), &format!("{QUEUE}:{id}")]).await;
        app.numbered().await;
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        assert_eq!(ops::event::replay(&app.engine, &tenant, "medusa", 1, 100).await.unwrap(), 1);
        app.settle().await;
        let (again, job) = redis.jobs(QUEUE).await.remove(0);
        assert_ne!(again, id);
        assert_eq!((&job["name"], &job["data"]), (&first["name"], &first["data"]));
    }

    async fn while_redis_is_away_events_wait_and_mail_does_not(app: TestApp) {
        let mut redis = bridged(app, &["auth.password_reset", "customer.*"]).await;
        customer(&app.acme(), ADDRESS).await;
        app.settle().await;
        redis.kill();
        // Of two tokens only the newer one is still good when Redis is back.
        for _ in 0..2 {
            ask(app).await;
        }
        app.until(ROWS, &["delivered 1", "waiting 1", "waiting 1"]).await;
        redis.restart().await;
        app.advance(Duration::from_secs(6));
        app.settle().await;
        let mut ends = app.rows("SELECT state FROM deliveries WHERE subscriber = 'medusa'").await;
        ends.sort();
        assert_eq!(ends, ["delivered", "delivered", "superseded"]);
        assert_eq!(data(&redis).await.len(), 1);
        redis.kill();
        ask(app).await;
        app.until("SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND lease IS NULL AND subscriber = 'medusa'", &["1"]).await;
        redis.restart().await;
        app.advance(Duration::from_mins(15));
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM deliveries WHERE state = 'expired'").await, ["1"]);
        assert!(data(&redis).await.is_empty());
    }
}
