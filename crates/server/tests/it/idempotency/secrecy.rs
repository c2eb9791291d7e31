//! What is kept for a key is readable by nobody who has not the key.

use vestibule_engine::ops::idempotency::{Claimed, Request, claim};
use vestibule_engine::ops::{self, Client};

use super::{KEY, KEYS, REGISTER, SIGN_IN, credentials};
use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer};
use crate::support::at_rest::AtRest;
use crate::support::client::claims;
use crate::support::each_db;

each_db! {
    async fn r142_neither_key_nor_answer_is_readable_at_rest(app: TestApp) {
        let rest = AtRest::begin(app).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let key = "a-key-of-the-client-7421";
        let signed_in = shop.post(SIGN_IN).header(KEY, key).json(&credentials(ADDRESS, PASSWORD)).send().await.expect_status(200);
        let refreshed = shop.post("/auth/token/refresh").bearer(&signed_in.token()).header(KEY, key).send().await.expect_status(200);
        shop.post(REGISTER).header(KEY, key).json(&credentials("short@example.com", "a-7-ch.")).send().await.expect_status(400);
        assert_eq!(app.rows(KEYS).await, ["3"]);
        let places = rest.places(app).await;
        for token in [signed_in.token(), refreshed.token()] {
            for piece in token.split('.').skip(1).chain([token.as_str()]) {
                AtRest::assert_absent(&places, "a token", piece.as_bytes());
            }
        }
        for (name, secret) in [("the key", key), ("a password", PASSWORD), ("a refused address", "short@example.com"), ("an answer", "Password must be")] {
            AtRest::assert_absent(&places, name, secret.as_bytes());
        }
        // The search finds what is there: the session that the row names.
        let session = claims(&signed_in.token())["sid"].as_str().unwrap().to_owned();
        assert!(AtRest::found(&places, session.as_bytes()).iter().any(|place| place.ends_with("test.db-wal") || place == "idempotency_keys"));
    }

    async fn an_answer_opens_for_its_key_alone(app: TestApp) {
        let shop = app.acme();
        shop.post(REGISTER).header(KEY, "k-1").json(&credentials(ADDRESS, PASSWORD)).send().await.expect_status(200);
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let client = Client { ip: std::net::Ipv4Addr::LOCALHOST.into(), user_agent: None };
        let body = credentials(ADDRESS, PASSWORD).to_string();
        let nothing = [b"".as_slice(); 4];
        let with = |key: &'static str| Request { key, caller: None, client: &client, method: "POST", path: REGISTER, query: "", authority: &nothing, body: body.as_bytes() };
        assert!(matches!(claim(&app.engine, &tenant, &with("k-1")).await, Ok(Claimed::Before(_))));
        // Whoever can write the database, and puts the answer where their own key looks for it, has nothing.
        assert!(matches!(claim(&app.engine, &tenant, &with("k-2")).await, Ok(Claimed::Now(_))));
        let moved = "UPDATE idempotency_keys SET answer = (SELECT answer FROM idempotency_keys WHERE answer IS NOT NULL) WHERE answer IS NULL";
        assert_eq!(vestibule_engine::testing::execute(&app.engine, moved).await.unwrap(), 1);
        let refused = claim(&app.engine, &tenant, &with("k-2")).await;
        assert!(refused.is_err_and(|e| e.to_string().contains("does not open")));
    }
}
