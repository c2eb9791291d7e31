//! Signatures of webhooks, as the Standard Webhooks specification has them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";

/// The value of `webhook-signature` for one secret: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64.
///
/// # Errors
/// If `secret` is not `whsec_` and 24 to 64 bytes in base64, or `id` holds a dot. The text does not repeat the secret.
/// Source: Standard Webhooks, "Signature scheme".
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Result<String, String> {
    let key = key(secret)?;
    if id.is_empty() || id.contains('.') {
        return Err("a webhook's id must not be empty and must not hold a dot".to_owned());
    }
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    Ok(format!("v1,{}", STANDARD.encode(context.sign())))
}

/// What a call carries besides its body: the headers with its id, its time and a signature by each of `secrets`. In a rotation there are two.
///
/// # Errors
/// As `sign`.
pub fn headers<'s>(secrets: impl IntoIterator<Item = &'s str>, id: &str, timestamp: i64, body: &[u8]) -> Result<[(&'static str, String); 4], String> {
    let signatures = secrets.into_iter().map(|secret| sign(secret, id, timestamp, body)).collect::<Result<Vec<_>, _>>()?;
    Ok([
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ])
}

/// Judges a secret without signing anything.
///
/// # Errors
/// As `sign`.
pub fn check(secret: &str) -> Result<(), String> {
    key(secret).map(drop)
}

fn key(secret: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let encoded = secret.strip_prefix(PREFIX).ok_or("a webhook secret begins with whsec_")?;
    let key = STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| "a webhook secret is whsec_ and base64, with its padding")?;
    if (24..=64).contains(&key.len()) { Ok(key) } else { Err(format!("a webhook secret holds 24 to 64 bytes, not {}", key.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_published_example_verifies() {
        let signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_signed_thing_changes_the_signature() {
        let signature = sign(SECRET, "msg_1", 1, b"a").unwrap();
        for (id, timestamp, body) in [("msg_2", 1, b"a"), ("msg_1", 2, b"a"), ("msg_1", 1, b"b")] {
            assert_ne!(sign(SECRET, id, timestamp, body).unwrap(), signature);
        }
        assert_ne!(sign(&format!("whsec_{}", STANDARD.encode([1; 64])), "msg_1", 1, b"a").unwrap(), signature);
    }

    #[test]
    fn bad_secrets_and_ids_are_refused() {
        let of = |n: usize| format!("whsec_{}", STANDARD.encode(vec![7; n]));
        for secret in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?", &of(23), &of(65), of(25).trim_end_matches('=')] {
            assert!(sign(secret, "msg_1", 1, b"").is_err(), "{secret}");
        }
        for id in ["", "a.b"] {
            assert!(sign(SECRET, id, 1, b"").is_err(), "{id}");
        }
    }
}
