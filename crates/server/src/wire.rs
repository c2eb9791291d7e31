//! What happens to every request before its handler and after: path, tenant, CORS, body, headers.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use url::Url;
use vestibule_engine::config::is_loopback;
use vestibule_engine::error::Error;
use vestibule_engine::model::tenant::Tenant;

use crate::error::{ApiError, PlainUnauthorized, Retryable};
use crate::extract::App;
use crate::extract::body;
use crate::extract::client::Peer;
use crate::extract::idempotency::{KEY, Keeper};
use crate::extract::known::Known;
use crate::extract::tenant::resolve;

const METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE";

/// The router with what surrounds it.
#[derive(Clone)]
pub struct Wire {
    pub app: App,
    pub router: Router,
    /// Holds the requests that change something: they finish although their client leaves.
    pub tasks: TaskTracker,
    /// How long a client may take to send a body.
    pub body_deadline: Duration,
}

/// Which origins may call, and whether a tenant is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    Store,
    Auth,
    Admin,
    /// Needs a tenant, and no other origin may call.
    Pages,
    /// Needs no tenant.
    Bare,
}

impl Area {
    pub(crate) fn of(path: &str) -> Self {
        let mut words = path.split('/').skip(1);
        match words.next().unwrap_or_default() {
            // Where providers send customers of every shop: the state says whose they are.
            "auth" if words.next() == Some("callback") => Self::Bare,
            "store" => Self::Store,
            "auth" => Self::Auth,
            "admin" => Self::Admin,
            "account" | ".well-known" => Self::Pages,
            _ => Self::Bare,
        }
    }
}

/// Whether what answers at `path` is a store's.
#[must_use]
pub fn needs_tenant(path: &str) -> bool {
    Area::of(path) != Area::Bare
}

/// Whether pages of other origins may call what is at `path`.
#[must_use]
pub fn is_shared(path: &str) -> bool {
    matches!(Area::of(path), Area::Store | Area::Auth | Area::Admin)
}

/// Marks the answer to a browser that asks before it calls.
#[derive(Debug, Clone, Copy)]
pub struct Preflight;

impl Wire {
    /// Answers one request.
    pub async fn answer(&self, peer: SocketAddr, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        if let Some(uri) = normalised(&parts.uri) {
            parts.uri = uri;
        }
        parts.extensions.insert(Peer(peer));
        let area = Area::of(parts.uri.path());
        let resolved = if area == Area::Bare { None } else { Some(resolve(&self.app, &parts.uri, &parts.headers).await) };
        let tenant = resolved.as_ref().and_then(|r| r.0.as_ref().ok()).cloned();
        let asked = Asked::of(&self.app, area, tenant.as_deref(), &parts.method, &parts.headers);
        if let Some(resolved) = resolved {
            parts.extensions.insert(resolved);
        }
        let changes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let body = if changes {
            match tokio::time::timeout(self.body_deadline, body::read(&parts.headers, body)).await {
                Ok(Ok(raw)) => {
                    parts.extensions.insert(raw);
                    Body::empty()
                }
                Ok(Err(refused)) => return asked.finish(&self.app, refused.into_response()),
                Err(_) => return asked.finish(&self.app, ApiError::from(Error::invalid("The body took too long to arrive")).into_response()),
            }
        } else {
            body
        };
        let keeper = Keeper::of(&self.app, &mut parts);
        let answer = self.router.clone().oneshot(Request::from_parts(parts, body));
        let work = AssertUnwindSafe(async {
            let Ok(response) = answer.await;
            match keeper {
                Some(keeper) => keeper.keep(response).await,
                None => response,
            }
        })
        .catch_unwind();
        let outcome = if changes { self.tasks.spawn(work).await.ok() } else { Some(work.await) };
        let response = match outcome {
            Some(Ok(response)) => response,
            _ => ApiError::from(Error::unexpected("a handler panicked")).into_response(),
        };
        let response = asked.known.answer(response).await;
        asked.finish(&self.app, response)
    }
}

/// The path without a trailing slash, and with the fixed words in lower case. `None`: it is so already.
fn normalised(uri: &Uri) -> Option<Uri> {
    const WORDS: &[&str] = &[
        "auth",
        "store",
        "admin",
        "customers",
        "me",
        "addresses",
        "register",
        "reset-password",
        "update",
        "callback",
        "providers",
        "identities",
        "session",
        "sessions",
        "current",
        "change-password",
        "events",
        "timeline",
        "token",
        "refresh",
        "account",
        "health",
    ];
    let path = uri.path();
    let trimmed = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
    let lower: Cow<'_, str> = if trimmed.bytes().any(|b| b.is_ascii_uppercase()) {
        let segment = |s: &str| WORDS.iter().find(|w| w.eq_ignore_ascii_case(s)).map_or_else(|| s.to_owned(), |w| (*w).to_owned());
        Cow::Owned(trimmed.split('/').map(segment).collect::<Vec<_>>().join("/"))
    } else {
        Cow::Borrowed(trimmed)
    };
    if lower == path {
        return None;
    }
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{lower}{query}").parse().ok();
    Uri::from_parts(parts).ok()
}

/// What of a request its answer's headers depend on.
struct Asked {
    area: Area,
    origin: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    known: Known,
    wants_json: bool,
    idempotency_key: Option<HeaderValue>,
    https: bool,
}

