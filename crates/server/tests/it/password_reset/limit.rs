//! Budgets of reset requests (R60): a flood costs the owner few mails, the shop no disk and nobody a link that stands.

use std::time::Duration;

use crate::support::app::{ADDRESS, NEW_PASSWORD, TestApp, assert_same, customer, token_in};
use crate::support::each_db;

each_db! {
    async fn r60_over_the_identifiers_budget_nothing_is_issued_while_a_link_stands(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let mut last = String::new();
        let mut first_answer = None;
        for _ in 0..5 {
            let answer = acme.request_reset(ADDRESS).await.expect_status(201);
            first_answer.get_or_insert(answer);
            app.settle().await;
            last = token_in(&app.next_mail(ADDRESS).await);
        }
        // Other spellings are the same identifier.
        for spelling in [ADDRESS, "ANN@example.com", " ann@EXAMPLE.com"] {
            assert_same(first_answer.as_ref().unwrap(), &acme.request_reset(spelling).await);
        }
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM password_resets").await, ["5"]);
        assert!(app.unread().is_empty());
        acme.complete_reset(&last, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        // None is good any more: one beyond the budget.
        app.reset_token(&acme, ADDRESS).await;
        acme.request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        assert!(app.unread().is_empty());
        // An hour later there is a new budget.
        app.advance(Duration::from_hours(1));
        app.reset_token(&acme, ADDRESS).await;
    }

    async fn strangers_who_spend_the_identifiers_budget_keep_its_owner_from_no_link(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        for _ in 0..5 {
            app.reset_token(&acme, ADDRESS).await;
            app.advance(Duration::from_mins(1));
        }
        // 14 minutes after the last of them its link is good yet.
        app.advance(Duration::from_mins(13));
        acme.request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        assert!(app.unread().is_empty());
        app.advance(Duration::from_mins(1));
        let token = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await; // "your password was changed"
        // None is good now, but that was this quarter's.
        app.advance(Duration::from_mins(14));
        acme.request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        assert!(app.unread().is_empty());
        app.advance(Duration::from_mins(1));
        app.reset_token(&acme, ADDRESS).await;
    }

    async fn r60_over_the_clients_budget_the_answer_is_429(app: TestApp) {
        app.restart_acme(|acme| acme.limits.resets_per_client = 3).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        for n in 0..3 {
            acme.request_reset(&format!("nobody{n}@example.com")).await.expect_status(201);
        }
        let known = acme.request_reset(ADDRESS).await.expect_status(429);
        assert_eq!(known.json()["type"], "too_many_requests");
        let wait: u64 = known.header("retry-after").parse().unwrap();
        assert!((1..=3_601).contains(&wait), "{wait}");
        // R30: nothing about the account, and no way around it by a header.
        assert_same(&known, &acme.request_reset("nobody9@example.com").await);
        let spoofed = acme.post("/auth/customer/emailpass/reset-password").header("x-forwarded-for", "198.51.100.7").body(ADDRESS);
        spoofed.send().await.expect_status(429);
        // R37: another shop's budget is its own.
        app.globex().request_reset(ADDRESS).await.expect_status(201);
        app.advance(Duration::from_secs(wait));
        app.reset_token(&acme, ADDRESS).await;
    }

    async fn requests_that_wait_are_bounded_and_go_once_issued(app: TestApp) {
        app.restart_acme(|acme| acme.limits.waiting_resets = 3).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let ahead = app.ahead(Duration::from_mins(1)).await;
        for n in 0..3 {
            ahead.request_reset("acme", &format!("nobody{n}@example.com")).await.unwrap();
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM jobs").await, ["3"]);
        let known = acme.request_reset(ADDRESS).await.expect_status(503);
        assert_eq!(known.json()["type"], "service_unavailable");
        assert!(known.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_same(&known, &acme.request_reset("nobody9@example.com").await);
        assert_eq!(app.rows("SELECT COUNT(*) FROM jobs").await, ["3"], "a stranger cannot fill the disk");
        // One shop's backlog is not another's.
        app.globex().request_reset(ADDRESS).await.expect_status(201);
        app.advance(Duration::from_mins(1));
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM jobs").await, ["0"]);
        assert!(!app.database.everything().await.unwrap().contains("nobody"), "what was asked for is forgotten once it is issued");
        app.reset_token(&acme, ADDRESS).await;
    }
}
