use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

#[expect(clippy::disallowed_methods, reason = "a key of a test")]
fn pem(algorithm: &'static EcdsaSigningAlgorithm) -> String {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8.as_ref()))
}

/// A key as Apple gives out.
pub fn apple_key() -> String {
    pem(&ECDSA_P256_SHA256_FIXED_SIGNING)
}

fn settings(kind: &str, more: &Value) -> ProviderSettings {
    let mut all = json!({"type": kind, "client_id": CLIENT, "client_secret": SECRET});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn apple(change: &str, value: Value) -> ProviderSettings {
    let mut all = json!({"type": "apple", "client_id": CLIENT, "team_id": "TEAM", "key_id": "KEY", "private_key": apple_key()});
    all[change] = value;
    serde_json::from_value(all).unwrap()
}

#[test]
fn good_settings_pass() {
    let good = [
        settings("google", &json!({})),
        settings("github", &json!({"issuer": "https://git.example"})),
        settings("microsoft", &json!({"scopes": ["openid", "email"]})),
        settings("oidc", &json!({"issuer": "https://a.example/x"})),
        settings("oidc", &json!({"issuer": "http://keycloak:8080/realms/x", "callback_url": "http://localhost:8000/cb?x=1"})),
        settings("google", &json!({"callback_url": "https://a.example/cb", "allowed_callback_urls": ["http://127.0.0.1:1/", "http://[::1]/"]})),
        apple("client_secret", json!(null)),
    ];
    for settings in good {
        assert_eq!(check("theirs", &settings), Ok(()), "{settings:?}");
    }
}

#[test]
fn r111_each_fault_has_its_sentence() {
    let of = |kind: &str, name: &str, value: Value| {
        settings(kind, &json!({"issuer": if kind == "oidc" { json!("https://a.example") } else { json!(null) }, name: value}))
    };
    let pages = "allowed_callback_urls";
    for (settings, sentence) in vec![
        (of("google", "client_id", json!("")), "client_id is empty"),
        (of("google", "client_id", json!("  ")), "client_id is empty"),
        (of("google", "client_secret", json!(null)), "client_secret is missing"),
        (of("github", "client_secret", json!("")), "client_secret is empty"),
        (of("oidc", "issuer", json!(null)), "issuer is missing"),
        (of("oidc", "issuer", json!("https://a.example/?x")), "issuer must have no query"),
        (of("oidc", "issuer", json!("https://a.example/#x")), "issuer must have no fragment"),
        (of("oidc", "issuer", json!("https://me@a.example/")), "issuer must hold no user name or password"),
        (of("oidc", "issuer", json!("ftp://a.example/")), "issuer must be an https URL"),
        (of("google", "issuer", json!("https://a.example/")), "issuer is built in and cannot be set"),
        (of("google", "token_endpoint", json!("file:///x")), "token_endpoint must be an https URL"),
        (of("google", "authorization_endpoint", json!("javascript:x")), "authorization_endpoint must be an https URL"),
        (of("oidc", "scopes", json!(["email"])), "scopes must hold openid"),
        (of("oidc", "scopes", json!(["openid email"])), "scopes must be words without white space"),
        (of("google", "callback_url", json!("http://shop.example/cb")), "callback_url must be an https URL, or http on this machine"),
        (of("google", "callback_url", json!("custom:cb")), "callback_url must be an https URL, or http on this machine"),
        (of("google", "callback_url", json!("https://shop.example/cb#x")), "callback_url must have no fragment"),
        (of("google", "callback_url", json!("https://me:pw@shop.example/cb")), "callback_url must hold no user name or password"),
        (
            of("google", pages, json!(["https://a.example", "http://b.example"])),
            "allowed_callback_urls must be an https URL, or http on this machine",
        ),
        (apple("team_id", json!(null)), "team_id is missing"),
        (apple("key_id", json!("")), "key_id is empty"),
        (apple("private_key", json!(null)), "private_key is missing"),
        (apple("private_key", json!("not a key")), "private_key is no PKCS#8 key in PEM"),
        (apple("private_key", json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")), "private_key is no key for ES256"),
        (apple("private_key", json!(pem(&ECDSA_P384_SHA384_FIXED_SIGNING))), "private_key is no key for ES256"),
    ] {
        assert_eq!(check("theirs", &settings), Err(sentence.to_owned()), "{settings:?}");
    }
    for name in ["", "a/b", "a b", "ä", "..", &"n".repeat(65)] {
        assert_eq!(check(name, &settings("google", &json!({}))), Err("its name must be 1 to 64 of a-z, A-Z, 0-9, - and _".to_owned()));
    }
    assert_eq!(check("emailpass", &settings("google", &json!({}))), Err("the name emailpass is taken".to_owned()));
}

#[tokio::test]
async fn r111_a_provider_that_is_not_configured_asks_nobody() {
    for kind in [ProviderType::Oidc, ProviderType::Google, ProviderType::Microsoft, ProviderType::Apple, ProviderType::Github] {
        let mut scene = Scene::new(kind);
        scene.settings.client_id = String::new();
        let expected = Refusal::new("The auth provider theirs is not configured: client_id is empty", "provider theirs: client_id is empty");
        assert_eq!(scene.location().await.unwrap_err(), expected);
        let returned = Returned { code: "code", iss: None, user: None };
        assert_eq!(scene.providers.claims(scene.flow(), returned).await.unwrap_err(), expected);
        assert!(scene.issuer.requests().is_empty());
    }
}
