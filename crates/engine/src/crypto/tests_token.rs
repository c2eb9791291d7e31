use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::token::{SigningKey, TenantKeys, TokenVerifier, estimated_bytes, jwks};
use crate::model::ids::{KeyId, TenantId};
use crate::model::tenant::Algorithm;
use crate::model::time::Timestamp;
use crate::model::token::{ResetClaims, ResetPurpose, SessionClaims};

const NOW: i64 = 1_795_447_001;
const SECRET: &[u8] = b"a shared secret of more than 32 bytes";

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

fn kid(n: u128) -> KeyId {
    KeyId(Ulid(n))
}

fn tenant(n: u128) -> TenantId {
    TenantId(Ulid(n))
}

fn ed(n: u128) -> SigningKey {
    SigningKey::generate(kid(n)).unwrap().0
}

fn hs(n: u128, secret: &[u8]) -> SigningKey {
    SigningKey::from_parts(kid(n), Algorithm::Hs256, secret).unwrap()
}

fn keys(current: SigningKey) -> TenantKeys {
    TenantKeys::new(current, vec![])
}

fn session() -> SessionClaims {
    let app_metadata = Map::from_iter([("customer_id".to_owned(), json!("cus_1"))]);
    SessionClaims {
        actor_id: "cus_1".into(),
        actor_type: "customer".into(),
        auth_identity_id: "authid_1".into(),
        auth_provider: "emailpass".into(),
        mfa_enabled: false,
        mfa_challenge_completed_at: None,
        app_metadata,
        user_metadata: Map::new(),
        iss: "https://acme.example".into(),
        aud: "acme".into(),
        iat: NOW,
        exp: NOW + 86_400,
        jti: "jti".into(),
        sid: "sid".into(),
    }
}

fn reset() -> ResetClaims {
    ResetClaims {
        entity_id: "ann@example.com".into(),
        provider: "emailpass".into(),
        actor_type: "customer".into(),
        purpose: ResetPurpose::Reset,
        iss: "https://acme.example".into(),
        aud: "acme".into(),
        iat: NOW,
        exp: NOW + 900,
        jti: "0c5c1f6e-5f3a-4d6c-8a3b-111111111111".into(),
    }
}

