//! `/readyz`: what the operator learns, what strangers learn, and what asking costs.

use std::time::Duration;

use serde_json::json;
use vestibule_engine::testing::{Fault, number};

use crate::support::app::TestApp;
use crate::support::{each_db, raw};

const WRITES: &str = "SELECT generation FROM store_state WHERE id = 1";

each_db! {
    async fn numbers_and_warnings_are_for_this_machine(app: TestApp) {
        let here = raw::get(&app.base, "/readyz", &["Host: x"]).await;
        assert_eq!((here.status, here.json()), (200, json!({"status": "ready", "waiting": 0, "warnings": []})));
        for line in ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=203.0.113.9"] {
            let there = raw::get(&app.base, "/readyz", &["Host: x", line]).await;
            assert_eq!((there.status, there.json()), (200, json!({"status": "ready"})), "{line}");
        }
    }

    async fn asking_writes_once_a_second(app: TestApp) {
        let ask = async || raw::get(&app.base, "/readyz", &["Host: x"]).await.status;
        assert_eq!(ask().await, 200);
        let before = number(&app.engine, WRITES).await.unwrap();
        for _ in 0..5 {
            assert_eq!(ask().await, 200);
        }
        assert_eq!(number(&app.engine, WRITES).await.unwrap(), before);
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(ask().await, 200);
        assert_eq!(number(&app.engine, WRITES).await.unwrap(), before + 1);
    }

    async fn a_database_that_takes_no_write_is_not_ready(app: TestApp) {
        app.clock.advance(Duration::from_secs(1));
        app.engine.faults().arm(Fault::Conflict, 1);
        let answer = raw::get(&app.base, "/readyz", &["Host: x"]).await;
        assert_eq!((answer.status, answer.json()), (503, json!({"status": "unavailable"})));
        assert_eq!(raw::get(&app.base, "/readyz", &["Host: x"]).await.status, 200, "a failure is not remembered");
    }
}
