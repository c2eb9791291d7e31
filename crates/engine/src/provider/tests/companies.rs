use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const CHALLENGE: &str = "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
const START: &str = "redirect_uri=https%3A%2F%2Fshop.example%2Fcallback&client_id=the-client&response_type=code";

fn query(location: &Url) -> &str {
    location.query().unwrap()
}

/// A scene at a company whose issuer is built in: the hostile one signs in its name.
fn in_the_name_of(kind: ProviderType, iss: &'static str) -> Scene {
    let scene = Scene::new(kind);
    scene.issuer.bend(Bend::Claim("iss", json!(iss)));
    scene.issuer.bend(Bend::Iss(Some(iss)));
    scene
}

fn google() -> Scene {
    in_the_name_of(ProviderType::Google, "https://accounts.google.com")
}

fn github() -> Scene {
    let mut scene = Scene::new(ProviderType::Github);
    scene.settings.userinfo_endpoint = Some(scene.issuer.url(Endpoint::User));
    scene.issuer.bend(Bend::NoToken("id_token"));
    scene.issuer.bend(Bend::Iss(None));
    scene
}

fn apple() -> Scene {
    let mut scene = in_the_name_of(ProviderType::Apple, "https://appleid.apple.com");
    scene.settings.client_secret = None;
    scene.settings.team_id = Some("TEAM".to_owned());
    scene.settings.key_id = Some("KEY".to_owned());
    scene.settings.private_key = Some(Secret::new(check::apple_key()));
    scene
}

#[tokio::test]
async fn places_are_built_in() {
    for (kind, start, rest) in [
        (ProviderType::Google, "https://accounts.google.com/o/oauth2/v2/auth?", "&scope=email+profile+openid&state=the-state&nonce=the-nonce"),
        (ProviderType::Github, "https://github.com/login/oauth/authorize?", "&state=the-state&scope=read%3Auser+user%3Aemail"),
        (
            ProviderType::Apple,
            "https://appleid.apple.com/auth/authorize?",
            "&scope=name+email&state=the-state&nonce=the-nonce&response_mode=form_post",
        ),
    ] {
        let mut scene = if kind == ProviderType::Apple { apple() } else { Scene::new(kind) };
        scene.settings.authorization_endpoint = None;
        let location = scene.location().await.unwrap();
        assert_eq!(location.as_str(), format!("{start}{START}{rest}{CHALLENGE}"));
        assert!(!query(&location).contains("secret"));
    }
}

#[tokio::test]
async fn google_vouches_in_either_spelling_of_its_name() {
    for iss in ["https://accounts.google.com", "accounts.google.com"] {
        let scene = in_the_name_of(ProviderType::Google, iss);
        scene.issuer.person(json!({"sub": "g-1", "email": "ann@example.com", "email_verified": true, "given_name": "Ann", "hd": "example.com"}));
        let claims = scene.sign_in().await.unwrap();
        assert_eq!((claims.issuer.as_str(), claims.subject.as_str(), claims.email_verified), ("https://accounts.google.com", "g-1", true));
        assert_eq!(Value::Object(claims.user_metadata), json!({"email": "ann@example.com", "given_name": "Ann"}));
        assert_eq!(scene.issuer.count(Endpoint::Discovery), 0);
    }
}

