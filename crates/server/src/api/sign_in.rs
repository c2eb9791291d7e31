//! `GET|POST /auth/{actor_type}/{auth_provider}`: signing in.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use vestibule_engine::error::Error;
use vestibule_engine::ops;
use vestibule_engine::provider::emailpass;

use super::callback::Start;
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::body::Body;
use crate::extract::browser::FlowBrowser;
use crate::extract::client::Caller;
use crate::extract::gate::Gate;
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::tenant::CurrentTenant;

/// An address and a password out of a body; other fields are ignored. A query is never read for them, and may not contradict them.
pub(super) fn credentials(body: &Value, query: Option<&str>) -> Result<(String, String), Error> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned);
    let password = text("password").ok_or_else(|| Error::unauthorized("Password should be a string"))?;
    let email = text("email").ok_or_else(|| Error::unauthorized("Email should be a string"))?;
    let named = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).find(|(name, _)| matches!(&**name, "email" | "password"));
    match named {
        Some((name, _)) => Err(Error::invalid(format!("The field '{name}' is given in the query, too"))),
        None => Ok((email, password)),
    }
}

#[expect(clippy::too_many_arguments, reason = "each is one of the things that a handler asks for")]
pub async fn post(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    tenant: CurrentTenant,
    client: Caller,
    gate: Gate,
    browser: FlowBrowser,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    gate.require_installed()?;
    if gate.is_third_party() {
        return Start { app, tenant, client, gate, browser }.answer(query.as_deref(), &body).await;
    }
    let (email, password) = credentials(&body, query.as_deref())?;
    let email = emailpass::address(&email)?;
    let receipt = keyed.receipt(|token: &String| idempotency::json(&json!({ "token": token })));
    let token = ops::sign_in::sign_in(&app.engine, &tenant.0, &client.0, &gate.actor, &email, &password, &receipt).await?;
    reply(&receipt, &token)
}

/// A provider with passwords reads them from the body alone, so a GET has none.
pub async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    tenant: CurrentTenant,
    client: Caller,
    gate: Gate,
    browser: FlowBrowser,
) -> Result<Response, ApiError> {
    gate.require_installed()?;
    if gate.is_third_party() {
        return Start { app, tenant, client, gate, browser }.answer(query.as_deref(), &Value::Null).await;
    }
    Err(Error::unauthorized("Password should be a string").into())
}
