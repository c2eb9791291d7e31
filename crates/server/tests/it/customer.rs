//! Customers: made once from a login, shown to and changed by their owner.

mod staff;

use futures_util::future::join_all;
use serde_json::{Value, json};
use vestibule_engine::ops::api_key::{self, Kind};
use vestibule_engine::ops::tenant;
use vestibule_engine::testing::{execute, number};

use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer, publishable_key};
use crate::support::client::{Answer, Shop};
use crate::support::each_db;

const CUSTOMERS: &str = "SELECT COUNT(*) FROM customers";
const CREATED: &str = "SELECT COUNT(*) FROM events WHERE name = 'customer.created'";
const UPDATED: &str = "SELECT COUNT(*) FROM events WHERE name = 'customer.updated'";
const ONCE: &str = "Request already authenticated as a customer.";
const TAKEN: &str = "Customer with this email already has an account";

async fn create(shop: &Shop, token: &str, body: &Value) -> Answer {
    shop.post("/store/customers").bearer(token).json(body).send().await
}

async fn update(shop: &Shop, token: &str, body: &Value) -> Answer {
    shop.post("/store/customers/me").bearer(token).json(body).send().await
}

async fn login(shop: &Shop, address: &str) -> String {
    shop.register(address, PASSWORD).await.expect_status(200).token()
}

