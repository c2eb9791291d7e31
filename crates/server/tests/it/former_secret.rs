//! Tokens that were made with a secret of before: Medusa's, which no session knows, and our own.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::customer::Profile;
use vestibule_engine::model::tenant::{Algorithm, Secret, TenantSettings};
use vestibule_engine::ops::idempotency::{self, Claimed, Receipt, Request};
use vestibule_engine::ops::{self, Client};
use vestibule_engine::testing::execute;

use crate::customer_import::{CUSTOMER, LOGIN, OLD, ann, imported};
use crate::support::app::{ADDRESS, NEW_PASSWORD, TestApp, customer};
use crate::support::at_rest::AtRest;
use crate::support::client::{Answer, Shop, claims};
use crate::support::each_db;

pub const FORMER: &str = "the-former-secret-of-more-than-32-bytes";
pub const PRESENT: &str = "the-present-secret-of-more-than-32-bytes";

pub fn list(settings: &mut TenantSettings) {
    settings.tokens.former_secrets = vec![Secret::new("another-former-secret-of-many-bytes"), Secret::new(FORMER)];
}

pub fn sign(secret: &str, claims: &Value) -> String {
    let message = [&json!({"alg": "HS256", "typ": "JWT"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What Medusa 2.21.2 says of the imported customer.
pub fn said(app: &TestApp) -> Value {
    let now = app.clock.now().seconds();
    json!({"actor_id": CUSTOMER, "actor_type": "customer", "auth_identity_id": LOGIN, "auth_provider": "emailpass", "mfa_enabled": false,
        "mfa_challenge_completed_at": null, "app_metadata": {"customer_id": CUSTOMER}, "user_metadata": {}, "iat": now, "exp": now + 86_400})
}

fn with(claims: &Value, name: &str, value: &Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value.clone();
    claims
}

async fn refresh(shop: &Shop, token: &str) -> Answer {
    shop.post("/auth/token/refresh").bearer(token).send().await
}

/// The shop with the imported customer and Medusa's secret.
async fn moved(app: &mut TestApp) -> Shop {
    app.restart_acme(list).await;
    imported(app, "acme", ann()).await;
    app.acme()
}

/// Refused on every route that takes a token.
#[track_caller]
fn assert_refused(answers: [Answer; 3], what: &str) {
    assert_eq!(answers.map(|answer| answer.status), [401; 3], "{what}");
}

async fn everywhere(shop: &Shop, token: &str) -> [Answer; 3] {
    let list = shop.get("/store/customers/me/addresses").bearer(token).send().await;
    [shop.me(token).await, list, refresh(shop, token).await]
}

each_db! {
    async fn a_token_of_medusa_goes_on_being_good(app: TestApp) {
        let shop = moved(app).await;
        let token = sign(FORMER, &said(app));
        for _ in 0..2 {
            assert_eq!(shop.me(&token).await.expect_status(200).json()["customer"]["first_name"], "Ann");
        }
        shop.post("/store/customers/me").bearer(&token).json(&json!({"phone": "+49"})).send().await.expect_status(200);
        shop.post("/store/customers/me/addresses").bearer(&token).json(&json!({"city": "Ulm"})).send().await.expect_status(200);
        assert_eq!(shop.get("/auth/identities").bearer(&token).send().await.expect_status(200).json()["identities"][0]["id"], LOGIN);
        // It is a customer's already; and how the account is reached is changed after a sign-in alone.
        let again = shop.post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS})).send().await;
        again.expect_error(400, "Request already authenticated as a customer.");
        shop.call(http::Method::DELETE, &format!("/auth/identities/{LOGIN}")).bearer(&token).send().await.expect_status(403);
        let own = customer(&shop, "bob@example.com").await;
        shop.post("/auth/identities").bearer(&own).json(&json!({"token": token})).send().await.expect_error(401, "Invalid token");
        // To its own end.
        app.clock.advance(Duration::from_hours(24));
        assert_refused(everywhere(&shop, &token).await, "a day later");
    }

    async fn it_is_refreshed_into_a_session_of_ours(app: TestApp) {
        let shop = moved(app).await;
        let token = sign(FORMER, &said(app));
        let new = refresh(&shop, &token).await.expect_status(200).token();
        let (before, after) = (said(app), claims(&new));
        for name in ["actor_id", "actor_type", "auth_identity_id", "auth_provider", "app_metadata"] {
            assert_eq!(after[name], before[name], "{name}");
        }
        assert_eq!((&after["aud"], after["sid"].as_str().unwrap().len()), (&json!("acme"), 26));
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["1"]);
        shop.me(&new).await.expect_status(200);
        // One without a customer, issued before there was one, gets what its login is now.
        let early = with(&said(app), "actor_id", &json!(""));
        shop.me(&sign(FORMER, &early)).await.expect_status(401);
        assert_eq!(claims(&refresh(&shop, &sign(FORMER, &early)).await.token())["actor_id"], CUSTOMER);
        // Each makes a row, so they are counted.
        app.restart_acme(|settings| settings.limits.customer_updates = 3).await;
        let shop = app.acme();
        assert_eq!([refresh(&shop, &token).await.status, refresh(&shop, &token).await.status], [200, 429]);
        refresh(&shop, &new).await.expect_status(200);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["3"]);
    }

    async fn its_session_and_cookie_begin_together_or_not_at_all(app: TestApp) {
        let shop = moved(app).await;
        let token = sign(FORMER, &said(app));
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let caller = ops::session::authenticate(&app.engine, &tenant, &token).await.unwrap().unwrap();
        let client = Client { ip: std::net::Ipv4Addr::LOCALHOST.into(), user_agent: None };
        let request = Request { key: "k-1", caller: Some("ann"), client: &client, method: "POST", path: "/x", query: "", authority: &[], body: b"" };
        let Claimed::Now(claim) = idempotency::claim(&app.engine, &tenant, &request).await.unwrap() else { panic!("nobody was here") };
        let torn = Receipt::new(Some(claim), |_| Err(Error::new(Code::Unexpected, "torn")));
        assert!(ops::session_cookie::give(&app.engine, &tenant, &caller, ops::session_cookie::Opens::Api, None, &torn).await.is_err());
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["0"]);
        // With a key it is one session, however often it is asked for.
        let give = async || shop.post("/auth/session").bearer(&token).header("idempotency-key", "k-2").send().await.expect_status(200);
        assert_eq!(give().await.header("set-cookie"), give().await.header("set-cookie"));
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["1"]);
    }

    async fn it_gets_a_cookie_and_ends_with_the_sessions(app: TestApp) {
        let shop = moved(app).await;
        let token = sign(FORMER, &said(app));
        let (ended, sessions) = ("current", async |token: &str| shop.get("/auth/sessions").bearer(token).send().await.expect_status(200).json());
        let end = async |path: &str, token: &str| shop.call(http::Method::DELETE, path).bearer(token).send().await.expect_status(200).json();
        // A cookie is of a session, which begins with it.
        let cookie = shop.cookie(&token).await;
        shop.get("/store/customers/me").cookie(&cookie).send().await.expect_status(200);
        let listed = sessions(&token).await;
        assert_eq!((listed["sessions"].as_array().unwrap().len(), &listed["sessions"][0]["current"]), (1, &json!(false)));
        // Signing out with such a token ends its like, and no session.
        assert_eq!(end("/auth/sessions/current", &token).await, json!({"id": ended, "object": "session", "deleted": true}));
        assert_refused(everywhere(&shop, &token).await, "signed out");
        shop.get("/store/customers/me").cookie(&cookie).send().await.expect_status(200);
        // All others, of which it may be one itself.
        app.clock.advance(Duration::from_secs(2));
        let token = sign(FORMER, &said(app));
        end("/auth/sessions", &token).await;
        assert_refused(everywhere(&shop, &token).await, "its like");
        shop.get("/store/customers/me").cookie(&cookie).send().await.expect_status(401);
        // The others of a session.
        app.clock.advance(Duration::from_secs(2));
        let token = sign(FORMER, &said(app));
        let own = shop.sign_in(ADDRESS, OLD).await.expect_status(200).token();
        end("/auth/sessions", &own).await;
        assert_refused(everywhere(&shop, &token).await, "another");
        shop.me(&own).await.expect_status(200);
        // Who knows the password changes it, and signs in anew.
        app.clock.advance(Duration::from_secs(2));
        let token = sign(FORMER, &said(app));
        let change = json!({"current_password": OLD, "password": NEW_PASSWORD});
        shop.post("/auth/customer/emailpass/change-password").bearer(&token).json(&change).send().await.expect_status(200);
        assert_refused(everywhere(&shop, &token).await, "changed");
        shop.me(&own).await.expect_status(401);
        shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail("Ann@example.com").await;
    }

    async fn it_names_a_login_of_this_shop_or_nobody(app: TestApp) {
        let shop = moved(app).await;
        customer(&shop, "bob@example.com").await;
        let bob = app.rows("SELECT id, actor_id FROM identities WHERE entity_id = 'bob@example.com'").await.pop().unwrap();
        let (bob, bobs) = bob.split_once(' ').unwrap();
        let said = said(app);
        shop.me(&sign(FORMER, &said)).await.expect_status(200);
        for (name, value) in [
            ("auth_identity_id", json!("authid_01JD00000000000000000000ZZ")),
            ("auth_identity_id", json!(format!("authid_{bob}"))),
            ("auth_identity_id", json!("")),
            ("actor_id", json!(format!("cus_{bobs}"))),
            ("actor_id", json!("cus_01JD00000000000000000000ZZ")),
            ("actor_type", json!("user")),
            ("aud", json!("acme")),
            ("sid", json!("01JD00000000000000000000ZZ")),
            ("purpose", json!("reset")),
        ] {
            assert_refused(everywhere(&shop, &sign(FORMER, &with(&said, name, &value))).await, &format!("{name} {value}"));
        }
        assert_refused(everywhere(&shop, &sign(PRESENT, &said)).await, "a secret that is not listed");
        // R116: another shop, with and without the same secret, and with a login of the same id.
        assert_refused(everywhere(&app.globex(), &sign(FORMER, &said)).await, "not listed");
        app.restart(|config| list(&mut config.tenants[1])).await;
        assert_refused(everywhere(&app.globex(), &sign(FORMER, &said)).await, "not there");
        let shop = app.acme();
        execute(&app.engine, "DELETE FROM identities").await.unwrap();
        assert_refused(everywhere(&shop, &sign(FORMER, &said)).await, "deleted");
    }

    async fn r56_a_reset_ends_it_with_the_sessions(app: TestApp) {
        let shop = moved(app).await;
        let token = sign(FORMER, &said(app));
        let early = sign(FORMER, &with(&said(app), "actor_id", &json!("")));
        shop.me(&token).await.expect_status(200);
        app.clock.advance(Duration::from_secs(1));
        let link = app.reset_token(&shop, "Ann@example.com").await;
        shop.complete_reset(&link, NEW_PASSWORD).await.expect_status(200);
        assert_refused(everywhere(&shop, &token).await, "issued before");
        refresh(&shop, &early).await.expect_status(401);
        shop.post("/store/customers").bearer(&early).json(&json!({"email": ADDRESS})).send().await.expect_status(401);
        app.clock.advance(Duration::from_secs(1));
        shop.me(&sign(FORMER, &said(app))).await.expect_status(200);
        app.take_all_mail().await;
    }

    async fn sessions_that_ended_after_it_was_looked_at_end_it_still(app: TestApp) {
        let shop = moved(app).await;
        let acme = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let early = sign(FORMER, &with(&said(app), "actor_id", &json!("")));
        let caller = ops::session::authenticate(&app.engine, &acme, &early).await.unwrap().unwrap();
        // Between the look and the transaction a reset ends the sessions.
        app.clock.advance(Duration::from_secs(1));
        let link = app.reset_token(&shop, "Ann@example.com").await;
        shop.complete_reset(&link, NEW_PASSWORD).await.expect_status(200);
        let refused = ops::session::refresh(&app.engine, &acme, &caller, &Receipt::none()).await.unwrap_err();
        assert_eq!(refused.code, Code::Unauthorized);
        let refused = ops::customer::create(&app.engine, &acme, &caller, Some(ADDRESS), Profile::default(), &Receipt::none()).await.unwrap_err();
        assert_eq!(refused.code, Code::Unauthenticated);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["0"]);
        app.take_all_mail().await;
    }

    async fn r54_a_former_secret_makes_no_reset(app: TestApp) {
        let shop = moved(app).await;
        let link = app.reset_token(&shop, "Ann@example.com").await;
        let forged = sign(FORMER, &claims(&link));
        shop.complete_reset(&forged, NEW_PASSWORD).await.expect_error(401, "Invalid token");
        // Nor does Medusa's own.
        let now = app.clock.now().seconds();
        let medusas = json!({"entity_id": "ann@example.com", "provider": "emailpass", "actor_type": "customer", "purpose": "reset", "iat": now,
            "exp": now + 900, "jti": claims(&link)["jti"]});
        shop.complete_reset(&sign(FORMER, &medusas), NEW_PASSWORD).await.expect_error(401, "Invalid token");
        shop.complete_reset(&link, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
    }

    async fn a_secret_of_our_own_that_was_changed_goes_on_reading_sessions_and_no_resets(app: TestApp) {
        let hs256 = |secret: &'static str, former: &'static [&'static str]| move |settings: &mut TenantSettings| {
            settings.tokens.algorithm = Algorithm::Hs256;
            settings.tokens.secret = Some(Secret::new(secret));
            settings.tokens.former_secrets = former.iter().map(|secret| Secret::new(*secret)).collect();
        };
        app.restart_acme(hs256(FORMER, &[])).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let link = app.reset_token(&shop, ADDRESS).await;
        // What has no session was never ours.
        let mut bare = claims(&token);
        for name in ["sid", "iss", "aud", "jti"] {
            bare.as_object_mut().unwrap().shift_remove(name);
        }
        shop.me(&sign(FORMER, &bare)).await.expect_status(401);
        app.restart_acme(hs256(PRESENT, &[FORMER])).await;
        let shop = app.acme();
        shop.me(&token).await.expect_status(200);
        shop.complete_reset(&link, NEW_PASSWORD).await.expect_error(401, "Invalid token");
        execute(&app.engine, "UPDATE sessions SET ended_at = 1").await.unwrap();
        assert_refused(everywhere(&shop, &token).await, "its session has ended");
    }

    async fn r47_former_secrets_rest_sealed(app: TestApp) {
        let at_rest = AtRest::begin(app).await;
        let shop = moved(app).await;
        refresh(&shop, &sign(FORMER, &said(app))).await.expect_status(200);
        AtRest::assert_absent(&at_rest.places(app).await, "the former secret", FORMER.as_bytes());
    }
}
