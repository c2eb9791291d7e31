//! `/auth/identities`: adding and removing ways in.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{person, sign_in, with_issuer};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::client::{Answer, Shop, claims};
use crate::support::each_db;

const STALE: &str = "Sign in again: how an account is reached can be changed within ten minutes of a sign-in";

async fn link(shop: &Shop, account: &str, other: &str) -> Answer {
    shop.post("/auth/identities").bearer(account).json(&json!({"token": other})).send().await
}

async fn unlink(shop: &Shop, account: &str, id: &str) -> Answer {
    shop.call(http::Method::DELETE, &format!("/auth/identities/{id}")).bearer(account).send().await
}

async fn listed(shop: &Shop, account: &str) -> Vec<Value> {
    shop.get("/auth/identities").bearer(account).send().await.expect_status(200).json()["identities"].as_array().unwrap().clone()
}

each_db! {
    async fn r103_a_login_is_linked_listed_and_removed(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        issuer.person(person("one", ADDRESS, true));
        let other = sign_in(&acme, &issuer).await.token();
        // The owner has arrived, so the password is dead; a new one comes by mail.
        let reset = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        let account = acme.sign_in(ADDRESS, NEW_PASSWORD).await.token();
        let linked = link(&acme, &account, &other).await.expect_status(200).json();
        assert_eq!((&linked["identity"]["provider"], &linked["identity"]["current"]), (&json!("certified"), &json!(false)));
        let all = listed(&acme, &account).await;
        assert_eq!(all.iter().map(|login| login["provider"].as_str().unwrap()).collect::<Vec<_>>(), ["emailpass", "certified"]);
        assert!(all.iter().all(|login| login["email_proven"] == true && login["email"] == ADDRESS), "{all:?}");
        let by_provider = sign_in(&acme, &issuer).await.token();
        assert_eq!(claims(&by_provider)["actor_id"], claims(&account)["actor_id"]);
        // Each way in can remove the other, and the last one nobody.
        let password_login = all[0]["id"].as_str().unwrap();
        unlink(&acme, &by_provider, password_login).await.expect_status(200);
        acme.me(&account).await.expect_status(401);
        assert_eq!(app.ends_told().await.last(), Some(&("login_removed".to_owned(), 1)));
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(401);
        let own = claims(&by_provider)["auth_identity_id"].as_str().unwrap().to_owned();
        unlink(&acme, &by_provider, &own).await.expect_error(400, "The last way in to an account cannot be removed");
        app.take_all_mail().await;
        for (name, login, provider) in [("linked", own.as_str(), "certified"), ("unlinked", password_login, "emailpass")] {
            let said = app.rows(&format!("SELECT data FROM events WHERE name = 'auth.identity_{name}'")).await;
            assert_eq!(said, [json!({"auth_identity_id": login, "actor_type": "customer", "auth_provider": provider}).to_string()]);
        }
    }

    async fn r103_it_needs_a_fresh_sign_in(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let account = customer(&acme, ADDRESS).await;
        let own = claims(&account)["auth_identity_id"].as_str().unwrap().to_owned();
        app.advance(Duration::from_mins(10));
        unlink(&acme, &account, &own).await.expect_error(400, "The last way in to an account cannot be removed");
        app.advance(Duration::from_secs(1));
        issuer.person(person("one", "other@example.com", true));
        let other = sign_in(&acme, &issuer).await.token();
        link(&acme, &account, &other).await.expect_error(403, STALE);
        unlink(&acme, &account, &own).await.expect_error(403, STALE);
        // A refreshed token is of the same session, and as old.
        let refreshed = acme.post("/auth/token/refresh").bearer(&account).send().await.token();
        link(&acme, &refreshed, &other).await.expect_error(403, STALE);
    }

    async fn r11_r102_an_account_whose_address_nobody_has_proven_links_no_strangers(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        // Whoever registered a victim's address must leave no way in for the day on which the victim takes over.
        let account = customer(&acme, "victim@example.com").await;
        issuer.person(person("mallory", "mallory@example.com", true));
        let mallory = sign_in(&acme, &issuer).await.token();
        let refused = link(&acme, &account, &mallory).await.expect_status(403);
        assert!(refused.json()["message"].as_str().unwrap().starts_with("Show first that your address is yours"));
        issuer.person(person("unproven", "victim@example.com", false));
        let unproven = sign_in(&acme, &issuer).await.token();
        link(&acme, &account, &unproven).await.expect_status(403);
    }

    async fn r11_a_login_for_an_address_that_nobody_has_proven_is_linked_to_no_account(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        issuer.person(person("mallory", "mallory@example.com", true));
        let token = sign_in(&acme, &issuer).await.token();
        acme.post("/store/customers").bearer(&token).json(&json!({})).send().await.expect_status(200);
        let account = sign_in(&acme, &issuer).await.token();
        // The victim, who resets this password one day, would find themselves in an account that is somebody else's, too.
        let victims = acme.register("victim@example.com", PASSWORD).await.token();
        link(&acme, &account, &victims).await.expect_status(403);
        // One's own address is another matter, once it is shown.
        acme.register("second@example.com", PASSWORD).await.expect_status(200);
        let reset = app.reset_token(&acme, "second@example.com").await;
        acme.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
        let second = acme.sign_in("second@example.com", NEW_PASSWORD).await.token();
        link(&acme, &account, &second).await.expect_status(200);
    }

    async fn a_login_whose_provider_is_gone_is_no_way_in(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        issuer.person(person("one", ADDRESS, true));
        let first = sign_in(&acme, &issuer).await.token();
        acme.post("/store/customers").bearer(&first).json(&json!({})).send().await.expect_status(200);
        acme.register(ADDRESS, PASSWORD).await.expect_status(200);
        let reset = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
        let account = sign_in(&acme, &issuer).await.token();
        let password = acme.sign_in(ADDRESS, NEW_PASSWORD).await.token();
        link(&acme, &account, &password).await.expect_status(200);
        app.restart(|config| config.tenants[0].providers.clear()).await;
        let acme = app.acme();
        let own = claims(&password)["auth_identity_id"].as_str().unwrap().to_owned();
        let account = acme.sign_in(ADDRESS, NEW_PASSWORD).await.token();
        unlink(&acme, &account, &own).await.expect_error(400, "The last way in to an account cannot be removed");
    }

    async fn only_what_is_ones_own_and_free_is_linked(app: TestApp) {
        let issuer = with_issuer(app).await;
        let (acme, globex) = (app.acme(), app.globex());
        issuer.person(person("one", ADDRESS, true));
        let first = sign_in(&acme, &issuer).await.token();
        acme.post("/store/customers").bearer(&first).json(&json!({})).send().await.expect_status(200);
        let account = sign_in(&acme, &issuer).await.token();
        let bob = customer(&acme, "bob@example.com").await;
        link(&acme, &account, &bob).await.expect_error(400, "The login belongs to an account already");
        link(&acme, &account, &account).await.expect_error(400, "The login belongs to an account already");
        let staff = acme.post("/auth/user/emailpass/register").json(&json!({"email": "s@example.com", "password": PASSWORD})).send().await.token();
        link(&acme, &account, &staff).await.expect_error(400, "The login belongs to another kind of actor");
        issuer.person(person("two", "two@example.com", true));
        let foreign = sign_in(&globex, &issuer).await.token();
        link(&acme, &account, &foreign).await.expect_error(401, "Invalid token");
        let free = sign_in(&acme, &issuer).await.token();
        link(&acme, &free, &bob).await.expect_error(400, "The login has no account yet");
        // Another's login answers as an unknown one does.
        let bobs = claims(&bob)["auth_identity_id"].as_str().unwrap().to_owned();
        let unknown = "authid_01K0000000000000000000000Z";
        for id in [bobs.as_str(), unknown, "nonsense"] {
            unlink(&acme, &account, id).await.expect_error(404, &format!("AuthIdentity with id: {id} was not found"));
        }
        assert_eq!(listed(&acme, &bob).await.len(), 1);
        assert_eq!(listed(&acme, &free).await.len(), 1, "a login without an account is its own");
    }

    async fn of_two_removals_at_once_one_way_in_is_left(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        issuer.person(person("one", ADDRESS, true));
        let first = sign_in(&acme, &issuer).await.token();
        acme.post("/store/customers").bearer(&first).json(&json!({})).send().await.expect_status(200);
        let account = sign_in(&acme, &issuer).await.token();
        issuer.person(person("two", ADDRESS, true));
        link(&acme, &account, &sign_in(&acme, &issuer).await.token()).await.expect_status(200);
        let ids: Vec<String> = listed(&acme, &account).await.iter().map(|login| login["id"].as_str().unwrap().to_owned()).collect();
        let mut racers = JoinSet::new();
        for id in ids {
            let (acme, account) = (acme.clone(), account.clone());
            racers.spawn(async move { unlink(&acme, &account, &id).await.status });
        }
        let statuses = racers.join_all().await;
        assert!(statuses.iter().all(|status| *status < 500), "{statuses:?}");
        assert_eq!(app.rows("SELECT COUNT(*) FROM identities").await, ["1"], "{statuses:?}");
    }
}
