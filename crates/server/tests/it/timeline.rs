//! What happened to a customer, and why a mail did not come, as the staff sees it.

use std::time::Duration;

use serde_json::Value;
use vestibule_engine::notify::sink::Mode;
use vestibule_engine::ops;
use vestibule_engine::provider::emailpass;

use crate::support::app::{ADDRESS, NEW_PASSWORD, TestApp, customer, secret_key};
use crate::support::client::{Answer, basic, claims};
use crate::support::each_db;

const SECOND: Duration = Duration::from_secs(1);

async fn ask(app: &TestApp, slug: &str, id: &str) -> Answer {
    let key = secret_key(app, slug).await.1;
    app.shop(slug).get(&format!("/admin/customers/{id}/timeline")).header("authorization", &basic(&key)).send().await
}

fn id_of(token: &str) -> String {
    claims(token)["actor_id"].as_str().unwrap().to_owned()
}

/// What is said of the last reset.
async fn said(app: &TestApp, id: &str) -> String {
    ask(app, "acme", id).await.expect_status(200).json()["last_reset"].as_str().unwrap().to_owned()
}

async fn request(app: &TestApp) {
    app.acme().request_reset(ADDRESS).await.expect_status(201);
    app.settle().await;
}

each_db! {
    async fn a_timeline_tells_in_order_what_became_of_a_link(app: TestApp) {
        let shop = app.acme();
        let id = id_of(&customer(&shop, ADDRESS).await);
        customer(&shop, "bob@example.com").await;
        assert!(said(app, &id).await.starts_with("No link was issued"));
        app.advance(SECOND);
        let asked = app.clock.now().to_string();
        let reset = app.reset_token(&shop, ADDRESS).await;
        app.advance(SECOND);
        let opened = app.clock.now().to_string();
        for _ in 0..2 {
            shop.get(&format!("/account/reset-password?token={reset}")).send().await.expect_status(200);
            app.advance(SECOND);
        }
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        app.numbered().await;
        let used = app.clock.now().to_string();
        let answer = ask(app, "acme", &id).await.expect_status(200);
        let steps = answer.json()["timeline"].as_array().unwrap().clone();
        let text = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
        let of = |event: &str| steps.iter().filter(|step| step["event"] == event).map(|step| (text(step, "what"), text(step, "at"))).collect::<Vec<_>>();
        let expected = [("asked", &asked), ("happened", &asked), ("queued", &asked), ("delivered", &asked), ("opened", &opened), ("used", &used)];
        assert_eq!(of("auth.password_reset"), expected.map(|(what, at)| (what.to_owned(), at.clone())));
        let updated = [("happened", &used), ("queued", &used), ("delivered", &used)];
        assert_eq!(of("auth.password_updated"), updated.map(|(what, at)| (what.to_owned(), at.clone())));
        assert_eq!(of("customer.created").len(), 1, "{}", answer.text);
        assert!(steps.iter().map(|step| text(step, "at")).is_sorted());
        assert!(steps.iter().all(|step| step["number"].is_i64()));
        let delivered = steps.iter().find(|step| step["what"] == "delivered").unwrap();
        assert_eq!(delivered["subscriber"], "mail");
        assert!(text(delivered, "answer").starts_with("250"), "the mail server's own words: {delivered}");
        assert!(answer.json()["last_reset"].as_str().unwrap().starts_with(&format!("Delivered to mail at {asked}")));
        assert!(!answer.text.contains(&reset) && !answer.text.contains("bob@"), "{}", answer.text);
        // Whoever asks for another shop learns nothing.
        for (slug, id) in [("globex", id.as_str()), ("acme", "cus_nope")] {
            ask(app, slug, id).await.expect_error(404, &format!("Customer with id: {id} not found"));
        }
        ask(app, "acme", &format!("{id}/")).await.expect_status(404);
        let key = secret_key(app, "acme").await.1;
        let more = shop.get(&format!("/admin/customers/{id}/timeline?limit=1")).header("authorization", &basic(&key)).send().await;
        more.expect_error(400, "Invalid request: Unrecognized fields: 'limit'");
    }

    async fn why_no_mail_came_is_said_to_the_staff(app: TestApp) {
        let id = id_of(&customer(&app.acme(), ADDRESS).await);
        for _ in 0..5 {
            request(app).await;
        }
        app.take_all_mail().await;
        assert!(said(app, &id).await.starts_with("Delivered to mail"));
        app.advance(SECOND);
        request(app).await;
        assert!(said(app, &id).await.starts_with(&format!("Over the limit: at {}", app.clock.now())));
        app.advance(Duration::from_hours(2));
        app.mail.set_mode(Mode::RejectRcpt("550 5.1.1 no such mailbox"));
        request(app).await;
        let refused = said(app, &id).await;
        assert!(refused.starts_with("Refused: given up at") && refused.contains("(550): 5.1.1 no such mailbox"), "{refused}");
        app.mail.set_mode(Mode::Accept);
        app.restart_acme(|acme| acme.mail.messages = vec![]).await;
        app.advance(SECOND);
        request(app).await;
        assert!(said(app, &id).await.starts_with("Nobody subscribed"));
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        for (address, begins, steps) in [("nobody@example.com", "Unknown address", false), (ADDRESS, "Nobody subscribed", true)] {
            let found = ops::timeline::of_address(&app.engine, &tenant, &emailpass::address(address).unwrap()).await.unwrap();
            assert!(found.last_reset.starts_with(begins) && found.steps.is_empty() != steps, "{found:?}");
        }
        let other = ops::tenant::by_slug(&app.engine, "globex").await.unwrap();
        let foreign = ops::timeline::of_address(&app.engine, &other, &emailpass::address(ADDRESS).unwrap()).await.unwrap();
        assert!(foreign.steps.is_empty() && foreign.last_reset.starts_with("Unknown address"));
    }

    async fn who_had_an_address_before_is_not_shown(app: TestApp) {
        let shop = app.acme();
        let first = id_of(&customer(&shop, ADDRESS).await);
        request(app).await;
        app.take_all_mail().await;
        let key = basic(&secret_key(app, "acme").await.1);
        shop.call(http::Method::DELETE, &format!("/admin/customers/{first}")).header("authorization", &key).send().await.expect_status(200);
        app.advance(SECOND);
        let second = id_of(&customer(&shop, ADDRESS).await);
        assert!(said(app, &second).await.starts_with("No link was issued"));
        ask(app, "acme", &first).await.expect_status(404);
    }
}
