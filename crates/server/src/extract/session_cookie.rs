//! The cookie of a session: its name, how it comes in and goes out, and from which pages it may change something.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use url::Url;
use vestibule_engine::config::{Server, is_loopback};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::tenant::{SameSite, Tenant};
use vestibule_engine::ops::session::Caller;
use vestibule_engine::ops::session_cookie::{Given, Opens, authenticate};

use super::App;
use super::browser::cookie;
use super::tenant::{CurrentTenant, host};
use crate::error::ApiError;
use crate::wire::{Area, allows};

/// What the browser showed, and what it is given.
pub struct SessionCookie {
    pub shown: Option<String>,
    opens: Opens,
    plain: bool,
    same_site: SameSite,
}

impl FromRequestParts<App> for SessionCookie {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
        Ok(Self::of(app, parts, Opens::Api, tenant.settings.cookies.same_site))
    }
}

impl SessionCookie {
    fn of(app: &App, parts: &Parts, opens: Opens, same_site: SameSite) -> Self {
        let shown = shown(app, parts, opens).map(str::to_owned);
        Self { shown, opens, plain: is_plain(&app.engine.config.server, &parts.uri, &parts.headers), same_site }
    }

    /// The cookie of the console, whatever the shop says of its storefront's: no other site's page is part of it.
    #[must_use]
    pub fn of_console(app: &App, parts: &Parts) -> Self {
        Self::of(app, parts, Opens::Console, SameSite::Lax)
    }

    /// The `Set-Cookie` of what the session was given.
    #[must_use]
    pub fn set(&self, given: &Given) -> String {
        self.line(&given.value, given.lasts.as_secs())
    }

    /// The `Set-Cookie` that takes it from the browser.
    ///
    /// # Errors
    /// None: it is made of characters that a header can hold.
    pub fn clear(&self) -> Result<HeaderValue, Error> {
        HeaderValue::from_str(&self.line("", 0)).map_err(|e| Error::unexpected(e.to_string()))
    }

    fn line(&self, value: &str, age: u64) -> String {
        let same_site = match self.same_site {
            SameSite::Strict => "Strict",
            // Browsers take it with `Secure` alone; on one machine every port is of the same site anyway.
            SameSite::None if !self.plain => "None",
            SameSite::Lax | SameSite::None => "Lax",
        };
        let secure = if self.plain { "" } else { "; Secure" };
        format!("{}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite={same_site}{secure}", name(self.opens, self.plain))
    }
}

/// `__Host-` binds a cookie to this host over https, so that no other host of the site can plant one.
const fn name(opens: Opens, plain: bool) -> &'static str {
    match (opens, plain) {
        (Opens::Api, true) => "vestibule",
        (Opens::Api, false) => "__Host-vestibule",
        (Opens::Console, true) => "vestibule-app",
        (Opens::Console, false) => "__Host-vestibule-app",
    }
}

/// Whether the browser speaks http to its own machine: there alone a cookie goes without `Secure`.
fn is_plain(server: &Server, uri: &Uri, headers: &HeaderMap) -> bool {
    let published = server.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    let loopback = |host: &str| Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
    server.is_local() && !published && host(uri, headers).is_some_and(loopback)
}

fn shown<'p>(app: &App, parts: &'p Parts, opens: Opens) -> Option<&'p str> {
    // Most clients have none, and need not wait for its name.
    parts.headers.get(header::COOKIE)?;
    cookie(&parts.headers, name(opens, is_plain(&app.engine.config.server, &parts.uri, &parts.headers)))
}

/// The caller whom the cookie shows, if its session lives and its actor type is `permitted`.
///
/// # Errors
/// `Forbidden` if the request would change something and comes from a page that may not.
pub async fn caller(parts: &Parts, app: &App, tenant: &Tenant, permitted: fn(&str) -> bool) -> Result<Option<Caller>, ApiError> {
    let Some(cookie) = shown(app, parts, Opens::Api) else { return Ok(None) };
    let found = authenticate(&app.engine, tenant, Opens::Api, cookie).await?.filter(|caller| permitted(&caller.claims.actor_type));
    if found.is_some() && !may_change(app, parts, tenant) {
        return Err(foreign().into());
    }
    Ok(found)
}

/// What says that the page that asks may not.
#[must_use]
pub fn foreign() -> Error {
    Error::new(Code::Forbidden, "A page of this origin may not use the cookie to change anything")
}

/// Browsers send cookies along whichever page asks, but they name the page. Who sends neither `Origin` nor `Sec-Fetch-Site` is no browser.
#[must_use]
pub fn may_change(app: &App, parts: &Parts, tenant: &Tenant) -> bool {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    let mut origins = parts.headers.get_all(header::ORIGIN).iter();
    let server = &app.engine.config.server;
    match (origins.next(), origins.next()) {
        (None, _) => !parts.headers.contains_key("sec-fetch-site"),
        (Some(origin), None) => {
            is_own(server, parts, origin) || is_untold(parts, origin) || allows(server.development, tenant, Area::of(parts.uri.path()), origin)
        }
        _ => false,
    }
}

/// Whether it is a form on one of our pages, which tell nobody where they are. No page can write the header that says so all the same.
fn is_untold(parts: &Parts, origin: &HeaderValue) -> bool {
    origin == "null" && parts.headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}

/// Whether `origin` is the API's own, as this request addresses it.
fn is_own(server: &Server, parts: &Parts, origin: &HeaderValue) -> bool {
    let addressed = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let scheme = if is_plain(server, &parts.uri, &parts.headers) { "http" } else { "https" };
    addressed.is_some_and(|host| origin.as_bytes() == format!("{scheme}://{host}").as_bytes())
}
