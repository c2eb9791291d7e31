//! The hosted reset page. GET spends nothing: mail scanners follow links.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::ops::password_reset::{self, LinkState};
use vestibule_engine::provider::emailpass;

use super::render::{self, ResetPage, ResetState};
use super::{PageTenant, page};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::body::Body;
use crate::extract::client::Caller;

#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
}

/// `GET /account/reset-password?token=…`.
pub async fn show(State(app): State<App>, shop: PageTenant, link: Result<Query<Link>, QueryRejection>) -> Result<Response, ApiError> {
    // Two tokens, say, are no link of ours.
    let Ok(Query(link)) = link else { return shown(&shop, StatusCode::BAD_REQUEST, ResetState::Foreign, None, None) };
    if link.token.is_empty() {
        return shown(&shop, StatusCode::OK, ResetState::Ask, None, None);
    }
    let state = state_of(&password_reset::inspect(&app.engine, &shop.tenant, &link.token).await);
    shown(&shop, StatusCode::OK, state, Some(&link.token), None)
}

/// `POST /account/reset-password`: sets the new password.
pub async fn complete(State(app): State<App>, shop: PageTenant, Body(form): Body) -> Result<Response, ApiError> {
    let text = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let (token, password) = (text("token"), text("password"));
    let Some(claims) = shop.tenant.keys.read_reset(token, &shop.tenant.slug) else {
        return shown(&shop, StatusCode::BAD_REQUEST, ResetState::Foreign, None, None);
    };
    let actor = ActorType::new(claims.actor_type);
    match password_reset::complete(&app.engine, &shop.tenant, &actor, &claims.provider, token, Some(password), &Receipt::none()).await {
        Ok(()) => shown(&shop, StatusCode::OK, ResetState::Done, None, None),
        Err(e) => refused(&app, &shop, token, password, e).await,
    }
}

/// Says in words why the password was not set.
async fn refused(app: &App, shop: &PageTenant, token: &str, password: &str, e: Error) -> Result<Response, ApiError> {
    match e.code {
        Code::InvalidData => shown(shop, StatusCode::BAD_REQUEST, ResetState::Form, Some(token), Some(&e.message)),
        Code::Unauthorized if password.is_empty() => {
            shown(shop, StatusCode::BAD_REQUEST, ResetState::Form, Some(token), Some("Please choose a password"))
        }
        Code::Unauthorized => {
            let state = match state_of(&password_reset::inspect(&app.engine, &shop.tenant, token).await) {
                // It was good a moment ago and was refused: somebody else has just spent it.
                ResetState::Form => ResetState::Used,
                other => other,
            };
            shown(shop, StatusCode::BAD_REQUEST, state, None, None)
        }
        Code::Busy => shown(shop, StatusCode::SERVICE_UNAVAILABLE, ResetState::Unavailable, Some(token), None),
        _ => Err(e.into()),
    }
}

/// `POST /account/reset-password/request`: asks for a new link. The words are the same for every address.
pub async fn request(State(app): State<App>, shop: PageTenant, Caller(client): Caller, Body(form): Body) -> Result<Response, ApiError> {
    let address = form.get("address").and_then(Value::as_str).unwrap_or_default();
    let asked = match emailpass::address(address) {
        Ok(email) => password_reset::request(&app.engine, &shop.tenant, &client, &ActorType::customer(), &email, Map::new(), &Receipt::none()).await,
        Err(e) => Err(e),
    };
    match asked {
        Ok(()) => shown(&shop, StatusCode::OK, ResetState::Asked, None, None),
        Err(e) if e.code == Code::InvalidData => shown(&shop, StatusCode::BAD_REQUEST, ResetState::Ask, None, Some(&e.message)),
        Err(e) if e.code == Code::TooManyRequests => shown(&shop, StatusCode::TOO_MANY_REQUESTS, ResetState::Limited, None, None),
        Err(e) if e.code == Code::Busy => shown(&shop, StatusCode::SERVICE_UNAVAILABLE, ResetState::Unavailable, None, None),
        Err(e) => Err(e.into()),
    }
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

fn shown(shop: &PageTenant, status: StatusCode, state: ResetState, token: Option<&str>, error: Option<&str>) -> Result<Response, ApiError> {
    let settings = &shop.tenant.settings;
    page(
        status,
        render::reset_password(&ResetPage {
            shop: shop.tenant.name(),
            base: &shop.base,
            state,
            token,
            error,
            min_length: settings.passwords.min_length,
            signs_out: settings.passwords.revoke_sessions_on_change,
            storefront_url: settings.storefront_url.as_ref().map(url::Url::as_str),
        }),
    )
}
