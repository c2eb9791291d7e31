//! The token: what it says, how long it lives, what else kills it, and what does not.

use std::time::Duration;

use serde_json::json;
use vestibule_engine::model::ids::JobId;
use vestibule_engine::testing::{Fault, execute};

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, assert_same, customer, token_in};
use crate::support::client::claims;
use crate::support::each_db;

const INVALID: &str = "Invalid token";

each_db! {
    async fn its_claims_are_the_documented_ones(app: TestApp) {
        let acme = app.acme();
        customer(&acme, "Ann@Example.com").await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            acme.request_reset("ann@EXAMPLE.com").await.expect_status(201);
            app.settle().await;
            let mut claims = claims(&token_in(&app.next_mail("Ann@Example.com").await));
            let taken = claims.as_object_mut().unwrap();
            // R46: a version 4 UUID, another one each time.
            let jti = taken.remove("jti").unwrap().as_str().unwrap().to_owned();
            assert_eq!((jti.len(), &jti[14..15], &jti[8..9]), (36, "4", "-"), "{jti}");
            assert!("89ab".contains(&jti[19..20]), "{jti}");
            assert!(seen.insert(jti));
            let iat = app.clock.now().seconds();
            let expected = json!({
                "entity_id": ADDRESS, "provider": "emailpass", "actor_type": "customer", "purpose": "reset",
                "iss": "https://acme.api.example.com", "aud": "acme", "iat": iat, "exp": iat + 900,
            });
            // R48: no more and no less, so neither `actor_id` nor `sid`.
            assert_eq!(claims, expected);
            app.advance(Duration::from_secs(61));
        }
    }

    async fn r48_it_dies_at_15_minutes(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        app.advance(Duration::from_mins(15));
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_error(401, INVALID);
        let token = app.reset_token(&acme, ADDRESS).await;
        app.advance(Duration::from_secs(15 * 60 - 1));
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r49_r51_it_works_once_and_the_newest_voids_the_older(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let first = app.reset_token(&acme, ADDRESS).await;
        let second = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&first, NEW_PASSWORD).await.expect_error(401, INVALID);
        let done = acme.complete_reset(&second, NEW_PASSWORD).await.expect_status(200);
        assert_eq!(done.json(), json!({"success": true}));
        app.settle().await;
        app.next_mail(ADDRESS).await;
        for spent in [&first, &second] {
            acme.complete_reset(spent, "yet-another-pass-1").await.expect_error(401, INVALID);
        }
        // A spent one does not stand in the way of the next, nor does the next revive it.
        let third = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&second, "yet-another-pass-1").await.expect_error(401, INVALID);
        acme.complete_reset(&third, "yet-another-pass-3").await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        acme.sign_in(ADDRESS, "yet-another-pass-3").await.expect_status(200);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(401);
    }

    async fn r51_of_several_requests_that_wait_at_once_the_newest_counts(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let standing = app.reset_token(&acme, ADDRESS).await;
        let ahead = app.ahead(Duration::from_mins(1)).await;
        for _ in 0..3 {
            ahead.request_reset("acme", ADDRESS).await.unwrap();
        }
        let newest = app.rows("SELECT MAX(id) FROM jobs").await;
        assert!(newest[0].parse::<JobId>().is_ok(), "{newest:?}");
        app.advance(Duration::from_mins(1));
        app.settle().await;
        assert_eq!(app.rows("SELECT newest_reset FROM identities").await, newest);
        // As many mails as were issued and not superseded before they were sent; the last of them works, and no other token.
        let live = app.rows("SELECT id FROM password_resets WHERE used_at IS NULL AND voided_at IS NULL").await;
        let mut tokens = vec![standing];
        for _ in 0..app.unread().len() {
            tokens.push(token_in(&app.next_mail(ADDRESS).await));
        }
        let (newest, older): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| claims(token)["jti"] == live[0]);
        assert_eq!((live.len(), newest.len()), (1, 1), "one link lives, and it was mailed");
        for token in older {
            acme.complete_reset(&token, NEW_PASSWORD).await.expect_error(401, INVALID);
        }
        acme.complete_reset(&newest[0], NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn junk_buys_no_hashing(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let voided = app.reset_token(&acme, ADDRESS).await;
        let used = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&used, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        let late = app.reset_token(&acme, ADDRESS).await;
        // The next hash fails, whosever it is.
        app.engine.hasher.fail_next();
        for spent in [&voided, &used] {
            acme.complete_reset(spent, NEW_PASSWORD).await.expect_error(401, INVALID);
        }
        app.advance(Duration::from_mins(15));
        acme.complete_reset(&late, NEW_PASSWORD).await.expect_error(401, INVALID);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(500);
    }

    async fn it_is_good_for_no_login_but_the_one_that_it_names(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        for (change, back) in [
            ("UPDATE identities SET entity_id = 'bob@example.com'", "UPDATE identities SET entity_id = 'ann@example.com'"),
            ("UPDATE identities SET provider = 'other'", "UPDATE identities SET provider = 'emailpass'"),
            ("UPDATE identities SET actor_type = 'user'", "UPDATE identities SET actor_type = 'customer'"),
        ] {
            execute(&app.engine, change).await.unwrap();
            acme.complete_reset(&token, NEW_PASSWORD).await.expect_error(401, INVALID);
            let page = acme.get(&format!("/account/reset-password?token={token}")).send().await.expect_status(200);
            assert!(!page.text.contains("type=\"password\""), "{change}");
            execute(&app.engine, back).await.unwrap();
        }
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn a_sign_in_in_between_does_not_void_it(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        let session = acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200).token();
        acme.me(&session).await.expect_status(200);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r52_in_the_wrong_place_it_is_refused_and_stays_usable(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        customer(&acme, ADDRESS).await;
        customer(&globex, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        let update = |shop: &crate::support::client::Shop, path: &str| shop.post(path).bearer(&token).json(&json!({"password": NEW_PASSWORD}));
        for path in ["/auth/user/emailpass/update", "/auth/customer/google/update", "/auth/customer/nope/update"] {
            update(&acme, path).send().await.expect_error(401, INVALID);
        }
        update(&globex, "/auth/customer/emailpass/update").send().await.expect_error(401, INVALID);
        // Not where it may stand, only in the header.
        let query = format!("/auth/customer/emailpass/update?token={token}");
        acme.post(&query).json(&json!({"password": NEW_PASSWORD, "token": token})).send().await.expect_error(401, INVALID);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        globex.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        update(&acme, "/auth/customer/emailpass/update").send().await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        globex.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn r52_r54_every_other_token_gets_one_answer(app: TestApp) {
        let acme = app.acme();
        let session = customer(&acme, ADDRESS).await;
        let reset = app.reset_token(&acme, ADDRESS).await;
        let without = acme.post("/auth/customer/emailpass/update").json(&json!({"password": NEW_PASSWORD})).send().await.expect_error(401, INVALID);
        assert_eq!(without.header("www-authenticate"), "Bearer");
        let flipped = |token: &str, at: usize| {
            let mut bytes = token.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        let signature = reset.rfind('.').unwrap() + 10;
        let unsigned = format!("{}.", &reset[..reset.rfind('.').unwrap()]);
        for wrong in ["", "null", "a.b.c", &session, &flipped(&reset, signature), &flipped(&reset, 60), &unsigned, &format!("{reset} x")] {
            assert_same(&without, &acme.complete_reset(wrong, NEW_PASSWORD).await);
        }
        // The reverse: it opens nothing.
        acme.me(&reset).await.expect_status(401);
        acme.post("/store/customers").bearer(&reset).json(&json!({"email": ADDRESS})).send().await.expect_status(401);
        acme.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r53_the_body_chooses_no_account(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        customer(&acme, "bob@example.com").await;
        let token = app.reset_token(&acme, ADDRESS).await;
        let body = json!({
            "password": NEW_PASSWORD, "email": "bob@example.com", "entity_id": "bob@example.com", "actor_type": "user",
            "provider_metadata": {"password": "x"}, "auth_identity_id": "authid_01",
        });
        acme.post("/auth/customer/emailpass/update").bearer(&token).json(&body).send().await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        acme.sign_in("bob@example.com", PASSWORD).await.expect_status(200);
        acme.sign_in("bob@example.com", NEW_PASSWORD).await.expect_status(401);
    }

    async fn r55_a_refused_password_spends_nothing(app: TestApp) {
        let acme = app.acme();
        let address = "annabelle.smith@example.com";
        customer(&acme, address).await;
        let token = app.reset_token(&acme, address).await;
        let refused = [
            ("short-7", "Password must be at least 8 characters long"),
            ("password123", "Password is too common"),
            ("PassWord123", "Password is too common"),
            ("Annabelle.Smith1", "Password must not contain the name of the shop or your address"),
        ];
        for (password, message) in refused {
            let answer = acme.complete_reset(&token, password).await.expect_error(400, message);
            assert_eq!(answer.json()["type"], "invalid_data");
        }
        let long = "x".repeat(1025);
        acme.complete_reset(&token, &long).await.expect_status(400);
        for body in [json!({}), json!({"password": ""}), json!({"password": null}), json!({"password": 12_345_678}), json!({"password": ["aaaaaaaa"]}), json!([])] {
            acme.post("/auth/customer/emailpass/update").bearer(&token).json(&body).send().await.expect_error(401, "Unauthorized");
        }
        // The form of a body says nothing about the token either: with a bad one the token is what is refused.
        acme.post("/auth/customer/emailpass/update").bearer("x").json(&json!({})).send().await.expect_error(401, INVALID);
        assert_eq!(app.rows("SELECT COUNT(*) FROM password_resets WHERE used_at IS NULL AND voided_at IS NULL").await, ["1"]);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(address).await;
    }

    async fn r50_spending_it_and_writing_the_password_are_one(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        app.engine.faults().arm(Fault::Commit, 1_000);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(500);
        app.engine.faults().arm(Fault::Commit, 0);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(401);
        let session = acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200).token();
        acme.me(&session).await.expect_status(200);
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_updated'").await, ["0"]);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        acme.complete_reset(&token, "yet-another-pass-1").await.expect_error(401, INVALID);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r50_when_nobody_learns_how_the_commit_ended_both_are_done_or_neither(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        app.engine.faults().arm(Fault::CommitLost, 1_000);
        acme.complete_reset(&token, NEW_PASSWORD).await.expect_status(503);
        app.engine.faults().arm(Fault::CommitLost, 0);
        let (old, new) = (acme.sign_in(ADDRESS, PASSWORD).await.status, acme.sign_in(ADDRESS, NEW_PASSWORD).await.status);
        let again = acme.complete_reset(&token, "yet-another-pass-1").await.status;
        let told = app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_updated'").await;
        assert_eq!(told, ["1"], "of the one or of the other");
        assert!(matches!((old, new, again), (200, 401, 200) | (401, 200, 401)), "old {old}, new {new}, the token once more {again}");
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }
}
