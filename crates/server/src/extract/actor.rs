//! Who you are is the type of a handler's argument.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use vestibule_engine::error::Error;
use vestibule_engine::model::ids::CustomerId;
use vestibule_engine::ops::session::{self, Caller};

use super::idempotency::called_by;
use super::tenant::CurrentTenant;
use super::{App, session_cookie};
use crate::error::ApiError;

/// A login of the actor type `customer`, with or without a customer.
pub struct CustomerLogin(pub Caller);

/// A login of any actor type, with or without an actor.
pub struct AnyLogin(pub Caller);

/// As `AnyLogin`, shown by a token: a cookie is not enough.
pub struct TokenLogin(pub Caller);

/// As `AnyLogin`, shown by a cookie: a token is not enough.
pub struct CookieLogin(pub Caller);

/// A customer who is signed in.
pub struct SignedInCustomer(pub CustomerId);

/// Whoever the cookie or the token names, whose session may have ended: for an operation that reads it together with what is asked for.
pub struct Unread(pub Caller);

/// The token of `Authorization: Bearer …`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token)
}

/// Scheme and token of `Authorization`: any number of spaces, one header only.
#[must_use]
pub fn credentials(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = std::str::from_utf8(value.as_bytes()).ok()?.trim_ascii().split_once([' ', '\t'])?;
    let token = token.trim_ascii_start();
    // Of the bytes below the space a header holds the tab alone. There is no early end, so that the processor looks at many bytes at once.
    let spaced = token.bytes().fold(0, |spaced, b| spaced | u8::from(b <= b' '));
    (spaced == 0).then_some((scheme, token))
}

const fn anybody(_: &str) -> bool {
    true
}

fn customer(actor_type: &str) -> bool {
    actor_type == "customer"
}

async fn by_cookie(parts: &mut Parts, app: &App, permitted: fn(&str) -> bool) -> Result<Option<Caller>, ApiError> {
    let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
    let caller = session_cookie::caller(parts, app, &tenant, permitted).await?;
    if let Some(caller) = &caller {
        called_by(parts, &caller.identity, caller.session);
    }
    Ok(caller)
}

async fn by_token(parts: &mut Parts, app: &App, permitted: fn(&str) -> bool) -> Result<Caller, ApiError> {
    let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
    let token = bearer(&parts.headers).ok_or_else(Error::unauthenticated)?;
    let caller = session::authenticate(&app.engine, &tenant, token).await?;
    let caller = caller.filter(|caller| permitted(&caller.claims.actor_type)).ok_or_else(Error::unauthenticated)?;
    called_by(parts, &caller.identity, caller.session);
    Ok(caller)
}

/// The cookie goes before the token, as in the server whose place this takes. One that shows nobody here leaves the word to the token.
async fn by_either(parts: &mut Parts, app: &App, permitted: fn(&str) -> bool) -> Result<Caller, ApiError> {
    match by_cookie(parts, app, permitted).await? {
        Some(caller) => Ok(caller),
        None => by_token(parts, app, permitted).await,
    }
}

impl FromRequestParts<App> for AnyLogin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        by_either(parts, app, anybody).await.map(Self)
    }
}

impl FromRequestParts<App> for TokenLogin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        by_token(parts, app, anybody).await.map(Self)
    }
}

impl FromRequestParts<App> for CookieLogin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(by_cookie(parts, app, anybody).await?.ok_or_else(Error::unauthenticated)?))
    }
}

impl FromRequestParts<App> for CustomerLogin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        by_either(parts, app, customer).await.map(Self)
    }
}

impl FromRequestParts<App> for Unread {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if let Some(caller) = by_cookie(parts, app, customer).await? {
            return Ok(Self(caller));
        }
        let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
        let named = bearer(&parts.headers).and_then(|token| session::verified(&app.engine, &tenant, token));
        Ok(Self(named.ok_or_else(Error::unauthenticated)?))
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