#[tokio::test]
async fn what_google_gets_wrong_is_said_in_known_words() {
    let claim = |name, value| Bend::Claim(name, value);
    let unverified = "Email not verified, cannot proceed with authentication";
    for (bend, message) in [
        (claim("aud", json!("another")), "Could not verify Google id_token: jwt audience invalid. expected: the-client"),
        (
            claim("iss", json!("https://accounts.google.com.evil.example")),
            "Could not verify Google id_token: jwt issuer invalid. expected: https://accounts.google.com,accounts.google.com",
        ),
        (claim("exp", json!(NOW)), "Could not verify Google id_token: jwt expired"),
        (claim("nbf", json!(NOW + 61)), "Could not verify Google id_token: jwt not active"),
        (claim("nonce", json!("another")), "Could not verify Google id_token: jwt nonce invalid"),
        (Bend::NoClaim("iat"), "Could not verify Google id_token: invalid token"),
        (Bend::BrokenSignature, "Could not verify Google id_token: invalid signature"),
        (Bend::Unsigned("none"), "Could not verify Google id_token: invalid algorithm"),
        (Bend::Header("kid", json!("no-such-key")), "Could not verify Google id_token: error in secret or public key callback: no such key"),
        (claim("email_verified", json!(false)), unverified),
        (claim("email_verified", json!("true")), unverified),
        (Bend::NoClaim("email_verified"), unverified),
        (Bend::NoClaim("sub"), "id_token is missing 'sub' claim"),
        (Bend::NoToken("id_token"), FAILED),
        (Bend::Status(Endpoint::Jwks, 500), UNREACHABLE),
        (Bend::Status(Endpoint::Token, 400), "Could not exchange token, 400, Bad Request"),
    ] {
        let scene = google();
        scene.issuer.bend(bend.clone());
        assert_eq!(scene.refusal().await.message, message, "{bend:?}");
    }
}

#[tokio::test]
async fn github_names_the_person_and_the_verified_primary_address() {
    let scene = github();
    scene.issuer.person(json!({
        "id": 583_231, "url": "https://api.github.com/users/ann", "avatar_url": "https://avatars.example/1", "email": "public@example.com",
        "name": "Ann", "company": null, "two_factor_authentication": true,
    }));
    scene.issuer.emails(json!([
        {"email": "other@example.com", "primary": false, "verified": true},
        {"email": "ann@example.com", "primary": true, "verified": true, "visibility": null},
    ]));
    let claims = scene.sign_in().await.unwrap();
    assert_eq!((claims.issuer.as_str(), claims.subject.as_str()), ("https://github.com", "583231"));
    assert_eq!((claims.email.as_deref(), claims.email_verified), (Some("ann@example.com"), true));
    let metadata = json!({
        "profile_url": "https://api.github.com/users/ann", "avatar": "https://avatars.example/1", "email": "ann@example.com", "name": "Ann",
        "company": null, "two_factor_authentication": false,
    });
    assert_eq!(Value::Object(claims.user_metadata), metadata);
    let asked = scene.issuer.requests();
    assert_eq!(asked.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["/token", "/user", "/user/emails"]);
    assert_eq!(asked[0].headers["accept"], "application/json");
    assert!(asked[1..].iter().all(|request| request.headers["authorization"] == "Bearer hostile-access-token" && request.query.is_empty()));
}

#[tokio::test]
async fn githubs_address_is_verified_only_where_its_list_says_so() {
    let listed = |primary: Value, verified: Value| json!([{"email": "ann@example.com", "primary": primary, "verified": verified}]);
    for emails in [listed(json!(true), json!(false)), listed(json!(false), json!(true)), listed(json!(true), json!("true")), json!([])] {
        let scene = github();
        scene.issuer.emails(emails.clone());
        let claims = scene.sign_in().await.unwrap();
        assert_eq!((claims.email.as_deref(), claims.email_verified), (Some("ann@example.com"), false), "{emails}");
    }
    for status in [401, 403, 404] {
        let scene = github();
        scene.issuer.bend(Bend::Status(Endpoint::Emails, status));
        assert!(!scene.sign_in().await.unwrap().email_verified);
    }
}

#[tokio::test]
async fn apps_with_and_without_expiring_tokens_work_at_github() {
    let scene = github();
    scene.sign_in().await.unwrap();
    scene.issuer.bend(Bend::NoToken("expires_in"));
    scene.sign_in().await.unwrap();
    scene.issuer.bend(Bend::Token("refresh_token", json!("ghr_1")));
    scene.issuer.bend(Bend::Token("refresh_token_expires_in", json!(15_897_600)));
    scene.sign_in().await.unwrap();
}

