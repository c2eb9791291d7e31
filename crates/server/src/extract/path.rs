//! The words of a path.

use axum::extract::{FromRequestParts, Path as Raw};
use http::request::Parts;
use serde::de::DeserializeOwned;
use vestibule_engine::error::Error;

use super::App;
use crate::error::ApiError;

/// What stands in a path in place of its parameters. axum's own refuses in words of its own, and not as an API does.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let words = Raw::from_request_parts(parts, app).await;
        let Raw(words) = words.map_err(|_| Error::invalid("The path holds a character that is no UTF-8"))?;
        Ok(Self(words))
    }
}
