//! What a request shows of the browser that sends it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use vestibule_engine::ops::callback::Browser;

use super::App;
use super::client::user_agent;

/// A browser's side of a sign-in by a third party.
pub struct FlowBrowser {
    cookie: Option<String>,
    same_site: bool,
    user_agent: Option<String>,
    /// The page's origin, where the browser names it.
    pub origin: Option<String>,
}

impl FlowBrowser {
    #[must_use]
    pub fn shown(&self) -> Browser<'_> {
        Browser { cookie: self.cookie.as_deref(), same_site: self.same_site, user_agent: self.user_agent.as_deref() }
    }
}

impl FromRequestParts<App> for FlowBrowser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        let server = &app.engine.config.server;
        // Only browsers send this, and no page can change it. On a developer's machine every port is of the same site, which says nothing.
        let same_site = match headers.get("sec-fetch-site").and_then(|v| v.to_str().ok()) {
            Some("same-origin") => true,
            Some("same-site") => !server.is_local(),
            _ => false,
        };
        let origin = headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let cookie = flow_cookie(app, headers).map(str::to_owned);
        Ok(Self { cookie, same_site, user_agent: user_agent(headers).map(str::to_owned), origin })
    }
}

/// `__Host-` binds a cookie to this host over https, so that no other host of the site can set it. Plain http on a developer's machine has no such thing.
const fn cookie_name(local: bool) -> &'static str {
    if local { "vestibule-flow" } else { "__Host-vestibule-flow" }
}

/// The value of the flow's cookie.
pub(super) fn flow_cookie<'h>(app: &App, headers: &'h HeaderMap) -> Option<&'h str> {
    cookie(headers, cookie_name(app.engine.config.server.is_local()))
}

/// The value of a cookie. `None`, too, where it is sent twice: somebody may have planted one.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(found, _)| *found == name).map(|(_, value)| value);
    let value = values.next();
    value.filter(|_| values.next().is_none())
}

/// The `Set-Cookie` of a flow.
#[must_use]
pub fn set_cookie(app: &App, value: &str, age: Duration) -> Option<HeaderValue> {
    let local = app.engine.config.server.is_local();
    let secure = if local { "" } else { "; Secure" };
    HeaderValue::from_str(&format!("{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", cookie_name(local), age.as_secs())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r73_a_cookie_that_comes_twice_counts_as_none() {
        let value = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            cookie(&headers, "vestibule-flow").map(str::to_owned)
        };
        assert_eq!(value(&["a=1; vestibule-flow=x; b=2"]).as_deref(), Some("x"));
        assert_eq!(value(&["vestibule-flow=x; vestibule-flow=y"]), None);
        assert_eq!(value(&["vestibule-flow=x", "vestibule-flow=x"]), None);
        assert_eq!(value(&["vestibule-flow2=x"]), None);
        assert_eq!(value(&[]), None);
    }
}
