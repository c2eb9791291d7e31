//! Whether the server lives and works.

use axum::extract::State;
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::extract::App;
use crate::extract::client::Peer;

/// `GET /health` and `/livez`: the process answers.
pub async fn live() -> ([(header::HeaderName, HeaderValue); 1], &'static str) {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], "OK")
}

/// `GET /readyz`: the database can be written. To whoever asks on this machine: `waiting` counts the jobs and deliveries that are not done,
/// and `warnings` say what an operator should mend.
pub async fn ready(State(app): State<App>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    match app.engine.ready().await {
        Ok(waiting) if is_near(peer, &headers) => {
            (StatusCode::OK, Json(json!({"status": "ready", "waiting": waiting, "warnings": app.engine.warnings()})))
        }
        Ok(_) => (StatusCode::OK, Json(json!({"status": "ready"}))),
        Err(e) => {
            tracing::warn!(error = %e, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unavailable"})))
        }
    }
}

/// Whether the one who asks is on this machine. Through a proxy on it anybody may.
fn is_near(peer: Peer, headers: &HeaderMap) -> bool {
    peer.0.ip().to_canonical().is_loopback() && !headers.contains_key("x-forwarded-for") && !headers.contains_key(header::FORWARDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_near() {
        let near = |peer: &str| is_near(Peer(peer.parse().unwrap()), &HeaderMap::new());
        assert!(near("127.0.0.1:1") && near("[::1]:1") && near("[::ffff:127.0.0.1]:1"));
        assert!(!near("10.0.0.1:1") && !near("203.0.113.9:1") && !near("[2001:db8::1]:1"));
    }
}
