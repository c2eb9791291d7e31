//! What is taken over of a person: only text that a row and a token can hold.

use serde_json::{Map, Value};

use super::Claims;

/// Bytes of a name or of a picture's address. What is longer is left out: a token has 8 KiB in all.
const MAX_TEXT: usize = 512;
/// OpenID Connect Core 5.1, in the order in which Medusa writes them.
const STANDARD: [&str; 5] = ["name", "email", "picture", "given_name", "family_name"];

/// The text `name` of `object`, unless it is empty, too long, or holds control characters.
pub fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    let text = object.get(name)?.as_str()?.trim();
    ((1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// `Claims` of the standard claims in `object`.
pub fn claims(issuer: &str, subject: String, object: &Map<String, Value>, email_verified: bool) -> Claims {
    let found = STANDARD.iter().filter_map(|&name| Some((name.to_owned(), Value::String(text(object, name)?))));
    let email = text(object, "email");
    Claims {
        issuer: issuer.to_owned(),
        subject,
        // Nothing is verified about an address that is not there.
        email_verified: email_verified && email.is_some(),
        email,
        given_name: text(object, "given_name"),
        family_name: text(object, "family_name"),
        user_metadata: found.collect(),
    }
}
