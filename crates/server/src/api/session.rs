//! `/auth/sessions`: the caller's own sessions. Ours: Medusa has no such routes.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use serde_json::{Value, json};
use vestibule_engine::model::ids::SessionId;
use vestibule_engine::ops::session::{self, Caller, Listed, Which};

use super::query;
use crate::error::{ApiError, echo};
use crate::extract::App;
use crate::extract::actor::AnyLogin;
use crate::extract::path::Path;
use crate::extract::session_cookie::SessionCookie;
use crate::extract::tenant::CurrentTenant;

/// `GET /auth/sessions`.
pub async fn list(State(app): State<App>, CurrentTenant(tenant): CurrentTenant, AnyLogin(caller): AnyLogin) -> Result<Json<Value>, ApiError> {
    let sessions = session::list(&app.engine, &tenant, &caller).await?;
    Ok(Json(json!({ "sessions": sessions.iter().map(shown).collect::<Vec<_>>() })))
}

/// `DELETE /auth/sessions/{id}`.
pub async fn end_one(
    State(app): State<App>,
    tenant: CurrentTenant,
    AnyLogin(caller): AnyLogin,
    cookie: SessionCookie,
    Path(text): Path<String>,
) -> Result<Response, ApiError> {
    let missing = || session::not_found(&echo(&text, 60));
    // One spelling only, so that one session has one URL.
    let id = text.parse::<SessionId>().ok().filter(|id| id.to_string() == text).ok_or_else(missing)?;
    end(&app, &tenant, &caller, &cookie, Which::One(id), json!({ "id": id.to_string(), "object": "session", "deleted": true })).await
}

/// `DELETE /auth/sessions/current`: signs out whoever has a token and no cookie.
pub async fn end_current(
    State(app): State<App>,
    tenant: CurrentTenant,
    AnyLogin(caller): AnyLogin,
    cookie: SessionCookie,
) -> Result<Response, ApiError> {
    // A token of a former secret has no session of its own to name.
    let id = caller.session.map_or_else(|| "current".to_owned(), |id| id.to_string());
    end(&app, &tenant, &caller, &cookie, Which::Own, json!({ "id": id, "object": "session", "deleted": true })).await
}

/// `DELETE /auth/sessions`: all others; with `?all=true` the caller's own, too.
pub async fn end_several(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    tenant: CurrentTenant,
    AnyLogin(caller): AnyLogin,
    cookie: SessionCookie,
) -> Result<Response, ApiError> {
    let mut parameters = query::parse(query.as_deref())?;
    let all = parameters.switch("all").unwrap_or(false);
    parameters.finish()?;
    end(&app, &tenant, &caller, &cookie, if all { Which::All } else { Which::Others }, json!({ "success": true })).await
}

async fn end(app: &App, tenant: &CurrentTenant, caller: &Caller, cookie: &SessionCookie, which: Which, body: Value) -> Result<Response, ApiError> {
    session::end(&app.engine, &tenant.0, caller, which).await?;
    let mut response = Json(body).into_response();
    let own = match which {
        Which::Own | Which::All => true,
        Which::One(id) => Some(id) == caller.session,
        Which::Others => false,
    };
    if own && cookie.shown.is_some() {
        response.headers_mut().append(SET_COOKIE, cookie.clear()?);
    }
    Ok(response)
}

fn shown(listed: &Listed) -> Value {
    json!({
        "id": listed.id.to_string(),
        "provider": listed.provider,
        "user_agent": listed.user_agent,
        "current": listed.current,
        "created_at": listed.created_at.to_string(),
        "expires_at": listed.expires_at.to_string(),
    })
}