impl Asked {
    fn of(app: &App, area: Area, tenant: Option<&Tenant>, method: &Method, headers: &HeaderMap) -> Self {
        let cors = matches!(area, Area::Store | Area::Auth | Area::Admin) && tenant.is_some();
        let server = &app.engine.config.server;
        let origin =
            headers.get(header::ORIGIN).filter(|origin| cors && tenant.is_some_and(|t| allows(server.development, t, area, origin))).cloned();
        Self {
            area: if cors || area == Area::Pages { area } else { Area::Bare },
            origin,
            headers: headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            known: if cors { Known::of(method, headers) } else { Known::default() },
            wants_json: wants_json(headers),
            idempotency_key: headers.get(KEY).cloned(),
            https: !server.is_local(),
        }
    }

    fn finish(mut self, app: &App, mut response: Response) -> Response {
        if response.extensions().get::<PlainUnauthorized>().is_some() && !self.wants_json {
            *response.body_mut() = Body::from("Unauthorized");
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
        }
        if response.extensions().get::<Retryable>().is_some() {
            let key = self.idempotency_key.take().or_else(|| HeaderValue::from_str(&app.engine.rng.uuid()).ok());
            response.headers_mut().extend(key.map(|k| (KEY, k)));
        }
        let preflight = response.extensions().get::<Preflight>().is_some();
        self.cors(response.headers_mut(), preflight);
        self.secure(response.headers_mut());
        response
    }

    fn cors(&mut self, headers: &mut HeaderMap, preflight: bool) {
        if !matches!(self.area, Area::Store | Area::Auth | Area::Admin) {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Idempotency-Key, Idempotency-Replayed, Retry-After, WWW-Authenticate"),
        );
        headers.extend(self.origin.take().map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
        if preflight {
            headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            headers.extend(self.headers.take().map(|names| (header::ACCESS_CONTROL_ALLOW_HEADERS, names)));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }

    fn secure(&self, headers: &mut HeaderMap) {
        // Spelt as the server whose place this takes spells it.
        if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
        if self.area != Area::Bare {
            headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        if self.https {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
    }
}

/// Whether `Accept` names JSON and does not refuse it.
fn wants_json(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    ranges.map(|range| range.split(';').map(str::trim)).any(|mut words| {
        let names = words.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
        let quality = words.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
        names && quality.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0))
    })
}

/// Whether a page at `origin` may call. In development any page of this machine may.
pub(crate) fn allows(development: bool, tenant: &Tenant, area: Area, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let cors = &tenant.settings.cors;
    let listed = match area {
        Area::Store => &cors.store,
        Area::Auth => &cors.auth,
        Area::Admin => &cors.admin,
        Area::Pages | Area::Bare => return false,
    };
    listed.iter().any(|allowed| allowed == origin) || (development && Url::parse(origin).is_ok_and(|url| is_loopback(&url)))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use std::sync::Arc;

    use axum::routing::{get, post};
    use tokio::sync::Notify;
    use tokio_util::sync::CancellationToken;
    use vestibule_engine::testing::{Backend, one_shop};

    use super::*;

    async fn ask(wire: &Wire, method: Method) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        let answer = wire.answer(SocketAddr::from(([127, 0, 0, 1], 1)), request).await;
        let status = answer.status();
        (status, String::from_utf8(to_bytes(answer.into_body(), 4096).await.unwrap().to_vec()).unwrap())
    }

    async fn panics() -> StatusCode {
        panic!("on purpose");
    }

    /// Whether its work goes on without the client (`POST`) or not (`GET`): no route panics on purpose, so this one does.
    #[tokio::test]
    async fn a_handler_that_panics_is_a_500_of_the_contract_and_the_next_request_is_answered() {
        let (engine, _, database) = one_shop(Backend::Sqlite).await.unwrap();
        let router = Router::new().route("/", get(|| async { "here" }).head(panics).post(panics).delete(panics));
        let app = App::new(engine, CancellationToken::new());
        let wire = Wire { app, router, tasks: TaskTracker::new(), body_deadline: Duration::from_secs(5) };
        for method in [Method::HEAD, Method::POST, Method::DELETE] {
            let (status, body) = ask(&wire, method.clone()).await;
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{method}");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                body,
                serde_json::json!({"code": "unknown_error", "type": "unknown_error", "message": "An unknown error occurred."}),
                "{method}"
            );
            assert_eq!(ask(&wire, Method::GET).await, (StatusCode::OK, "here".to_owned()));
        }
        database.remove().await.unwrap();
    }

    /// What a request changes is done to the end although its client has left: what it began must not be torn in two.
    #[tokio::test]
    async fn a_request_that_changes_something_goes_on_without_its_client() {
        let (engine, _, database) = one_shop(Backend::Sqlite).await.unwrap();
        let [begun, go_on, done] = [(); 3].map(|()| Arc::new(Notify::new()));
        let steps = (begun.clone(), go_on.clone(), done.clone());
        let slow = move || {
            let (begun, go_on, done) = steps.clone();
            async move {
                begun.notify_one();
                go_on.notified().await;
                done.notify_one();
            }
        };
        let tasks = TaskTracker::new();
        let app = App::new(engine, CancellationToken::new());
        let wire = Wire { app, router: Router::new().route("/", post(slow)), tasks: tasks.clone(), body_deadline: Duration::from_secs(5) };
        let client = ask(&wire, Method::POST);
        tokio::select! {
            _ = client => panic!("it was answered before it was done"),
            // The client leaves here: its future is dropped.
            () = begun.notified() => {}
        }
        go_on.notify_one();
        tasks.close();
        // The server waits for it, too, when it stops.
        tasks.wait().await;
        assert!(done.notified().now_or_never().is_some(), "it was cut off");
        database.remove().await.unwrap();
    }
}
