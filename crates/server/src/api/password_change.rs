//! `POST …/change-password`: for who is signed in and knows the current one. Ours: Medusa has no such route.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::ops::password_change;

use super::validate::Fields;
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::AnyLogin;
use crate::extract::body::Body;
use crate::extract::client::Caller;
use crate::extract::gate::Gate;
use crate::extract::tenant::CurrentTenant;

pub async fn post(
    State(app): State<App>,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    Caller(client): Caller,
    gate: Gate,
    AnyLogin(caller): AnyLogin,
) -> Result<Json<Value>, ApiError> {
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
    password_change::change(&app.engine, &tenant, &client, &caller, &current, &secret).await?;
    Ok(Json(json!({ "success": true })))
}
