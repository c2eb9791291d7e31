//! Errors on the wire. The only file that chooses a status.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use vestibule_engine::error::{Code, Error};

/// What a handler fails with.
#[derive(Debug)]
pub enum ApiError {
    Engine(Error),
    /// There is no such route, or not with this method.
    NoRoute(String),
    /// The body is larger than what is read.
    TooLarge,
    /// A charset or content encoding that is not read; the text names it.
    Unsupported(String),
}

impl ApiError {
    /// The path comes from the caller; a long one need not come back whole.
    #[must_use]
    pub fn no_route(method: &Method, uri: &Uri) -> Self {
        let path: String = uri.path().chars().take(200).collect();
        Self::NoRoute(format!("{method} {path}"))
    }
}

impl<E: Into<Error>> From<E> for ApiError {
    fn from(e: E) -> Self {
        Self::Engine(e.into())
    }
}

/// Marks an answer whose body is to be negotiated: the plain word for everybody who did not ask for JSON.
#[derive(Debug, Clone, Copy)]
pub struct PlainUnauthorized;

/// Marks an answer that must name the Idempotency-Key to retry with.
#[derive(Debug, Clone, Copy)]
pub struct Retryable;

/// The body of the 409 as the API description prints it.
const CONFLICT_TYPE: &str = "QueryRunnerAlreadyReleasedError";

/// The status of each kind of failure.
#[must_use]
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidData | Code::NotAllowed => StatusCode::BAD_REQUEST,
        Code::Unauthorized | Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::Gone => StatusCode::GONE,
        Code::Duplicate => StatusCode::UNPROCESSABLE_ENTITY,
        Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::HashingFailed | Code::StorageFailed | Code::Unexpected => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The `type` and `code` of each kind of failure.
const fn names(code: Code) -> (&'static str, Option<&'static str>) {
    match code {
        Code::InvalidData => ("invalid_data", None),
        Code::NotAllowed => ("not_allowed", None),
        Code::Unauthorized | Code::Unauthenticated => ("unauthorized", None),
        Code::Forbidden => ("forbidden", None),
        Code::NotFound => ("not_found", None),
        Code::Gone => ("gone", None),
        Code::Duplicate => ("duplicate_error", Some("invalid_request_error")),
        Code::Conflict => (CONFLICT_TYPE, Some("unknown_error")),
        Code::TooManyRequests => ("too_many_requests", None),
        Code::Busy => ("service_unavailable", None),
        Code::HashingFailed | Code::StorageFailed => ("database_error", Some("api_error")),
        Code::Unexpected => ("unknown_error", Some("unknown_error")),
    }
}

impl ApiError {
    /// Status and body.
    #[must_use]
    pub fn answer(&self) -> (StatusCode, Value) {
        match self {
            Self::Engine(e) => {
                let (kind, code) = names(e.code);
                (status(e.code), body(kind, code, &e.message))
            }
            Self::NoRoute(what) => (StatusCode::NOT_FOUND, body("not_found", None, &format!("Cannot {what}"))),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, body("unknown_error", None, "request entity too large")),
            Self::Unsupported(text) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, body("unknown_error", None, text)),
        }
    }
}

fn body(kind: &str, code: Option<&str>, message: &str) -> Value {
    match code {
        Some(code) => json!({"code": code, "type": kind, "message": message}),
        None => json!({"type": kind, "message": message}),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, body) = self.answer();
        let response = (status, Json(body)).into_response();
        if let Self::Engine(e) = self { engine_error(&e, response) } else { response }
    }
}

/// What a caller sent, as an answer may repeat it: a long text need not come back whole, and nobody's terminal should get commands.
#[must_use]
pub fn echo(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// What every 401 carries.
pub fn challenge(response: &mut Response, message: &str) {
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    if message == "Unauthorized" {
        response.extensions_mut().insert(PlainUnauthorized);
    }
}

/// Says the failure to the log, and in headers what the body alone does not.
fn engine_error(e: &Error, mut response: Response) -> Response {
    let status = response.status();
    if status.is_server_error() {
        tracing::error!(error = %e, "a request failed");
    } else {
        tracing::debug!(error = %e, "a request was refused");
    }
    if let Some(wait) = e.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        challenge(&mut response, &e.message);
    }
    if e.code == Code::Conflict {
        response.extensions_mut().insert(Retryable);
    }
    response
}
