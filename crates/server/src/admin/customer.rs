//! `/admin/customers`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::customer::{Search, ids_between};
use vestibule_engine::model::ids::CustomerId;
use vestibule_engine::model::time::Timestamp;
use vestibule_engine::ops;
use vestibule_engine::ops::customer::{COUNTED, WithAddresses};
use vestibule_engine::provider::emailpass;

use crate::api::customer::{Shown, wants_addresses};
use crate::api::fields::{CUSTOMER_FOR_STAFF, Selection};
use crate::api::query;
use crate::api::validate::Fields;
use crate::error::{ApiError, echo};
use crate::extract::App;
use crate::extract::staff::Staff;
use crate::extract::tenant::CurrentTenant;

/// How many customers a page has if nobody says, and at most.
const LIMIT: usize = 50;
const MOST: usize = 200;

/// How many ids or addresses a search may name.
const NAMED: usize = 100;

/// `GET /admin/customers`.
pub async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Staff,
) -> Result<Json<Value>, ApiError> {
    let (search, selection) = search(query.as_deref())?;
    let (offset, limit) = (search.offset, search.limit);
    let page = ops::customer::list(&app.engine, &tenant, search, wants_addresses(&selection)).await?;
    let shown = page.customers.iter().map(|whole| shown(whole, &selection));
    Ok(Json(json!({"customers": shown.collect::<Vec<_>>(), "count": page.count, "offset": offset, "limit": limit})))
}

/// `GET /admin/customers/{id}`.
pub async fn show(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Staff,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let selection = query::selection(query.as_deref(), &CUSTOMER_FOR_STAFF)?;
    let (id, text) = named(path);
    let found = match id {
        Some(id) => ops::customer::by_id(&app.engine, &tenant, id, wants_addresses(&selection)).await?,
        None => None,
    };
    let whole = found.ok_or_else(|| Error::new(Code::NotFound, format!("Customer with id: {text} not found")))?;
    Ok(Json(json!({"customer": shown(&whole, &selection)})))
}

/// `DELETE /admin/customers/{id}`. What is not there counts as deleted, whosever it may be elsewhere.
pub async fn delete(
    State(app): State<App>,
    CurrentTenant(tenant): CurrentTenant,
    Staff { id: by }: Staff,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let (id, text) = named(path);
    if let Some(id) = id
        && ops::customer::delete(&app.engine, &tenant, id).await?
    {
        tracing::info!(tenant = tenant.slug, by, customer = %id, "a customer was deleted");
    }
    Ok(Json(json!({"id": text, "object": "customer", "deleted": true})))
}

/// A customer as the staff sees it.
const fn shown<'c>(whole: &'c WithAddresses, selection: &'c Selection) -> Shown<'c> {
    Shown { customer: &whole.customer, addresses: whole.addresses.as_slice(), shape: &CUSTOMER_FOR_STAFF, selection }
}

/// The customer that the path names, and how it names it. What is no id is an id that nobody has.
pub(super) fn named(path: Result<Path<String>, PathRejection>) -> (Option<CustomerId>, String) {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    // One spelling only, so that one customer has one URL.
    let id = text.parse::<CustomerId>().ok().filter(|id| id.to_string() == text);
    let named = echo(&text, 60);
    (id, named)
}

fn search(query: Option<&str>) -> Result<(Search, Selection), Error> {
    let mut parameters = query::parse(query)?;
    let list = parameters.parameter("fields");
    let offset = parameters.number_up_to("offset", COUNTED).unwrap_or(0);
    let limit = parameters.number_up_to("limit", MOST).unwrap_or(LIMIT);
    let order = parameters.parameter("order").unwrap_or_default();
    let start = parameters.parameter("q").map(|text| text.trim().to_lowercase());
    // PostgreSQL cannot be asked for it.
    if start.as_ref().is_some_and(|start| start.contains('\0')) {
        parameters.issue("Field 'q' holds a NUL character");
    }
    let ids = several(&mut parameters, "id");
    let addresses = several(&mut parameters, "email");
    let between = created(&mut parameters);
    parameters.finish()?;
    let (field, newest_first) = order.strip_prefix('-').map_or((order.as_str(), false), |field| (field, true));
    // An id begins with its time, so these two are one order, and the only one that needs no sorting.
    if !matches!(field, "" | "id" | "created_at") {
        return Err(Error::invalid(format!("Order field {} is not valid", echo(field, 60))));
    }
    let search = Search {
        ids: ids.map(|ids| ids.iter().filter_map(|text| text.parse().ok()).collect()),
        addresses: addresses.map(|all| all.iter().filter_map(|text| emailpass::address(text).ok()).map(|email| email.key().to_owned()).collect()),
        address_start: start.filter(|start| !start.is_empty()),
        between,
        newest_first,
        offset,
        limit,
    };
    Ok((search, Selection::of(&CUSTOMER_FOR_STAFF, list.as_deref())))
}

/// A text of the query, or several of which any will do.
fn several(parameters: &mut Fields, name: &str) -> Option<Vec<String>> {
    let values = parameters.one_of(name)?;
    if values.len() > NAMED {
        parameters.issue(format!("Value for field '{name}' too big, expected at most: '{NAMED}'"));
    }
    Some(values)
}

/// `created_at[$gte]=…` and its like, as ids. To the millisecond, as times are shown.
fn created(parameters: &mut Fields) -> (CustomerId, CustomerId) {
    let (mut from, mut until) = (None::<i64>, None::<i64>);
    for (operator, value) in parameters.record("created_at").into_value().unwrap_or_default() {
        let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let (Some(millis), "$gt" | "$gte" | "$lt" | "$lte") = (time.map(Timestamp::millis), operator.as_str()) else {
            let operator = echo(&operator, 20);
            parameters
                .issue(format!("Field 'created_at, {operator}' is neither $gt, $gte, $lt nor $lte with a time such as 2026-11-23T15:16:40.973Z"));
            continue;
        };
        let next = millis.saturating_add(1);
        match operator.as_str() {
            "$gt" => from = from.max(Some(next)),
            "$gte" => from = from.max(Some(millis)),
            "$lt" => until = Some(until.unwrap_or(i64::MAX).min(millis)),
            _ => until = Some(until.unwrap_or(i64::MAX).min(next)),
        }
    }
    ids_between(from, until)
}
