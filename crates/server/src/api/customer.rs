//! `POST /store/customers` and `/store/customers/me`.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::{Map, Value};
use vestibule_engine::model::customer::{Change, Customer, METADATA_BYTES, Profile};
use vestibule_engine::ops;
use vestibule_engine::provider::emailpass;

use super::validate::{Fields, no_query};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::{CustomerLogin, Me, SignedInCustomer};
use crate::extract::body::Body;
use crate::extract::publishable::Publishable;
use crate::extract::tenant::CurrentTenant;

/// Longest text in a customer's field, in characters.
const TEXT: usize = 1_000;

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
    no_query(query.as_deref())?;
    let customer = ops::customer::create(&app.engine, &tenant, &caller, email.as_deref(), profile).await?;
    Ok(envelope(customer))
}

/// `GET /store/customers/me`.
pub async fn me(RawQuery(query): RawQuery, _: Publishable, Me(customer): Me) -> Result<Json<Envelope>, ApiError> {
    no_query(query.as_deref())?;
    Ok(envelope(customer))
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
    no_query(query.as_deref())?;
    Ok(envelope(ops::customer::update(&app.engine, &tenant, id, profile).await?))
}

fn profile(fields: &mut Fields) -> Profile {
    let profile = Profile {
        company_name: fields.string("company_name"),
        first_name: fields.string("first_name"),
        last_name: fields.string("last_name"),
        phone: fields.string("phone"),
        metadata: fields.record("metadata"),
    };
    for (name, change) in
        [("company_name", &profile.company_name), ("first_name", &profile.first_name), ("last_name", &profile.last_name), ("phone", &profile.phone)]
    {
        if let Change::Set(Some(text)) = change {
            if text.chars().count() > TEXT {
                fields.issue(format!("Value for field '{name}' too big, expected at most: '{TEXT}'"));
            }
            // PostgreSQL cannot store it.
            if text.contains('\0') {
                fields.issue(format!("Field '{name}' holds a NUL character"));
            }
        }
    }
    if let Change::Set(Some(metadata)) = &profile.metadata
        && Value::Object(metadata.clone()).to_string().len() > METADATA_BYTES
    {
        fields.issue(format!("Value for field 'metadata' too big, expected at most: '{METADATA_BYTES}'"));
    }
    profile
}

/// A customer on the wire.
#[derive(Serialize)]
pub struct Envelope {
    customer: Shown,
}

#[derive(Serialize)]
struct Shown {
    id: String,
    email: Option<String>,
    company_name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    phone: Option<String>,
    metadata: Option<Map<String, Value>>,
    has_account: bool,
    deleted_at: Option<String>,
    created_at: String,
    updated_at: String,
    /// Addresses cannot be stored yet, so every customer has none.
    addresses: [(); 0],
}

fn envelope(customer: Customer) -> Json<Envelope> {
    Json(Envelope {
        customer: Shown {
            id: customer.id.to_string(),
            email: customer.email,
            company_name: customer.company_name,
            first_name: customer.first_name,
            last_name: customer.last_name,
            phone: customer.phone,
            metadata: customer.metadata,
            has_account: customer.has_account,
            deleted_at: customer.deleted_at.map(|t| t.to_string()),
            created_at: customer.created_at.to_string(),
            updated_at: customer.updated_at.to_string(),
            addresses: [],
        },
    })
}
