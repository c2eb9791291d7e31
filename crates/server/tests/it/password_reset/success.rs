//! What a reset changes: the password, the sessions, the budget of wrong tries; and that the owner hears of it.

use serde_json::{Value, json};

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::each_db;

each_db! {
    async fn r56_it_ends_the_sessions_tells_the_owner_and_signs_nobody_in(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let sessions = [customer(&acme, ADDRESS).await, acme.sign_in(ADDRESS, PASSWORD).await.token()];
        let bystanders = [(&acme, customer(&acme, "bob@example.com").await), (&globex, customer(&globex, ADDRESS).await)];
        let token = app.reset_token(&acme, ADDRESS).await;
        for session in &sessions {
            acme.me(session).await.expect_status(200);
        }
        let done = acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        assert_eq!((done.json(), done.header("set-cookie")), (json!({"success": true}), ""));
        for session in &sessions {
            acme.me(session).await.expect_status(401);
        }
        for (shop, session) in &bystanders {
            shop.me(session).await.expect_status(200);
        }
        acme.sign_in(ADDRESS, PASSWORD).await.expect_error(401, "Invalid email or password");
        let fresh = acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200).token();
        acme.me(&fresh).await.expect_status(200);
        app.settle().await;
        let notice = app.next_mail(ADDRESS).await;
        assert!(notice.headers("Subject")[0].contains("password"), "{:?}", notice.headers("Subject"));
        assert!(!notice.part("text/plain").unwrap().contains("token="), "a notice opens nothing");
        let events = app.rows("SELECT data FROM events WHERE name = 'auth.password_updated'").await;
        assert_eq!(events.len(), 1);
        let data: Value = serde_json::from_str(&events[0]).unwrap();
        assert_eq!((&data["entity_id"], &data["actor_type"], &data["auth_provider"]), (&json!(ADDRESS), &json!("customer"), &json!("emailpass")));
        assert!(data["auth_identity_id"].as_str().unwrap().starts_with("authid_"));
    }

    async fn sessions_live_on_where_the_shop_says_so(app: TestApp) {
        app.restart_acme(|acme| acme.passwords.revoke_sessions_on_change = false).await;
        let acme = app.acme();
        let session = customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        acme.me(&session).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r33_it_lifts_the_limit_of_failed_sign_ins(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        for _ in 0..10 {
            acme.sign_in(ADDRESS, "a-wrong-guess").await.expect_status(401);
        }
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(429);
        // The limit never blocks a reset.
        let token = app.reset_token(&acme, ADDRESS).await;
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(429);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }
}
