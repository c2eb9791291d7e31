//! The cookie that ties the way back to the browser that went.

use serde_json::json;
use vestibule_engine::model::tenant::CallbackCookie;
use vestibule_engine::provider::hostile::HostileIssuer;

use super::{START, callback, come_back, go_there, with_issuer};
use crate::support::app::TestApp;
use crate::support::client::{Call, Shop};
use crate::support::each_db;

const OTHER_BROWSER: &str = "This sign-in was begun in another browser, or without cookies";

fn from(call: Call, site: &str) -> Call {
    if site.is_empty() { call } else { call.header("sec-fetch-site", site) }
}

/// As `with_issuer`, as the public sees it: on one machine every port would be of the same site.
async fn in_public(app: &mut TestApp) -> HostileIssuer {
    let issuer = with_issuer(app).await;
    app.restart(|config| config.server.public_url = Some("https://id.example.com".parse().unwrap())).await;
    issuer
}

/// Begins in a browser on `site`: what comes back, and the cookie.
async fn begin(shop: &Shop, issuer: &HostileIssuer, site: &str) -> (String, String) {
    let started = from(shop.post(START).json(&json!({})), site).send().await.expect_status(200);
    let cookie = started.header("set-cookie").split(';').next().unwrap().to_owned();
    (come_back(issuer, &started), cookie)
}

each_db! {
    async fn r92_a_browser_of_the_same_site_must_show_its_cookie(app: TestApp) {
        let issuer = in_public(app).await;
        let acme = app.acme();
        for site in ["same-origin", "same-site"] {
            let (query, _) = begin(&acme, &issuer, site).await;
            from(callback(&acme, &query), site).send().await.expect_error(401, OTHER_BROWSER);
            let (query, _) = begin(&acme, &issuer, site).await;
            // Another client cannot end it either, whatever it says of itself.
            callback(&acme, &query).send().await.expect_error(401, OTHER_BROWSER);
            let (query, cookie) = begin(&acme, &issuer, site).await;
            let (_, foreign) = begin(&acme, &issuer, site).await;
            assert_ne!(cookie, foreign);
            callback(&acme, &query).header("cookie", &foreign).send().await.expect_error(401, OTHER_BROWSER);
            let (query, cookie) = begin(&acme, &issuer, site).await;
            from(callback(&acme, &query), site).header("cookie", &cookie).send().await.expect_status(200);
        }
    }

    async fn r91_what_an_attacker_began_does_not_end_in_a_customers_browser(app: TestApp) {
        let issuer = in_public(app).await;
        let acme = app.acme();
        // The attacker's own client says nothing of sites and keeps no cookie.
        let query = go_there(&acme, &issuer).await;
        from(callback(&acme, &query), "same-site").send().await.expect_error(401, OTHER_BROWSER);
        // Nor in one that has a cookie of its own.
        let (_, cookie) = begin(&acme, &issuer, "same-site").await;
        let query = go_there(&acme, &issuer).await;
        from(callback(&acme, &query), "same-site").header("cookie", &cookie).send().await.expect_error(401, OTHER_BROWSER);
    }

    async fn an_sdk_on_another_site_is_given_no_cookie_and_needs_none(app: TestApp) {
        let issuer = in_public(app).await;
        let acme = app.acme();
        for site in ["", "cross-site"] {
            let (query, cookie) = begin(&acme, &issuer, site).await;
            assert_eq!(cookie, "");
            from(callback(&acme, &query), site).send().await.expect_status(200);
        }
    }

    async fn a_shop_can_ask_for_the_cookie_always_or_never(app: TestApp) {
        let issuer = in_public(app).await;
        app.restart(|config| {
            config.tenants[0].callbacks.cookie = CallbackCookie::Always;
            config.tenants[1].callbacks.cookie = CallbackCookie::Never;
        }).await;
        let (acme, globex) = (app.acme(), app.globex());
        let (query, cookie) = begin(&acme, &issuer, "cross-site").await;
        callback(&acme, &query).header("cookie", &cookie).send().await.expect_status(200);
        let (query, _) = begin(&acme, &issuer, "").await;
        callback(&acme, &query).send().await.expect_error(401, OTHER_BROWSER);
        let (query, cookie) = begin(&globex, &issuer, "same-site").await;
        assert_eq!(cookie, "");
        from(callback(&globex, &query), "same-site").send().await.expect_status(200);
    }

    async fn on_one_machine_another_port_is_another_site(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let (query, cookie) = begin(&acme, &issuer, "same-site").await;
        assert_eq!(cookie, "");
        from(callback(&acme, &query), "same-site").send().await.expect_status(200);
        let (query, cookie) = begin(&acme, &issuer, "same-origin").await;
        from(callback(&acme, &query), "same-origin").send().await.expect_error(401, OTHER_BROWSER);
        assert!(cookie.starts_with("vestibule-flow="));
    }

    async fn r63_the_cookie_is_for_this_host_alone(app: TestApp) {
        let issuer = with_issuer(app).await;
        let started = from(app.acme().post(START).json(&json!({})), "same-origin").send().await;
        let local = started.header("set-cookie").to_owned();
        assert!(local.starts_with("vestibule-flow=") && local.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"), "{local}");
        app.restart(|config| config.server.public_url = Some("https://id.example.com".parse().unwrap())).await;
        let started = from(app.acme().post(START).json(&json!({})), "same-origin").send().await;
        let cookie = started.header("set-cookie").to_owned();
        assert!(cookie.starts_with("__Host-vestibule-flow=") && cookie.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
        // Two flows in two tabs share it.
        let pair = cookie.split(';').next().unwrap().to_owned();
        let second = from(app.acme().post(START).json(&json!({})), "same-origin").header("cookie", &pair).send().await;
        assert!(second.header("set-cookie").starts_with(&pair));
        for started in [&started, &second] {
            let query = come_back(&issuer, started);
            from(callback(&app.acme(), &query), "same-origin").header("cookie", &pair).send().await.expect_status(200);
        }
        // One that was planted beside it makes both worthless.
        let (query, cookie) = begin(&app.acme(), &issuer, "same-origin").await;
        let both = format!("{cookie}; __Host-vestibule-flow=planted");
        from(callback(&app.acme(), &query), "same-origin").header("cookie", &both).send().await.expect_error(401, OTHER_BROWSER);
    }
}
