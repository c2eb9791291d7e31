//! `/auth/session`: a session gets a cookie beside its token, and ends.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use http::header::{HeaderName, SET_COOKIE};
use serde_json::{Value, json};
use vestibule_engine::ops::idempotency::Answer;
use vestibule_engine::ops::session::Which;
use vestibule_engine::ops::session_cookie::{Given, Opens};
use vestibule_engine::ops::{session, session_cookie};

use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::{CookieLogin, TokenLogin};
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::session_cookie::SessionCookie;
use crate::extract::tenant::CurrentTenant;

type WithCookie = ([(HeaderName, HeaderValue); 1], Json<Value>);

/// `POST /auth/session`. `user` is what the token says; storefronts know it under this name.
pub async fn give(
    State(app): State<App>,
    CurrentTenant(tenant): CurrentTenant,
    TokenLogin(caller): TokenLogin,
    cookie: SessionCookie,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let (shown, claims) = (cookie.shown.clone(), caller.claims.clone());
    let receipt = keyed.receipt(move |given: &Given| {
        let body = idempotency::json(&json!({ "user": *claims }))?;
        Ok(Answer { cookie: Some(cookie.set(given)), ..body })
    });
    let given = session_cookie::give(&app.engine, &tenant, &caller, Opens::Api, shown.as_deref(), &receipt).await?;
    reply(&receipt, &given)
}

/// `DELETE /auth/session`: signs out. The session's tokens are dead, too.
pub async fn end(
    State(app): State<App>,
    CurrentTenant(tenant): CurrentTenant,
    CookieLogin(caller): CookieLogin,
    cookie: SessionCookie,
) -> Result<WithCookie, ApiError> {
    session::end(&app.engine, &tenant, &caller, Which::Own).await?;
    Ok(([(SET_COOKIE, cookie.clear()?)], Json(json!({ "success": true }))))
}
