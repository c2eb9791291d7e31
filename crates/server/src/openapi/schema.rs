//! Schemas and examples of what is sent and shown, made from what the code says of them.

use serde_json::{Map, Value, json};
use vestibule_engine::model::address::TEXTS;

use super::{named, reference};
use crate::api::fields::{ADDRESS, CUSTOMER, CUSTOMER_FOR_STAFF, Shape};
use crate::api::validate::TEXT;

pub const CUSTOMER_ID: &str = "cus_01K0A2B3C4D5E6F7G8H9J0KMNP";
pub const ADDRESS_ID: &str = "cuaddr_01K0A2B3C4D5E6F7G8H9J0KMNP";
pub const SESSION_ID: &str = "01K0A2B3C4D5E6F7G8H9J0KMNP";
pub const IDENTITY_ID: &str = "authid_01K0A2B3C4D5E6F7G8H9J0KMNP";
pub const EXAMPLE_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJhY3Rvcl9pZCI6IiJ9.c2lnbmF0dXJl";
pub const EXAMPLE_EMAIL: &str = "customer@gmail.com";
pub const EXAMPLE_PASSWORD: &str = "three-brown-Lamps-2";

const AT: &str = "2026-11-23T15:16:40.973Z";

/// Any text.
pub fn text() -> Value {
    json!({"type": "string"})
}

pub fn boolean() -> Value {
    json!({"type": "boolean"})
}

pub fn date_time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// The same schema, or null.
pub fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    }
    schema
}

pub fn described(description: &str, mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), description.into());
    }
    schema
}

pub fn list_of(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

/// An object that has at least `required`. Others may be added to it one day.
pub fn object(required: &[&str], properties: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let properties: Map<String, Value> = properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// An object in which unknown fields are refused.
pub fn strict(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.insert("additionalProperties".into(), false.into());
    }
    object
}

/// A text of a customer or an address: as long as is kept, without what no database stores.
fn kept_text() -> Value {
    json!({"type": ["string", "null"], "maxLength": TEXT, "pattern": "^[^\\u0000]*$"})
}

/// What is shown as `field` of a customer or an address.
fn shown(field: &str) -> Value {
    match field {
        "id" | "customer_id" => text(),
        "has_account" | "is_default_shipping" | "is_default_billing" => boolean(),
        "metadata" => json!({"type": ["object", "null"]}),
        "created_at" | "updated_at" => date_time(),
        "deleted_at" => or_null(date_time()),
        _ => or_null(text()),
    }
}

/// An example of the same.
fn sample(field: &str) -> Value {
    match field {
        "customer_id" => CUSTOMER_ID.into(),
        "email" => EXAMPLE_EMAIL.into(),
        "first_name" => "Robin".into(),
        "last_name" => "Demo".into(),
        "phone" => "+49 228 5550100".into(),
        "address_1" => "Am Hof 1".into(),
        "city" => "Bonn".into(),
        "country_code" => "de".into(),
        "postal_code" => "53113".into(),
        "metadata" => json!({"newsletter": true}),
        "has_account" | "is_default_shipping" => true.into(),
        "is_default_billing" => false.into(),
        "created_at" | "updated_at" => AT.into(),
        _ => Value::Null,
    }
}

fn properties(fields: &'static [&'static str]) -> impl Iterator<Item = (&'static str, Value)> {
    fields.iter().map(|field| (*field, shown(field)))
}

fn samples(id: &str, fields: &[&str]) -> Map<String, Value> {
    fields.iter().map(|field| ((*field).to_owned(), if *field == "id" { id.into() } else { sample(field) })).collect()
}

fn embedded() -> &'static [&'static str] {
    CUSTOMER.related("addresses")
}

/// A customer as it is shown unless `fields` asks for something else.
pub fn customer_example() -> Value {
    let mut customer = samples(CUSTOMER_ID, CUSTOMER.fields());
    customer.insert("addresses".into(), json!([samples(ADDRESS_ID, embedded())]));
    customer.into()
}

pub fn address_example() -> Value {
    samples(ADDRESS_ID, ADDRESS.fields()).into()
}

/// A customer as the staff sees it.
pub fn staff_customer_example() -> Value {
    samples(CUSTOMER_ID, CUSTOMER_FOR_STAFF.fields()).into()
}

/// `{"customer"}`, which is also what a change of an address answers.
pub fn customer_envelope() -> (Value, Value) {
    (object(&["customer"], [("customer", named("Customer"))]), json!({"customer": customer_example()}))
}

/// `{"token"}`.
pub fn token_envelope() -> (Value, Value) {
    (object(&["token"], [("token", described("A JWT.", text()))]), json!({"token": EXAMPLE_TOKEN}))
}

/// What a customer may say of itself, with its e-mail address where `email` is one.
pub fn profile(email: Option<Value>) -> Value {
    let texts = ["company_name", "first_name", "last_name", "phone"].map(|name| (name, kept_text()));
    strict(object(&[], email.map(|schema| ("email", schema)).into_iter().chain(texts).chain([("metadata", metadata())])))
}

/// What a customer may say of an address.
pub fn address_input() -> Value {
    let flags = ["is_default_shipping", "is_default_billing"].map(|name| (name, boolean()));
    strict(object(&[], TEXTS.map(|name| (name, kept_text())).into_iter().chain([("metadata", metadata())]).chain(flags)))
}

