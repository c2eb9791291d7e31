//! `/store/customers/me/addresses`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json};
use vestibule_engine::error::Error;
use vestibule_engine::model::address::{Address, AddressChange, METADATA_BYTES, Search, TEXTS};
use vestibule_engine::model::ids::AddressId;
use vestibule_engine::ops;

use super::fields::{ADDRESS, CUSTOMER, Selection};
use super::validate::Fields;
use super::{customer, query};
use crate::error::{ApiError, echo};
use crate::extract::App;
use crate::extract::actor::SignedInCustomer;
use crate::extract::body::Body;
use crate::extract::idempotency::{Keyed, reply};
use crate::extract::publishable::Publishable;
use crate::extract::tenant::CurrentTenant;

/// How many addresses a list has if nobody says.
const LIMIT: usize = 50;

/// `GET /store/customers/me/addresses`.
pub async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(owner): SignedInCustomer,
) -> Result<Json<Value>, ApiError> {
    let (search, selection) = search(query.as_deref())?;
    let page = ops::address::list(&app.engine, &tenant, owner, &search).await?;
    let addresses: Vec<_> = page.addresses.iter().map(|address| shown(address, &selection)).collect();
    Ok(Json(json!({"addresses": addresses, "count": page.count, "offset": search.offset, "limit": search.limit})))
}

/// `POST /store/customers/me/addresses`. The answer is the customer, as storefronts expect it.
pub async fn create(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(owner): SignedInCustomer,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let change = change(body)?;
    let receipt = customer::changed(&keyed, query::selection(query.as_deref(), &CUSTOMER)?);
    let changed = ops::address::create(&app.engine, &tenant, owner, change, &receipt).await?;
    reply(&receipt, &changed)
}

/// `GET /store/customers/me/addresses/{id}`.
pub async fn show(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(owner): SignedInCustomer,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let selection = query::selection(query.as_deref(), &ADDRESS)?;
    let address = ops::address::by_id(&app.engine, &tenant, owner, id(path)?).await?;
    Ok(Json(json!({ "address": shown(&address, &selection) })))
}

/// `POST /store/customers/me/addresses/{id}`. The answer is the customer.
#[expect(clippy::too_many_arguments, reason = "each is one of the things that a handler asks for")]
pub async fn update(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(owner): SignedInCustomer,
    path: Result<Path<String>, PathRejection>,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let change = change(body)?;
    let receipt = customer::changed(&keyed, query::selection(query.as_deref(), &CUSTOMER)?);
    let changed = ops::address::update(&app.engine, &tenant, owner, id(path)?, change, &receipt).await?;
    reply(&receipt, &changed)
}

/// `DELETE /store/customers/me/addresses/{id}`.
pub async fn delete(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(owner): SignedInCustomer,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let selection = query::selection(query.as_deref(), &CUSTOMER)?;
    let id = id(path)?;
    let parent = ops::address::delete(&app.engine, &tenant, owner, id).await?;
    let parent = customer::Shown { customer: &parent.customer, addresses: &parent.addresses, shape: &CUSTOMER, selection: &selection };
    Ok(Json(json!({"id": id.to_string(), "object": "address", "deleted": true, "parent": parent})))
}

/// The address that the path names. What is no id is an id that nobody has.
fn id(path: Result<Path<String>, PathRejection>) -> Result<AddressId, Error> {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    // One spelling only, so that one address has one URL.
    let id = text.parse::<AddressId>().ok().filter(|id| id.to_string() == text);
    id.ok_or_else(|| ops::address::not_found(&echo(&text, 60)))
}

fn change(body: Value) -> Result<AddressChange, Error> {
    let mut fields = Fields::of(body)?;
    let change = AddressChange {
        texts: TEXTS.map(|name| fields.text(name)),
        metadata: fields.metadata(METADATA_BYTES),
        is_default_shipping: fields.flag("is_default_shipping"),
        is_default_billing: fields.flag("is_default_billing"),
    };
    fields.finish()?;
    Ok(change)
}

fn search(query: Option<&str>) -> Result<(Search, Selection), Error> {
    let mut parameters = query::parse(query)?;
    let list = parameters.parameter("fields");
    let offset = parameters.number("offset").unwrap_or(0);
    let limit = parameters.number("limit").unwrap_or(LIMIT);
    let order = parameters.parameter("order").unwrap_or_default();
    // Nothing that is deleted is kept, so there is never more to see.
    parameters.switch("with_deleted");
    let piece = parameters.parameter("q");
    let one_of = ["city", "country_code", "postal_code"].map(|name| parameters.one_of(name).map(|values| (name, values)));
    parameters.finish()?;
    let (field, descending) = order.strip_prefix('-').map_or((order.as_str(), false), |field| (field, true));
    let field = if order.is_empty() { "id" } else { field };
    if !ADDRESS.has(field) {
        return Err(Error::invalid(format!("Order field {} is not valid", echo(field, 60))));
    }
    let search = Search { piece, one_of: one_of.into_iter().flatten().collect(), order: field.to_owned(), descending, offset, limit };
    Ok((search, Selection::of(&ADDRESS, list.as_deref())))
}

fn shown(address: &Address, selection: &Selection) -> Map<String, Value> {
    selection.show(&ADDRESS, |field| value(address, field))
}

/// What an address says in `field`.
pub fn value(address: &Address, field: &str) -> Value {
    match field {
        "id" => address.id.to_string().into(),
        "customer_id" => address.customer.to_string().into(),
        "is_default_shipping" => address.is_default_shipping.into(),
        "is_default_billing" => address.is_default_billing.into(),
        "metadata" => address.metadata.clone().into(),
        "created_at" => address.created_at.to_string().into(),
        "updated_at" => address.updated_at.to_string().into(),
        // Also `deleted_at`, which is shown and never set.
        text => address.text(text).into(),
    }
}
