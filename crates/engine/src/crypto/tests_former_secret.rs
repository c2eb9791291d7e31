//! Tokens that were made with a former secret: by the server that was here before, or by this one.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use ulid::Ulid;

use super::token::{SigningKey, TenantKeys, TokenVerifier};
use crate::model::ids::{KeyId, TenantId};
use crate::model::tenant::Algorithm;
use crate::model::time::Timestamp;

const NOW: i64 = 1_795_447_001;
const FORMER: &[u8] = b"the former secret of more than 32 bytes";
const CURRENT: &[u8] = b"the present secret of more than 32 bytes";

fn hs(n: u128, secret: &[u8]) -> SigningKey {
    SigningKey::from_parts(KeyId(Ulid(n)), Algorithm::Hs256, secret).unwrap()
}

fn keys(current: SigningKey) -> TenantKeys {
    TenantKeys { current, retired: Vec::new(), former: vec![hs(0, b"another former secret of many bytes"), hs(0, FORMER)] }
}

fn ed() -> SigningKey {
    SigningKey::generate(KeyId(Ulid(1))).unwrap().0
}

fn forge(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn head() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

/// As Medusa 2.21.2 makes them.
fn medusas() -> Value {
    json!({"actor_id": "cus_1", "actor_type": "customer", "auth_identity_id": "authid_1", "auth_provider": "emailpass", "mfa_enabled": false,
        "mfa_challenge_completed_at": null, "app_metadata": {"customer_id": "cus_1"}, "user_metadata": {}, "iat": NOW, "exp": NOW + 86_400})
}

/// As we make them.
fn ours() -> Value {
    let mut claims = medusas();
    claims
        .as_object_mut()
        .unwrap()
        .extend(json!({"iss": "https://acme.example", "aud": "acme", "jti": "jti", "sid": "sid"}).as_object().unwrap().clone());
    claims
}

fn changed(claims: Value, name: &str, value: &Value) -> Value {
    let mut claims = claims;
    claims[name] = value.clone();
    claims
}

fn without(claims: Value, name: &str) -> Value {
    let mut claims = claims;
    claims.as_object_mut().unwrap().shift_remove(name).unwrap();
    claims
}

fn accepted(keys: &TenantKeys, token: &str) -> bool {
    let now = Timestamp::from_seconds(NOW);
    let direct = keys.verify_session(token, "acme", now).is_some();
    assert_eq!(direct, TokenVerifier::new().verify_session(keys, TenantId(Ulid(1)), "acme", token, now).is_some(), "with and without memory");
    direct
}

#[test]
fn a_token_of_a_former_secret_is_read_whatever_signs_now() {
    for keys in [keys(ed()), keys(hs(1, CURRENT)), keys(hs(1, FORMER))] {
        let read = keys.verify_session(&forge(FORMER, &head(), &medusas()), "acme", Timestamp::from_seconds(NOW)).unwrap();
        assert_eq!((read.actor_id.as_str(), read.auth_identity_id.as_str(), read.iat, read.exp), ("cus_1", "authid_1", NOW, NOW + 86_400));
        assert!(read.sid.is_empty() && read.aud.is_empty() && read.iss.is_empty());
        assert!(accepted(&keys, &forge(FORMER, &head(), &medusas())));
        // Older ones say less, and one may have an id of its own.
        let oldest =
            json!({"actor_id": "", "actor_type": "customer", "auth_identity_id": "authid_1", "app_metadata": null, "iat": NOW, "exp": NOW + 1});
        assert!(accepted(&keys, &forge(FORMER, &head(), &oldest)));
        assert!(accepted(&keys, &forge(FORMER, &head(), &changed(medusas(), "jti", &json!("x")))));
    }
}

#[test]
fn a_secret_that_is_not_listed_reads_no_token_without_a_session() {
    for current in [ed(), hs(1, CURRENT)] {
        assert!(!accepted(&keys(current.clone()), &forge(CURRENT, &head(), &medusas())));
        let mut unlisted = keys(current);
        unlisted.former.clear();
        unlisted.retired = vec![hs(2, FORMER)];
        assert!(!accepted(&unlisted, &forge(FORMER, &head(), &medusas())), "also where it was ours");
    }
}

#[test]
fn r76_r81_no_other_algorithm_and_no_other_time() {
    let keys = keys(ed());
    for alg in ["none", "HS384", "HS512", "EdDSA", "RS256", "hs256", ""] {
        assert!(!accepted(&keys, &forge(FORMER, &json!({"alg": alg, "typ": "JWT"}), &medusas())), "{alg}");
    }
    for header in [
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "typ": "JWT", "kid": Ulid::nil().to_string()}),
        json!({"alg": "HS256", "typ": "JWT", "crit": []}),
    ] {
        assert!(!accepted(&keys, &forge(FORMER, &header, &medusas())), "{header}");
    }
    for (name, value) in
        [("exp", json!(NOW)), ("exp", json!("1795533401")), ("exp", json!(NOW + 4_000 * 86_400)), ("iat", json!(NOW + 61)), ("nbf", json!(NOW + 61))]
    {
        assert!(!accepted(&keys, &forge(FORMER, &head(), &changed(medusas(), name, &value))), "{name} {value}");
    }
    for name in ["exp", "iat", "actor_id", "actor_type", "auth_identity_id"] {
        assert!(!accepted(&keys, &forge(FORMER, &head(), &without(medusas(), name))), "{name}");
    }
}

