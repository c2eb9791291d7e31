//! The demo identity provider of `vestibule dev`, as a client and a browser meet it.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;

use crate::support::app::TestApp;
use crate::support::client::{Answer, Shop, claims, header};
use crate::support::each_db;

const VERIFIER: &str = "a-verifier-of-forty-three-characters-at-the-least";
const RETURN: &str = "http://globex.localhost:9000/dev/callback?shop=globex";
const CLIENT: (&str, &str) = ("vestibule-demo", "vestibule-demo-secret");

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn hash(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

async fn post(shop: &Shop, path: &str, form: &[(&str, &str)]) -> Answer {
    shop.post(path).header("content-type", "application/x-www-form-urlencoded").body(encoded(form)).send().await
}

/// An authorization request with `changed` in place of what it usually says; an empty value leaves the parameter out.
fn request<'a>(challenge: &'a str, changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("response_type", "code"),
        ("client_id", CLIENT.0),
        ("redirect_uri", RETURN),
        ("scope", "openid email profile"),
        ("state", "a state & more"),
        ("nonce", "n-1"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ];
    let kept = usual.into_iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    kept.chain(changed.iter().copied()).filter(|(_, value)| !value.is_empty()).collect()
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(hash(VERIFIER))
}

/// The parameter `name` of the address that an answer leads to.
fn led_to(answer: &Answer, name: &str) -> Option<String> {
    assert_eq!(answer.status, 303, "{}", answer.text);
    let url = Url::parse(answer.header("location")).unwrap();
    let mut found = url.query_pairs().filter(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    let first = found.next();
    assert_eq!(found.next(), None, "{name} is there once");
    first
}

/// The code that comes of choosing `person`.
async fn code(shop: &Shop, person: &str) -> String {
    let challenge = challenge();
    let answer = post(shop, "/dev/idp/authorize", &request(&challenge, &[("choice", person)])).await;
    assert!(answer.header("location").starts_with("http://globex.localhost:9000/dev/callback?shop=globex&code="), "{}", answer.header("location"));
    led_to(&answer, "code").unwrap()
}

fn exchange<'a>(code: &'a str, changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", RETURN),
        ("code_verifier", VERIFIER),
        ("client_id", CLIENT.0),
        ("client_secret", CLIENT.1),
    ];
    let kept = usual.into_iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    kept.chain(changed.iter().copied()).filter(|(_, value)| !value.is_empty()).collect()
}

async fn buy(shop: &Shop, code: &str, changed: &[(&str, &str)]) -> Answer {
    post(shop, "/dev/idp/token", &exchange(code, changed)).await
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{}", answer.text);
    assert!(answer.json()["error_description"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// Whether the key of the JWKS that the token names has signed it.
fn is_signed(token: &str, jwks: &Value) -> bool {
    let header: Value = serde_json::from_str(&header(token)).unwrap();
    assert_eq!(header["alg"], "ES256");
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], part("x"), part("y")].concat();
    let (message, signature) = token.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).is_ok()
}

async fn develop(app: &mut TestApp) -> Shop {
    app.restart(|config| {
        config.server.development = true;
        config.server.default_tenant = Some("acme".into());
    })
    .await;
    app.acme().at("127.0.0.1")
}

