//! `/auth/identities`: the ways in to the caller's account. Ours: Medusa has no such routes.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::identity::Identity;
use vestibule_engine::model::ids::IdentityId;
use vestibule_engine::ops::{identity, session};

use super::validate::Fields;
use crate::error::{ApiError, echo};
use crate::extract::App;
use crate::extract::actor::AnyLogin;
use crate::extract::body::Body;
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::path::Path;
use crate::extract::tenant::CurrentTenant;

/// `GET /auth/identities`.
pub async fn list(State(app): State<App>, CurrentTenant(tenant): CurrentTenant, AnyLogin(caller): AnyLogin) -> Result<Json<Value>, ApiError> {
    let logins = identity::list(&app.engine, &tenant, &caller).await?;
    let shown: Vec<Value> = logins.iter().map(|login| shown(login, &caller)).collect();
    Ok(Json(json!({ "identities": shown })))
}

/// `POST /auth/identities` with the token that another provider's callback gave.
pub async fn link(
    State(app): State<App>,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    AnyLogin(caller): AnyLogin,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body)?;
    let token = fields.required_string("token").unwrap_or_default();
    fields.finish()?;
    let by = caller.clone();
    let receipt = keyed.receipt(move |linked: &Identity| idempotency::json(&json!({ "identity": shown(linked, &by) })));
    let linked = identity::link(&app.engine, &tenant, caller, &token, &receipt).await?;
    reply(&receipt, &linked)
}

/// `DELETE /auth/identities/{id}`.
pub async fn unlink(
    State(app): State<App>,
    CurrentTenant(tenant): CurrentTenant,
    AnyLogin(caller): AnyLogin,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let missing = || Error::new(Code::NotFound, format!("AuthIdentity with id: {} was not found", echo(&id, 60)));
    let id: IdentityId = id.parse().map_err(|()| missing())?;
    identity::unlink(&app.engine, &tenant, caller, id).await?;
    Ok(Json(json!({ "id": id.to_string(), "object": "auth_identity", "deleted": true })))
}

fn shown(login: &Identity, caller: &session::Caller) -> Value {
    json!({
        "id": login.id.to_string(),
        "provider": login.key.provider,
        "email": Some(&login.address).filter(|address| !address.is_empty()),
        "email_proven": login.proven_at.is_some(),
        "current": login.id == caller.identity,
        "created_at": login.created_at.to_string(),
    })
}
