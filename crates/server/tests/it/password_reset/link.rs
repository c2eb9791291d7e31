//! The link in the mail: where it leads is the configuration's word alone.

use serde_json::json;
use vestibule_engine::model::email::Email;
use vestibule_engine::ops;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, link_in, token_in};
use crate::support::client::claims;
use crate::support::each_db;

const PATH: &str = "/auth/customer/emailpass/reset-password";

/// The link without its token.
fn bare(link: &str) -> String {
    let (before, token) = link.split_once("token=").unwrap();
    let after = token.find('&').map_or("", |at| &token[at..]);
    format!("{before}token={after}")
}

async fn asked_with(app: &mut TestApp, metadata: serde_json::Value) -> String {
    app.acme().post(PATH).json(&json!({"identifier": ADDRESS, "metadata": metadata})).send().await.expect_status(201);
    app.settle().await;
    bare(&link_in(&app.next_mail(ADDRESS).await))
}

each_db! {
    async fn r45_no_header_of_a_request_chooses_its_origin(app: TestApp) {
        app.restart(|config| config.server.default_tenant = Some("acme".into())).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let expected = "http://acme.api.example.com:9000/account/reset-password?token=";
        for (name, value) in [("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example;proto=https"), ("x-forwarded-proto", "https"), ("origin", "https://evil.example")] {
            acme.post(PATH).header(name, value).body(ADDRESS).send().await.expect_status(201);
            app.settle().await;
            assert_eq!(bare(&link_in(&app.next_mail(ADDRESS).await)), expected, "{name}");
        }
        // A host that falls to the default shop is still the client's word.
        acme.at("evil.example").request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        assert_eq!(bare(&link_in(&app.next_mail(ADDRESS).await)), expected);
        for host in ["acme.api.example.com:80@evil.example", "evil.api.example.com"] {
            acme.at(host).request_reset(ADDRESS).await.expect_status(404);
        }
    }

    async fn a_storefronts_page_is_linked(app: TestApp) {
        app.restart_acme(|acme| acme.storefront_url = Some("https://acme.example/shop/".parse().unwrap())).await;
        customer(&app.acme(), ADDRESS).await;
        assert_eq!(asked_with(app, json!({})).await, "https://acme.example/shop/reset-password?token=");
    }

    async fn a_reset_url_keeps_its_query_and_takes_the_locale(app: TestApp) {
        app.restart_acme(|acme| {
            acme.storefront_url = Some("https://acme.example".parse().unwrap());
            acme.reset_url = Some("https://acme.example/{locale}/reset?from=mail&x=a%26b".into());
        })
        .await;
        customer(&app.acme(), ADDRESS).await;
        let of = |locale: &str| format!("https://acme.example/{locale}/reset?from=mail&x=a%26b&token=");
        assert_eq!(asked_with(app, json!({"locale": "pt-BR"})).await, of("pt-BR"));
        assert_eq!(asked_with(app, json!({})).await, of("en"));
        // A locale cannot lead elsewhere.
        assert_eq!(asked_with(app, json!({"locale": "../x@evil.example/?"})).await, of("en"));
        assert_eq!(asked_with(app, json!({"locale": 5})).await, of("en"));
    }

    async fn staff_always_get_the_hosted_page(app: TestApp) {
        app.restart_acme(|acme| acme.storefront_url = Some("https://acme.example".parse().unwrap())).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        ops::user::create(&app.engine, &tenant, &Email::parse(ADDRESS).unwrap(), PASSWORD).await.unwrap();
        acme.post("/auth/user/emailpass/reset-password").json(&json!({"identifier": ADDRESS})).send().await.expect_status(201);
        app.settle().await;
        let mail = app.next_mail(ADDRESS).await;
        assert_eq!(bare(&link_in(&mail)), "http://acme.api.example.com:9000/account/reset-password?token=");
        let token = token_in(&mail);
        assert_eq!(claims(&token)["actor_type"], "user");
        // The page sets the password of the member of staff, not of the customer with the same address.
        let form = acme.post("/account/reset-password").header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("token={token}&password={NEW_PASSWORD}")).send().await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        let as_staff = |password: &str| acme.post("/auth/user/emailpass").json(&json!({"email": ADDRESS, "password": password})).send();
        as_staff(NEW_PASSWORD).await.expect_status(200);
        as_staff(PASSWORD).await.expect_status(401);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn a_customer_without_such_an_actor_gets_no_staff_token(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        acme.post("/auth/user/emailpass/reset-password").json(&json!({"identifier": ADDRESS})).send().await.expect_status(201);
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'").await, ["0"]);
    }
}
