//! What differs from run to run, put out of sight as the recording does it.

use serde_json::Value;

use crate::support::client::claims;

/// Length of a ULID.
const ULID: usize = 26;
const HEX: usize = 64;

/// `value` with ids, times and tokens masked.
pub fn mask(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(mask_text(text)),
        Value::Array(items) => items.iter().map(mask).collect(),
        Value::Object(members) => {
            let masked = members.iter().map(|(name, value)| {
                let epoch = matches!(name.as_str(), "iat" | "exp") && value.is_i64();
                (name.clone(), if epoch { Value::from("<epoch>") } else { mask(value) })
            });
            Value::Object(masked.collect())
        }
        other => other.clone(),
    }
}

/// The masked claims of the token `text`.
pub fn masked_claims(text: &str) -> Value {
    mask(&claims(text))
}

pub fn mask_text(text: &str) -> String {
    if is_token(text) {
        return "<jwt>".into();
    }
    if is_time(text) {
        return "<iso-timestamp>".into();
    }
    if text.starts_with("https://") && text.contains("&state=") {
        return parameters(text);
    }
    runs(text)
}

fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3 && !text.contains(' ')
}

/// `2026-11-23T15:16:40.973Z`.
fn is_time(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        19 => byte == b'.',
        23 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 24 && text.bytes().enumerate().all(shape)
}

/// A URL whose random parameters are masked.
fn parameters(url: &str) -> String {
    let masked = url.split('&').map(|pair| match pair.split_once('=') {
        Some((name @ ("state" | "nonce" | "code_challenge"), value)) => format!("{name}=<{} characters>", value.len()),
        _ => pair.to_owned(),
    });
    masked.collect::<Vec<_>>().join("&")
}

/// ULIDs after an underscore, and 64 hexadecimal digits.
fn runs(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let length = rest[start..].find(|c| !is_word(c)).unwrap_or(rest.len() - start);
        let (before, word) = (&rest[..start], &rest[start..start + length]);
        out.push_str(before);
        let ulid = word.len() == ULID && before.ends_with('_') && word.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        let hex = word.len() == HEX && word.bytes().all(|b| b.is_ascii_hexdigit());
        out.push_str(if ulid {
            "<ulid>"
        } else if hex {
            "<hex64>"
        } else {
            word
        });
        rest = &rest[start + length..];
    }
    out + rest
}

#[test]
fn what_is_masked() {
    for (text, masked) in [
        ("Customer with id: cus_01KAQ6T6N7VZ7Z6S7R3C9YB5XK was not found", "Customer with id: cus_<ulid> was not found"),
        ("2026-11-23T15:16:40.973Z", "<iso-timestamp>"),
        ("eyJh.eyJi.c", "<jwt>"),
        ("https://a.example/?x=1&state=abc&code_challenge=d&y=2", "https://a.example/?x=1&state=<3 characters>&code_challenge=<1 characters>&y=2"),
        ("cuaddr_nope", "cuaddr_nope"),
    ] {
        assert_eq!(mask_text(text), masked);
    }
}
