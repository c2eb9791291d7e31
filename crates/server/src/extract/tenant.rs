//! Host → tenant. Decided once per request, in one place.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Uri, header};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::ops;

use super::App;
use crate::error::ApiError;

/// Longest name that DNS knows (RFC 1035 section 2.3.4), in bytes. What is longer is nobody's, and is kept nowhere.
const LONGEST_HOST: usize = 253;

/// The shop at whose host the request arrived.
pub struct CurrentTenant(pub Arc<Tenant>);

/// What `resolve` found; kept in the request, so that it is asked once.
#[derive(Clone)]
pub struct Resolved(pub Result<Arc<Tenant>, Error>);

/// The host that the client addressed, without its port. Only the request line and the Host header say it: forwarded hosts are anybody's word.
#[must_use]
pub fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    if let Some(host) = uri.host() {
        return Some(host);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(value), None) = (hosts.next(), hosts.next()) else { return None };
    let text = value.to_str().ok()?;
    let name = match text.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => text,
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let bracketed = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).is_some_and(|n| n.parse::<std::net::Ipv6Addr>().is_ok());
    (!name.is_empty() && (plain || bracketed)).then_some(name)
}

/// The tenant of a request.
pub async fn resolve(app: &App, uri: &Uri, headers: &HeaderMap) -> Resolved {
    Resolved(match host(uri, headers) {
        Some(host) if host.strip_suffix('.').unwrap_or(host).len() > LONGEST_HOST => {
            Err(Error::new(Code::NotFound, "There is no store at this host"))
        }
        Some(host) => ops::tenant::at_host(&app.engine, host).await,
        None => Err(Error::new(Code::NotFound, "The request names no host")),
    })
}

impl FromRequestParts<App> for CurrentTenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let resolved = match parts.extensions.get::<Resolved>() {
            Some(resolved) => resolved.clone(),
            None => resolve(app, &parts.uri, &parts.headers).await,
        };
        Ok(Self(resolved.0?))
    }
}
