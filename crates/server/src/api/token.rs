//! `POST /auth/token/refresh`: a new token of the same session.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use vestibule_engine::ops::session;

use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::AnyLogin;
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::tenant::CurrentTenant;

pub async fn refresh(
    State(app): State<App>,
    CurrentTenant(tenant): CurrentTenant,
    AnyLogin(caller): AnyLogin,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let receipt = keyed.receipt(|token: &String| idempotency::json(&json!({ "token": token })));
    let token = session::refresh(&app.engine, &tenant, &caller, &receipt).await?;
    reply(&receipt, &token)
}
