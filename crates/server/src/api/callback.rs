//! Signing in with a third party: `…/{auth_provider}` sends the customer there, `…/callback` takes them back.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use vestibule_engine::error::Error;
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::ops::callback::{self, Answer, Arrived};
use vestibule_engine::ops::idempotency::{Answer as Saved, Receipt};

use crate::error::ApiError;
use crate::extract::App;
use crate::extract::body::{Body, Raw};
use crate::extract::browser::{FlowBrowser, set_cookie};
use crate::extract::client::Caller;
use crate::extract::gate::Gate;
use crate::extract::idempotency::{self, GoodFor, Keyed, reply};
use crate::extract::path::Path;
use crate::extract::tenant::CurrentTenant;

/// Where a flow begins: what the sign-in route does for a provider that is a third party.
pub struct Start {
    pub app: App,
    pub tenant: CurrentTenant,
    pub client: Caller,
    pub gate: Gate,
    pub browser: FlowBrowser,
}

impl Start {
    /// `{"location"}`: the page sends the customer there by itself; never a redirect.
    pub async fn answer(self, query: Option<&str>, body: &Value) -> Result<Response, ApiError> {
        let Self { app, tenant: CurrentTenant(tenant), client: Caller(client), gate, browser } = self;
        let sent = Sent::of(query, &Value::Null)?;
        if let Some(refusal) = callback::provider_error(&sent.answer()) {
            return Err(refusal.into());
        }
        let callback_url = match body.get("callback_url") {
            None | Some(Value::Null) => None,
            Some(Value::String(url)) => Some(url.as_str()),
            Some(_) => return Err(Error::invalid("callback_url must be a string").into()),
        };
        let departure = callback::depart(&app.engine, &tenant, &client, &gate.actor, &gate.provider, callback_url, browser.shown()).await?;
        let mut response = Json(json!({ "location": departure.location.as_str() })).into_response();
        response.extensions_mut().insert(GoodFor(callback::AWAY));
        if let Some(cookie) = departure.cookie.and_then(|(value, age)| set_cookie(&app, &value, age)) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// `GET …/callback`.
pub async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    tenant: CurrentTenant,
    gate: Gate,
    browser: FlowBrowser,
) -> Result<Response, ApiError> {
    arrive(&app, &tenant, &gate, &browser, &Sent::of(query.as_deref(), &Value::Null)?, &Receipt::new(None, shown)).await
}

/// `POST …/callback`: code and state in the query or in the body.
pub async fn post(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    tenant: CurrentTenant,
    gate: Gate,
    browser: FlowBrowser,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    arrive(&app, &tenant, &gate, &browser, &Sent::of(query.as_deref(), &body)?, &keyed.receipt(shown)).await
}

async fn arrive(
    app: &App,
    tenant: &CurrentTenant,
    gate: &Gate,
    browser: &FlowBrowser,
    sent: &Sent,
    receipt: &Receipt<Arrived>,
) -> Result<Response, ApiError> {
    gate.require_installed()?;
    if !gate.is_third_party() {
        return Err(Error::unauthorized(format!("Callback authentication not implemented for provider {}", gate.provider)).into());
    }
    let answer = sent.answer();
    let (browser, origin) = (browser.shown(), browser.origin.as_deref());
    let arrived = callback::arrive(&app.engine, &tenant.0, &gate.actor, &gate.provider, &answer, browser, origin, receipt).await?;
    reply(receipt, &arrived)
}

fn shown(arrived: &Arrived) -> Result<Saved, Error> {
    let mut body = json!({ "token": arrived.token });
    if arrived.account_exists
        && let Some(body) = body.as_object_mut()
    {
        body.insert("account_exists".to_owned(), Value::Bool(true));
    }
    idempotency::json(&body)
}

/// `GET /auth/callback/{provider}`, at any host: the callback that the server takes itself, for every shop.
pub async fn shared_get(State(app): State<App>, RawQuery(query): RawQuery, Path(provider): Path<String>) -> Result<Response, ApiError> {
    shared(&app, &provider, &Sent::of(query.as_deref(), &Value::Null)?).await
}

/// As above, by `form_post`.
pub async fn shared_post(State(app): State<App>, RawQuery(query): RawQuery, Path(provider): Path<String>, raw: Raw) -> Result<Response, ApiError> {
    shared(&app, &provider, &Sent::of(query.as_deref(), &raw.parse()?)?).await
}

async fn shared(app: &App, provider: &str, sent: &Sent) -> Result<Response, ApiError> {
    let handover = callback::arrive_shared(&app.engine, provider, &sent.answer()).await?;
    let location = HeaderValue::from_str(handover.location.as_str()).map_err(|_| Error::unexpected("a location that is no header"))?;
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    // 303: what was posted here is not posted again there.
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// `GET /auth/{actor_type}/providers`.
pub async fn providers(CurrentTenant(tenant): CurrentTenant, Path(actor): Path<String>) -> Json<Value> {
    let listed = callback::list(&tenant, &ActorType::new(actor)).into_iter();
    let listed: Vec<Value> =
        listed.map(|p| json!({"id": p.identifier, "identifier": p.identifier, "display_name": p.display_name, "flow": p.flow})).collect();
    Json(json!({ "providers": listed }))
}

/// The parameters of a callback. Whatever else a provider sends along is of no interest.
struct Sent(Map<String, Value>);

impl Sent {
    /// Query and body together. What stands in both must be the same.
    fn of(query: Option<&str>, body: &Value) -> Result<Self, Error> {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()));
        let texts = body.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let mut all = Map::new();
        for (name, value) in pairs.chain(texts).filter(|(name, _)| Self::NAMES.contains(&name.as_str())) {
            match all.get(&name) {
                Some(Value::String(first)) if *first != value => return Err(Error::invalid(format!("The parameter '{name}' is given twice"))),
                _ => all.insert(name, Value::String(value)),
            };
        }
        Ok(Self(all))
    }

    const NAMES: [&str; 7] = ["code", "state", "error", "error_description", "error_uri", "iss", "user"];

    fn answer(&self) -> Answer {
        let text = |name: &str| self.0.get(name).and_then(Value::as_str).map(str::to_owned);
        Answer {
            code: text("code"),
            state: text("state"),
            error: text("error"),
            error_description: text("error_description"),
            error_uri: text("error_uri"),
            iss: text("iss"),
            user: text("user"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r39_a_parameter_has_one_value() {
        let sent = |query: &str, body: Value| Sent::of(Some(query), &body).map(|sent| sent.answer());
        let answer = sent("code=a%26b&scope=x&authuser=0", json!({"state": "s", "code": "a&b", "other": 1})).unwrap();
        assert_eq!((answer.code.as_deref(), answer.state.as_deref()), (Some("a&b"), Some("s")));
        assert!(sent("code=a&code=b", Value::Null).is_err());
        assert!(sent("state=a", json!({"state": "b"})).is_err());
        assert_eq!(sent("", json!(["code"])).unwrap().code, None);
    }
}