each_db! {
    async fn what_it_announces_is_there(app: TestApp) {
        let shop = develop(app).await;
        let issuer = format!("http://{}/dev/idp", app.config.server.listen);
        let document = shop.get("/dev/idp/.well-known/openid-configuration").send().await.expect_status(200).json();
        assert_eq!(document["issuer"], json!(issuer));
        assert_eq!(document["authorization_response_iss_parameter_supported"], true);
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        for (name, path) in [("authorization_endpoint", "authorize"), ("token_endpoint", "token"), ("userinfo_endpoint", "userinfo"), ("jwks_uri", "jwks")] {
            assert_eq!(document[name], json!(format!("{issuer}/{path}")));
        }
        let keys = shop.get("/dev/idp/jwks").send().await.expect_status(200).json();
        assert!(keys["keys"][0].get("d").is_none() && keys["keys"][0]["alg"] == document["id_token_signing_alg_values_supported"][0]);
    }

    async fn a_choice_becomes_a_signed_id_token(app: TestApp) {
        let shop = develop(app).await;
        let jwks = shop.get("/dev/idp/jwks").send().await.json();
        for (person, subject, email, verified) in [
            ("robin", "demo-robin", "customer@gmail.com", true),
            ("kim", "demo-kim", "kim@example.com", true),
            ("lee", "demo-lee", "lee@example.com", false),
        ] {
            let answer = buy(&shop, &code(&shop, person).await, &[]).await.expect_status(200);
            assert_eq!(answer.header("cache-control"), "no-store");
            let (body, token) = (answer.json(), answer.json()["id_token"].as_str().unwrap().to_owned());
            assert!(is_signed(&token, &jwks));
            let (message, signature) = token.rsplit_once('.').unwrap();
            assert!(!is_signed(&format!("{message}A.{signature}"), &jwks));
            let said = claims(&token);
            let now = app.clock.now().seconds();
            assert_eq!((&said["sub"], &said["email"], &said["email_verified"]), (&json!(subject), &json!(email), &json!(verified)));
            assert_eq!((&said["aud"], &said["nonce"], &said["iss"]), (&json!(CLIENT.0), &json!("n-1"), &json!(format!("http://{}/dev/idp", app.config.server.listen))));
            assert_eq!((&said["iat"], &said["exp"]), (&json!(now), &json!(now + 300)));
            let access = body["access_token"].as_str().unwrap();
            assert_eq!(said["at_hash"], json!(URL_SAFE_NO_PAD.encode(&hash(access)[..16])));
            let about = shop.get("/dev/idp/userinfo").bearer(access).send().await.expect_status(200).json();
            for name in ["sub", "email", "email_verified", "name", "given_name", "family_name", "picture"] {
                assert_eq!(about[name], said[name], "{name}");
            }
            let picture = Url::parse(said["picture"].as_str().unwrap()).unwrap();
            let picture = shop.get(picture.path()).send().await.expect_status(200);
            assert_eq!(picture.header("content-type"), "image/svg+xml");
        }
        shop.get("/dev/idp/userinfo").bearer("nonsense").send().await.expect_status(401);
    }

    async fn the_scopes_decide_what_is_told(app: TestApp) {
        let shop = develop(app).await;
        let challenge = challenge();
        let answer = post(&shop, "/dev/idp/authorize", &request(&challenge, &[("scope", "openid"), ("nonce", ""), ("choice", "kim")])).await;
        let answer = buy(&shop, &led_to(&answer, "code").unwrap(), &[]).await.expect_status(200);
        let said = claims(answer.json()["id_token"].as_str().unwrap());
        assert_eq!(said["sub"], "demo-kim");
        assert!(["email", "name", "picture", "nonce"].iter().all(|name| said.get(name).is_none()), "{said}");
    }

    async fn the_client_shows_its_secret_in_one_of_two_ways(app: TestApp) {
        let shop = develop(app).await;
        let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("{}:{secret}", CLIENT.0)));
        let without = [("client_id", ""), ("client_secret", "")];
        let call = |code: String, credentials: String, changed: Vec<(&'static str, &'static str)>| {
            let call = shop.post("/dev/idp/token").header("content-type", "application/x-www-form-urlencoded").header("authorization", &credentials);
            call.body(encoded(&exchange(&code, &changed)))
        };
        let fresh = code(&shop, "kim").await;
        let wrong = call(fresh.clone(), basic("wrong"), without.to_vec()).send().await;
        assert_refused(&wrong, 401, "invalid_client");
        assert!(wrong.header("www-authenticate").starts_with("Basic"));
        assert_refused(&call(fresh.clone(), basic(CLIENT.1), Vec::new()).send().await, 400, "invalid_request");
        assert_refused(&buy(&shop, &fresh, &[("client_secret", "wrong")]).await, 401, "invalid_client");
        assert_refused(&buy(&shop, &fresh, &[("client_secret", "")]).await, 401, "invalid_client");
        // A stranger who guesses at the secret does not spend the code.
        call(fresh, basic(CLIENT.1), without.to_vec()).send().await.expect_status(200);
    }

    async fn a_code_is_good_once_for_what_it_was_made_for(app: TestApp) {
        let shop = develop(app).await;
        let other = "another-verifier-of-forty-three-characters-or-more";
        for wrong in [("code_verifier", other), ("code_verifier", ""), ("redirect_uri", "http://globex.localhost:9000/dev/callback"), ("redirect_uri", "")] {
            let fresh = code(&shop, "kim").await;
            assert_refused(&buy(&shop, &fresh, &[wrong]).await, 400, "invalid_grant");
            // A failed try spends it, too.
            assert_refused(&buy(&shop, &fresh, &[]).await, 400, "invalid_grant");
        }
        assert_refused(&buy(&shop, "unknown", &[]).await, 400, "invalid_grant");
        assert_refused(&buy(&shop, "unknown", &[("grant_type", "password")]).await, 400, "unsupported_grant_type");
        assert_refused(&shop.post("/dev/idp/token").json(&json!({"code": "x"})).send().await, 400, "invalid_request");

        let fresh = code(&shop, "kim").await;
        app.clock.advance(Duration::from_secs(59));
        let access = buy(&shop, &fresh, &[]).await.expect_status(200).json()["access_token"].as_str().unwrap().to_owned();
        shop.post("/dev/idp/userinfo").bearer(&access).send().await.expect_status(200);
        assert_refused(&buy(&shop, &fresh, &[]).await, 400, "invalid_grant");
        // Shown twice, the code may be stolen: what it bought is worth nothing any more.
        shop.get("/dev/idp/userinfo").bearer(&access).send().await.expect_status(401);

        let late = code(&shop, "kim").await;
        app.clock.advance(Duration::from_mins(1));
        assert_refused(&buy(&shop, &late, &[]).await, 400, "invalid_grant");
    }

    async fn denying_leads_back_with_the_error(app: TestApp) {
        let shop = develop(app).await;
        let challenge = challenge();
        let denied = post(&shop, "/dev/idp/authorize", &request(&challenge, &[("choice", "deny")])).await;
        assert_eq!(led_to(&denied, "error").as_deref(), Some("access_denied"));
        assert!(led_to(&denied, "error_description").is_some() && led_to(&denied, "code").is_none());
        assert_eq!(led_to(&denied, "state").as_deref(), Some("a state & more"));
        assert_eq!(led_to(&denied, "iss"), Some(format!("http://{}/dev/idp", app.config.server.listen)));
        for (wrong, error) in [
            (("response_type", "token"), "unsupported_response_type"),
            (("scope", "email"), "invalid_scope"),
            (("code_challenge", ""), "invalid_request"),
            (("code_challenge_method", "plain"), "invalid_request"),
            (("response_mode", "fragment"), "invalid_request"),
            (("prompt", "none"), "login_required"),
            (("request", "eyJ"), "request_not_supported"),
            (("request_uri", "http://127.0.0.1/x"), "request_uri_not_supported"),
        ] {
            let answer = shop.get(&format!("/dev/idp/authorize?{}", encoded(&request(&challenge, &[wrong])))).send().await;
            assert_eq!(led_to(&answer, "error").as_deref(), Some(error), "{wrong:?}");
            assert_eq!(led_to(&answer, "state").as_deref(), Some("a state & more"));
            assert!(led_to(&answer, "iss").is_some());
        }
    }

    async fn nobody_is_led_off_this_machine(app: TestApp) {
        let shop = develop(app).await;
        let challenge = challenge();
        for wrong in [
            ("redirect_uri", "https://shop.example/callback"),
            ("redirect_uri", "http://127.0.0.1.example.com/"),
            ("redirect_uri", "http://localhost@shop.example/"),
            ("redirect_uri", "http://user@localhost/"),
            ("redirect_uri", "http://localhost/#fragment"),
            ("redirect_uri", "javascript://localhost/%0aalert(1)"),
            ("redirect_uri", "/dev/callback"),
            ("redirect_uri", ""),
            ("client_id", "another"),
            ("client_id", ""),
            ("state", &"x".repeat(3_000)),
        ] {
            for decided in [&[wrong][..], &[wrong, ("choice", "robin")], &[wrong, ("choice", "deny")]] {
                let answer = post(&shop, "/dev/idp/authorize", &request(&challenge, decided)).await.expect_status(400);
                assert_eq!((answer.header("location"), answer.text.contains("cannot be answered")), ("", true), "{wrong:?}");
            }
        }
        let twice = format!("{}&state=another", encoded(&request(&challenge, &[])));
        shop.get(&format!("/dev/idp/authorize?{twice}")).send().await.expect_status(400);
        post(&shop, "/dev/idp/authorize", &request(&challenge, &[("choice", "nobody")])).await.expect_status(400);
        // Other ports and names of this machine are storefronts under development.
        for right in ["http://[::1]:3000/", "https://localhost:8443/cb", "http://shop.localhost/cb"] {
            let answer = post(&shop, "/dev/idp/authorize", &request(&challenge, &[("redirect_uri", right), ("choice", "kim")])).await;
            assert!(led_to(&answer, "code").is_some(), "{right}");
        }
    }

    async fn looking_decides_nothing(app: TestApp) {
        let shop = develop(app).await;
        let challenge = challenge();
        let hostile = "\"><script>alert(1)</script>";
        let query = encoded(&request(&challenge, &[("state", hostile), ("choice", "robin")]));
        let page = shop.get(&format!("/dev/idp/authorize?{query}")).send().await.expect_status(200);
        for word in ["Robin Demo", "Kim Example", "Lee Unproven", "Deny", "http:&#x2f;&#x2f;globex.localhost:9000"] {
            assert!(page.text.contains(word), "{word}");
        }
        assert!(!page.text.contains("<script>alert"));
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'") && !policy.contains("script-src"), "{policy}");
        // A client may post its request, too: the choice comes after it.
        let posted = post(&shop, "/dev/idp/authorize", &request(&challenge, &[])).await.expect_status(200);
        assert!(posted.text.contains("Kim Example"));
    }

    async fn the_pages_of_the_storefront_carry_the_key_of_their_shop(app: TestApp) {
        develop(app).await;
        for (host, shop) in [("127.0.0.1", app.acme()), ("globex.localhost", app.globex())] {
            let browser = shop.at(host);
            let begin = browser.get("/dev/sign-in").send().await.expect_status(200);
            let end = browser.get("/dev/callback?code=secret-code&state=s").send().await.expect_status(200);
            assert!(end.text.contains(shop.key()) && !end.text.contains("secret-code"));
            for page in [begin, end] {
                let policy = page.header("content-security-policy");
                assert!(policy.contains("script-src 'self'") && policy.contains("connect-src 'self'") && !policy.contains("unsafe"), "{policy}");
                assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "no-referrer"));
                assert!(!page.text.contains("<script>") && page.text.contains("src=\"/dev/assets/demo.js\""));
            }
        }
        for (name, kind) in [("demo.js", "text/javascript; charset=utf-8"), ("demo.css", "text/css; charset=utf-8")] {
            assert_eq!(app.acme().at("localhost").get(&format!("/dev/assets/{name}")).send().await.expect_status(200).header("content-type"), kind);
        }
        for name in ["nothing.svg", "robin", "%ff"] {
            app.acme().at("localhost").get(&format!("/dev/assets/{name}")).send().await.expect_status(404);
        }
    }

    async fn a_server_has_no_demo_provider(app: TestApp) {
        let shop = app.acme();
        for path in ["/dev/sign-in", "/dev/callback", "/dev/assets/demo.js", "/dev/idp/.well-known/openid-configuration", "/dev/idp/jwks", "/dev/idp/userinfo"] {
            shop.get(path).send().await.expect_status(404);
        }
        let challenge = challenge();
        post(&shop, "/dev/idp/authorize", &request(&challenge, &[("choice", "robin")])).await.expect_status(404);
        buy(&shop, "x", &[]).await.expect_status(404);
    }
}