#[tokio::test]
async fn what_github_gets_wrong_is_refused() {
    for (bend, message, detail) in [
        (Bend::Token("error", json!("bad_verification_code")), FAILED, "the token endpoint answered 200 with the error bad_verification_code"),
        (Bend::NoToken("access_token"), FAILED, "the token endpoint's answer has no usable access_token"),
        (Bend::NoToken("token_type"), FAILED, "the token endpoint's answer has no token_type bearer"),
        (Bend::Status(Endpoint::User, 401), UNREACHABLE, "user: the answer has status 401"),
        (Bend::Redirect(Endpoint::User), UNREACHABLE, "user: unreachable: the answer is a redirect (302)"),
        (Bend::Status(Endpoint::Emails, 500), UNREACHABLE, "addresses: the answer has status 500"),
        (Bend::Oversized(Endpoint::Emails), UNREACHABLE, "addresses: unreachable: the answer is longer than 1048576 bytes"),
        (Bend::Iss(Some("https://other.example")), FAILED, "the iss parameter of the callback names another issuer"),
    ] {
        let scene = github();
        scene.issuer.straighten();
        scene.issuer.bend(bend.clone());
        if !matches!(bend, Bend::Iss(_)) {
            scene.issuer.bend(Bend::Iss(Some("https://github.com/login/oauth")));
        }
        assert_eq!(scene.refusal().await, Refusal::new(message, detail), "{bend:?}");
    }
    for id in [json!(null), json!(0), json!(-1), json!("583231"), json!(1.5)] {
        let scene = github();
        scene.issuer.person(json!({"id": id}));
        assert_eq!(scene.refusal().await, Refusal::failed("user: id is no positive integer"), "{id}");
    }
}

#[tokio::test]
async fn apples_secret_is_a_token_of_five_minutes() {
    let scene = apple();
    let claims = scene.sign_in().await.unwrap();
    assert_eq!((claims.issuer.as_str(), claims.email_verified), ("https://appleid.apple.com", true));
    let secret = scene.issuer.requests()[0].form()["client_secret"][0].clone();
    let (message, signature) = secret.rsplit_once('.').unwrap();
    let (header, body) = message.split_once('.').unwrap();
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(read(header), json!({"alg": "ES256", "kid": "KEY"}));
    assert_eq!(read(body), json!({"iss": "TEAM", "iat": NOW, "exp": NOW + 300, "aud": "https://appleid.apple.com", "sub": CLIENT}));
    let key: EcdsaKeyPair = super::super::apple::signing_key(scene.settings.private_key.as_ref().unwrap()).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key());
    public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn r101_apple_may_write_true_as_a_string() {
    for (value, verified) in [(json!(true), true), (json!("true"), true), (json!("false"), false), (json!(1), false), (json!("TRUE"), false)] {
        let scene = apple();
        scene.issuer.bend(Bend::Claim("email_verified", value.clone()));
        assert_eq!(scene.sign_in().await.unwrap().email_verified, verified, "{value}");
    }
}

#[tokio::test]
async fn apples_name_comes_with_the_form() {
    for (posted, given, family) in [
        (r#"{"name":{"firstName":"Ann","lastName":"Lee"},"email":"mallory@example.com","sub":"other"}"#, Some("Ann"), Some("Lee")),
        (r#"{"name":{"firstName":"Ann"}}"#, Some("Ann"), None),
        (r#"{"name":"Ann"}"#, None, None),
        (r#"{"name":{"firstName":7,"lastName":"a\u0000b"}}"#, None, None),
        ("not json", None, None),
        ("", None, None),
    ] {
        let scene = apple();
        scene.issuer.person(json!({"sub": "a-1", "email": "ann@example.com", "email_verified": "true"}));
        let callback = scene.issuer.visit(&scene.location().await.unwrap());
        let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let claims = scene.providers.claims(scene.flow(), Returned { code: &code, iss: None, user: Some(posted) }).await.unwrap();
        assert_eq!((claims.given_name.as_deref(), claims.family_name.as_deref()), (given, family), "{posted}");
        assert_eq!((claims.subject.as_str(), claims.email.as_deref()), ("a-1", Some("ann@example.com")), "{posted}");
    }
}
