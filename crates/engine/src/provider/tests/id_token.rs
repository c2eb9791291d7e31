use super::*;

/// Each row bends one thing, and names what the log must say.
fn bent_claims() -> Vec<(Bend, &'static str)> {
    let claim = |name, value| Bend::Claim(name, value);
    vec![
        (claim("iss", json!("https://other.example")), "iss is another issuer"),
        (claim("iss", json!(7)), "iss is no string"),
        (Bend::NoClaim("iss"), "no iss"),
        (claim("aud", json!("another")), "aud does not name this client"),
        (claim("aud", json!([])), "aud does not name this client"),
        (claim("aud", json!(["another", "third"])), "aud does not name this client"),
        (claim("aud", json!([CLIENT, 7])), "aud is neither a string nor a list of strings"),
        (claim("aud", json!({CLIENT: 1})), "aud is neither a string nor a list of strings"),
        (Bend::NoClaim("aud"), "no aud"),
        (claim("aud", json!([CLIENT, "another"])), "several audiences and no azp"),
        (claim("azp", json!("another")), "azp is another client"),
        (claim("azp", json!(null)), "azp is another client"),
        (claim("exp", json!(NOW)), "exp has passed"),
        (claim("exp", json!(NOW - 1)), "exp has passed"),
        (claim("exp", json!(f64::from(u32::MAX) + 0.5)), "exp is no integer"),
        (claim("exp", json!((NOW + 300).to_string())), "exp is no integer"),
        (Bend::NoClaim("exp"), "no exp"),
        (claim("iat", json!(NOW + 61)), "iat is in the future"),
        (claim("iat", json!("now")), "iat is no integer"),
        (Bend::NoClaim("iat"), "no iat"),
        (claim("nbf", json!(NOW + 61)), "nbf is in the future"),
        (claim("nbf", json!(null)), "nbf is no integer"),
        (claim("nonce", json!("another-nonce")), "nonce is another sign-in's"),
        (claim("nonce", json!("")), "nonce is another sign-in's"),
        (claim("nonce", json!([NONCE])), "nonce is no string"),
        (Bend::NoClaim("nonce"), "no nonce"),
        (Bend::NoClaim("sub"), "no sub"),
        (claim("sub", json!(7)), "sub is no string"),
        (claim("sub", json!("")), "sub is empty"),
        (claim("sub", json!("s".repeat(256))), "sub is longer than 255 bytes"),
        (claim("sub", json!("a\u{0}b")), "sub holds a control character"),
        (Bend::RepeatedClaim("sub", json!("somebody else")), "the claims are no JSON object without repeated names"),
        (claim("filler", json!("x".repeat(64 * 1024))), "longer than 64 KiB"),
    ]
}

fn bent_headers() -> Vec<(Bend, &'static str)> {
    let header = |name, value| Bend::Header(name, value);
    let algorithm = "the algorithm is not one of RS256, ES256 and EdDSA";
    let no_key = "the issuer has no key of this kid and algorithm";
    vec![
        (Bend::Unsigned("none"), algorithm),
        (Bend::Unsigned("None"), algorithm),
        (Bend::Unsigned("NONE"), algorithm),
        (Bend::Unsigned(""), algorithm),
        (Bend::Unsigned("ES256"), "the signature is wrong"),
        (Bend::HmacOverPublicKey, algorithm),
        (header("alg", json!("ES384")), algorithm),
        (header("alg", json!("es256")), algorithm),
        (header("alg", json!(["ES256"])), algorithm),
        (Bend::NoHeader("alg"), algorithm),
        (header("alg", json!("RS256")), no_key),
        (header("alg", json!("EdDSA")), no_key),
        (header("kid", json!("no-such-key")), no_key),
        (header("kid", json!(null)), "the header's kid is no string"),
        (header("crit", json!(["exp"])), "the header has a crit, of which nothing is understood"),
        (header("crit", json!([])), "the header has a crit, of which nothing is understood"),
        (header("typ", json!("at+jwt")), "the header's typ is not JWT"),
        (Bend::BrokenSignature, "the signature is wrong"),
        (Bend::DerSignature, "the signature is wrong"),
    ]
}

