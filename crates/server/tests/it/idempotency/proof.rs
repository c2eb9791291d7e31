//! A key is no proof: whatever authorises the first request must come with the next, and a key tells nobody what came with it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{ADDRESSES, KEY, OTHER, SIGN_IN, assert_fresh, assert_replay, credentials};
use crate::callback::{START, come_back, with_issuer};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::client::Answer;
use crate::support::each_db;

const UPDATE: &str = "/auth/customer/emailpass/update";

each_db! {
    async fn r92_a_callback_is_answered_again_to_its_own_browser_and_page_alone(app: TestApp) {
        let issuer = with_issuer(app).await;
        let shop = app.acme();
        let begun = shop.post(START).header("sec-fetch-site", "same-origin").json(&json!({})).send().await.expect_status(200);
        let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
        let query = come_back(&issuer, &begun);
        let arrive = async |cookie: &str, origin: &str, site: &str| {
            let call = shop.post(&format!("{START}/callback?{query}")).header("cookie", cookie).header("origin", origin);
            call.header("sec-fetch-site", site).header(KEY, "k-1").json(&json!({})).send().await
        };
        let own = "https://acme.example";
        let first = arrive(&cookie, own, "same-origin").await.expect_status(200);
        let planted = format!("vestibule-flow={}", "x".repeat(43));
        for (cookie, origin, site) in [
            ("", own, "same-origin"),
            (&planted, own, "same-origin"),
            (&cookie, "https://evil.example", "same-origin"),
            (&cookie, own, "cross-site"),
        ] {
            arrive(cookie, origin, site).await.expect_error(422, OTHER);
        }
        assert_replay(&first, &arrive(&cookie, own, "same-origin").await);
    }

    async fn a_reset_is_answered_again_to_its_token_alone(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let token = app.reset_token(&shop, ADDRESS).await;
        let update = async |token: &str| shop.post(UPDATE).bearer(token).header(KEY, "k-1").json(&json!({"password": NEW_PASSWORD})).send().await;
        let first = update(&token).await.expect_status(200);
        update("junk").await.expect_error(422, OTHER);
        assert_replay(&first, &update(&token).await);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn a_key_of_one_session_is_none_of_another(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let other = shop.sign_in(ADDRESS, PASSWORD).await.token();
        for (path, body) in [("/auth/session", json!({})), (ADDRESSES, json!({"city": "Bremen"}))] {
            let send = async |token: &str| shop.post(path).bearer(token).header(KEY, "k-1").json(&body).send().await;
            let first = send(&token).await.expect_status(200);
            send(&other).await.expect_error(422, OTHER);
            // A refreshed token is of the same session.
            let refreshed = shop.post("/auth/token/refresh").bearer(&token).send().await.token();
            assert_replay(&first, &send(&refreshed).await);
        }
        let refresh = async |token: &str| shop.post("/auth/token/refresh").bearer(token).header(KEY, "k-1").send().await;
        let first = refresh(&token).await.expect_status(200);
        refresh(&other).await.expect_error(422, OTHER);
        assert_replay(&first, &refresh(&first.token()).await);
        // So is its cookie.
        let cookie = shop.cookie(&token).await;
        assert_replay(&first, &shop.post("/auth/token/refresh").cookie(&cookie).header(KEY, "k-1").send().await);
    }

    async fn a_key_helps_nobody_to_guess_a_password(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let sign_in = async |key: &str, password: &str| shop.post(SIGN_IN).header(KEY, key).json(&credentials(ADDRESS, password)).send().await;
        let first = sign_in("k-1", PASSWORD).await.expect_status(200);
        let guesses: Vec<String> = (0..40).map(|n| format!("a-Wrong-pass-{n}")).collect();
        let answers: Vec<Answer> = join_all(guesses.iter().map(|guess| sign_in("k-1", guess))).await;
        let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((of(422), of(429)), (5, 35));
        // The right one is not told from a wrong one any more.
        let refused = sign_in("k-1", PASSWORD).await.expect_status(429);
        assert_eq!(refused.text, sign_in("k-1", "a-Wrong-pass-1").await.expect_status(429).text);
        assert!((86_000..=86_401).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
        // Another key is as good as ever, and this one is once it is forgotten.
        assert_fresh(&sign_in("k-2", PASSWORD).await.expect_status(200));
        app.advance(Duration::from_hours(24));
        let again = sign_in("k-1", PASSWORD).await.expect_status(200);
        assert_fresh(&again);
        assert_ne!(again.text, first.text);
    }
}
