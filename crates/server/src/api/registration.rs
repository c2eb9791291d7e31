//! `POST /auth/{actor_type}/{auth_provider}/register`.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::json;
use vestibule_engine::error::Error;
use vestibule_engine::ops;
use vestibule_engine::provider::emailpass;

use super::sign_in::credentials;
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::body::Body;
use crate::extract::client::Caller;
use crate::extract::gate::Gate;
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::tenant::CurrentTenant;

pub async fn post(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    Caller(client): Caller,
    gate: Gate,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    gate.require_installed()?;
    if gate.is_third_party() {
        let mut name = gate.provider.clone();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        return Err(Error::unauthorized(format!("{name} does not support registration. Use method `authenticate` instead.")).into());
    }
    let (email, password) = credentials(&body, query.as_deref())?;
    let email = emailpass::address(&email)?;
    let receipt = keyed.receipt(|token: &String| idempotency::json(&json!({ "token": token })));
    let token = ops::registration::register(&app.engine, &tenant, &client, &gate.actor, &email, &password, &receipt).await?;
    reply(&receipt, &token)
}
