//! `/admin/customers/{id}/timeline`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::ops::timeline::{self, Step, Timeline};

use super::customer::named;
use crate::api::query;
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::staff::Staff;
use crate::extract::tenant::CurrentTenant;

/// `GET /admin/customers/{id}/timeline`.
pub async fn show(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Staff,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    query::parse(query.as_deref())?.finish()?;
    let (id, text) = named(path);
    let found = match id {
        Some(id) => timeline::of_customer(&app.engine, &tenant, id).await?,
        None => None,
    };
    let found = found.ok_or_else(|| Error::new(Code::NotFound, format!("Customer with id: {text} not found")))?;
    Ok(Json(shown(&found)))
}

/// A timeline as JSON.
pub fn shown(timeline: &Timeline) -> Value {
    let steps: Vec<Value> = timeline.steps.iter().map(one).collect();
    json!({"timeline": steps, "last_reset": timeline.last_reset})
}

fn one(step: &Step) -> Value {
    json!({
        "at": step.at.to_string(), "what": step.what.as_str(), "event": step.name.as_str(), "event_id": step.event.to_string(), "number": step.number,
        "subscriber": step.subscriber, "answer": step.answer,
    })
}
