//! `POST /store/customers` and `/store/customers/me`.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use vestibule_engine::model::customer::{Customer, METADATA_BYTES, Profile};
use vestibule_engine::ops;
use vestibule_engine::ops::customer::WithAddresses;
use vestibule_engine::provider::emailpass;

use super::fields::{CUSTOMER, Selection, Shape};
use super::validate::Fields;
use super::{address, query};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::{CustomerLogin, SignedInCustomer, Unread};
use crate::extract::body::Body;
use crate::extract::publishable::Publishable;
use crate::extract::tenant::CurrentTenant;

const ADDRESSES: &str = "addresses";

/// `POST /store/customers`: the caller's login becomes a customer.
pub async fn create(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    CustomerLogin(caller): CustomerLogin,
) -> Result<Json<Envelope>, ApiError> {
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
    let customer = ops::customer::create(&app.engine, &tenant, &caller, email.as_deref(), profile).await?;
    Ok(envelope(WithAddresses { customer, addresses: Vec::new() }, selection))
}

/// `GET /store/customers/me`.
pub async fn me(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    who: Unread,
) -> Result<Json<Envelope>, ApiError> {
    let selection = query::selection(query.as_deref(), &CUSTOMER);
    // A bad query is told only to those who may ask.
    let wanted = selection.as_ref().is_ok_and(wants_addresses);
    let customer = match who {
        Unread::Token(token) => ops::customer::me(&app.engine, &tenant, &token, wanted).await?,
        Unread::Caller(caller) => ops::customer::of(&app.engine, &tenant, caller, wanted).await?,
    };
    Ok(envelope(customer, selection?))
}

/// `POST /store/customers/me`.
pub async fn update(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(id): SignedInCustomer,
) -> Result<Json<Envelope>, ApiError> {
    let mut fields = Fields::of(body)?;
    let profile = profile(&mut fields);
    fields.finish()?;
    let selection = query::selection(query.as_deref(), &CUSTOMER)?;
    let updated = ops::customer::update(&app.engine, &tenant, id, profile, wants_addresses(&selection)).await?;
    Ok(envelope(updated, selection))
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
pub struct Envelope {
    customer: Shown,
}

pub fn envelope(whole: WithAddresses, selection: Selection) -> Json<Envelope> {
    Json(Envelope { customer: Shown { whole, shape: &CUSTOMER, selection } })
}

/// A customer on the wire. It is written as it is read, because this is what storefronts ask most.
pub struct Shown {
    pub whole: WithAddresses,
    pub shape: &'static Shape,
    pub selection: Selection,
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { whole, shape, selection } = self;
        let mut map = serializer.serialize_map(None)?;
        for field in selection.wanted(shape) {
            write(&mut map, &whole.customer, field)?;
        }
        if wants_addresses(selection) {
            let one = |a| selection.show_related(shape, ADDRESSES, |field| address::value(a, field));
            map.serialize_entry(ADDRESSES, &whole.addresses.iter().map(one).collect::<Vec<_>>())?;
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
        "id" => map.serialize_entry(field, &customer.id.to_string()),
        "email" => map.serialize_entry(field, &customer.email),
        "company_name" => map.serialize_entry(field, &customer.company_name),
        "first_name" => map.serialize_entry(field, &customer.first_name),
        "last_name" => map.serialize_entry(field, &customer.last_name),
        "phone" => map.serialize_entry(field, &customer.phone),
        "metadata" => map.serialize_entry(field, &customer.metadata),
        "has_account" => map.serialize_entry(field, &customer.has_account),
        "deleted_at" => map.serialize_entry(field, &customer.deleted_at.map(|t| t.to_string())),
        "created_at" => map.serialize_entry(field, &customer.created_at.to_string()),
        "updated_at" => map.serialize_entry(field, &customer.updated_at.to_string()),
        _ => map.serialize_entry(field, &()),
    }
}
