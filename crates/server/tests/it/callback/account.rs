//! Whose account it is: the address never chooses it by itself.

use serde_json::json;
use vestibule_engine::model::tenant::SameAddress;

use super::{come_back, person, sign_in, with_issuer};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::client::claims;
use crate::support::each_db;

each_db! {
    async fn by_default_the_owner_is_told_and_nothing_is_linked(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        issuer.person(person("one", ADDRESS, true));
        let answer = sign_in(&acme, &issuer).await.expect_status(200);
        assert_eq!(answer.json()["account_exists"], json!(true));
        let token = answer.token();
        assert_eq!(claims(&token)["actor_id"], "");
        let create = acme.post("/store/customers").bearer(&token).json(&json!({})).send().await;
        create.expect_error(422, "Customer with this email already has an account");
        // Whoever has not shown the address to be theirs hears nothing of accounts.
        issuer.person(person("two", ADDRESS, false));
        assert!(sign_in(&acme, &issuer).await.expect_status(200).json().get("account_exists").is_none());
        issuer.person(person("three", "nobody@example.com", true));
        assert!(sign_in(&acme, &issuer).await.expect_status(200).json().get("account_exists").is_none());
    }

    async fn r102_a_strangers_password_is_dead_once_the_owner_arrives(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        // Somebody registers an address that is not theirs, and makes an account of it.
        let session = customer(&acme, ADDRESS).await;
        let link = app.reset_token(&acme, ADDRESS).await;
        issuer.person(person("owner", ADDRESS, true));
        sign_in(&acme, &issuer).await.expect_status(200);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_error(401, "Invalid email or password");
        acme.me(&session).await.expect_status(401);
        acme.complete_reset(&link, NEW_PASSWORD).await.expect_error(401, "Invalid token");
        // The owner takes the account over by mail.
        let link = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&link, NEW_PASSWORD).await.expect_status(200);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        // From now on the address is proven, and the password stays whoever arrives.
        sign_in(&acme, &issuer).await.expect_status(200);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
    }

    async fn a_provider_that_has_not_seen_the_address_proven_kills_no_password(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        issuer.person(person("mallory", ADDRESS, false));
        sign_in(&acme, &issuer).await.expect_status(200);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        // R101: only the boolean counts.
        issuer.person(json!({"sub": "mallory", "email": ADDRESS, "email_verified": "true"}));
        sign_in(&acme, &issuer).await.expect_status(200);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        // Nor does the other shop's.
        issuer.person(person("owner", ADDRESS, true));
        sign_in(&app.globex(), &issuer).await.expect_status(200);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn a_shop_may_link_addresses_that_are_proven_on_both_sides(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| config.tenants[0].callbacks.same_address = SameAddress::Auto).await;
        let acme = app.acme();
        let owner = claims(&customer(&acme, ADDRESS).await)["actor_id"].clone();
        issuer.person(person("early", ADDRESS, true));
        let early = sign_in(&acme, &issuer).await.expect_status(200);
        assert_eq!((claims(&early.token())["actor_id"].clone(), &early.json()["account_exists"]), (json!(""), &json!(true)), "nobody had proven the account's");
        let link = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&link, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
        for sub in ["early", "late"] {
            issuer.person(person(sub, ADDRESS, true));
            let linked = sign_in(&acme, &issuer).await.expect_status(200);
            assert_eq!((&claims(&linked.token())["actor_id"], linked.json().get("account_exists")), (&owner, None), "{sub}");
            acme.me(&linked.token()).await.expect_status(200);
        }
        issuer.person(person("mallory", ADDRESS, false));
        assert_eq!(claims(&sign_in(&acme, &issuer).await.token())["actor_id"], "");
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.identity_linked'").await, ["2"]);
    }

    async fn an_account_is_proven_by_its_own_address_alone(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| {
            config.tenants[0].callbacks.same_address = SameAddress::Auto;
            config.tenants[0].customers.email_must_match_identity = false;
        }).await;
        let acme = app.acme();
        // Mallory has shown an address to be theirs, but not the one that they gave their account.
        issuer.person(person("mallory", "mallory@example.com", true));
        let mallory = sign_in(&acme, &issuer).await.token();
        acme.post("/store/customers").bearer(&mallory).json(&json!({"email": ADDRESS})).send().await.expect_status(200);
        issuer.person(person("owner", ADDRESS, true));
        let owner = sign_in(&acme, &issuer).await.expect_status(200);
        assert_eq!((claims(&owner.token())["actor_id"].clone(), &owner.json()["account_exists"]), (json!(""), &json!(true)));
    }

    async fn staff_hear_nothing_of_customers(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| config.tenants[0].auth_methods = [("user".to_owned(), vec!["certified".to_owned()])].into()).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        issuer.person(person("one", ADDRESS, true));
        let query = come_back(&issuer, &acme.post("/auth/user/certified").json(&json!({})).send().await);
        let answer = acme.get(&format!("/auth/user/certified/callback?{query}")).send().await.expect_status(200);
        assert_eq!((claims(&answer.token())["actor_id"].clone(), answer.json().get("account_exists")), (json!(""), None));
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn what_a_provider_tells_anew_is_taken(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        issuer.person(json!({"sub": "one", "email": "old@example.com", "email_verified": false, "name": "Ann Lee"}));
        sign_in(&acme, &issuer).await.expect_status(200);
        issuer.person(json!({"sub": "one", "email": ADDRESS, "email_verified": true, "name": "Ann Smith"}));
        let told = claims(&sign_in(&acme, &issuer).await.expect_status(200).token())["user_metadata"].clone();
        assert_eq!((&told["name"], &told["email"]), (&json!("Ann Smith"), &json!(ADDRESS)));
        assert_eq!(app.rows("SELECT address FROM identities WHERE proven_at IS NOT NULL").await, [ADDRESS]);
    }

    async fn a_shop_may_say_and_link_nothing(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| config.tenants[0].callbacks.same_address = SameAddress::Never).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        issuer.person(person("one", ADDRESS, true));
        let answer = sign_in(&acme, &issuer).await.expect_status(200);
        assert_eq!((claims(&answer.token())["actor_id"].clone(), answer.json().get("account_exists")), (json!(""), None));
    }

    async fn what_a_provider_tells_is_bounded(app: TestApp) {
        let issuer = with_issuer(app).await;
        issuer.person(json!({"sub": "one", "email": ADDRESS, "email_verified": true, "name": "x".repeat(600), "given_name": "a\u{0}b", "picture": "https://p.example/x"}));
        let token = sign_in(&app.acme(), &issuer).await.expect_status(200).token();
        let told = claims(&token)["user_metadata"].clone();
        assert_eq!((told.get("name"), told.get("given_name"), &told["picture"]), (None, None, &json!("https://p.example/x")));
        app.acme().post("/store/customers").bearer(&token).json(&json!({})).send().await.expect_status(200);
    }
}