#[test]
fn what_is_half_ours_and_half_not_is_neither() {
    let keys = keys(ed());
    for (name, value) in
        [("sid", json!("")), ("sid", json!("sid")), ("sid", json!(null)), ("aud", json!("acme")), ("aud", json!("")), ("iss", json!("https://x"))]
    {
        assert!(!accepted(&keys, &forge(FORMER, &head(), &changed(medusas(), name, &value))), "{name} {value}");
    }
    assert!(accepted(&keys, &forge(FORMER, &head(), &ours())));
    for (name, value) in [("sid", json!("")), ("aud", json!("globex"))] {
        assert!(!accepted(&keys, &forge(FORMER, &head(), &changed(ours(), name, &value))), "{name} {value}");
    }
}

#[test]
fn a_second_factor_that_was_not_given_is_asked_for_anew() {
    let keys = keys(ed());
    let pending = changed(medusas(), "mfa_enabled", &json!(true));
    assert!(!accepted(&keys, &forge(FORMER, &head(), &pending)));
    assert!(accepted(&keys, &forge(FORMER, &head(), &changed(pending, "mfa_challenge_completed_at", &json!("2026-11-23T15:16:40.973Z")))));
}

#[test]
fn r54_a_former_secret_makes_no_reset() {
    let keys = keys(ed());
    let reset = json!({"entity_id": "ann@example.com", "provider": "emailpass", "actor_type": "customer", "purpose": "reset", "iss": "https://acme.example",
        "aud": "acme", "iat": NOW, "exp": NOW + 900, "jti": "0c5c1f6e-5f3a-4d6c-8a3b-111111111111"});
    let token = forge(FORMER, &head(), &reset);
    assert!(keys.verify_reset(&token, "acme", Timestamp::from_seconds(NOW)).is_none() && keys.read_reset(&token, "acme").is_none());
    assert!(TenantKeys::new(hs(1, FORMER), vec![]).read_reset(&token, "acme").is_some(), "the forger's own check");
    assert!(!accepted(&keys, &token));
    assert!(!accepted(&keys, &forge(FORMER, &head(), &changed(medusas(), "purpose", &json!("reset")))));
    assert!(!accepted(&keys, &forge(FORMER, &head(), &changed(ours(), "purpose", &json!("reset")))));
}

#[test]
fn a_remembered_token_is_forgotten_with_its_secret() {
    let (memory, now) = (TokenVerifier::new(), Timestamp::from_seconds(NOW));
    let good = |keys: &TenantKeys, token: &str| memory.verify_session(keys, TenantId(Ulid(1)), "acme", token, now).is_some();
    let listed = keys(ed());
    let (foreign, own) = (forge(FORMER, &head(), &medusas()), forge(FORMER, &head(), &ours()));
    assert!(good(&listed, &foreign) && good(&listed, &own) && good(&listed, &foreign));
    let gone = TenantKeys::new(listed.current.clone(), vec![]);
    assert!(!good(&gone, &foreign) && !good(&gone, &own));
    // The same key in another place: there it vouches for sessions alone.
    assert!(good(&listed, &foreign));
    let retired = TenantKeys::new(listed.current.clone(), vec![hs(0, FORMER)]);
    assert!(!good(&retired, &foreign) && good(&retired, &own));
}
