//! `/auth/token/refresh`.

use super::operation::Operation;
use super::schema::token_envelope;
use super::{AUTH, fault};

pub fn refresh() -> Operation {
    let (schema, example) = token_envelope();
    Operation::new(
        AUTH,
        "Refresh a Token",
        "A new token of the same session, from what its login is now: the way to a token with a customer's id after Create Customer.",
    )
    .answers(200, "The new token; the old one stays good until it expires.", schema, example)
    .fails(&[&fault::BUDGET_SPENT])
}
