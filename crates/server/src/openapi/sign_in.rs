//! `/auth/{actor_type}/{auth_provider}`.

use serde_json::{Value, json};

use super::operation::{FORM, JSON, Operation};
use super::schema::{EXAMPLE_EMAIL, EXAMPLE_PASSWORD, described, object, text, token_envelope};
use super::{AUTH, fault};

/// An address and a password, as sign-in and registration take them: other fields are ignored.
pub fn credentials() -> (Value, Value) {
    let email = json!({"type": "string", "format": "email", "maxLength": 254});
    let schema = object(&["email", "password"], [("email", email), ("password", json!({"type": "string", "minLength": 1}))]);
    (schema, json!({"email": EXAMPLE_EMAIL, "password": EXAMPLE_PASSWORD}))
}

fn location() -> (Value, Value) {
    let schema = object(&["location"], [("location", described("Send the customer there.", json!({"type": "string", "format": "uri"})))]);
    (schema, json!({"location": "https://accounts.google.com/o/oauth2/v2/auth?client_id=acme&response_type=code&state=x"}))
}

pub fn get() -> Operation {
    let (schema, example) = location();
    Operation::new(
        AUTH,
        "Begin a Sign-In with a Third Party",
        "As POST without a body. emailpass reads its credentials from a body alone, so with it this is always 401.",
    )
    .answers(200, "Where to send the customer. It is never a redirect.", schema, example)
    .fails(&[&fault::PASSWORD_NO_TEXT, &fault::NOT_INSTALLED, &fault::PROVIDER_REFUSED, &fault::MISCONFIGURED, &fault::BUDGET_SPENT])
}

pub fn post() -> Operation {
    let (with_password, example) = credentials();
    let callback_url = described("One of the pages that the store has declared for the provider.", json!({"type": ["string", "null"]}));
    let body = json!({"anyOf": [with_password.clone(), object(&[], [("callback_url", callback_url)])]});
    let answer = json!({"anyOf": [token_envelope().0, location().0]});
    Operation::new(
        AUTH,
        "Authenticate Customer",
        "With emailpass: an address and a password for a token. With a third party: where to send the customer; no redirect is made.",
    )
    .takes(JSON, body, example.clone())
    .takes(FORM, object(&["email", "password"], [("email", text()), ("password", text())]), example)
    .answers(200, "A token, or where to send the customer.", answer, token_envelope().1)
    .fails(&[
        &fault::NO_EMAIL_ADDRESS,
        &fault::CREDENTIALS_IN_QUERY,
        &fault::UNKNOWN_CALLBACK_URL,
        &fault::CALLBACK_URL_NO_TEXT,
        &fault::WRONG_CREDENTIALS,
        &fault::PASSWORD_NO_TEXT,
        &fault::EMAIL_NO_TEXT,
        &fault::NOT_INSTALLED,
        &fault::PROVIDER_REFUSED,
        &fault::MISCONFIGURED,
        &fault::BUDGET_SPENT,
        &fault::HASHING_FAILED,
    ])
}
