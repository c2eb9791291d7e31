//! The hosted reset page. GET spends nothing: mail scanners follow links.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::model::token::ResetClaims;
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::ops::password_reset::{self, LinkState, NewPassword};
use vestibule_engine::provider::emailpass;

use super::render::{self, ResetPage, ResetState};
use super::{PageTenant, page};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::body::Body;
use crate::extract::client::Caller;

#[derive(Default, Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
    #[serde(default)]
    actor_type: String,
}

/// What a link of this shop says: nothing else is known of it yet.
fn claims_of(shop: &PageTenant, token: &str) -> Option<ResetClaims> {
    shop.tenant.keys.read_reset(token, &shop.tenant.slug)
}

/// Whose password it is for. Without such a link it is a customer's.
fn actor_of(claims: Option<&ResetClaims>) -> ActorType {
    claims.map_or_else(ActorType::customer, |claims| ActorType::new(&claims.actor_type))
}

/// The same as a form or a link carries it on that asks for an address.
fn actor_named(name: &str) -> ActorType {
    if name.is_empty() { ActorType::customer() } else { ActorType::new(name) }
}

fn has_passwords(shop: &PageTenant, actor: &ActorType) -> Result<(), Error> {
    if shop.tenant.allows(actor, emailpass::NAME) {
        return Ok(());
    }
    Err(Error::new(Code::NotFound, "There is no such page at this host"))
}

/// `GET /account/reset-password?token=…`; without a token it asks for an address, with `actor_type=user` for that of a member of the staff.
pub async fn show(State(app): State<App>, shop: PageTenant, link: Result<Query<Link>, QueryRejection>) -> Result<Response, ApiError> {
    // Two tokens, say, are no link of ours.
    let is_readable = link.is_ok();
    let Link { token, actor_type } = link.map(|Query(link)| link).unwrap_or_default();
    let actor = if token.is_empty() { actor_named(&actor_type) } else { actor_of(claims_of(&shop, &token).as_ref()) };
    has_passwords(&shop, &actor)?;
    if !is_readable {
        return shown(&shop, &actor, StatusCode::BAD_REQUEST, ResetState::Foreign, None, None);
    }
    if token.is_empty() {
        return shown(&shop, &actor, StatusCode::OK, ResetState::Ask, None, None);
    }
    let state = state_of(&password_reset::inspect(&app.engine, &shop.tenant, &token).await);
    shown(&shop, &actor, StatusCode::OK, state, Some(&token), None)
}

/// `POST /account/reset-password`: sets the new password.
pub async fn complete(State(app): State<App>, shop: PageTenant, Caller(client): Caller, Body(form): Body) -> Result<Response, ApiError> {
    let text = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let (token, password) = (text("token"), text("password"));
    let claims = claims_of(&shop, token);
    let actor = actor_of(claims.as_ref());
    has_passwords(&shop, &actor)?;
    let Some(claims) = claims else {
        return shown(&shop, &actor, StatusCode::BAD_REQUEST, ResetState::Foreign, None, None);
    };
    let new = NewPassword { actor: &actor, provider: &claims.provider, token, secret: Some(password) };
    match password_reset::complete(&app.engine, &shop.tenant, &client, &new, &Receipt::none()).await {
        Ok(()) => shown(&shop, &actor, StatusCode::OK, ResetState::Done, None, None),
        Err(e) => refused(&app, &shop, &new, e).await,
    }
}

/// Says in words why the password was not set.
async fn refused(app: &App, shop: &PageTenant, new: &NewPassword<'_>, e: Error) -> Result<Response, ApiError> {
    let NewPassword { actor, token, .. } = *new;
    match e.code {
        Code::InvalidData => shown(shop, actor, StatusCode::BAD_REQUEST, ResetState::Form, Some(token), Some(&e.message)),
        Code::Unauthorized if new.secret.is_none_or(str::is_empty) => {
            shown(shop, actor, StatusCode::BAD_REQUEST, ResetState::Form, Some(token), Some("Please choose a password"))
        }
        Code::Unauthorized => {
            let state = match state_of(&password_reset::inspect(&app.engine, &shop.tenant, token).await) {
                // It was good a moment ago and was refused: somebody else has just spent it.
                ResetState::Form => ResetState::Used,
                other => other,
            };
            shown(shop, actor, StatusCode::BAD_REQUEST, state, None, None)
        }
        Code::Busy => shown(shop, actor, StatusCode::SERVICE_UNAVAILABLE, ResetState::Unavailable, Some(token), None),
        _ => Err(e.into()),
    }
}

/// `POST /account/reset-password/request`: asks for a new link. The words are the same for every address.
pub async fn request(State(app): State<App>, shop: PageTenant, Caller(client): Caller, Body(form): Body) -> Result<Response, ApiError> {
    let text = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let actor = actor_named(text("actor_type"));
    has_passwords(&shop, &actor)?;
    let asked = match emailpass::address(text("address")) {
        Ok(email) => password_reset::request(&app.engine, &shop.tenant, &client, &actor, &email, Map::new(), &Receipt::none()).await,
        Err(e) => Err(e),
    };
    let (status, state, error) = match asked {
        Ok(()) => (StatusCode::OK, ResetState::Asked, None),
        Err(e) if e.code == Code::InvalidData => (StatusCode::BAD_REQUEST, ResetState::Ask, Some(e.message)),
        Err(e) if e.code == Code::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, ResetState::Limited, None),
        Err(e) if e.code == Code::Busy => (StatusCode::SERVICE_UNAVAILABLE, ResetState::Unavailable, None),
        Err(e) => return Err(e.into()),
    };
    shown(&shop, &actor, status, state, None, error.as_deref())
}

fn state_of(link: &Result<LinkState, Error>) -> ResetState {
    match link {
        Ok(LinkState::Good) => ResetState::Form,
        Ok(LinkState::Used) => ResetState::Used,
        Ok(LinkState::Expired) => ResetState::Expired,
        Ok(LinkState::Foreign) => ResetState::Foreign,
        Err(_) => ResetState::Unavailable,
    }
}

fn shown(
    shop: &PageTenant,
    actor: &ActorType,
    status: StatusCode,
    state: ResetState,
    token: Option<&str>,
    error: Option<&str>,
) -> Result<Response, ApiError> {
    let settings = &shop.tenant.settings;
    page(
        status,
        render::reset_password(&ResetPage {
            shop: shop.tenant.name(),
            base: &shop.base,
            actor_type: actor.as_str(),
            state,
            token,
            error,
            min_length: settings.passwords.min_length,
            signs_out: settings.passwords.revoke_sessions_on_change,
            storefront_url: settings.storefront_url.as_ref().map(url::Url::as_str),
        }),
    )
}