/// Signs any text as claims under any text as header, with the real key.
fn forge(key: &SigningKey, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = match key.algorithm() {
        Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(key.material()).unwrap().sign(message.as_bytes()).as_ref().to_vec(),
        Algorithm::Hs256 => hs256(key.material(), &message),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256(secret: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()).as_ref().to_vec()
}

fn header(key: &SigningKey) -> String {
    json!({"alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid().bare()}).to_string()
}

/// The session's claims with one of them replaced, or removed (`Null`).
fn with(name: &str, value: Value) -> String {
    let mut claims = serde_json::to_value(session()).unwrap();
    let members = claims.as_object_mut().unwrap();
    members.remove(name);
    if !value.is_null() {
        members.insert(name.to_owned(), value);
    }
    claims.to_string()
}

fn part(token: &str, n: usize) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

fn accepted(keys: &TenantKeys, token: &str) -> bool {
    let direct = keys.verify_session(token, "acme", now()).is_some();
    assert_eq!(direct, TokenVerifier::new().verify_session(keys, tenant(1), "acme", token, now()).is_some(), "with and without memory");
    direct
}

#[test]
fn tokens_come_back_as_they_went() {
    for current in [ed(1), hs(1, SECRET)] {
        let keys = keys(current);
        let (s, r) = (keys.sign_session(&session()).unwrap(), keys.sign_reset(&reset()).unwrap());
        assert_eq!(keys.verify_session(&s, "acme", now()), Some(session()));
        assert_eq!(keys.verify_reset(&r, "acme", now()), Some(reset()));
        assert!(accepted(&keys, &s));
        assert!(accepted(&keys, &forge(&keys.current, &header(&keys.current), &with("nbf", json!(NOW)))), "the forger's own check");
    }
}

#[test]
fn headers_are_as_recorded() {
    let (a, b) = (keys(ed(1)), keys(hs(1, SECRET)));
    assert_eq!(part(&a.sign_session(&session()).unwrap(), 0), r#"{"alg":"EdDSA","typ":"JWT","kid":"00000000000000000000000001"}"#);
    assert_eq!(part(&b.sign_session(&session()).unwrap(), 0), r#"{"alg":"HS256","typ":"JWT"}"#);
}

#[test]
fn a_kept_key_is_the_same_key() {
    let (key, pkcs8) = SigningKey::generate(KeyId(Ulid::from_parts(1_795_447_000_973, 5))).unwrap();
    assert_eq!(key.material(), pkcs8.as_slice());
    let again = keys(SigningKey::from_parts(key.kid(), Algorithm::EdDsa, &pkcs8).unwrap());
    assert!(accepted(&again, &keys(key).sign_session(&session()).unwrap()));
    for wrong in [&b""[..], b"no key", SECRET] {
        assert!(SigningKey::from_parts(kid(1), Algorithm::EdDsa, wrong).is_err());
    }
    assert!(SigningKey::from_parts(kid(1), Algorithm::Hs256, b"").is_err());
    assert_eq!(format!("{:?}", hs(1, SECRET)), "SigningKey(HS256 00000000000000000000000001)");
}

#[test]
fn r76_no_algorithm_but_the_keys_own() {
    for key in [ed(1), hs(1, SECRET)] {
        let (keys, claims) = (keys(key.clone()), with("x", Value::Null));
        for alg in ["none", "None", "nOnE", "NONE", "", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDsa", "Ed25519"] {
            for kid in [true, false] {
                let mut members = json!({"alg": alg, "typ": "JWT"});
                if kid {
                    members["kid"] = key.kid().bare().into();
                }
                let token = forge(&key, &members.to_string(), &claims);
                assert!(!accepted(&keys, &token), "{alg}");
                let unsigned = token.rsplit_once('.').unwrap().0;
                assert!(!accepted(&keys, &format!("{unsigned}.")) && !accepted(&keys, unsigned), "{alg}");
            }
        }
        for header in
            [r#"{"typ":"JWT"}"#, r#"{"alg":null,"typ":"JWT"}"#, r#"{"alg":["HS256"],"typ":"JWT"}"#, r#"{"alg":"HS256"}"#, "{}", "[]", "null", ""]
        {
            assert!(!accepted(&keys, &forge(&key, header, &claims)), "{header}");
        }
    }
}

#[test]
fn r77_a_public_key_is_no_shared_secret() {
    let key = ed(1);
    let keys = keys(key.clone());
    let jwk = jwks(&keys)["keys"][0].clone();
    let raw = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let der = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &raw].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    let secrets = [
        raw.clone(),
        der,
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        jwk.to_string().into_bytes(),
        jwk["x"].as_str().unwrap().into(),
        vec![],
    ];
    for secret in secrets {
        for header in
            [json!({"alg": "HS256", "typ": "JWT"}), json!({"alg": "HS256", "typ": "JWT", "kid": key.kid().bare()}), header(&key).parse().unwrap()]
        {
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(with("x", Value::Null)));
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(hs256(&secret, &message)));
            assert!(!accepted(&keys, &token), "{header}");
        }
    }
}

#[test]
fn r78_r80_a_header_brings_no_key_and_no_extension() {
    for key in [ed(1), hs(1, SECRET)] {
        let keys = keys(key.clone());
        for (name, value) in [
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("crit", json!("b64")),
            ("crit", Value::Null),
            ("b64", json!(false)),
            ("zip", json!("DEF")),
            ("enc", json!("A256GCM")),
            ("p2c", json!(1_000_000_000)),
            ("jwk", jwks(&keys)["keys"][0].clone()),
            ("jku", json!("https://evil.example/jwks")),
            ("x5u", json!("https://evil.example/cert")),
            ("x5c", json!(["AAAA"])),
            ("cty", json!("JWT")),
        ] {
            let mut members: Value = header(&key).parse().unwrap();
            members[name] = value;
            assert!(!accepted(&keys, &forge(&key, &members.to_string(), &with("x", Value::Null))), "{members}");
        }
        for typ in ["at+jwt", "jwt", "", "JWE"] {
            let mut members: Value = header(&key).parse().unwrap();
            members["typ"] = typ.into();
            assert!(!accepted(&keys, &forge(&key, &members.to_string(), &with("x", Value::Null))), "{typ}");
        }
    }
    // A key of the attacker's own, brought along.
    let (own, other) = (ed(1), keys(ed(1)));
    let jwk = jwks(&keys(own.clone()))["keys"][0].clone();
    let brought = json!({"alg": "EdDSA", "typ": "JWT", "kid": own.kid().bare(), "jwk": jwk}).to_string();
    assert!(!accepted(&other, &forge(&own, &brought, &with("x", Value::Null))));
}

#[test]
fn r79_kid_is_only_looked_up() {
    let key = ed(1);
    let (keys, claims) = (TenantKeys::new(key.clone(), vec![ed(2)]), with("x", Value::Null));
    let long = "A".repeat(7_000);
    for kid in ["../../dev/null", "' OR 1=1--", "", "00000000000000000000000002", "00000000000000000000000003", "0", &long] {
        assert!(!accepted(&keys, &forge(&key, &json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}).to_string(), &claims)), "{kid}");
    }
    for kid in [Value::Null, json!(1), json!(["00000000000000000000000001"])] {
        assert!(!accepted(&keys, &forge(&key, &json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}).to_string(), &claims)));
    }
    // Absent: the current key, not a retired one.
    assert!(accepted(&keys, &forge(&key, r#"{"alg":"EdDSA","typ":"JWT"}"#, &claims)));
    assert!(!accepted(&keys, &forge(&keys.retired[0], r#"{"alg":"EdDSA","typ":"JWT"}"#, &claims)));
}

#[test]
fn r81_times_are_integers_within_bounds() {
    let key = ed(1);
    let keys = keys(key.clone());
    let signed = |claims: &str| accepted(&keys, &forge(&key, &header(&key), claims));
    for (name, good, bad) in [
        (
            "exp",
            vec![json!(NOW + 1), json!(NOW + 3_650 * 86_400)],
            vec![json!(NOW), json!(NOW - 1), json!(0), json!(-1), json!(NOW + 3_650 * 86_400 + 1)],
        ),
        ("iat", vec![json!(NOW + 60), json!(NOW - 86_400)], vec![json!(NOW + 61), json!(-1)]),
        ("nbf", vec![json!(NOW + 60), json!(0), Value::Null], vec![json!(NOW + 61), json!(i64::MAX)]),
    ] {
        for value in good {
            assert!(signed(&with(name, value.clone())), "{name} {value}");
        }
        let odd = [
            json!("1795450000"),
            json!(1_795_450_000.5),
            json!(1_795_450_000.0),
            json!(u64::MAX),
            json!(1e300),
            json!(true),
            json!([NOW]),
            json!({}),
        ];
        for value in bad.into_iter().chain(odd) {
            assert!(!signed(&with(name, value.clone())), "{name} {value}");
        }
        for text in ["1e999", "-1e999", "1795450000e0", "null", "18446744073709551616", "NaN"] {
            let claims = with(name, json!("HERE")).replace("\"HERE\"", text);
            assert!(!signed(&claims), "{name} {text}");
        }
    }
    assert!(!signed(&with("exp", Value::Null)) && !signed(&with("iat", Value::Null)));
    let at = |seconds: i64| keys.verify_session(&keys.sign_session(&session()).unwrap(), "acme", Timestamp::from_seconds(seconds)).is_some();
    assert!(at(NOW + 86_399) && !at(NOW + 86_400) && !at(NOW - 61));
}

#[test]
fn r82_the_audience_is_the_tenant() {
    let key = ed(1);
    let keys = keys(key.clone());
    for aud in [json!("other"), json!("ACME"), json!(""), json!(["acme"]), json!(1), Value::Null] {
        assert!(!accepted(&keys, &forge(&key, &header(&key), &with("aud", aud.clone()))), "{aud}");
    }
    assert_eq!(keys.verify_session(&keys.sign_session(&session()).unwrap(), "other", now()), None);
    assert_eq!(keys.verify_reset(&keys.sign_reset(&reset()).unwrap(), "other", now()), None);
}

#[test]
fn r54_a_reset_token_is_no_session_and_a_session_no_reset() {
    for key in [ed(1), hs(1, SECRET)] {
        let keys = keys(key.clone());
        let (s, r) = (keys.sign_session(&session()).unwrap(), keys.sign_reset(&reset()).unwrap());
        assert!(!accepted(&keys, &r));
        assert_eq!(keys.verify_reset(&s, "acme", now()), None);
        assert_eq!(keys.verify_reset(&r, "acme", Timestamp::from_seconds(NOW + 900)), None);
        // One that claims to be both is neither.
        let mut both = serde_json::to_value(session()).unwrap();
        both.as_object_mut().unwrap().extend(serde_json::to_value(reset()).unwrap().as_object().unwrap().clone());
        let both = forge(&key, &header(&key), &both.to_string());
        assert!(!accepted(&keys, &both) && keys.verify_reset(&both, "acme", now()).is_none());
        for purpose in [json!("verify"), json!(""), json!(1), json!(false)] {
            assert!(!accepted(&keys, &forge(&key, &header(&key), &with("purpose", purpose.clone()))));
            let mut other = serde_json::to_value(reset()).unwrap();
            other["purpose"] = purpose;
            assert_eq!(keys.verify_reset(&forge(&key, &header(&key), &other.to_string()), "acme", now()), None);
        }
        for sid in [json!(""), json!(1), Value::Null] {
            assert!(!accepted(&keys, &forge(&key, &header(&key), &with("sid", sid))));
        }
        for name in ["jti", "entity_id"] {
            let mut other = serde_json::to_value(reset()).unwrap();
            other[name] = "".into();
            assert_eq!(keys.verify_reset(&forge(&key, &header(&key), &other.to_string()), "acme", now()), None);
        }
    }
}

#[test]
fn repeated_names_are_refused() {
    let key = ed(1);
    let keys = keys(key.clone());
    for (from, to) in
        [(r#""sid":"sid""#, r#""sid":"sid","sid":"other""#), (r#""jti""#, r#""purpose":"x","jti""#), (r#""jti""#, r#""a":1,"a":1,"jti""#)]
    {
        assert!(!accepted(&keys, &forge(&key, &header(&key), &with("x", Value::Null).replacen(from, to, 1))), "{to}");
    }
    let twice = header(&key).replacen(r#""alg":"EdDSA""#, r#""alg":"none","alg":"EdDSA""#, 1);
    assert!(!accepted(&keys, &forge(&key, &twice, &with("x", Value::Null))));
}

#[test]
fn r52_tampered_cut_and_odd_tokens_are_refused() {
    for key in [ed(1), hs(1, SECRET)] {
        let keys = keys(key);
        let token = keys.sign_session(&session()).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!accepted(&keys, &String::from_utf8(changed).unwrap()), "{at}");
        }
        let dots = token.replacen('.', "..", 1);
        for odd in [
            "",
            "null",
            ".",
            "..",
            "...",
            &token[..token.len() - 1],
            &token[1..],
            &format!("{token}.x"),
            &format!(" {token}"),
            &format!("{token}\n"),
            &dots,
        ] {
            assert!(!accepted(&keys, odd), "{odd}");
        }
        let claims: Value = part(&token, 1).parse().unwrap();
        let json_form = json!({"payload": claims, "signatures": []}).to_string();
        assert!(!accepted(&keys, &json_form));
    }
}

#[test]
fn r84_one_signature_has_one_spelling() {
    for key in [ed(1), hs(1, SECRET)] {
        let keys = keys(key);
        let token = keys.sign_session(&session()).unwrap();
        let last = token.chars().last().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for tail in alphabet.chars().filter(|c| *c != last) {
            assert!(!accepted(&keys, &format!("{}{tail}", &token[..token.len() - 1])), "{tail}");
        }
        for padding in ["=", "==", "A", "\0"] {
            assert!(!accepted(&keys, &format!("{token}{padding}")));
        }
        assert!(accepted(&keys, &token));
    }
}

#[test]
fn a_token_above_8_kib_is_neither_made_nor_read() {
    let key = hs(1, SECRET);
    let keys = keys(key.clone());
    let mut large = session();
    large.user_metadata.insert("note".into(), "x".repeat(6_500).into());
    assert!(keys.sign_session(&large).is_err());
    assert!(!accepted(&keys, &forge(&key, &header(&key), &serde_json::to_string(&large).unwrap())));
    assert!(!accepted(&keys, &"a.".repeat(1 << 20)));
    let signed = (5_500..).map_while(|length| {
        large.user_metadata.insert("note".into(), "x".repeat(length).into());
        keys.sign_session(&large).ok()
    });
    let longest = signed.last().unwrap();
    assert_eq!(longest.len(), 8_192);
    assert!(accepted(&keys, &longest));
}

#[test]
fn r85_rotation_keeps_old_tokens_until_their_key_goes() {
    for (old, new) in [(ed(1), ed(2)), (hs(1, SECRET), ed(2)), (ed(1), hs(2, SECRET)), (hs(1, SECRET), hs(2, b"another secret"))] {
        let (before, after) = (keys(old.clone()), TenantKeys::new(new.clone(), vec![old]));
        let (s, r) = (before.sign_session(&session()).unwrap(), before.sign_reset(&reset()).unwrap());
        assert!(accepted(&after, &s) && after.verify_reset(&r, "acme", now()).is_some());
        assert!(accepted(&after, &after.sign_session(&session()).unwrap()));
        assert!(!accepted(&keys(new), &s));
        assert!(!accepted(&before, &after.sign_session(&session()).unwrap()));
    }
}

#[test]
fn r85_the_jwks_has_public_keys_only() {
    let (current, retired) = (ed(1), ed(2));
    let set = jwks(&TenantKeys::new(current.clone(), vec![retired.clone(), hs(3, SECRET)]));
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    for (published, key) in set["keys"].as_array().unwrap().iter().zip([current, retired]) {
        let names: Vec<_> = published.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["kty", "crv", "x", "kid", "alg", "use"]);
        assert_eq!(published["kid"], key.kid().bare());
        let x = URL_SAFE_NO_PAD.decode(published["x"].as_str().unwrap()).unwrap();
        assert_eq!(x.len(), 32);
        assert!(key.material().windows(32).filter(|w| *w == x).count() <= 1, "PKCS #8 version 2 holds the public key once");
        let seed = &key.material()[16..48];
        assert_ne!(x, seed);
    }
    assert_eq!(jwks(&keys(hs(1, SECRET))), json!({"keys": []}));
}

#[test]
fn what_a_remembered_token_takes_is_counted_with_every_small_value() {
    let mut claims = SessionClaims { app_metadata: Map::new(), ..session() };
    let empty = estimated_bytes(&claims);
    // 60 bytes in eight texts, and two empty maps.
    assert_eq!(empty, 1_200 + 60 + 8 * 16 + 2 * 256);
    for (value, bytes) in [(json!(1), 0), (json!("text"), 20), (json!([true, "text"]), 2 * 160 + 20), (json!({"n": null}), 256 + 257)] {
        claims.user_metadata = Map::from_iter([("name".to_owned(), value)]);
        assert_eq!(estimated_bytes(&claims) - empty, 256 + 4 + bytes, "{:?}", claims.user_metadata);
    }
}

#[test]
fn memory_outlives_neither_exp_nor_audience() {
    let (verifier, keys) = (TokenVerifier::new(), keys(ed(1)));
    let token = keys.sign_session(&session()).unwrap();
    let use_at = |seconds, slug| verifier.verify_session(&keys, tenant(1), slug, &token, Timestamp::from_seconds(seconds));
    assert_eq!(*use_at(NOW, "acme").unwrap(), session());
    assert!(std::sync::Arc::ptr_eq(&use_at(NOW, "acme").unwrap(), &use_at(NOW + 86_399, "acme").unwrap()), "from memory");
    assert!(use_at(NOW, "other").is_none());
    assert!(use_at(NOW, "acme").is_some());
    assert!(use_at(NOW + 86_400, "acme").is_none());
    assert!(use_at(NOW - 61, "acme").is_none());
}

#[test]
fn memory_does_not_outlive_the_key() {
    let verifier = TokenVerifier::new();
    for (old, new) in [(ed(1), ed(2)), (ed(1), ed(1)), (hs(1, SECRET), hs(1, b"the secret after it leaked")), (ed(1), hs(1, SECRET))] {
        let before = keys(old.clone());
        let token = before.sign_session(&session()).unwrap();
        assert!(verifier.verify_session(&before, tenant(1), "acme", &token, now()).is_some());
        let retired = TenantKeys::new(new.clone(), vec![old]);
        assert!(verifier.verify_session(&retired, tenant(1), "acme", &token, now()).is_some());
        assert!(verifier.verify_session(&keys(new), tenant(1), "acme", &token, now()).is_none());
    }
}

#[test]
fn memory_of_one_tenant_serves_no_other() {
    let verifier = TokenVerifier::new();
    let (ours, theirs) = (keys(ed(1)), keys(ed(2)));
    let token = ours.sign_session(&session()).unwrap();
    assert!(verifier.verify_session(&ours, tenant(1), "acme", &token, now()).is_some());
    // Not even one that has taken over the slug.
    assert!(verifier.verify_session(&theirs, tenant(2), "acme", &token, now()).is_none());
    assert!(verifier.verify_session(&theirs, tenant(1), "acme", &token, now()).is_none());
}

#[test]
fn wrong_tokens_are_not_remembered() {
    let (verifier, keys) = (TokenVerifier::new(), keys(hs(1, SECRET)));
    let token = keys.sign_session(&SessionClaims { iat: NOW + 100, ..session() }).unwrap();
    assert!(verifier.verify_session(&keys, tenant(1), "acme", &token, now()).is_none());
    assert!(verifier.verify_session(&keys, tenant(1), "acme", &token, Timestamp::from_seconds(NOW + 100)).is_some());
    let wrong = format!("{}x", &token[..token.len() - 1]);
    for _ in 0..2 {
        assert!(verifier.verify_session(&keys, tenant(1), "acme", &wrong, Timestamp::from_seconds(NOW + 100)).is_none());
    }
}
