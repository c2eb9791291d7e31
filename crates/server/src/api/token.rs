//! `POST /auth/token/refresh`: a new token of the same session.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use vestibule_engine::ops::session;

use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::AnyLogin;
use crate::extract::tenant::CurrentTenant;

pub async fn refresh(State(app): State<App>, CurrentTenant(tenant): CurrentTenant, AnyLogin(caller): AnyLogin) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "token": session::refresh(&app.engine, &tenant, &caller).await? })))
}
