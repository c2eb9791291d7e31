//! `POST /store/customers` and `/store/customers/me`.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderValue, header};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use vestibule_engine::error::Error;
use vestibule_engine::model::address::Address;
use vestibule_engine::model::customer::{Customer, METADATA_BYTES, Profile};
use vestibule_engine::ops;
use vestibule_engine::ops::customer::WithAddresses;
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::provider::emailpass;

use super::fields::{CUSTOMER, Selection, Shape};
use super::validate::Fields;
use super::{address, query};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::{CustomerLogin, SignedInCustomer, Unread};
use crate::extract::body::Body;
use crate::extract::idempotency::{self, Keyed, reply};
use crate::extract::publishable::Publishable;
use crate::extract::tenant::CurrentTenant;

const ADDRESSES: &str = "addresses";
/// Most customers are no longer on the wire, so that their text is not moved as it grows.
const USUAL_BYTES: usize = 1_024;
/// What is added to an answer on its way out finds room, so that the map of its headers need not grow.
const USUAL_HEADERS: usize = 12;

/// `POST /store/customers`: the caller's login becomes a customer.
pub async fn create(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    CustomerLogin(caller): CustomerLogin,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    // Whoever is a customer hears that first, whatever else is wrong with the request.
    ops::customer::may_become(&caller)?;
    let mut fields = Fields::of(body)?;
    let email = fields.string("email").into_value();
    if email.as_deref().is_some_and(|text| emailpass::address(text).is_err()) {
        fields.issue("Invalid email address");
    }
    let profile = profile(&mut fields);
    fields.finish()?;
    let selection = query::selection(query.as_deref(), &CUSTOMER)?;
    let receipt = keyed.receipt(move |made: &Customer| idempotency::json(&Envelope::of(made, &[], &selection)));
    let made = ops::customer::create(&app.engine, &tenant, &caller, email.as_deref(), profile, &receipt).await?;
    reply(&receipt, &made)
}

/// `GET /store/customers/me`.
pub async fn me(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    Unread(caller): Unread,
) -> Result<Response, ApiError> {
    let selection = query::selection(query.as_deref(), &CUSTOMER);
    // A bad query is told only to those who may ask.
    let wanted = selection.as_ref().is_ok_and(wants_addresses);
    let customer = ops::customer::me(&app.engine, &tenant, &caller, wanted).await?;
    let selection = selection?;
    let mut body = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut body, &Envelope::of(&customer.customer, &customer.addresses, &selection))
        .map_err(|e| Error::unexpected(e.to_string()))?;
    let mut response = Response::new(body.into());
    response.headers_mut().reserve(USUAL_HEADERS);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// `POST /store/customers/me`.
pub async fn update(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(id): SignedInCustomer,
    keyed: Keyed,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body)?;
    let profile = profile(&mut fields);
    fields.finish()?;
    let selection = query::selection(query.as_deref(), &CUSTOMER)?;
    let wanted = wants_addresses(&selection);
    let receipt = changed(&keyed, selection);
    let updated = ops::customer::update(&app.engine, &tenant, id, profile, wanted, &receipt).await?;
    reply(&receipt, &updated)
}

/// What a customer may say of itself.
pub fn profile(fields: &mut Fields) -> Profile {
    Profile {
        company_name: fields.text("company_name"),
        first_name: fields.text("first_name"),
        last_name: fields.text("last_name"),
        phone: fields.text("phone"),
        metadata: fields.metadata(METADATA_BYTES),
    }
}

/// A customer as an answer.
#[derive(Serialize)]
struct Envelope<'c> {
    customer: Shown<'c>,
}

impl<'c> Envelope<'c> {
    fn of(customer: &'c Customer, addresses: &'c [Address], selection: &'c Selection) -> Self {
        Self { customer: Shown { customer, addresses, shape: &CUSTOMER, selection } }
    }
}

/// What a change of a customer or its addresses settles: the customer.
pub fn changed(keyed: &Keyed, selection: Selection) -> Receipt<WithAddresses> {
    keyed.receipt(move |whole: &WithAddresses| idempotency::json(&Envelope::of(&whole.customer, &whole.addresses, &selection)))
}

/// A customer on the wire. It is written as it is read, because this is what storefronts ask most.
pub struct Shown<'c> {
    pub customer: &'c Customer,
    pub addresses: &'c [Address],
    pub shape: &'static Shape,
    pub selection: &'c Selection,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { customer, addresses, shape, selection } = self;
        let mut map = serializer.serialize_map(None)?;
        for field in selection.wanted(shape) {
            write(&mut map, customer, field)?;
        }
        if wants_addresses(selection) {
            let one = |a| selection.show_related(shape, ADDRESSES, |field| address::value(a, field));
            map.serialize_entry(ADDRESSES, &addresses.iter().map(one).collect::<Vec<_>>())?;
        }
        if selection.relation("orders").is_some() {
            map.serialize_entry("orders", &[(); 0])?;
        }
        map.end()
    }
}

/// Whether addresses have to be read.
pub fn wants_addresses(selection: &Selection) -> bool {
    selection.relation(ADDRESSES).is_some()
}

/// Writes what a customer says in `field`; also in `created_by`: nobody is made by somebody else yet.
fn write<M: SerializeMap>(map: &mut M, customer: &Customer, field: &str) -> Result<(), M::Error> {
    match field {
        "id" => map.serialize_entry(field, &customer.id),
        "email" => map.serialize_entry(field, &customer.email),
        "company_name" => map.serialize_entry(field, &customer.company_name),
        "first_name" => map.serialize_entry(field, &customer.first_name),
        "last_name" => map.serialize_entry(field, &customer.last_name),
        "phone" => map.serialize_entry(field, &customer.phone),
        "metadata" => map.serialize_entry(field, &customer.metadata),
        "has_account" => map.serialize_entry(field, &customer.has_account),
        "deleted_at" => map.serialize_entry(field, &customer.deleted_at),
        "created_at" => map.serialize_entry(field, &customer.created_at),
        "updated_at" => map.serialize_entry(field, &customer.updated_at),
        _ => map.serialize_entry(field, &()),
    }
}
