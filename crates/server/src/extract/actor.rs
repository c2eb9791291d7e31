//! Who you are is the type of a handler's argument.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use vestibule_engine::error::Error;
use vestibule_engine::model::ids::CustomerId;
use vestibule_engine::ops::session;

use super::App;
use super::tenant::CurrentTenant;
use crate::error::ApiError;

/// A login of the actor type `customer`, with or without a customer.
pub struct CustomerLogin(pub session::Caller);

/// A login of any actor type, with or without an actor.
pub struct AnyLogin(pub session::Caller);

/// A customer who is signed in.
pub struct SignedInCustomer(pub CustomerId);

/// A token that nobody has looked at yet: for an operation that reads the session together with what is asked for.
pub struct UnreadToken(pub String);

/// The token of `Authorization: Bearer …`: the scheme in any case, any number of spaces, one header only.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = std::str::from_utf8(value.as_bytes()).ok()?.trim_ascii().split_once([' ', '\t'])?;
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.bytes().any(|b| b.is_ascii_whitespace())).then_some(token)
}

impl FromRequestParts<App> for AnyLogin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
        let token = bearer(&parts.headers).ok_or_else(Error::unauthenticated)?;
        Ok(Self(session::authenticate(&app.engine, &tenant, token).await?.ok_or_else(Error::unauthenticated)?))
    }
}

impl FromRequestParts<App> for CustomerLogin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let AnyLogin(caller) = AnyLogin::from_request_parts(parts, app).await?;
        if caller.claims.actor_type != "customer" {
            return Err(Error::unauthenticated().into());
        }
        Ok(Self(caller))
    }
}

impl FromRequestParts<App> for UnreadToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Ok(Self(bearer(&parts.headers).ok_or_else(Error::unauthenticated)?.to_owned()))
    }
}

impl FromRequestParts<App> for SignedInCustomer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CustomerLogin(caller) = CustomerLogin::from_request_parts(parts, app).await?;
        let id = caller.claims.actor_id.parse().map_err(|()| Error::unauthenticated())?;
        Ok(Self(id))
    }
}
