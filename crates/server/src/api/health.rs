//! Whether the server lives and works.

use axum::Json;
use axum::extract::State;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::extract::App;

/// `GET /health` and `/livez`: the process answers.
pub async fn live() -> ([(header::HeaderName, HeaderValue); 1], &'static str) {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], "OK")
}

/// `GET /readyz`: the database can be written. `waiting` counts the jobs and deliveries that are not done; `warnings` say what an operator should mend.
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    match app.engine.ready().await {
        Ok(waiting) => (StatusCode::OK, Json(json!({"status": "ready", "waiting": waiting, "warnings": app.engine.warnings()}))),
        Err(e) => {
            tracing::warn!(error = %e, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unavailable"})))
        }
    }
}
