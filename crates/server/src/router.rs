//! Every route: method, path, handler, and who may call.

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, options, post};
use axum::{Extension, Router};
use http::request::Parts;
use http::{Method, StatusCode};
use url::Url;
use vestibule_engine::config::is_loopback;

use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::SignedInCustomer;
use crate::extract::publishable::Publishable;
use crate::extract::staff::Staff;
use crate::extract::tenant::{CurrentTenant, host};
use crate::wire::{Preflight, is_shared};
use crate::{admin, api, pages};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayCall {
    Anyone,
    /// A reset token as bearer.
    ResetToken,
    /// The token of a login of any actor type, with or without an actor. A cookie is not enough.
    Token,
    /// The cookie of a session. A token is not enough.
    Cookie,
    /// The token or the cookie of a login of any actor type, with or without an actor.
    Login,
    /// A publishable key, and the token or cookie of a customer's login, with or without a customer.
    CustomerLogin,
    /// A publishable key, and the token or cookie of a customer.
    Customer,
    /// A secret key, or the token of a member of the shop's staff.
    Staff,
    /// The cookie of the console, of a member of the shop's staff. Everybody else is led to where it is given.
    Console,
    /// Anyone, in `vestibule dev` only.
    Development,
}

/// A route.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub may_call: MayCall,
    handler: fn() -> MethodRouter<App>,
}

const fn route(method: Method, path: &'static str, may_call: MayCall, handler: fn() -> MethodRouter<App>) -> Route {
    Route { method, path, may_call, handler }
}