each_db! {
    async fn what_the_client_has_is_not_sent_again(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let first = shop.me(&token).await.expect_status(200);
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        for known in [tag.clone(), format!("\"other\", {tag}"), tag[2..].to_owned(), "*".to_owned()] {
            let again = shop.get("/store/customers/me").bearer(&token).header("if-none-match", &known).send().await.expect_status(304);
            assert_eq!((again.text.as_str(), again.header("etag"), again.header("content-type")), ("", tag.as_str(), ""));
        }
        shop.post("/store/customers/me").bearer(&token).json(&json!({"first_name": "Ann"})).send().await.expect_status(200);
        let changed = shop.get("/store/customers/me").bearer(&token).header("if-none-match", &tag).send().await.expect_status(200);
        assert_eq!(changed.json()["customer"]["first_name"], "Ann");
        // Who may not read it does not learn whether it has changed.
        shop.get("/store/customers/me").header("if-none-match", "*").send().await.expect_status(401);
    }

    async fn a_customer_is_shown_with_every_field(app: TestApp) {
        let shop = app.acme();
        let token = login(&shop, ADDRESS).await;
        let body = json!({"email": ADDRESS, "first_name": "Ann", "last_name": null, "metadata": {"a": [1, null], "b": {"c": "\u{0}"}}});
        let made = create(&shop, &token, &body).await.expect_status(200);
        assert_eq!(made.header("content-type"), "application/json; charset=utf-8");
        let made = made.json();
        let shown = &made["customer"];
        let id = shown["id"].as_str().unwrap();
        assert!(id.starts_with("cus_") && id.len() == 30, "{id}");
        let now = app.clock.now().to_string();
        let expected = json!({"customer": {"id": id, "email": ADDRESS, "company_name": null, "first_name": "Ann", "last_name": null, "phone": null,
            "metadata": {"a": [1, null], "b": {"c": "\u{0}"}}, "has_account": true, "deleted_at": null, "created_at": now, "updated_at": now, "addresses": []}});
        assert_eq!(made, expected);
        let said = app.rows("SELECT data FROM events WHERE name = 'customer.created'").await;
        assert_eq!(said, [json!({"id": made["customer"]["id"]}).to_string()]);
        let token = shop.sign_in(ADDRESS, PASSWORD).await.token();
        assert_eq!(shop.me(&token).await.expect_status(200).json(), expected);
    }

    async fn of_50_concurrent_calls_with_one_token_one_makes_the_customer(app: TestApp) {
        let shop = app.acme();
        let token = login(&shop, ADDRESS).await;
        let answers = join_all((0..50).map(|_| async { create(&shop, &token, &json!({"email": ADDRESS})).await })).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
        assert_eq!(won.len(), 1);
        for answer in lost {
            assert_eq!((answer.status, answer.json()["message"].as_str()), (422, Some(TAKEN)));
        }
        assert_eq!(number(&app.engine, CUSTOMERS).await.unwrap(), 1);
        assert_eq!(number(&app.engine, CREATED).await.unwrap(), 1);
        let signed_in = shop.sign_in(ADDRESS, PASSWORD).await.token();
        assert_eq!(shop.me(&signed_in).await.json(), won[0].json());
        // Neither the stale token nor the new one makes another; what the body says no longer matters.
        create(&shop, &token, &json!({"email": ADDRESS})).await.expect_error(422, TAKEN);
        create(&shop, &signed_in, &json!({"email": ADDRESS})).await.expect_error(400, ONCE);
        create(&shop, &signed_in, &json!({"nope": 1})).await.expect_error(400, ONCE);
    }

    async fn a_taken_address_is_a_duplicate(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        app.restart(|config| config.tenants[0].customers.email_must_match_identity = false).await;
        let shop = app.acme();
        let token = login(&shop, "bob@example.com").await;
        let answer = create(&shop, &token, &json!({"email": "ANN@example.com"})).await.expect_status(422);
        assert_eq!(answer.text, r#"{"code":"invalid_request_error","type":"duplicate_error","message":"Customer with this email already has an account"}"#);
        // The refusal undid the link, so the login still becomes a customer under a free address; here any.
        assert_eq!(number(&app.engine, CUSTOMERS).await.unwrap(), 1);
        create(&shop, &token, &json!({"email": "elsewhere@example.com"})).await.expect_status(200);
    }

    async fn two_logins_racing_for_one_address_make_one_customer(app: TestApp) {
        app.restart(|config| config.tenants[0].customers.email_must_match_identity = false).await;
        let shop = app.acme();
        let tokens = [login(&shop, ADDRESS).await, login(&shop, "bob@example.com").await];
        let answers = join_all((0..20).map(|n| { let (shop, token) = (&shop, &tokens[n % 2]); async move { create(shop, token, &json!({"email": "one@example.com"})).await } })).await;
        assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 1);
        assert!(answers.iter().all(|a| matches!(a.status, 200 | 400 | 422)), "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
        assert_eq!(number(&app.engine, CUSTOMERS).await.unwrap(), 1);
        assert_eq!(number(&app.engine, CREATED).await.unwrap(), 1);
    }

    async fn r10_an_address_must_be_the_logins_own(app: TestApp) {
        let shop = app.acme();
        let token = login(&shop, ADDRESS).await;
        create(&shop, &token, &json!({"email": "victim@example.com"})).await.expect_error(400, "The email must be the address that you registered with");
        create(&shop, &token, &json!({})).await.expect_error(400, "Email is required to create a customer");
        create(&shop, &token, &json!({"email": null})).await.expect_error(400, "Email is required to create a customer");
        for text in ["", "ann", "v@x.test,ann@example.com", "a\u{FF20}example.com"] {
            create(&shop, &token, &json!({"email": text})).await.expect_error(400, "Invalid request: Invalid email address");
        }
        assert_eq!(number(&app.engine, CUSTOMERS).await.unwrap(), 0);
        create(&shop, &token, &json!({"email": "ANN@example.COM"})).await.expect_status(200);
    }

    async fn r89_a_token_without_a_customer_opens_nothing_else(app: TestApp) {
        let shop = app.acme();
        let token = login(&shop, ADDRESS).await;
        shop.me(&token).await.expect_error(401, "Unauthorized");
        update(&shop, &token, &json!({"first_name": "Ann"})).await.expect_error(401, "Unauthorized");
        shop.complete_reset(&token, PASSWORD).await.expect_error(401, "Invalid token");
        // R120: nor does anything that the caller says of itself.
        let answer = shop.get("/store/customers/me?customer_id=cus_1").bearer(&token).header("x-customer-id", "cus_1").send().await;
        answer.expect_error(401, "Unauthorized");
        // A member of staff is no customer.
        let staff = shop.post("/auth/user/emailpass/register").json(&json!({"email": ADDRESS, "password": PASSWORD})).send().await.token();
        create(&shop, &staff, &json!({"email": ADDRESS})).await.expect_error(401, "Unauthorized");
    }

    async fn a_login_that_is_gone_becomes_nobody(app: TestApp) {
        let shop = app.acme();
        let token = login(&shop, ADDRESS).await;
        execute(&app.engine, "UPDATE sessions SET identity_id = '00000000000000000000000000'").await.unwrap();
        create(&shop, &token, &json!({"email": ADDRESS})).await.expect_error(401, "Unauthorized");
    }

    async fn an_update_changes_what_it_names(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let steps = [
            (json!({"first_name": "Ann", "phone": "1", "metadata": {"a": 1, "b": "x", "n": null}}), json!({"first_name": "Ann", "phone": "1", "metadata": {"a": 1, "b": "x", "n": null}})),
            (json!({"phone": null, "last_name": ""}), json!({"first_name": "Ann", "phone": null, "last_name": "", "metadata": {"a": 1, "b": "x", "n": null}})),
            (json!({"metadata": {"b": "", "c": {"d": ""}, "gone": ""}}), json!({"metadata": {"a": 1, "n": null, "c": {"d": ""}}})),
            (json!({"metadata": {}}), json!({"metadata": {}})),
            (json!({"metadata": null}), json!({"metadata": null})),
            (json!({"metadata": {"z": [""]}}), json!({"metadata": {"z": [""]}})),
            (json!({}), json!({"first_name": "Ann", "metadata": {"z": [""]}})),
        ];
        for (n, (body, expected)) in steps.iter().enumerate() {
            let answer = update(&shop, &token, body).await.expect_status(200).json();
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(&answer["customer"][name], value, "step {n}, {name}");
            }
            assert_eq!(shop.me(&token).await.json(), answer, "step {n}");
        }
        let said = json!({"id": shop.me(&token).await.json()["customer"]["id"]}).to_string();
        assert_eq!(app.rows("SELECT data FROM events WHERE name = 'customer.updated'").await, vec![said; steps.len()], "an empty update is one, too");
    }

    async fn concurrent_updates_lose_nothing(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let answers = join_all((0..20).map(|n| { let (shop, token) = (&shop, &token); async move { update(shop, token, &json!({"metadata": {format!("k{n}"): n}})).await } })).await;
        assert!(answers.iter().all(|a| a.status == 200));
        assert_eq!(shop.me(&token).await.json()["customer"]["metadata"].as_object().unwrap().len(), 20);
    }

    async fn metadata_cannot_grow_beyond_16_kib_by_merging(app: TestApp) {
        const TOO_BIG: &str = "Invalid request: Value for field 'metadata' too big, expected at most: '16384'";
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let room = 16_384 - json!({"k0": "", "k1": ""}).to_string().len();
        update(&shop, &token, &json!({"metadata": {"k0": "x".repeat(room - 9)}})).await.expect_status(200);
        let kept = update(&shop, &token, &json!({"metadata": {"k1": "x".repeat(9)}})).await.expect_status(200);
        assert_eq!(kept.json()["customer"]["metadata"].to_string().len(), 16_384);
        app.clock.advance(std::time::Duration::from_secs(1));
        update(&shop, &token, &json!({"first_name": "Ann", "metadata": {"k2": 1}})).await.expect_error(400, TOO_BIG);
        assert_eq!(shop.me(&token).await.json(), kept.json(), "nothing was changed");
        assert_eq!(number(&app.engine, UPDATED).await.unwrap(), 2);
        // What is there does not stand in the way of other changes, and can be made smaller.
        update(&shop, &token, &json!({"first_name": "Ann"})).await.expect_status(200);
        update(&shop, &token, &json!({"metadata": {"k0": "", "k2": 1}})).await.expect_status(200);
    }

    async fn a_customer_has_300_changes_an_hour(app: TestApp) {
        app.restart(|config| config.tenants[0].limits.customer_updates = 3).await;
        let shop = app.acme();
        let (token, other) = (customer(&shop, ADDRESS).await, customer(&shop, "bob@example.com").await);
        let answers = join_all((0..20).map(|n| { let (shop, token) = (&shop, &token); async move { update(shop, token, &json!({"phone": n.to_string()})).await } })).await;
        let refused: Vec<_> = answers.iter().filter(|a| a.status != 200).collect();
        assert_eq!(refused.len(), 17);
        for answer in refused {
            assert_eq!((answer.status, answer.header("retry-after")), (429, "3601"), "{}", answer.text);
        }
        assert_eq!(number(&app.engine, UPDATED).await.unwrap(), 3);
        update(&shop, &other, &json!({"phone": "1"})).await.expect_status(200);
        shop.me(&token).await.expect_status(200);
        // The count outlives the server.
        app.restart(|_| ()).await;
        app.clock.advance(std::time::Duration::from_secs(3_599));
        update(&app.acme(), &token, &json!({})).await.expect_status(429);
        app.clock.advance(std::time::Duration::from_secs(1));
        update(&app.acme(), &token, &json!({})).await.expect_status(200);
        assert_eq!(vestibule_engine::model::tenant::Limits::default().customer_updates, 300);
    }

    async fn r117_fields_are_strict_and_named(app: TestApp) {
        let shop = app.acme();
        let (bob, token) = (login(&shop, "bob@example.com").await, customer(&shop, ADDRESS).await);
        let long = "x".repeat(1001);
        for (body, message) in [
            (json!({"first_name": 5}), "Expected type: 'string' for field 'first_name', got: '5'"),
            (json!({"first_name": []}), "Expected type: 'string' for field 'first_name', got: ''"),
            (json!({"first_name": {}}), "Expected type: 'string' for field 'first_name', got: '[object Object]'"),
            (json!({"phone": true}), "Expected type: 'string' for field 'phone', got: 'true'"),
            (json!({"metadata": "x"}), "Expected type: 'record' for field 'metadata', got: 'x'"),
            (json!({"metadata": [1, null, "a"]}), "Expected type: 'record' for field 'metadata', got: '1,,a'"),
            (json!({"foo": 1, "bar": 2}), "Unrecognized fields: 'foo, bar'"),
            (json!({"foo": 1, "phone": 5, "metadata": 1}), "Expected type: 'string' for field 'phone', got: '5'; Expected type: 'record' for field 'metadata', got: '1'; Unrecognized fields: 'foo'"),
            (json!({"foo": 1, "phone": 5, "last_name": 6, "first_name": 7, "company_name": 8}),
                "Expected type: 'string' for field 'company_name', got: '8'; Expected type: 'string' for field 'first_name', got: '7'; Expected type: 'string' for field 'last_name', got: '6'"),
            (json!({"first_name": long}), "Value for field 'first_name' too big, expected at most: '1000'"),
            (json!({"first_name": "a\u{0}b"}), "Field 'first_name' holds a NUL character"),
            (json!({"metadata": {"a": "x".repeat(16 * 1024)}}), "Value for field 'metadata' too big, expected at most: '16384'"),
            (json!([]), "Field '' is required"),
        ] {
            let text = format!("Invalid request: {message}");
            let answer = update(&shop, &token, &body).await.expect_error(400, &text);
            assert_eq!(answer.json()["type"], "invalid_data");
            create(&shop, &bob, &body).await.expect_error(400, &text);
        }
        create(&shop, &bob, &json!({"email": 5, "company_name": 1, "first_name": 2})).await.expect_error(400,
            "Invalid request: Expected type: 'string' for field 'email', got: '5'; Expected type: 'string' for field 'company_name', got: '1'; Expected type: 'string' for field 'first_name', got: '2'");
        for field in ["id", "tenant_id", "email", "email_verified", "has_account", "role", "app_metadata", "created_at", "created_by", "deleted_at", "addresses"] {
            update(&shop, &token, &json!({field: "x"})).await.expect_error(400, &format!("Invalid request: Unrecognized fields: '{field}'"));
        }
        // The query is as strict as the body.
        shop.get("/store/customers/me?expand=x").bearer(&token).send().await.expect_error(400, "Invalid request: Unrecognized fields: 'expand'");
        for (path, token) in [("/store/customers/me?limit=1", &token), ("/store/customers?limit=1", &bob)] {
            let answer = shop.post(path).bearer(token).json(&json!({"email": "bob@example.com"})).send().await;
            answer.expect_status(400);
        }
        shop.post("/store/customers/me?limit=1").bearer(&token).json(&json!({})).send().await.expect_error(400, "Invalid request: Unrecognized fields: 'limit'");
        assert_eq!(number(&app.engine, CUSTOMERS).await.unwrap(), 1);
    }

    async fn every_store_call_carries_a_live_publishable_key_of_its_shop(app: TestApp) {
        const NONE: &str = "Publishable API key required in the request header: x-publishable-api-key. You can manage your keys in settings in the dashboard.";
        const BAD: &str = "A valid publishable key is required to proceed with the request";
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let bob = login(&shop, "bob@example.com").await;
        let acme = tenant::by_slug(&app.engine, "acme").await.unwrap();
        let (id, made) = api_key::create(&app.engine, &acme, Kind::Publishable, "made").await.unwrap();
        let (_, secret) = api_key::create(&app.engine, &acme, Kind::Secret, "secret").await.unwrap();
        app.clock.advance(std::time::Duration::from_secs(1));
        let with = async |key: &str| {
            let all = [
                shop.get("/store/customers/me").bearer(&token).header("x-publishable-api-key", key).send().await,
                shop.post("/store/customers/me").bearer(&token).json(&json!({})).header("x-publishable-api-key", key).send().await,
                shop.post("/store/customers").bearer(&bob).json(&json!({"email": "no@example.com"})).header("x-publishable-api-key", key).send().await,
                // The key is looked at before the token.
                shop.get("/store/customers/me").bearer("x").header("x-publishable-api-key", key).send().await,
            ];
            let messages = all.iter().map(|a| (a.status, a.json()["message"].as_str().unwrap_or_default().to_owned())).collect::<Vec<_>>();
            (messages, all)
        };
        let expect = |message: &str| vec![(400, message.to_owned()); 4];
        let (messages, all) = with("").await;
        assert_eq!(messages, expect(NONE));
        assert_eq!(all[0].json()["type"], "not_allowed");
        let own = publishable_key("acme");
        for bad in ["x", "pk_", &"pk_".repeat(30), &own.to_uppercase(), &own[..66], &format!("{own}0"), &publishable_key("globex"), &secret] {
            assert_eq!(with(bad).await.0, expect(BAD), "{bad}");
        }
        assert_eq!(with(&made).await.0.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 400, 401]);
        api_key::revoke(&app.engine, &acme, id).await.unwrap();
        let (revoked, now) = (tenant::by_slug(&app.engine, "acme").await.unwrap(), app.clock.now());
        let counts_at = |at| api_key::is_publishable(&revoked, &made, at);
        assert!(counts_at(now.before(std::time::Duration::from_micros(1))) && !counts_at(now));
        app.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(with(&made).await.0, expect(BAD), "revoked");
        // Elsewhere nobody asks for it, and a bad one does not matter.
        let signed_in = shop.post("/auth/customer/emailpass").header("x-publishable-api-key", "x").json(&json!({"email": ADDRESS, "password": PASSWORD}));
        signed_in.send().await.expect_status(200);
    }

    async fn a_customer_who_was_deleted_is_not_found(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let id = shop.me(&token).await.json()["customer"]["id"].as_str().unwrap().to_owned();
        execute(&app.engine, "UPDATE customers SET deleted_at = 1").await.unwrap();
        let message = format!("Customer with id: {id} was not found");
        shop.me(&token).await.expect_error(404, &message);
        update(&shop, &token, &json!({"first_name": "x"})).await.expect_error(404, &message);
        assert_eq!(number(&app.engine, UPDATED).await.unwrap(), 0);
    }
}
