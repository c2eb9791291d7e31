//! The callback that the server takes itself, for every shop.

use std::time::Duration;

use serde_json::json;
use url::Url;
use vestibule_engine::provider::hostile::HostileIssuer;
use vestibule_engine::testing::execute;

use super::{START, come_back, with_issuer};
use crate::support::app::{ADDRESS, TestApp};
use crate::support::client::{Answer, Shop, claims};
use crate::support::each_db;

const GONE: &str = "No state provided, or session expired";

/// As `with_issuer`, with the callback at the server's own host and a page per shop.
async fn with_shared_callback(app: &mut TestApp) -> HostileIssuer {
    let issuer = with_issuer(app).await;
    app.restart(|config| {
        config.server.public_url = Some("https://id.example.com".parse().unwrap());
        for tenant in &mut config.tenants {
            let page = format!("https://{}.example/signed-in", tenant.slug);
            let certified = tenant.providers.get_mut("certified").unwrap();
            certified.callback_url = Some("https://id.example.com/auth/callback/certified".into());
            certified.allowed_callback_urls = vec![page, format!("https://{}.example/other", tenant.slug)];
        }
    })
    .await;
    issuer
}

/// The host that no shop has.
fn server(shop: &Shop) -> Shop {
    shop.at("id.example.com")
}

/// Goes to the provider and back to the server: where that sends the browser.
async fn back_at_the_page(shop: &Shop, issuer: &HostileIssuer) -> Url {
    let query = come_back(issuer, &shop.post(START).json(&json!({})).send().await);
    let sent_on = server(shop).get(&format!("/auth/callback/certified?{query}")).send().await.expect_status(303);
    assert_eq!((sent_on.header("cache-control"), sent_on.text.as_str()), ("no-store", ""));
    Url::parse(sent_on.header("location")).unwrap()
}

async fn redeem(shop: &Shop, page: &Url, origin: &str) -> Answer {
    let call = shop.get(&format!("{START}/callback?{}", page.query().unwrap()));
    if origin.is_empty() { call } else { call.header("origin", origin) }.send().await
}