pub fn address_input_example() -> Value {
    let mut example: Map<String, Value> = ["first_name", "last_name", "address_1", "city", "country_code", "postal_code"]
        .into_iter()
        .map(|name| (name.to_owned(), sample(name)))
        .collect();
    example.insert("is_default_shipping".into(), true.into());
    example.into()
}

fn metadata() -> Value {
    described(
        "Merges with what is there: an empty text removes its key, an empty object all keys, null the whole.",
        json!({"type": ["object", "null"]}),
    )
}

/// The values of `order`: a field, from the end with a minus sign.
pub fn order_of(shape: &Shape) -> Value {
    json!({"type": "string", "pattern": format!("^(-?({}))?$", shape.fields().join("|"))})
}

/// `components/schemas`. `types` are the `type`s of errors.
pub fn components(types: &[String]) -> Value {
    let error = object(
        &["type", "message"],
        [
            ("code", described("Only some errors have one.", text())),
            ("type", json!({"type": "string", "enum": types})),
            ("message", described("For people: it may change.", text())),
        ],
    );
    let customer = object(
        &["id"],
        properties(CUSTOMER.fields()).chain([
            ("addresses", list_of(&named("CustomerAddress"))),
            (
                "orders",
                described("Only if fields asks for it, and always empty: orders are the store's backend's.", json!({"type": "array", "maxItems": 0})),
            ),
        ]),
    );
    let staff_customer = object(&["id"], properties(CUSTOMER_FOR_STAFF.fields()).chain([("addresses", list_of(&named("CustomerAddress")))]));
    let identity = object(
        &["id", "provider", "email", "email_proven", "current", "created_at"],
        [
            ("id", text()),
            ("provider", text()),
            ("email", or_null(text())),
            ("email_proven", described("Whether somebody has shown the address to be theirs.", boolean())),
            ("current", described("Whether the request's token is of this login.", boolean())),
            ("created_at", date_time()),
        ],
    );
    json!({
        "Error": error,
        "Customer": described("Without fields, all but orders are shown.", customer),
        "StaffCustomer": described("As the staff sees it: without fields, all but addresses are shown.", staff_customer),
        "CustomerAddress": described("An address within a customer.", object(&["id"], properties(embedded()))),
        "Address": described("An address on its own.", object(&["id"], properties(ADDRESS.fields()))),
        "Session": super::session::schema(),
        "Identity": described("A way in to an account.", identity),
    })
}

/// `components/parameters`.
pub fn parameters() -> Value {
    let path = |name: &str, description: &str, example: &str| json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string"}, "example": example});
    json!({
        "actor_type": path("actor_type", "Who signs in: customer, user for staff, or another that the store has declared.", "customer"),
        "auth_provider": path("auth_provider", "The provider used for authentication: emailpass, or a third party that the store has configured.", "emailpass"),
        "fields": {"name": "fields", "in": "query", "schema": text(), "example": "id,email",
            "description": "The fields to show, parted by commas. +x adds to those shown by default, -x takes away, *x adds all of x."},
        "locale": {"name": "locale", "in": "query", "schema": text(), "example": "de-DE",
            "description": "Accepted everywhere under /store; it changes nothing here."},
        "idempotency_key": {"name": "Idempotency-Key", "in": "header", "schema": text(), "example": "7f0c9c0e-4b0f-4c52-9a55-1a7c6b2d8f11",
            "description": "1 to 255 visible ASCII characters. The same request with the same key is done once and gets the same answer for a day. A 409 gives it back, to retry with."},
        "if_none_match": {"name": "If-None-Match", "in": "header", "schema": text(), "example": "W/\"l8Kq0vQk3Yw2n5T7bZJmXg\"",
            "description": "The ETag of what you have: if it is still the same, the answer is 304 and empty."},
    })
}

/// `components/headers`.
pub fn headers() -> Value {
    let header = |description: &str, schema: Value, example: Value| json!({"description": description, "schema": schema, "example": example});
    json!({
        "ETag": header("A tag of the body.", text(), "W/\"l8Kq0vQk3Yw2n5T7bZJmXg\"".into()),
        "Idempotency-Key": header("The key to retry with: the caller's own, or a new one.", text(), "7f0c9c0e-4b0f-4c52-9a55-1a7c6b2d8f11".into()),
        "Location": header("Where the browser goes on.", json!({"type": "string", "format": "uri"}), "https://acme.example/auth/callback?code=x&state=y".into()),
        "Retry-After": header("Seconds to wait.", json!({"type": "integer", "minimum": 1}), 60.into()),
        "Set-Cookie": header("The cookie of the session, or what takes it away.", text(),
            "__Host-vestibule=vs_x; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure".into()),
        "WWW-Authenticate": header("How to authenticate.", text(), "Bearer".into()),
    })
}

/// `components/securitySchemes`.
pub fn security() -> Value {
    json!({
        "session": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The token of a sign-in, a registration or a callback."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-vestibule", "description": "The cookie of a session; over plain http on one machine: vestibule."},
        "secret_key": {"type": "http", "scheme": "basic", "description": "A secret key as user name, with no password."},
        "reset": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The token of a password reset. It opens nothing else."},
        "publishable_key": {"type": "apiKey", "in": "header", "name": "x-publishable-api-key",
            "description": "Names the storefront: pk_ and 64 hexadecimal digits. Every call under /store carries it."},
    })
}

/// A `$ref` to a header.
pub fn header(name: &str) -> Value {
    reference("headers", name)
}
