//! The publishable key that every call to `/store` carries.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use vestibule_engine::error::{Code, Error};
use vestibule_engine::ops::api_key;

use super::App;
use super::tenant::CurrentTenant;
use crate::error::ApiError;

const KEY: HeaderName = HeaderName::from_static("x-publishable-api-key");

/// Proof that the request carries a live publishable key of its tenant.
pub struct Publishable;

impl FromRequestParts<App> for Publishable {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
        let key = parts.headers.get(KEY).map(|v| v.to_str().unwrap_or("?")).unwrap_or_default();
        if key.is_empty() {
            let text =
                "Publishable API key required in the request header: x-publishable-api-key. You can manage your keys in settings in the dashboard.";
            return Err(Error::new(Code::NotAllowed, text).into());
        }
        if !api_key::is_publishable(&tenant, key, app.engine.clock.now()) {
            return Err(Error::new(Code::NotAllowed, "A valid publishable key is required to proceed with the request").into());
        }
        Ok(Self)
    }
}
