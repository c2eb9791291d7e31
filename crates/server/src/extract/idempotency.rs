//! `Idempotency-Key`. `Keyed` is the last argument of a handler: by then it is known who calls, and nothing has been spent yet.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use vestibule_engine::error::Error;
use vestibule_engine::model::ids::SessionId;
use vestibule_engine::ops::idempotency::{self, Answer, Claim, Claimed, LARGEST, Receipt, Request};

use super::App;
use super::body::Raw;
use super::browser::flow_cookie;
use super::client::Caller;
use super::tenant::CurrentTenant;
use crate::error::{ApiError, challenge};

pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, in characters.
const LONGEST: usize = 255;

/// What is found out about a request that names a key, on its way through the extractors.
#[derive(Clone, Default)]
struct Slot(Arc<Found>);

#[derive(Default)]
struct Found {
    caller: OnceLock<(String, Option<String>)>,
    claim: OnceLock<Claim>,
}

/// Notes who calls, and in which session. Every extractor that lets a caller in says so here: keys of one caller are nothing to another.
pub fn called_by(parts: &Parts, caller: &impl ToString, session: Option<SessionId>) {
    if let Some(Slot(found)) = parts.extensions.get() {
        let _ = found.caller.set((caller.to_string(), session.map(|id| id.to_string())));
    }
}

/// How long what is answered here is good, where that is less than answers are kept.
#[derive(Debug, Clone, Copy)]
pub struct GoodFor(pub Duration);

/// The claim of a request that names a key; without one nothing happens.
pub struct Keyed(Option<Claim>);

impl Keyed {
    /// What the operation settles. `render` makes the answer of its outcome.
    pub fn receipt<T>(&self, render: impl Fn(&T) -> Result<Answer, Error> + Send + Sync + 'static) -> Receipt<T> {
        Receipt::new(self.0.clone(), render)
    }
}

/// Why a handler does not run.
pub enum Stopped {
    Refused(ApiError),
    Replayed(Answer),
}

impl<E: Into<ApiError>> From<E> for Stopped {
    fn from(e: E) -> Self {
        Self::Refused(e.into())
    }
}

impl IntoResponse for Stopped {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(e) => e.into_response(),
            Self::Replayed(answer) => {
                let message = serde_json::from_str::<Value>(&answer.body).ok().and_then(|body| Some(body.get("message")?.as_str()?.to_owned()));
                let mut response = response(answer);
                if response.status() == StatusCode::UNAUTHORIZED {
                    challenge(&mut response, &message.unwrap_or_default());
                }
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                response
            }
        }
    }
}

impl FromRequestParts<App> for Keyed {
    type Rejection = Stopped;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Stopped> {
        let Some(Slot(found)) = parts.extensions.get::<Slot>().cloned() else { return Ok(Self(None)) };
        let key = key(&parts.headers)?.to_owned();
        let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
        let Ok(Caller(client)) = Caller::from_request_parts(parts, app).await;
        let raw = Raw::from_request_parts(parts, app).await?;
        let caller = found.caller.get();
        let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        // A session's tokens and its cookie are one proof: whoever has refreshed gets the answer, too.
        let proof = caller.and_then(|(_, session)| session.as_deref()).map_or_else(|| header("authorization"), str::as_bytes);
        // Where a flow begins, the cookie proves nothing, and comes with the very answer that may have been lost.
        let flow = if parts.uri.path().ends_with("/callback") { flow_cookie(app, &parts.headers).unwrap_or_default() } else { "" };
        let request = Request {
            key: &key,
            caller: caller.map(|(caller, _)| caller.as_str()),
            authority: &[proof, header("origin"), header("sec-fetch-site"), flow.as_bytes()],
            client: &client,
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            body: &raw.bytes,
        };
        match idempotency::claim(&app.engine, &tenant, &request).await? {
            Claimed::Before(answer) => Err(Stopped::Replayed(answer)),
            Claimed::Now(claim) => {
                let _ = found.claim.set(claim.clone());
                Ok(Self(Some(claim)))
            }
        }
    }
}

fn key(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Error::invalid("The Idempotency-Key is given twice")) };
    let visible = value.as_bytes().iter().all(u8::is_ascii_graphic) && (1..=LONGEST).contains(&value.len());
    let text = value.to_str().ok().filter(|_| visible);
    text.ok_or_else(|| Error::invalid(format!("The Idempotency-Key must be 1 to {LONGEST} visible ASCII characters")))
}

/// An answer with `body`.
///
/// # Errors
/// `Unexpected` if it cannot be written.
pub fn json(body: &impl Serialize) -> Result<Answer, Error> {
    let body = serde_json::to_string(body).map_err(|e| Error::unexpected(e.to_string()))?;
    Ok(Answer { status: 200, content_type: "application/json".into(), cookie: None, body })
}

/// The answer to the caller, as the receipt has it.
///
/// # Errors
/// `Unexpected` if it cannot be written.
pub fn reply<T>(receipt: &Receipt<T>, outcome: &T) -> Result<Response, ApiError> {
    Ok(response(receipt.answer(outcome)?))
}

fn response(answer: Answer) -> Response {
    let Answer { status, content_type, cookie, body } = answer;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let texts = [(header::CONTENT_TYPE, Some(content_type.into_owned())), (header::SET_COOKIE, cookie)];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text?).ok()?)));
    response.headers_mut().extend(texts);
    response
}

/// Keeps what is answered to a request that names a key.
pub struct Keeper {
    app: App,
    slot: Slot,
}

impl Keeper {
    /// `None`: the request names no key.
    pub fn of(app: &App, parts: &mut Parts) -> Option<Self> {
        if !parts.headers.contains_key(KEY) {
            return None;
        }
        let slot = Slot::default();
        parts.extensions.insert(slot.clone());
        Some(Self { app: app.clone(), slot })
    }

    /// Ends the claim of what was answered with `response`. A success has been settled with its effect; what is left is what had none.
    pub async fn keep(self, response: Response) -> Response {
        let Some(claim) = self.slot.0.claim.get() else { return response };
        if response.status().is_success() && claim.is_settled() {
            return response;
        }
        let lasts = response.extensions().get().map(|GoodFor(lasts)| *lasts);
        let (response, answer) = read(response).await;
        match idempotency::finish(&self.app.engine, claim, answer.as_ref(), lasts).await {
            Ok(true) => response,
            Ok(false) => ApiError::from(Error::conflict("somebody else has taken the claim over")).into_response(),
            Err(e) => {
                // Nothing was done, so nothing is lost: the claim runs out.
                tracing::warn!(error = %e, "an answer could not be kept for its Idempotency-Key");
                response
            }
        }
    }
}

/// What of a response is kept: successes and refusals, but none that another try may change.
async fn read(response: Response) -> (Response, Option<Answer>) {
    let status = response.status();
    let settled = status.is_success() || (status.is_client_error() && !matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS));
    if !settled || response.body().size_hint().exact().is_none_or(|length| length > LARGEST as u64) {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, LARGEST).await.unwrap_or_default();
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let answer = String::from_utf8(bytes.to_vec()).ok().map(|body| Answer {
        status: status.as_u16(),
        content_type: text(header::CONTENT_TYPE).unwrap_or_default().into(),
        cookie: text(header::SET_COOKIE),
        body,
    });
    (Response::from_parts(parts, Body::from(bytes)), answer)
}
