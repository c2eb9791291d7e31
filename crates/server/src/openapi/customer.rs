//! `/store/customers` and `…/me`.

use serde_json::json;

use super::operation::{JSON, Operation};
use super::schema::{EXAMPLE_EMAIL, customer_envelope, profile};
use super::{CUSTOMERS, fault};

pub fn create() -> Operation {
    let (schema, example) = customer_envelope();
    let email = json!({"type": ["string", "null"], "format": "email", "maxLength": 254});
    Operation::new(
        CUSTOMERS,
        "Create Customer",
        "Makes the token's login a customer, once. Sign in again or refresh the token afterwards: the old one keeps its empty actor_id.",
    )
    .needs(JSON, profile(Some(email)), json!({"email": EXAMPLE_EMAIL, "first_name": "Robin", "last_name": "Demo"}))
    .answers(200, "The customer.", schema, example)
    .fails(&[
        &fault::WRONG_FIELDS,
        &fault::ALREADY_CUSTOMER,
        &fault::EMAIL_MISSING,
        &fault::EMAIL_OF_ANOTHER,
        &fault::UNKNOWN_LOGIN,
        &fault::EMAIL_TAKEN,
    ])
}

pub fn me() -> Operation {
    let (schema, example) = customer_envelope();
    Operation::new(CUSTOMERS, "Get Customer", "The profile of the customer who is signed in.")
        .answers(200, "The customer.", schema, example)
        .fails(&[&fault::CUSTOMER_DELETED])
}

pub fn update() -> Operation {
    let (schema, example) = customer_envelope();
    Operation::new(CUSTOMERS, "Update Customer", "Changes what it names: what is left out stays, null empties.")
        .takes(JSON, profile(None), json!({"first_name": "Robin", "phone": "+49 228 5550100"}))
        .answers(200, "The customer.", schema, example)
        .fails(&[&fault::WRONG_FIELDS, &fault::CUSTOMER_DELETED, &fault::BUDGET_SPENT])
}
