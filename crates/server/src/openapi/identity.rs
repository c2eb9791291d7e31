//! `/auth/identities`.

use serde_json::{Value, json};

use super::operation::{JSON, Operation};
use super::schema::{EXAMPLE_EMAIL, EXAMPLE_TOKEN, IDENTITY_ID, described, list_of, object, strict, text};
use super::{AUTH, fault, named};

fn example() -> Value {
    json!({"id": IDENTITY_ID, "provider": "emailpass", "email": EXAMPLE_EMAIL, "email_proven": true, "current": true,
        "created_at": "2026-11-23T15:16:40.973Z"})
}

pub fn list() -> Operation {
    Operation::new(AUTH, "List the Ways in to an Account", "The logins of the caller's account.").answers(
        200,
        "The logins.",
        object(&["identities"], [("identities", list_of(&named("Identity")))]),
        json!({"identities": [example()]}),
    )
}

pub fn link() -> Operation {
    let token = described("The token that another provider's callback gave.", text());
    Operation::new(
        AUTH,
        "Link a Login to an Account",
        "The login of the token in the body becomes a way in to the account of the caller, who has signed in within ten minutes.",
    )
    .needs(JSON, strict(object(&["token"], [("token", token)])), json!({"token": EXAMPLE_TOKEN}))
    .answers(200, "The login, linked.", object(&["identity"], [("identity", named("Identity"))]), json!({"identity": example()}))
    .fails(&[&fault::NO_ACCOUNT, &fault::LOGIN_TAKEN, &fault::INVALID_TOKEN, &fault::STALE_SIGN_IN, &fault::UNPROVEN_ADDRESS])
}

pub fn unlink() -> Operation {
    let deleted = [("id", text()), ("object", json!({"const": "auth_identity"})), ("deleted", json!({"const": true}))];
    Operation::new(AUTH, "Take a Login from an Account", "The caller has signed in within ten minutes. The last way in stays.")
        .id("The id of the login.", IDENTITY_ID)
        .answers(
            200,
            "The login is gone.",
            object(&["id", "object", "deleted"], deleted),
            json!({"id": IDENTITY_ID, "object": "auth_identity", "deleted": true}),
        )
        .fails(&[&fault::NO_ACCOUNT, &fault::LAST_WAY_IN, &fault::STALE_SIGN_IN, &fault::UNKNOWN_LOGIN])
}
