//! A storefront of two pages in `vestibule dev`: one begins a sign-in at the demo provider, the other ends it. They do what any shop's own pages do.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use vestibule_engine::error::{Code, Error};

use super::demo_provider::PEOPLE;
use super::render::{self, StorefrontPage};
use super::{page, secure};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::tenant::CurrentTenant;

/// As for our other pages, but the scripts call our API.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'";

/// `GET /dev/sign-in`.
pub async fn sign_in(State(app): State<App>, shop: CurrentTenant) -> Result<Response, ApiError> {
    shown(&app, &shop, render::demo_sign_in)
}

/// `GET /dev/callback`: the demo provider leads back here. The query is for the page's script.
pub async fn callback(State(app): State<App>, shop: CurrentTenant) -> Result<Response, ApiError> {
    shown(&app, &shop, render::demo_callback)
}

type Template = fn(&StorefrontPage<'_>) -> Result<String, minijinja::Error>;

fn shown(app: &App, CurrentTenant(shop): &CurrentTenant, template: Template) -> Result<Response, ApiError> {
    // A shop that was made by command is not in the configuration: then the page says that it has no key.
    let declared = app.engine.config.tenants.iter().find(|declared| declared.slug == shop.slug);
    let key = declared.and_then(|declared| declared.publishable_keys.first()).map(String::as_str).unwrap_or_default();
    let mut response = page(StatusCode::OK, template(&StorefrontPage { shop: shop.name(), publishable_key: key }))?;
    secure(response.headers_mut(), POLICY);
    Ok(response)
}

/// `GET /dev/assets/{name}`: the script, the style sheet, and the pictures of the demo people.
pub async fn asset(name: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    // A path that is no UTF-8 names no asset.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let (kind, text) = match name.as_str() {
        "demo.css" => ("text/css; charset=utf-8", render::DEMO_CSS.to_owned()),
        "demo.js" => ("text/javascript; charset=utf-8", render::DEMO_JS.to_owned()),
        picture => {
            let person = picture.strip_suffix(".svg").and_then(|choice| PEOPLE.iter().find(|person| person.choice == choice));
            ("image/svg+xml", person.ok_or_else(|| Error::new(Code::NotFound, "There is no such asset"))?.picture())
        }
    };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    Ok((headers, text).into_response())
}
