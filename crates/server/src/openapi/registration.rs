//! `/auth/{actor_type}/{auth_provider}/register`.

use super::operation::{FORM, JSON, Operation};
use super::schema::token_envelope;
use super::sign_in::credentials;
use super::{AUTH, fault};

pub fn post() -> Operation {
    let (body, body_example) = credentials();
    let (schema, example) = token_envelope();
    Operation::new(
        AUTH,
        "Register a Login",
        "Makes a login that has no customer yet; its token opens Create Customer. To register again with the same password, before there is a customer, is no error.",
    )
    .needs(JSON, body.clone(), body_example.clone())
    .needs(FORM, body, body_example)
    .answers(200, "A token whose actor_id is empty.", schema, example)
    .fails(&[
        &fault::NO_EMAIL_ADDRESS,
        &fault::SHORT_PASSWORD,
        &fault::COMMON_PASSWORD,
        &fault::LONG_PASSWORD,
        &fault::TELLING_PASSWORD,
        &fault::CREDENTIALS_IN_QUERY,
        &fault::PASSWORD_NO_TEXT,
        &fault::EMAIL_NO_TEXT,
        &fault::ALREADY_REGISTERED,
        &fault::NOT_INSTALLED,
        &fault::NO_REGISTRATION,
        &fault::BUDGET_SPENT,
        &fault::HASHING_FAILED,
    ])
}
