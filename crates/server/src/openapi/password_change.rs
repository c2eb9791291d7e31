//! `…/change-password`.

use serde_json::json;

use super::operation::{FORM, JSON, Operation};
use super::schema::{EXAMPLE_PASSWORD, boolean, described, object, strict, text};
use super::{AUTH, fault};

pub fn post() -> Operation {
    let word = |description| described(description, text());
    let fields = [("current_password", word("The password that is replaced.")), ("password", word("The new one."))];
    let body = strict(object(&["current_password", "password"], fields));
    let example = json!({"current_password": EXAMPLE_PASSWORD, "password": "four-green-Chairs-3"});
    Operation::new(
        AUTH,
        "Change a Customer's Password",
        "For who is signed in and knows the current password. The other sessions of the login end, and the owner is told by mail.",
    )
    .needs(JSON, body.clone(), example.clone())
    .needs(FORM, body, example)
    .answers(200, "The password is set.", object(&["success"], [("success", boolean())]), json!({"success": true}))
    .fails(&[
        &fault::CURRENT_PASSWORD_MISSING,
        &fault::SHORT_PASSWORD,
        &fault::COMMON_PASSWORD,
        &fault::LONG_PASSWORD,
        &fault::TELLING_PASSWORD,
        &fault::NO_PASSWORD,
        &fault::NOT_INSTALLED,
        &fault::WRONG_CURRENT_PASSWORD,
        &fault::BUDGET_SPENT,
        &fault::HASHING_FAILED,
    ])
}
