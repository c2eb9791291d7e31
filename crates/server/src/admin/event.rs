//! `/admin/events`.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, RawQuery, State};
use http::request::Parts;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use vestibule_engine::error::Error;
use vestibule_engine::model::event::{EventName, NumberedEvent};
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::ops;
use vestibule_engine::ops::event::{Page, Wanted};
use vestibule_engine::outbox::Waiting;

use crate::api::query;
use crate::error::{ApiError, echo};
use crate::extract::App;
use crate::extract::staff::Staff;
use crate::extract::tenant::CurrentTenant;

/// How many events a page has if nobody says, and at most.
const LIMIT: usize = 100;
const MOST: usize = 500;
/// How long a request may wait for the next event, in seconds.
const WAIT: usize = 30;
/// How many names a request may give.
const NAMED: usize = 100;
/// How often to look without having been told: another process may have written.
const POLL: Duration = Duration::from_secs(1);
/// How long a request that waits rests between two looks: a busy store's events may all be of other names.
const REST: Duration = Duration::from_millis(200);

/// `GET /admin/events`. With `wait` it is answered when there is something, or when the time is over, or the server stops.
pub async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Staff,
    mut parts: Parts,
) -> Result<Json<Value>, ApiError> {
    let (mut wanted, wait) = wanted(query.as_deref())?;
    let deadline = Instant::now() + wait;
    let waiting = if wait.is_zero() { None } else { Some(app.engine.outbox.wait(tenant.id).ok_or_else(|| Error::too_many(POLL))?) };
    loop {
        // Before the look, so that nothing is missed between it and the wait.
        let rung = waiting.as_ref().map(Waiting::rung);
        let rested = Instant::now() + REST;
        let page = ops::event::list(&app.engine, &tenant, &wanted).await?;
        let over = !page.events.is_empty() || page.next < page.last || Instant::now() >= deadline || app.stop.is_cancelled();
        let Some(rung) = rung.filter(|_| !over) else { return Ok(Json(shown(&tenant, &page))) };
        (wanted.after, wanted.after_id) = (Some(page.next), page.next_id);
        tokio::select! {
            () = async { rung.await; sleep_until(rested).await } => {}
            () = sleep(POLL) => {}
            () = sleep_until(deadline) => {}
            () = app.stop.cancelled() => {}
        }
        // Whose session ended or whose key was revoked meanwhile is told nothing more.
        Staff::from_request_parts(&mut parts, &app).await?;
    }
}

fn wanted(query: Option<&str>) -> Result<(Wanted, Duration), Error> {
    let mut parameters = query::parse(query)?;
    let after = parameters.number("after").map(|after| i64::try_from(after).unwrap_or(i64::MAX));
    let after_id = parameters.parameter("after_id");
    let limit = parameters.number_up_to("limit", MOST).unwrap_or(LIMIT);
    let wait = parameters.number_up_to("wait", WAIT).unwrap_or(0);
    let patterns = parameters.one_of("name").unwrap_or_default();
    if limit == 0 {
        parameters.issue("Value for field 'limit' too small, expected at least: '1'");
    }
    if patterns.len() > NAMED {
        parameters.issue(format!("Value for field 'name' too big, expected at most: '{NAMED}'"));
    }
    if after_id.is_some() && after.is_none() {
        parameters.issue("Field 'after_id' needs 'after'");
    }
    parameters.finish()?;
    let unknown = |id: &str| Error::invalid(format!("There is no event id {}", echo(id, 60)));
    let after_id = after_id.map(|id| id.parse().map_err(|()| unknown(&id))).transpose()?;
    let names = EventName::covered(&patterns).map_err(|nothing| Error::invalid(format!("There is no event {}", echo(nothing, 60))))?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok((Wanted { after, after_id, names, most }, Duration::from_secs(u64::try_from(wait).unwrap_or(0))))
}

fn shown(tenant: &Tenant, page: &Page) -> Value {
    let events: Vec<Value> = page.events.iter().map(|event| one(tenant, event)).collect();
    json!({"events": events, "next": page.next, "next_id": page.next_id.map(|id| id.to_string()), "last": page.last})
}

/// An event for the staff: without its secrets, which are in no row.
pub fn one(tenant: &Tenant, NumberedEvent { event, number }: &NumberedEvent) -> Value {
    json!({
        "number": number, "id": event.id.to_string(), "type": event.name.as_str(), "timestamp": event.created_at.to_string(),
        "data": event.data, "metadata": {"tenant": tenant.slug},
    })
}
