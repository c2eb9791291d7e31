//! A new password for who is signed in and knows the old one.

use http::Method;
use serde_json::{Value, json};
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::ops;
use vestibule_engine::ops::Client;
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::ops::password_reset::NewPassword;
use vestibule_engine::provider::emailpass;
use vestibule_engine::testing::execute;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, provider};
use crate::support::client::{Answer, Shop};
use crate::support::each_db;

const PATH: &str = "/auth/customer/emailpass/change-password";
const WRONG: &str = "The current password is wrong";

async fn change(shop: &Shop, token: &str, current: &str, new: &str) -> Answer {
    shop.post(PATH).bearer(token).json(&json!({"current_password": current, "password": new})).send().await
}

each_db! {
    async fn r13_r70_it_keeps_this_session_ends_the_others_and_tells_the_owner(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let token = customer(&acme, ADDRESS).await;
        let cookie = acme.cookie(&token).await;
        let other = acme.sign_in(ADDRESS, PASSWORD).await.token();
        let others_cookie = acme.cookie(&other).await;
        let bystanders = [(&acme, customer(&acme, "bob@example.com").await), (&globex, customer(&globex, ADDRESS).await)];
        let reset = app.reset_token(&acme, ADDRESS).await;
        let done = change(&acme, &token, PASSWORD, NEW_PASSWORD).await.expect_status(200);
        assert_eq!((done.json(), done.header("set-cookie")), (json!({"success": true}), ""));
        acme.me(&token).await.expect_status(200);
        acme.get("/store/customers/me").cookie(&cookie).send().await.expect_status(200);
        acme.me(&other).await.expect_status(401);
        acme.get("/store/customers/me").cookie(&others_cookie).send().await.expect_status(401);
        for (shop, session) in &bystanders {
            shop.me(session).await.expect_status(200);
        }
        // R51: a link that was on its way is void.
        acme.complete_reset(&reset, "another-New-pass-1").await.expect_error(401, "Invalid token");
        acme.sign_in(ADDRESS, PASSWORD).await.expect_error(401, "Invalid email or password");
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        globex.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        app.settle().await;
        let notice = app.next_mail(ADDRESS).await;
        assert!(notice.headers("Subject")[0].contains("password"), "{:?}", notice.headers("Subject"));
        let events = app.rows("SELECT data FROM events WHERE name = 'auth.password_updated'").await;
        let data: Value = serde_json::from_str(&events[0]).unwrap();
        assert_eq!((events.len(), &data["entity_id"], &data["actor_type"], &data["auth_provider"]), (1, &json!(ADDRESS), &json!("customer"), &json!("emailpass")));
        assert_eq!(app.ends_told().await, [("password_changed".to_owned(), 2)], "the registration's and the other one");
        // With a cookie, too.
        acme.post(PATH).cookie(&cookie).json(&json!({"current_password": NEW_PASSWORD, "password": PASSWORD})).send().await.expect_status(200);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r31_whoever_has_a_token_guesses_no_further_than_at_the_door(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        // Tries here and at the door are of one budget.
        for _ in 0..5 {
            change(&shop, &token, "a-wrong-guess", NEW_PASSWORD).await.expect_error(401, WRONG);
            shop.sign_in(ADDRESS, "a-wrong-guess").await.expect_status(401);
        }
        let refused = change(&shop, &token, PASSWORD, NEW_PASSWORD).await.expect_status(429);
        assert_eq!(refused.header("retry-after"), "901");
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(429);
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_updated'").await, ["0"]);
        // The owner is not kept out: R33.
        let reset = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        let token = shop.sign_in(ADDRESS, NEW_PASSWORD).await.token();
        // A right one gives the tries back.
        for _ in 0..9 {
            change(&shop, &token, "a-wrong-guess", PASSWORD).await.expect_error(401, WRONG);
        }
        change(&shop, &token, NEW_PASSWORD, PASSWORD).await.expect_status(200);
        change(&shop, &token, "a-wrong-guess", NEW_PASSWORD).await.expect_error(401, WRONG);
        change(&shop, &token, PASSWORD, NEW_PASSWORD).await.expect_status(200);
        app.take_all_mail().await;
    }

    async fn r32_of_60_guesses_at_once_ten_are_looked_at(app: TestApp) {
        app.restart_acme(|acme| (acme.limits.sign_ins_per_client, acme.limits.sign_ins_per_tenant) = (1_000, 1_000)).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let call = shop.post(PATH).bearer(&token).json(&json!({"current_password": "a-wrong-guess", "password": NEW_PASSWORD}));
            calls.spawn(call.send());
        }
        let answers = calls.join_all().await;
        let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(401), count(429)), (10, 50));
    }

    async fn a_new_one_is_judged_as_in_a_reset_and_a_refusal_is_no_try(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        for _ in 0..11 {
            change(&shop, &token, "a-wrong-guess", "short").await.expect_error(400, "Password must be at least 8 characters long");
        }
        change(&shop, &token, PASSWORD, "password1").await.expect_error(400, "Password is too common");
        change(&shop, &token, PASSWORD, "Acme2026").await.expect_error(400, "Password must not contain the name of the shop or your address");
        change(&shop, &token, PASSWORD, &"z".repeat(1025)).await.expect_error(400, "Password must be at most 1024 bytes long");
        change(&shop, &token, PASSWORD, "").await.expect_error(400, "Password must be at least 8 characters long");
        change(&shop, &token, &"z".repeat(1025), NEW_PASSWORD).await.expect_error(401, WRONG);
        change(&shop, &token, "", NEW_PASSWORD).await.expect_error(401, WRONG);
        for body in [json!({}), json!({"password": NEW_PASSWORD}), json!({"current_password": PASSWORD}), json!({"current_password": [PASSWORD], "password": NEW_PASSWORD}),
            json!({"current_password": PASSWORD, "password": NEW_PASSWORD, "email": "bob@example.com"}), json!([])] {
            let answer = shop.post(PATH).bearer(&token).json(&body).send().await.expect_status(400);
            assert_eq!(answer.json()["type"], "invalid_data", "{body}");
        }
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn it_is_the_callers_own_login_that_changes(app: TestApp) {
        app.restart_acme(|acme| {
            acme.providers = [("certified".to_owned(), provider("https://issuer.example", "https://acme.example/callback"))].into();
        }).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let body = json!({"current_password": PASSWORD, "password": NEW_PASSWORD});
        let at = |path: &'static str| shop.post(path).bearer(&token).json(&body).send();
        at("/auth/user/emailpass/change-password").await.expect_error(401, "Unauthorized");
        at("/auth/robot/emailpass/change-password").await.expect_status(400);
        at("/auth/customer/certified/change-password").await.expect_error(400, "The auth provider certified has no password to change");
        at("/auth/customer/nope/change-password").await.expect_status(401);
        shop.post(PATH).json(&body).send().await.expect_error(401, "Unauthorized");
        // A login that a third party signs in.
        assert_eq!(execute(&app.engine, "UPDATE identities SET password_hash = NULL, provider = 'certified'").await.unwrap(), 1);
        let refused = at(PATH).await.expect_error(400, "This login has no password to change");
        assert_eq!(refused.json()["type"], "not_allowed");
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_updated'").await, ["0"]);
    }

    async fn other_sessions_live_on_where_the_shop_says_so(app: TestApp) {
        app.restart_acme(|acme| acme.passwords.revoke_sessions_on_change = false).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let other = shop.sign_in(ADDRESS, PASSWORD).await.token();
        change(&shop, &token, PASSWORD, NEW_PASSWORD).await.expect_status(200);
        shop.me(&other).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn a_session_that_ended_meanwhile_changes_nothing(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let acme = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let caller = ops::session::authenticate(&app.engine, &acme, &token).await.unwrap().unwrap();
        let client = ops::Client { ip: [203, 0, 113, 9].into(), user_agent: None };
        shop.call(Method::DELETE, "/auth/sessions/current").bearer(&token).send().await.expect_status(200);
        let refused = ops::password_change::change(&app.engine, &acme, &client, &caller, PASSWORD, NEW_PASSWORD, &Receipt::none()).await.unwrap_err();
        assert_eq!(refused.code, vestibule_engine::error::Code::Unauthenticated);
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn of_concurrent_changes_exactly_one_wins(app: TestApp) {
        app.restart_acme(|acme| acme.limits.enabled = false).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let new = |n: usize| format!("a-New-pass-{n:02}");
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..20 {
            let call = shop.post(PATH).bearer(&token).json(&json!({"current_password": PASSWORD, "password": new(n)}));
            calls.spawn(async move { (n, call.send().await.status) });
        }
        let answers = calls.join_all().await;
        let won: Vec<usize> = answers.iter().filter(|(_, status)| *status == 200).map(|(n, _)| *n).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|(_, status)| matches!(status, 200 | 401)), "{answers:?}");
        shop.sign_in(ADDRESS, &new(won[0])).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn of_a_change_and_a_reset_the_later_sees_the_earlier(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let acme = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let reset = app.reset_token(&shop, ADDRESS).await;
        let (actor, none) = (ActorType::customer(), Receipt::none());
        let client = Client { ip: std::net::Ipv4Addr::LOCALHOST.into(), user_agent: None };
        let new = NewPassword { actor: &actor, provider: emailpass::NAME, token: &reset, secret: Some("another-New-pass-1") };
        let (change, complete) = (
            change(&shop, &token, PASSWORD, NEW_PASSWORD),
            ops::password_reset::complete(&app.engine, &acme, &client, &new, &none),
        );
        let (changed, completed) = tokio::join!(change, complete);
        let winner = if completed.is_ok() { "another-New-pass-1" } else { NEW_PASSWORD };
        assert!(changed.status == 200 || completed.is_ok(), "{} {completed:?}", changed.text);
        assert!(changed.status != 200 || completed.is_err(), "the change voids the reset, the reset ends the session: not both can win");
        shop.sign_in(ADDRESS, winner).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }
}