/// The table.
pub const ROUTES: &[Route] = &[
    route(Method::GET, "/health", MayCall::Anyone, || get(api::health::live)),
    route(Method::GET, "/livez", MayCall::Anyone, || get(api::health::live)),
    route(Method::GET, "/readyz", MayCall::Anyone, || get(api::health::ready)),
    route(Method::GET, "/openapi.json", MayCall::Anyone, || get(api::openapi::get)),
    route(Method::GET, "/docs", MayCall::Anyone, || get(pages::openapi::show)),
    route(Method::GET, "/.well-known/jwks.json", MayCall::Anyone, || get(api::jwks::get)),
    route(Method::GET, "/auth/{actor_type}/{auth_provider}", MayCall::Anyone, || get(api::sign_in::get)),
    route(Method::POST, "/auth/{actor_type}/{auth_provider}", MayCall::Anyone, || post(api::sign_in::post)),
    route(Method::POST, "/auth/{actor_type}/{auth_provider}/register", MayCall::Anyone, || post(api::registration::post)),
    route(Method::POST, "/auth/{actor_type}/{auth_provider}/reset-password", MayCall::Anyone, || post(api::password_reset::request)),
    route(Method::POST, "/auth/{actor_type}/{auth_provider}/update", MayCall::ResetToken, || post(api::password_reset::update)),
    route(Method::GET, "/auth/{actor_type}/{auth_provider}/callback", MayCall::Anyone, || get(api::callback::get)),
    route(Method::POST, "/auth/{actor_type}/{auth_provider}/callback", MayCall::Anyone, || post(api::callback::post)),
    route(Method::GET, "/auth/{actor_type}/providers", MayCall::Anyone, || get(api::callback::providers)),
    route(Method::GET, "/auth/callback/{auth_provider}", MayCall::Anyone, || get(api::callback::shared_get)),
    route(Method::POST, "/auth/callback/{auth_provider}", MayCall::Anyone, || post(api::callback::shared_post)),
    route(Method::POST, "/auth/token/refresh", MayCall::Login, || post(api::token::refresh)),
    route(Method::POST, "/auth/{actor_type}/{auth_provider}/change-password", MayCall::Login, || post(api::password_change::post)),
    route(Method::POST, "/auth/session", MayCall::Token, || post(api::session_cookie::give)),
    route(Method::DELETE, "/auth/session", MayCall::Cookie, || delete(api::session_cookie::end)),
    route(Method::GET, "/auth/sessions", MayCall::Login, || get(api::session::list)),
    route(Method::DELETE, "/auth/sessions", MayCall::Login, || delete(api::session::end_several)),
    route(Method::DELETE, "/auth/sessions/current", MayCall::Login, || delete(api::session::end_current)),
    route(Method::DELETE, "/auth/sessions/{id}", MayCall::Login, || delete(api::session::end_one)),
    route(Method::GET, "/auth/identities", MayCall::Login, || get(api::identity::list)),
    route(Method::POST, "/auth/identities", MayCall::Login, || post(api::identity::link)),
    route(Method::DELETE, "/auth/identities/{id}", MayCall::Login, || delete(api::identity::unlink)),
    route(Method::POST, "/store/customers", MayCall::CustomerLogin, || post(api::customer::create)),
    route(Method::GET, "/store/customers/me", MayCall::Customer, || get(api::customer::me)),
    route(Method::POST, "/store/customers/me", MayCall::Customer, || post(api::customer::update)),
    route(Method::GET, "/store/customers/me/addresses", MayCall::Customer, || get(api::address::list)),
    route(Method::POST, "/store/customers/me/addresses", MayCall::Customer, || post(api::address::create)),
    route(Method::GET, "/store/customers/me/addresses/{id}", MayCall::Customer, || get(api::address::show)),
    route(Method::POST, "/store/customers/me/addresses/{id}", MayCall::Customer, || post(api::address::update)),
    route(Method::DELETE, "/store/customers/me/addresses/{id}", MayCall::Customer, || delete(api::address::delete)),
    route(Method::GET, "/admin/customers", MayCall::Staff, || get(admin::customer::list)),
    route(Method::GET, "/admin/customers/{id}", MayCall::Staff, || get(admin::customer::show)),
    route(Method::DELETE, "/admin/customers/{id}", MayCall::Staff, || delete(admin::customer::delete)),
    route(Method::GET, "/admin/customers/{id}/timeline", MayCall::Staff, || get(admin::timeline::show)),
    route(Method::GET, "/admin/events", MayCall::Staff, || get(admin::event::list)),
    route(Method::GET, "/account/reset-password", MayCall::Anyone, || get(pages::password_reset::show)),
    route(Method::POST, "/account/reset-password", MayCall::Anyone, || post(pages::password_reset::complete)),
    route(Method::POST, "/account/reset-password/request", MayCall::Anyone, || post(pages::password_reset::request)),
    route(Method::GET, "/account/assets/{name}", MayCall::Anyone, || get(pages::asset)),
    route(Method::GET, "/t/{slug}/account/reset-password", MayCall::Anyone, || get(pages::password_reset::show)),
    route(Method::POST, "/t/{slug}/account/reset-password", MayCall::Anyone, || post(pages::password_reset::complete)),
    route(Method::POST, "/t/{slug}/account/reset-password/request", MayCall::Anyone, || post(pages::password_reset::request)),
    route(Method::GET, "/t/{slug}/account/assets/{name}", MayCall::Anyone, || get(pages::slug_asset)),
    route(Method::GET, "/app", MayCall::Console, || get(pages::console::show)),
    route(Method::GET, "/app/sign-in", MayCall::Anyone, || get(pages::console::ask)),
    route(Method::POST, "/app/sign-in", MayCall::Anyone, || post(pages::console::sign_in)),
    route(Method::POST, "/app/sign-in/link", MayCall::Development, || post(pages::console::by_link)),
    route(Method::POST, "/app/sign-out", MayCall::Anyone, || post(pages::console::sign_out)),
    route(Method::GET, "/app/templates", MayCall::Console, || get(pages::template::show)),
    route(Method::POST, "/app/templates", MayCall::Console, || post(pages::template::save)),
    route(Method::POST, "/app/templates/preview", MayCall::Console, || post(pages::template::draft)),
    route(Method::POST, "/app/templates/remove", MayCall::Console, || post(pages::template::remove)),
    route(Method::POST, "/app/templates/send", MayCall::Console, || post(pages::template::send)),
    route(Method::GET, "/app/templates/html", MayCall::Console, || get(pages::template::html)),
    route(Method::POST, "/app/templates/html", MayCall::Console, || post(pages::template::draft_html)),
    route(Method::GET, "/dev/inbox", MayCall::Development, || get(pages::inbox::list)),
    route(Method::GET, "/dev/inbox.json", MayCall::Development, || get(pages::inbox::json)),
    route(Method::GET, "/dev/inbox/{id}", MayCall::Development, || get(pages::inbox::show)),
    route(Method::GET, "/dev/inbox/{id}/html", MayCall::Development, || get(pages::inbox::html)),
    route(Method::GET, "/dev/sign-in", MayCall::Development, || get(pages::demo_storefront::sign_in)),
    route(Method::GET, "/dev/callback", MayCall::Development, || get(pages::demo_storefront::callback)),
    route(Method::GET, "/dev/assets/{name}", MayCall::Development, || get(pages::demo_storefront::asset)),
    route(Method::GET, "/dev/idp/.well-known/openid-configuration", MayCall::Development, || get(pages::demo_provider::configuration)),
    route(Method::GET, "/dev/idp/jwks", MayCall::Development, || get(pages::demo_provider::jwks)),
    route(Method::GET, "/dev/idp/authorize", MayCall::Development, || get(pages::demo_provider::show)),
    route(Method::POST, "/dev/idp/authorize", MayCall::Development, || post(pages::demo_provider::decide)),
    route(Method::POST, "/dev/idp/token", MayCall::Development, || post(pages::demo_provider::token)),
    route(Method::GET, "/dev/idp/userinfo", MayCall::Development, || get(pages::demo_provider::userinfo)),
    route(Method::POST, "/dev/idp/userinfo", MayCall::Development, || post(pages::demo_provider::userinfo)),
];

