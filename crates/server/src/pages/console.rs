//! The console of a store, for its staff: who may see it, signing in and out. Each room of it has a file of its own.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::ops::console::{self, Member};
use vestibule_engine::ops::session::{self, Which};
use vestibule_engine::ops::session_cookie::Given;
use vestibule_engine::provider::emailpass;

use super::{POLICY, page, render, secure};
use crate::error::{ApiError, challenge, status};
use crate::extract::App;
use crate::extract::body::Body;
use crate::extract::client::Caller;
use crate::extract::session_cookie::{SessionCookie, foreign, may_change};
use crate::extract::tenant::CurrentTenant;

const SIGN_IN: &str = "/app/sign-in";
/// The room that one comes into.
const FIRST_ROOM: &str = "/app/templates";

/// A store's console as anybody may see it: its door.
pub struct Door {
    pub tenant: Arc<Tenant>,
    cookie: SessionCookie,
}

/// The same to a member of the store's staff.
pub struct Console {
    pub tenant: Arc<Tenant>,
    pub member: Member,
}

/// Why a handler does not run.
pub enum Away {
    Refused(ApiError),
    Answered(Response),
}

impl<E: Into<ApiError>> From<E> for Away {
    fn from(e: E) -> Self {
        Self::Refused(e.into())
    }
}

impl IntoResponse for Away {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(e) => e.into_response(),
            Self::Answered(response) => response,
        }
    }
}

impl FromRequestParts<App> for Door {
    type Rejection = Away;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Away> {
        let tenant = match CurrentTenant::from_request_parts(parts, app).await {
            Ok(CurrentTenant(tenant)) => tenant,
            Err(ApiError::Engine(e)) if e.code == Code::NotFound => return Err(Away::Answered(nowhere(app)?)),
            Err(e) => return Err(e.into()),
        };
        // Before anybody is known: a stranger's page must not sign a browser in or out either.
        if !may_change(app, parts, &tenant) {
            return Err(foreign().into());
        }
        Ok(Self { tenant, cookie: SessionCookie::of_console(app, parts) })
    }
}

impl FromRequestParts<App> for Console {
    type Rejection = Away;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Away> {
        let Door { tenant, cookie } = Door::from_request_parts(parts, app).await?;
        let member = match &cookie.shown {
            Some(shown) => console::member(&app.engine, &tenant, shown).await?,
            None => None,
        };
        let member = member.ok_or_else(|| Away::Answered(led_to(SIGN_IN, None)))?;
        Ok(Self { tenant, member })
    }
}

/// What the door shows.
#[derive(Default, Serialize)]
pub struct DoorPage<'a> {
    /// The store's name. `None`: there is no store at this host.
    pub shop: Option<&'a str>,
    /// The secret of a one-time link: then a button is all there is.
    pub token: Option<&'a str>,
    pub address: &'a str,
    pub error: Option<&'a str>,
    /// Whether the staff has passwords that can be reset.
    pub resets: bool,
    /// Where the consoles of stores are, if there is a pattern.
    pub hosts: Option<String>,
}

/// `GET /app`.
pub async fn show(_: Console) -> Response {
    led_to(FIRST_ROOM, None)
}

#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
}

/// `GET /app/sign-in`. A link in the query is spent by its button alone: what looks at links in advance must not.
pub async fn ask(State(app): State<App>, door: Door, link: Result<Query<Link>, QueryRejection>) -> Result<Response, ApiError> {
    let token = link.map(|Query(link)| link.token).unwrap_or_default();
    let token = Some(token.as_str()).filter(|token| app.engine.config.server.development && !token.is_empty());
    shown(StatusCode::OK, &DoorPage { token, ..door.page() })
}

/// `POST /app/sign-in`.
pub async fn sign_in(State(app): State<App>, door: Door, Caller(client): Caller, Body(form): Body) -> Result<Response, ApiError> {
    let text = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let (address, password) = (text("address"), text("password"));
    let given = match emailpass::address(address) {
        Ok(email) => console::sign_in(&app.engine, &door.tenant, &client, &email, password, door.cookie.shown.as_deref()).await,
        Err(e) => Err(e),
    };
    door.answer(given, address)
}

/// `POST /app/sign-in/link`, in `vestibule dev` only.
pub async fn by_link(State(app): State<App>, door: Door, Caller(client): Caller, Body(form): Body) -> Result<Response, ApiError> {
    let secret = form.get("token").and_then(Value::as_str).unwrap_or_default();
    let given = console::redeem(&app.engine, &door.tenant, &client, secret, door.cookie.shown.as_deref()).await;
    door.answer(given, "")
}

/// `POST /app/sign-out`. Whoever is not signed in is out already.
pub async fn sign_out(State(app): State<App>, door: Door) -> Result<Response, ApiError> {
    if let Some(shown) = &door.cookie.shown
        && let Some(member) = console::member(&app.engine, &door.tenant, shown).await?
    {
        session::end(&app.engine, &door.tenant, &member.caller, Which::Own).await?;
    }
    Ok(led_to(SIGN_IN, Some(door.cookie.clear()?)))
}

impl Door {
    fn page(&self) -> DoorPage<'_> {
        let resets = self.tenant.allows(&ActorType::user(), emailpass::NAME);
        DoorPage { shop: Some(self.tenant.name()), resets, ..DoorPage::default() }
    }

    /// In, or why not, in words.
    fn answer(&self, given: Result<Given, Error>, address: &str) -> Result<Response, ApiError> {
        let refused = match given {
            Ok(given) => {
                let line = HeaderValue::from_str(&self.cookie.set(&given)).map_err(|e| Error::unexpected(e.to_string()))?;
                return Ok(led_to(FIRST_ROOM, Some(line)));
            }
            Err(e) if matches!(e.code, Code::StorageFailed | Code::HashingFailed | Code::Unexpected) => return Err(e.into()),
            Err(e) => e,
        };
        let door = DoorPage { address, error: Some(&refused.message), ..self.page() };
        let mut response = shown(status(refused.code), &door)?;
        mark(&refused, &mut response);
        Ok(response)
    }
}

/// Says in headers what the page says in words.
pub(super) fn mark(refused: &Error, response: &mut Response) {
    if let Some(wait) = refused.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        challenge(response, &refused.message);
    }
}

fn shown(status: StatusCode, door: &DoorPage<'_>) -> Result<Response, ApiError> {
    page(status, render::console_door(door))
}

/// The page of a host that is no store's.
fn nowhere(app: &App) -> Result<Response, ApiError> {
    let hosts = app.engine.config.server.tenant_domain.as_ref().map(|domain| format!("{{store}}.{domain}/app"));
    shown(StatusCode::NOT_FOUND, &DoorPage { hosts, ..DoorPage::default() })
}

/// On to another page of the console, with a cookie to keep.
pub(super) fn led_to(path: &str, cookie: Option<HeaderValue>) -> Response {
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::from_str(path).ok().map(|path| (header::LOCATION, path)));
    headers.extend(cookie.map(|line| (header::SET_COOKIE, line)));
    secure(&mut headers, POLICY);
    (StatusCode::SEE_OTHER, headers).into_response()
}
