//! Hosted pages: HTML that works without JavaScript.

pub mod console;
pub mod demo_provider;
pub mod demo_storefront;
pub mod inbox;
pub mod openapi;
pub mod password_reset;
mod render;
pub mod template;

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::{Html, IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::ops;

use crate::error::ApiError;
use crate::extract::App;
use crate::extract::tenant::{CurrentTenant, host};

type PathParams = Result<RawPathParams, RawPathParamsRejection>;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; frame-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'";

/// The shop whose page is shown, and what stands before `/account` in its links.
pub struct PageTenant {
    pub tenant: Arc<Tenant>,
    pub base: String,
}

impl FromRequestParts<App> for PageTenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| Error::invalid("The path could not be read"))?;
        let Some(slug) = params.iter().find(|(name, _)| *name == "slug").map(|(_, slug)| slug.to_owned()) else {
            let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
            return Ok(Self { tenant, base: String::new() });
        };
        // A shop's page under a path exists on the common host alone: on another shop's host it would be that shop's.
        let common = app.engine.config.server.public_url.as_ref().and_then(|url| url.host_str());
        if common.is_none() || common != host(&parts.uri, &parts.headers) {
            return Err(Error::new(Code::NotFound, "There is no such page at this host").into());
        }
        let tenant = ops::tenant::at_path(&app.engine, &slug).await?;
        Ok(Self { base: format!("/t/{}", tenant.slug), tenant })
    }
}

/// A page with its headers: nothing from elsewhere, nothing kept, nothing told to the next site.
fn page(status: StatusCode, html: Result<String, minijinja::Error>) -> Result<Response, ApiError> {
    let html = html.map_err(|e| Error::unexpected(format!("a page: {e}")))?;
    let mut response = (status, Html(html)).into_response();
    secure(response.headers_mut(), POLICY);
    Ok(response)
}

fn secure(headers: &mut HeaderMap, policy: &'static str) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
}

/// `GET /account/assets/{name}`: the style sheet and the script, the same for every shop.
pub async fn asset(params: PathParams) -> Result<Response, ApiError> {
    // A path that is no UTF-8 names no asset.
    let name = params.as_ref().ok().and_then(|params| params.iter().find(|(name, _)| *name == "name"));
    let (kind, text) = match name.map_or("", |(_, name)| name) {
        "style.css" => ("text/css; charset=utf-8", render::STYLE_CSS),
        "console.css" => ("text/css; charset=utf-8", render::CONSOLE_CSS),
        "console.js" => ("text/javascript; charset=utf-8", render::CONSOLE_JS),
        "show_password.js" => ("text/javascript; charset=utf-8", render::SHOW_PASSWORD_JS),
        _ => return Err(Error::new(Code::NotFound, "There is no such asset").into()),
    };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"))];
    Ok((headers, text).into_response())
}

/// `GET /t/{slug}/account/assets/{name}`.
pub async fn slug_asset(params: PathParams) -> Result<Response, ApiError> {
    asset(params).await
}
