//! `GET /.well-known/jwks.json`: the tenant's public keys.

use axum::Json;
use serde_json::Value;
use vestibule_engine::crypto::token::jwks;

use crate::error::ApiError;
use crate::extract::tenant::CurrentTenant;

pub async fn get(CurrentTenant(tenant): CurrentTenant) -> Result<Json<Value>, ApiError> {
    Ok(Json(jwks(&tenant.keys)))
}
