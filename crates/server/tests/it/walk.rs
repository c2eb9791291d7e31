//! The product's main job from end to end.

use serde_json::json;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, link_in, token_in};
use crate::support::client::{Shop, claims};
use crate::support::each_db;

each_db! {
    async fn sign_up_forget_reset_sign_in_for_two_shops_with_one_address(app: TestApp) {
        let shops = [app.acme(), app.globex()];
        for shop in &shops {
            sign_up(shop).await;
        }
        for (shop, other) in [(&shops[0], &shops[1]), (&shops[1], &shops[0])] {
            // The published example, as printed.
            let asked = shop.post("/auth/customer/emailpass/reset-password").header("accept", "*/*").header("content-type", "application/json");
            let answer = asked.body(ADDRESS).send().await.expect_status(201);
            assert_eq!((answer.text.as_str(), answer.header("content-type")), ("Created", "text/plain; charset=utf-8"));
            app.settle().await;
            let mail = app.next_mail(ADDRESS).await;
            let token = token_in(&mail);

            // The page behind the link, at the host that the link names.
            let link = url::Url::parse(&link_in(&mail)).unwrap();
            let page_host = shop.at(link.host_str().unwrap());
            let path = format!("{}?{}", link.path(), link.query().unwrap());
            let page = page_host.get(&path).send().await.expect_status(200);
            assert!(page.text.contains("type=\"password\""), "{}", page.text);

            // At the other shop it is nothing.
            other.complete_reset(&token, NEW_PASSWORD).await.expect_error(401, "Invalid token");
            shop.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
            app.settle().await;
            app.next_mail(ADDRESS).await; // "your password was changed"
            shop.sign_in(ADDRESS, PASSWORD).await.expect_error(401, "Invalid email or password");
            let token = shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200).token();
            shop.me(&token).await.expect_status(200);
            other.me(&token).await.expect_status(401);
        }
    }
}

async fn sign_up(shop: &Shop) {
    let token = shop.register(ADDRESS, PASSWORD).await.expect_status(200).token();
    assert_eq!(claims(&token)["actor_id"], "");
    shop.me(&token).await.expect_status(401);
    let created =
        shop.post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS, "first_name": "Ann"})).send().await.expect_status(200).json();
    let token = shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200).token();
    assert_eq!(claims(&token)["actor_id"], created["customer"]["id"]);
    assert_eq!(shop.me(&token).await.expect_status(200).json(), created);
}