/// The table as a router. Without `development` its routes do not exist.
pub fn router(app: App) -> Router {
    let exists = |route: &&Route| route.may_call != MayCall::Development || app.engine.config.server.development;
    let mut router = Router::new();
    for route in ROUTES.iter().filter(exists) {
        let handler = (route.handler)();
        let handler = if route.may_call == MayCall::Development { handler.route_layer(from_fn(of_this_machine)) } else { handler };
        router = router.route(route.path, handler);
    }
    let shared: BTreeSet<&str> = ROUTES.iter().map(|route| route.path).filter(|path| is_shared(path)).collect();
    for path in shared {
        router = router.route(path, options(preflight));
    }
    // There is never a 405: what a path does not do, it does not have.
    router.fallback(no_route).method_not_allowed_fallback(no_route).with_state(app)
}

/// A page elsewhere can have a name of its own lead to this machine, and read what answers there: so only this machine's names are answered.
async fn of_this_machine(request: Request, next: Next) -> Result<Response, ApiError> {
    let host = host(request.uri(), request.headers()).unwrap_or_default();
    let own = Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
    if own { Ok(next.run(request).await) } else { Err(ApiError::no_route(request.method(), request.uri())) }
}

/// A browser asks whether a page of another origin may call a path that is there. What it is told stands in `src/wire.rs`.
async fn preflight(_: CurrentTenant) -> (StatusCode, Extension<Preflight>) {
    (StatusCode::NO_CONTENT, Extension(Preflight))
}

/// Whoever may not call an API at all does not learn what is in it.
async fn may_know(parts: &mut Parts, app: &App) -> Result<(), ApiError> {
    let path = parts.uri.path();
    let of_a_customer = path.starts_with("/store/customers/me");
    if path == "/admin" || path.starts_with("/admin/") {
        Staff::from_request_parts(parts, app).await?;
    } else if path.starts_with("/store/") {
        Publishable::from_request_parts(parts, app).await?;
        if of_a_customer {
            SignedInCustomer::from_request_parts(parts, app).await?;
        }
    }
    Ok(())
}

async fn no_route(State(app): State<App>, request: Request) -> ApiError {
    let (mut parts, _) = request.into_parts();
    if let Err(refused) = may_know(&mut parts, &app).await {
        return refused;
    }
    ApiError::no_route(&parts.method, &parts.uri)
}
