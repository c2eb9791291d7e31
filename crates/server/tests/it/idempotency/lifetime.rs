//! An answer is given again no longer than what is in it is good.

use std::time::Duration;

use serde_json::json;
use vestibule_engine::model::time::Span;

use super::{KEY, SIGN_IN, assert_fresh, assert_in_flight, assert_replay, credentials};
use crate::callback::{START, with_issuer};
use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer};
use crate::support::each_db;

const SECOND: Duration = Duration::from_secs(1);

each_db! {
    async fn a_cookie_that_was_replaced_is_not_given_again(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let give = async || shop.post("/auth/session").bearer(&token).header(KEY, "k-1").send().await;
        let first = give().await.expect_status(200);
        assert_replay(&first, &give().await);
        let good = shop.cookie(&token).await;
        let refused = give().await;
        assert_in_flight(&refused, "k-1");
        assert!(!refused.headers.contains_key("set-cookie"));
        shop.get("/store/customers/me").cookie(&good).send().await.expect_status(200);
    }

    async fn a_token_that_expired_is_not_given_again(app: TestApp) {
        app.restart_acme(|acme| acme.tokens.ttl = Span(Duration::from_mins(1))).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let sign_in = async || shop.post(SIGN_IN).header(KEY, "k-1").json(&credentials(ADDRESS, PASSWORD)).send().await;
        let first = sign_in().await.expect_status(200);
        app.advance(SECOND * 59);
        assert_replay(&first, &sign_in().await);
        shop.me(&first.token()).await.expect_status(200);
        app.advance(SECOND);
        let again = sign_in().await.expect_status(200);
        assert_fresh(&again);
        shop.me(&again.token()).await.expect_status(200);
    }

    async fn a_way_to_a_third_party_is_told_as_long_as_its_state_is_good(app: TestApp) {
        let _issuer = with_issuer(app).await;
        let shop = app.acme();
        let begin = async || shop.post(START).header(KEY, "k-1").json(&json!({})).send().await.expect_status(200);
        let first = begin().await;
        app.advance(SECOND * 599);
        assert_replay(&first, &begin().await);
        app.advance(SECOND);
        let again = begin().await;
        assert_fresh(&again);
        assert_ne!(again.json()["location"], first.json()["location"]);
    }
}
