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

#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
    #[serde(default)]
    actor_type: String,
}

/// Whose password it is: one of the staff's, or a customer's.
#[derive(Clone, Copy)]
struct Staff(bool);

impl Staff {
    fn named(actor_type: &str) -> Self {
        Self(actor_type == "user")
    }

    fn actor(self) -> ActorType {
        if self.0 { ActorType::new("user") } else { ActorType::customer() }
    }
}

/// What a link says that is of this shop, unless the shop lets nobody of that actor type have a password. Nothing else is known of it yet.
fn claims_of(shop: &PageTenant, token: &str) -> Option<ResetClaims> {
    let claims = shop.tenant.keys.read_reset(token, &shop.tenant.slug)?;
    shop.tenant.allows(&ActorType::new(&claims.actor_type), &claims.provider).then_some(claims)
}

/// `GET /account/reset-password?token=…`; without a token it asks for an address, with `actor_type=user` for that of a member of the staff.
pub async fn show(State(app): State<App>, shop: PageTenant, link: Result<Query<Link>, QueryRejection>) -> Result<Response, ApiError> {
    // Two tokens, say, are no link of ours.
    let Ok(Query(link)) = link else { return shown(&shop, Staff(false), StatusCode::BAD_REQUEST, ResetState::Foreign, None, None) };
    if link.token.is_empty() {
        let staff = Staff::named(&link.actor_type);
        has_passwords(&shop, staff)?;
        return shown(&shop, staff, StatusCode::OK, ResetState::Ask, None, None);
    }
    let Some(claims) = claims_of(&shop, &link.token) else { return shown(&shop, Staff(false), StatusCode::OK, ResetState::Foreign, None, None) };
    let state = state_of(&password_reset::inspect(&app.engine, &shop.tenant, &link.token).await);
    shown(&shop, Staff::named(&claims.actor_type), StatusCode::OK, state, Some(&link.token), None)
}

fn has_passwords(shop: &PageTenant, staff: Staff) -> Result<(), Error> {
    if shop.tenant.allows(&staff.actor(), emailpass::NAME) {
        return Ok(());
    }
    Err(Error::new(Code::NotFound, "There is no such page at this host"))
}

/// `POST /account/reset-password`: sets the new password.
pub async fn complete(State(app): State<App>, shop: PageTenant, Caller(client): Caller, Body(form): Body) -> Result<Response, ApiError> {
    let text = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let (token, password) = (text("token"), text("password"));
    let Some(claims) = claims_of(&shop, token) else {
        return shown(&shop, Staff(false), StatusCode::BAD_REQUEST, ResetState::Foreign, None, None);
    };
    let (actor, staff) = (ActorType::new(&claims.actor_type), Staff::named(&claims.actor_type));
    let new = NewPassword { actor: &actor, provider: &claims.provider, token, secret: Some(password) };
    match password_reset::complete(&app.engine, &shop.tenant, &client, &new, &Receipt::none()).await {
        Ok(()) => shown(&shop, staff, StatusCode::OK, ResetState::Done, None, None),
        Err(e) => refused(&app, &shop, staff, &new, e).await,
    }
}

/// Says in words why the password was not set.
async fn refused(app: &App, shop: &PageTenant, staff: Staff, new: &NewPassword<'_>, e: Error) -> Result<Response, ApiError> {
    let token = Some(new.token);
    match e.code {
        Code::InvalidData => shown(shop, staff, StatusCode::BAD_REQUEST, ResetState::Form, token, Some(&e.message)),
        Code::Unauthorized if new.secret.is_none_or(str::is_empty) => {
            shown(shop, staff, StatusCode::BAD_REQUEST, ResetState::Form, token, Some("Please choose a password"))
        }
        Code::Unauthorized => {
            let state = match state_of(&password_reset::inspect(&app.engine, &shop.tenant, new.token).await) {
                // It was good a moment ago and was refused: somebody else has just spent it.
                ResetState::Form => ResetState::Used,
                other => other,
            };
            shown(shop, staff, StatusCode::BAD_REQUEST, state, None, None)
        }
        Code::Busy => shown(shop, staff, StatusCode::SERVICE_UNAVAILABLE, ResetState::Unavailable, token, None),
        _ => Err(e.into()),
    }
}

/// `POST /account/reset-password/request`: asks for a new link. The words are the same for every address.
pub async fn request(State(app): State<App>, shop: PageTenant, Caller(client): Caller, Body(form): Body) -> Result<Response, ApiError> {
    let text = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let staff = Staff::named(text("actor_type"));
    has_passwords(&shop, staff)?;
    let asked = match emailpass::address(text("address")) {
        Ok(email) => password_reset::request(&app.engine, &shop.tenant, &client, &staff.actor(), &email, Map::new(), &Receipt::none()).await,
        Err(e) => Err(e),
    };
    let (status, state, error) = match asked {
        Ok(()) => (StatusCode::OK, ResetState::Asked, None),
        Err(e) if e.code == Code::InvalidData => (StatusCode::BAD_REQUEST, ResetState::Ask, Some(e.message)),
        Err(e) if e.code == Code::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, ResetState::Limited, None),
        Err(e) if e.code == Code::Busy => (StatusCode::SERVICE_UNAVAILABLE, ResetState::Unavailable, None),
        Err(e) => return Err(e.into()),
    };
    shown(&shop, staff, status, state, None, error.as_deref())
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
    Staff(staff): Staff,
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
            staff,
            state,
            token,
            error,
            min_length: settings.passwords.min_length,
            signs_out: settings.passwords.revoke_sessions_on_change,
            storefront_url: settings.storefront_url.as_ref().map(url::Url::as_str),
        }),
    )
}
