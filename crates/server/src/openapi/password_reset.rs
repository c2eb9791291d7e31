//! `…/reset-password` and `…/update`.

use serde_json::json;

use super::operation::{Answer, FORM, JSON, Media, Operation, TEXT};
use super::schema::{EXAMPLE_EMAIL, EXAMPLE_PASSWORD, boolean, described, object, strict, text};
use super::{AUTH, fault};

pub fn request() -> Operation {
    let metadata = described("Passed on in the event; at most 4 KiB of JSON.", json!({"type": "object"}));
    let identifier = described("The address of the login.", text());
    let fields = strict(object(&["identifier"], [("identifier", identifier.clone()), ("metadata", metadata)]));
    let form = strict(object(&["identifier"], [("identifier", identifier)]));
    let bare = described("The address alone.", json!({"type": "string", "format": "email", "maxLength": 254}));
    let media = Some(Media { kind: TEXT, schema: json!({"const": "Created"}), example: "Created".into() });
    Operation::new(
        AUTH,
        "Generate Reset Password Token for Customer",
        "Emits the event auth.password_reset with a token, once, if the address has a login; the answer is the same if it has none. \
            The store's own mailer or a webhook sends the customer the link with the token. The body may also be the bare address.",
    )
    .needs(JSON, json!({"anyOf": [fields, bare.clone()]}), json!({"identifier": EXAMPLE_EMAIL}))
    .needs(FORM, form, json!({"identifier": EXAMPLE_EMAIL}))
    .needs(TEXT, bare, EXAMPLE_EMAIL.into())
    .header("x-medusa-locale", "The language of the mail, where metadata.locale names none; passed on as metadata.locale.", "de-DE")
    .answers_with(Answer { status: 201, description: "The request is taken, whether or not the address has a login.", media, headers: &[] })
    .fails(&[&fault::MISSING_FIELD, &fault::NO_EMAIL_ADDRESS, &fault::BUDGET_SPENT])
}

pub fn update() -> Operation {
    let body = object(&["password"], [("password", json!({"type": "string", "minLength": 1}))]);
    let example = json!({"password": EXAMPLE_PASSWORD});
    Operation::new(
        AUTH,
        "Reset a Customer's Password",
        "Sets a new password with the token of the reset link as bearer. The token is spent by that alone: a refused password leaves it good.",
    )
    .needs(JSON, body.clone(), example.clone())
    .needs(FORM, body, example)
    .answers(200, "The password is set.", object(&["success"], [("success", boolean())]), json!({"success": true}))
    .fails(&[
        &fault::SHORT_PASSWORD,
        &fault::COMMON_PASSWORD,
        &fault::LONG_PASSWORD,
        &fault::TELLING_PASSWORD,
        &fault::NO_NEW_PASSWORD,
        &fault::HASHING_FAILED,
    ])
}
