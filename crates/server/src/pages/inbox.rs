//! The development inbox: the mails that `vestibule dev` caught.

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::notify::inbox::InboxMail;

use super::render::{self, InboxMailView, InboxRow};
use super::{page, secure};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::path::Path;

/// The mail's own HTML may have styles, and links that open beside it: no script, no form, no picture from elsewhere.
const MAIL_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox";

/// `GET /dev/inbox`.
pub async fn list(State(app): State<App>) -> Result<Response, ApiError> {
    let rows: Vec<InboxRow> = app
        .engine
        .inbox
        .list()
        .into_iter()
        .map(|mail| InboxRow { id: mail.id, tenant: mail.tenant, to: mail.to, subject: mail.subject, at: mail.at.to_string() })
        .collect();
    page(StatusCode::OK, render::inbox(&rows))
}

/// `GET /dev/inbox.json`: newest first.
pub async fn json(State(app): State<App>) -> Response {
    let mails = app.engine.inbox.list();
    let mails = mails.into_iter().map(|m| {
        json!({"id": m.id, "tenant": m.tenant, "to": m.to, "from": m.from, "subject": m.subject, "text": m.text, "html": m.html, "at": m.at.to_string()})
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(mails.collect::<Value>())).into_response()
}

fn find(app: &App, id: &str) -> Result<InboxMail, Error> {
    app.engine.inbox.list().into_iter().find(|mail| mail.id == id).ok_or_else(|| Error::new(Code::NotFound, "There is no such mail"))
}

/// `GET /dev/inbox/{id}`.
pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let mail = find(&app, &id)?;
    let links = mail.text.split_whitespace().filter(|word| word.starts_with("http")).map(str::to_owned).collect();
    page(
        StatusCode::OK,
        render::inbox_mail(&InboxMailView {
            id: mail.id,
            tenant: mail.tenant,
            from: mail.from.unwrap_or_default(),
            to: mail.to,
            subject: mail.subject,
            at: mail.at.to_string(),
            text: mail.text,
            has_html: !mail.html.is_empty(),
            links,
        }),
    )
}

/// `GET /dev/inbox/{id}/html`: the mail's HTML, shown in a sandboxed frame.
pub async fn html(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let mut response = Html(find(&app, &id)?.html).into_response();
    secure(response.headers_mut(), MAIL_POLICY);
    Ok(response)
}
