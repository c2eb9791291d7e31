//! `…/callback`, the callback of all stores, and the list of providers.

use serde_json::{Value, json};

use super::fault::Fault;
use super::operation::{Answer, FORM, JSON, Operation};
use super::schema::{boolean, described, list_of, object, text, token_envelope};
use super::{AUTH, fault};

/// What a provider sends back: its name, what it is, an example.
const SENT: [(&str, &str, &str); 7] = [
    ("code", "The provider's one-time code.", "4/0AX4XfWh"),
    ("state", "What the sign-in began with.", "AZq1mFQ3c1yJ3mJv5cE2yQ"),
    ("error", "What went wrong at the provider.", "access_denied"),
    ("error_description", "The same, in a sentence.", "User denied"),
    ("error_uri", "Where to read more about it.", "https://x/y"),
    ("iss", "The issuer, where the provider names it.", "https://accounts.google.com"),
    ("user", "What Apple tells of the customer, once, as JSON.", "{}"),
];

const FAULTS: &[&Fault] =
    &[&fault::PARAMETER_TWICE, &fault::NOT_INSTALLED, &fault::NO_CALLBACK, &fault::NO_CODE, &fault::NO_STATE, &fault::PROVIDER_REFUSED];

fn with_query(operation: Operation) -> Operation {
    SENT.iter().fold(operation, |operation, (name, description, example)| operation.query(name, description, &text(), &(*example).into()))
}

fn with_body(operation: Operation) -> Operation {
    let schema = object(&[], SENT.map(|(name, description, _)| (name, described(description, text()))));
    let example = json!({"code": "4/0AX4XfWh", "state": "AZq1mFQ3c1yJ3mJv5cE2yQ"});
    operation.takes(JSON, schema.clone(), example.clone()).takes(FORM, schema, example)
}

fn token() -> (Value, Value) {
    let (mut schema, mut example) = token_envelope();
    let told = described("Another login's account has the same address: it can be linked to that.", boolean());
    if let (Some(properties), Some(example)) = (schema.get_mut("properties").and_then(Value::as_object_mut), example.as_object_mut()) {
        properties.insert("account_exists".into(), told);
        example.insert("account_exists".into(), true.into());
    }
    (schema, example)
}

fn arrive(description: &'static str) -> Operation {
    let (schema, example) = token();
    with_query(Operation::new(AUTH, "Validate Authentication Callback", description))
        .answers(200, "A token. Where its actor_id is empty, go on with Create Customer.", schema, example)
        .fails(FAULTS)
}

pub fn get() -> Operation {
    arrive("The page to which a third party sent the customer back calls it with all parameters that it was given.")
}

pub fn post() -> Operation {
    with_body(arrive("As GET, for parameters in the body as well: what stands in both must be the same."))
}

pub fn providers() -> Operation {
    let names = ["id", "identifier", "display_name"].map(|name| (name, text()));
    let flow = ("flow", json!({"type": "string", "enum": ["credentials", "redirect"]}));
    let provider = object(&["id", "identifier", "display_name", "flow"], names.into_iter().chain([flow]));
    let example = json!({"id": "emailpass", "identifier": "emailpass", "display_name": "Email/Password Authentication", "flow": "credentials"});
    Operation::new(AUTH, "List Providers", "The providers that this actor type may use here.").answers(
        200,
        "The providers.",
        object(&["providers"], [("providers", list_of(&provider))]),
        json!({"providers": [example]}),
    )
}

fn shared(description: &'static str) -> Operation {
    let answer = Answer { status: 303, description: "On to the store's page.", media: None, headers: &["Location"] };
    with_query(Operation::new(AUTH, "Take a Callback for All Stores", description)).answers_with(answer).fails(&[
        &fault::PARAMETER_TWICE,
        &fault::NO_CODE,
        &fault::NO_STATE,
        &fault::PROVIDER_REFUSED,
    ])
}

pub fn shared_get() -> Operation {
    shared("For a provider that knows one address for all stores: the state says whose customer it is. It needs no store's host.")
}

pub fn shared_post() -> Operation {
    with_body(shared("As GET, for a provider that posts a form."))
}