#[tokio::test]
async fn r95_a_token_with_one_thing_bent_is_refused_and_says_why() {
    let scene = Scene::oidc();
    for (bend, detail) in [bent_claims(), bent_headers()].concat() {
        scene.issuer.bend(bend.clone());
        let refusal = scene.refusal().await;
        assert_eq!(refusal, Refusal::failed(format!("id_token: {detail}")), "{bend:?}");
        assert_eq!(refusal.message, FAILED);
        scene.issuer.straighten();
        scene.sign_in().await.unwrap();
    }
}

#[tokio::test]
async fn r95_every_algorithm_verifies_and_only_with_its_signature() {
    let scene = Scene::oidc();
    for (algorithm, name) in [(Algorithm::Rs256, "RS256"), (Algorithm::Es256, "ES256"), (Algorithm::EdDsa, "EdDSA")] {
        scene.issuer.rotate(algorithm);
        // So that the old keys are forgotten.
        scene.clock.advance(std::time::Duration::from_hours(2));
        let claims = scene.sign_in().await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((claims.subject.as_str(), claims.email.as_deref(), claims.email_verified), ("person-1", Some("ann@example.com"), true), "{name}");
        for (bend, detail) in [
            (Bend::BrokenSignature, "the signature is wrong"),
            (Bend::Unsigned(name), "the signature is wrong"),
            (Bend::HmacOverPublicKey, "the algorithm is not one of RS256, ES256 and EdDSA"),
        ] {
            scene.issuer.bend(bend.clone());
            assert_eq!(scene.refusal().await, Refusal::failed(format!("id_token: {detail}")), "{name} {bend:?}");
            scene.issuer.straighten();
        }
    }
}

#[tokio::test]
async fn what_is_unusual_and_right_is_accepted() {
    let scene = Scene::oidc();
    let foreign = json!({"kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43)});
    let rows = [
        vec![Bend::Claim("aud", json!([CLIENT]))],
        vec![Bend::Claim("aud", json!(["another", CLIENT])), Bend::Claim("azp", json!(CLIENT))],
        vec![Bend::Claim("azp", json!(CLIENT))],
        vec![Bend::Claim("iat", json!(NOW + 60)), Bend::Claim("nbf", json!(NOW + 60))],
        vec![Bend::Claim("exp", json!(NOW + 1))],
        vec![Bend::Claim("sub", json!("s".repeat(255)))],
        vec![Bend::NoHeader("kid")],
        vec![Bend::NoHeader("typ")],
        vec![Bend::Header("typ", json!("jwt"))],
        // A key that comes with the token is not looked at.
        vec![Bend::Header("jwk", foreign), Bend::Header("jku", json!("http://e")), Bend::Header("x5u", json!("http://e"))],
    ];
    for bends in rows {
        for bend in &bends {
            scene.issuer.bend(bend.clone());
        }
        scene.sign_in().await.unwrap_or_else(|e| panic!("{bends:?}: {e:?}"));
        scene.issuer.straighten();
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let scene = Scene::oidc();
    for (token, detail) in [
        ("", "not three parts"),
        ("a.b", "not three parts"),
        ("a.b.c.d.e", "not three parts"),
        ("e30.e30.", "the algorithm is not one of RS256, ES256 and EdDSA"),
        ("W10.e30.", "the header is no JSON object without repeated names"),
        ("e30=.e30.", "the header is no JSON object without repeated names"),
        // {"alg":"ES256","alg":"none"}
        ("eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUifQ.e30.", "the header is no JSON object without repeated names"),
        // {"alg":"ES256"}
        ("eyJhbGciOiJFUzI1NiJ9.bm8.", "the claims are no JSON object without repeated names"),
        ("eyJhbGciOiJFUzI1NiJ9.e30.=", "the signature is not base64url"),
    ] {
        scene.issuer.bend(Bend::Token("id_token", json!(token)));
        assert_eq!(scene.refusal().await, Refusal::failed(format!("id_token: {detail}")), "{token}");
        scene.issuer.straighten();
    }
}
