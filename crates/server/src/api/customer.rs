//! `POST /store/customers` and `/store/customers/me`.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};
use vestibule_engine::model::customer::{Change, Customer, Profile};
use vestibule_engine::ops;

use super::validate::{Fields, no_query};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::actor::{CustomerLogin, SignedInCustomer};
use crate::extract::body::Body;
use crate::extract::publishable::Publishable;
use crate::extract::tenant::CurrentTenant;

/// Longest text in a customer's field, in characters.
const TEXT: usize = 1_000;
/// Largest `metadata`, in bytes of JSON.
const METADATA_BYTES: usize = 16 * 1024;

/// `POST /store/customers`: the caller's login becomes a customer.
pub async fn create(
    State(app): State<App>,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    CustomerLogin(caller): CustomerLogin,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::of(body)?;
    let email = fields.string("email").into_value();
    let profile = profile(&mut fields);
    fields.finish()?;
    let customer = ops::customer::create(&app.engine, &tenant, &caller, email.as_deref(), profile).await?;
    Ok(envelope(&customer))
}

/// `GET /store/customers/me`.
pub async fn me(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(id): SignedInCustomer,
) -> Result<Json<Value>, ApiError> {
    no_query(query.as_deref())?;
    Ok(envelope(&ops::customer::get(&app.engine, &tenant, id).await?))
}

/// `POST /store/customers/me`.
pub async fn update(
    State(app): State<App>,
    Body(body): Body,
    CurrentTenant(tenant): CurrentTenant,
    _: Publishable,
    SignedInCustomer(id): SignedInCustomer,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::of(body)?;
    let profile = profile(&mut fields);
    fields.finish()?;
    Ok(envelope(&ops::customer::update(&app.engine, &tenant, id, profile).await?))
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

fn envelope(customer: &Customer) -> Json<Value> {
    Json(json!({ "customer": {
        "id": customer.id.to_string(),
        "email": customer.email,
        "company_name": customer.company_name,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "phone": customer.phone,
        "metadata": customer.metadata,
        "has_account": customer.has_account,
        "deleted_at": customer.deleted_at.map(|t| t.to_string()),
        "created_at": customer.created_at.to_string(),
        "updated_at": customer.updated_at.to_string(),
        // Addresses cannot be stored yet, so every customer has none.
        "addresses": [],
    }}))
}