each_db! {
    async fn each_shop_gets_a_code_for_its_own_page(app: TestApp) {
        let issuer = with_shared_callback(app).await;
        for (shop, page) in [(app.acme(), "https://acme.example/signed-in"), (app.globex(), "https://globex.example/signed-in")] {
            let sent_to = back_at_the_page(&shop, &issuer).await;
            assert_eq!(sent_to.as_str().split('?').next().unwrap(), page);
            let names: Vec<String> = sent_to.query_pairs().map(|(name, _)| name.into_owned()).collect();
            // R106: never a token in a URL.
            assert!(names == ["code", "state"] && !sent_to.as_str().contains("eyJ"), "{sent_to}");
            let token = redeem(&shop, &sent_to, page.trim_end_matches("/signed-in")).await.expect_status(200).token();
            assert_eq!(claims(&token)["user_metadata"]["email"], ADDRESS);
            redeem(&shop, &sent_to, "").await.expect_error(401, GONE);
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["2"], "a session begins when the code is redeemed");
    }

    async fn a_code_is_good_for_a_minute_a_shop_and_an_origin(app: TestApp) {
        let issuer = with_shared_callback(app).await;
        let (acme, globex) = (app.acme(), app.globex());
        let late = back_at_the_page(&acme, &issuer).await;
        app.advance(Duration::from_mins(1));
        redeem(&acme, &late, "").await.expect_error(401, GONE);
        let sent_to = back_at_the_page(&acme, &issuer).await;
        redeem(&globex, &sent_to, "").await.expect_error(401, GONE);
        acme.get(&format!("/auth/user/certified/callback?{}", sent_to.query().unwrap())).send().await.expect_status(400);
        let forged = Url::parse(&sent_to.as_str().replace("state=", "state=A")).unwrap();
        redeem(&acme, &forged, "").await.expect_error(401, GONE);
        // A page at another origin spends it, and gets nothing.
        redeem(&acme, &sent_to, "https://evil.example").await.expect_error(401, GONE);
        redeem(&acme, &sent_to, "https://acme.example").await.expect_error(401, GONE);
        let sent_to = back_at_the_page(&acme, &issuer).await;
        redeem(&acme, &sent_to, "https://acme.example").await.expect_status(200);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["1"]);
    }

    async fn r92_a_code_is_redeemed_in_the_browser_that_began(app: TestApp) {
        let issuer = with_shared_callback(app).await;
        let acme = app.acme();
        let other_browser = "This sign-in was begun in another browser, or without cookies";
        let begin = async |site: &str| {
            let started = acme.post(START).header("sec-fetch-site", site).json(&json!({})).send().await;
            let cookie = started.header("set-cookie").split(';').next().unwrap().to_owned();
            let query = come_back(&issuer, &started);
            let sent_on = server(&acme).get(&format!("/auth/callback/certified?{query}")).send().await.expect_status(303);
            (Url::parse(sent_on.header("location")).unwrap(), cookie)
        };
        let redeem_as = async |page: &Url, site: &str, cookie: &str| {
            let call = acme.get(&format!("{START}/callback?{}", page.query().unwrap())).header("sec-fetch-site", site);
            if cookie.is_empty() { call } else { call.header("cookie", cookie) }.send().await
        };
        let (page, cookie) = begin("same-site").await;
        redeem_as(&page, "same-site", &cookie).await.expect_status(200);
        let (page, _) = begin("same-site").await;
        redeem_as(&page, "cross-site", "").await.expect_error(401, other_browser);
        // What an attacker began elsewhere does not end in a customer's browser.
        let (page, _) = begin("cross-site").await;
        redeem_as(&page, "same-site", &cookie).await.expect_error(401, other_browser);
        redeem_as(&page, "cross-site", "").await.expect_error(401, GONE);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["1"]);
    }

    async fn a_login_that_was_removed_meanwhile_begins_no_session(app: TestApp) {
        let issuer = with_shared_callback(app).await;
        let acme = app.acme();
        let page = back_at_the_page(&acme, &issuer).await;
        assert_eq!(execute(&app.engine, "DELETE FROM identities").await.unwrap(), 1);
        redeem(&acme, &page, "").await.expect_error(401, GONE);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["0"]);
    }

    async fn a_form_is_taken_and_an_error_goes_on_to_the_page(app: TestApp) {
        let issuer = with_shared_callback(app).await;
        let acme = app.acme();
        let path = "/auth/callback/certified";
        let post = |body: String| server(&acme).post(path).header("content-type", "application/x-www-form-urlencoded").body(body).send();
        let query = come_back(&issuer, &acme.post(START).json(&json!({"callback_url": "https://acme.example/other"})).send().await);
        let sent_on = post(query.clone()).await.expect_status(303);
        assert!(sent_on.header("location").starts_with("https://acme.example/other?code=vestibule_"), "{:?}", sent_on.headers);
        post(query).await.expect_error(401, GONE);
        let query = come_back(&issuer, &acme.post(START).json(&json!({})).send().await);
        let state = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").unwrap().1.into_owned();
        let denied = post(format!("error=access_denied&error_description=No+%26+never&state={state}")).await.expect_status(303);
        let page = Url::parse(denied.header("location")).unwrap();
        let pairs: Vec<(String, String)> = page.query_pairs().into_owned().collect();
        assert_eq!(pairs[..2], [("error".to_owned(), "access_denied".to_owned()), ("error_description".to_owned(), "No & never".to_owned())]);
        // The page hands it on, and the customer reads it.
        redeem(&acme, &page, "").await.expect_error(401, "No & never");
        for nothing in ["", "code=x", "code=x&state=deadbeef", "error=access_denied"] {
            server(&acme).get(&format!("{path}?{nothing}")).send().await.expect_error(401, GONE);
        }
    }

    async fn a_state_of_the_server_is_none_of_the_shops_callback(app: TestApp) {
        let issuer = with_shared_callback(app).await;
        let acme = app.acme();
        let query = come_back(&issuer, &acme.post(START).json(&json!({})).send().await);
        acme.get(&format!("{START}/callback?{query}")).send().await.expect_error(401, GONE);
        // The server's own address is no page of the shop's.
        let own = json!({"callback_url": "https://id.example.com/auth/callback/certified"});
        let query = come_back(&issuer, &acme.post(START).json(&own).send().await);
        let sent_on = server(&acme).get(&format!("/auth/callback/certified?{query}")).send().await.expect_status(303);
        assert!(sent_on.header("location").starts_with("https://acme.example/signed-in?"));
    }
}
