//! `POST …/change-password`: for who is signed in and knows the current one. Ours: Medusa has no such route.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use vestibule_engine::error::{Code, Error};
use vestibule_engine::ops::password_change;

use super::validate::Fields;
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::AnyLogin;
use crate::extract::body::Body;
use crate::extract::client::Caller;
use crate::extract::gate::Gate;
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::tenant::CurrentTenant;

pub async fn post(
    State(app): State<App>,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    Caller(client): Caller,
    gate: Gate,
    AnyLogin(caller): AnyLogin,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    gate.require_installed()?;
    let mut fields = Fields::of(body)?;
    let (current, secret) = (fields.required_string("current_password"), fields.required_string("password"));
    fields.finish()?;
    if caller.claims.actor_type != gate.actor.as_str() {
        return Err(Error::unauthenticated().into());
    }
    if gate.is_third_party() {
        return Err(Error::new(Code::NotAllowed, format!("The auth provider {} has no password to change", gate.provider)).into());
    }
    let (current, secret) = (current.unwrap_or_default(), secret.unwrap_or_default());
    let receipt = keyed.receipt(|(): &()| idempotency::json(&json!({ "success": true })));
    password_change::change(&app.engine, &tenant, &client, &caller, &current, &secret, &receipt).await?;
    reply(&receipt, &())
}
