//! Addresses of customers, and what of a customer is shown.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use vestibule_engine::testing::{execute, number};

use crate::support::app::{ADDRESS, TestApp, customer};
use crate::support::client::{Answer, Shop, claims};
use crate::support::each_db;

const PATH: &str = "/store/customers/me/addresses";
const ROWS: &str = "SELECT COUNT(*) FROM customer_addresses";
const EVENTS: &str = "SELECT COUNT(*) FROM events";
/// What a single address shows, in its order; within a customer the order is another.
const ALONE: &str = "id address_name company customer_id first_name last_name address_1 address_2 city province postal_code country_code phone metadata \
                     is_default_shipping is_default_billing created_at updated_at";
const EMBEDDED: &str = "id address_name is_default_shipping is_default_billing company first_name last_name address_1 address_2 city country_code province \
                        postal_code phone metadata customer_id created_at updated_at deleted_at";

async fn add(shop: &Shop, token: &str, body: &Value) -> Answer {
    shop.post(PATH).bearer(token).json(body).send().await
}

async fn change(shop: &Shop, token: &str, id: &str, body: &Value) -> Answer {
    shop.post(&format!("{PATH}/{id}")).bearer(token).json(body).send().await
}

async fn get(shop: &Shop, token: &str, path: &str) -> Answer {
    shop.get(path).bearer(token).send().await
}

async fn delete(shop: &Shop, token: &str, id: &str) -> Answer {
    shop.call(Method::DELETE, &format!("{PATH}/{id}")).bearer(token).send().await
}

/// Adds an address; its id.
async fn added(shop: &Shop, token: &str, body: &Value) -> String {
    let answer = add(shop, token, body).await.expect_status(200).json();
    answer["customer"]["addresses"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
}

fn names(value: &Value) -> String {
    value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// The addresses of a list by one of their texts, and the numbers beside them.
fn listed(answer: &Answer, field: &str) -> (Vec<String>, [i64; 3]) {
    let body = answer.json();
    let texts = body["addresses"].as_array().unwrap().iter().map(|a| a[field].as_str().unwrap_or("-").to_owned()).collect();
    (texts, ["count", "offset", "limit"].map(|name| body[name].as_i64().unwrap()))
}

/// Which addresses have the mark, by their place in the customer.
fn marked(customer: &Value, mark: &str) -> Vec<usize> {
    let all = customer["customer"]["addresses"].as_array().unwrap();
    all.iter().enumerate().filter(|(_, address)| address[mark] == true).map(|(at, _)| at).collect()
}

each_db! {
    async fn an_address_is_kept_shown_changed_and_deleted(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let owner = claims(&token)["actor_id"].clone();
        assert_eq!(get(&shop, &token, PATH).await.expect_status(200).json(), json!({"addresses": [], "count": 0, "offset": 0, "limit": 50}));
        let before = shop.me(&token).await.json();
        let events = number(&app.engine, EVENTS).await.unwrap();
        app.clock.advance(Duration::from_secs(1));
        let made_at = app.clock.now().to_string();
        let body = json!({"address_name": "Home", "is_default_shipping": true, "first_name": "B", "last_name": "B", "company": "C", "address_1": "1 Road",
            "address_2": "Flat", "city": "London", "country_code": "gb", "province": "LDN", "postal_code": "N1", "phone": "1", "metadata": {"m": 1}});
        let made = add(&shop, &token, &body).await.expect_status(200).json();
        let embedded = &made["customer"]["addresses"][0];
        let id = embedded["id"].as_str().unwrap();
        assert!(id.starts_with("cuaddr_") && id.len() == 33, "{id}");
        assert_eq!(names(embedded), EMBEDDED);
        let mut expected = body.clone();
        for (name, value) in [("id", json!(id)), ("customer_id", owner), ("is_default_billing", json!(false)), ("created_at", json!(made_at)), ("updated_at", json!(made_at))] {
            expected[name] = value;
        }
        let alone = get(&shop, &token, &format!("{PATH}/{id}")).await.expect_status(200).json();
        assert_eq!(alone, json!({"address": expected}));
        assert_eq!(names(&alone["address"]), ALONE);
        assert_eq!(get(&shop, &token, PATH).await.json(), json!({"addresses": [expected], "count": 1, "offset": 0, "limit": 50}));
        expected["deleted_at"] = Value::Null;
        assert_eq!(embedded, &expected);
        // The rest of the customer is as it was; its time, too.
        let mut with_address = before.clone();
        with_address["customer"]["addresses"] = json!([expected]);
        assert_eq!(made, with_address);
        assert_eq!(shop.me(&token).await.json(), made);

        app.clock.advance(Duration::from_secs(1));
        let changed = change(&shop, &token, id, &json!({"city": "Paris", "phone": null, "metadata": {"m": "", "n": 2}})).await.expect_status(200).json();
        for (name, value) in [("city", json!("Paris")), ("phone", Value::Null), ("metadata", json!({"n": 2})), ("updated_at", json!(app.clock.now().to_string()))] {
            expected[name] = value;
        }
        assert_eq!(changed["customer"]["addresses"], json!([expected]));
        assert_eq!(shop.me(&token).await.json(), changed);
        let profile = shop.post("/store/customers/me").bearer(&token).json(&json!({"first_name": "Ann"})).send().await.json();
        assert_eq!(profile["customer"]["addresses"], json!([expected]), "a change of the profile shows them, too");
        let parent = delete(&shop, &token, id).await.expect_status(200).json();
        assert_eq!(names(&parent), "id object deleted parent");
        assert_eq!((&parent["id"], &parent["object"], &parent["deleted"], &parent["parent"]["addresses"]), (&json!(id), &json!("address"), &json!(true), &json!([])));
        assert_eq!(parent["parent"], shop.me(&token).await.json()["customer"]);
        let gone = format!("Address with id: {id} was not found");
        delete(&shop, &token, id).await.expect_error(404, &gone);
        change(&shop, &token, id, &json!({})).await.expect_error(404, &gone);
        assert_eq!(get(&shop, &token, &format!("{PATH}/{id}")).await.expect_error(404, &gone).json()["type"], "not_found");
        assert_eq!(number(&app.engine, EVENTS).await.unwrap() - events, 1, "the profile's alone: addresses make none");
    }

    async fn an_address_needs_nothing(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        add(&shop, &token, &json!({})).await.expect_status(200);
        shop.post(PATH).bearer(&token).send().await.expect_status(200);
        let shown = shop.post(PATH).bearer(&token).header("content-type", "application/x-www-form-urlencoded").body("city=Bonn&country_code=GB").send().await;
        let shown = shown.expect_status(200).json();
        let address = |at: usize, name: &str| shown["customer"]["addresses"][at][name].clone();
        assert_eq!((address(0, "city"), address(0, "metadata"), address(0, "is_default_billing")), (Value::Null, Value::Null, json!(false)));
        assert_eq!((address(2, "city"), address(2, "country_code")), (json!("Bonn"), json!("GB")), "a country is neither judged nor changed");
        shop.post("/Store/Customers/ME/Addresses/").header("x-publishable-api-key", shop.key()).bearer(&token).send().await.expect_status(200);
    }

    async fn a_new_default_takes_the_mark_from_the_one_before(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let first = added(&shop, &token, &json!({"is_default_shipping": true, "is_default_billing": true})).await;
        app.clock.advance(Duration::from_secs(1));
        let second = add(&shop, &token, &json!({"is_default_shipping": true})).await.expect_status(200).json();
        assert_eq!((marked(&second, "is_default_shipping"), marked(&second, "is_default_billing")), (vec![1], vec![0]));
        assert_eq!(second["customer"]["addresses"][0]["updated_at"], app.clock.now().to_string().as_str(), "losing the mark is a change");
        let again = change(&shop, &token, &first, &json!({"is_default_shipping": true})).await.json();
        assert_eq!((marked(&again, "is_default_shipping"), marked(&again, "is_default_billing")), (vec![0], vec![0]));
        let untouched = change(&shop, &token, &first, &json!({"city": "Bonn"})).await.json();
        assert_eq!((marked(&untouched, "is_default_shipping"), marked(&untouched, "is_default_billing")), (vec![0], vec![0]));
        let cleared = change(&shop, &token, &first, &json!({"is_default_shipping": false})).await.json();
        assert_eq!((marked(&cleared, "is_default_shipping"), marked(&cleared, "is_default_billing")), (vec![], vec![0]));
    }

    async fn of_concurrent_defaults_exactly_one_stays(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let first = added(&shop, &token, &json!({"is_default_billing": true})).await;
        let both = json!({"is_default_shipping": true, "is_default_billing": true});
        let answers = join_all((0..20).map(|n| { let (shop, token, both, first) = (&shop, &token, &both, &first); async move {
            if n % 4 == 0 { change(shop, token, first, both).await } else { add(shop, token, both).await }
        } })).await;
        assert!(answers.iter().all(|a| a.status == 200), "{:?}", answers.iter().map(|a| (a.status, &a.text)).collect::<Vec<_>>());
        // Each answer was true when it was given.
        for answer in answers {
            let shown = answer.json();
            assert_eq!((marked(&shown, "is_default_shipping").len(), marked(&shown, "is_default_billing").len()), (1, 1));
        }
        let shown = shop.me(&token).await.json();
        assert_eq!(shown["customer"]["addresses"].as_array().unwrap().len(), 16);
        assert_eq!((marked(&shown, "is_default_shipping").len(), marked(&shown, "is_default_billing").len()), (1, 1));
    }

    async fn r113_r114_another_customers_address_is_as_unknown_as_none(app: TestApp) {
        let (shop, globex) = (app.acme(), app.globex());
        let ann = customer(&shop, ADDRESS).await;
        let bob = customer(&shop, "bob@example.com").await;
        let foreign = customer(&globex, ADDRESS).await;
        let id = added(&shop, &ann, &json!({"city": "Bonn", "is_default_shipping": true})).await;
        let before = get(&shop, &ann, PATH).await.text;
        let unknown = "cuaddr_01K0000000000000000000000";
        let long = "x".repeat(3_000);
        for (shop, token) in [(&shop, &bob), (&globex, &foreign)] {
            added(shop, token, &json!({"is_default_shipping": true})).await;
            for id in [&id, unknown, "cuaddr_nope", &id.to_lowercase(), &id[7..], "x", "%00", "%FF", &long] {
                let answers = [get(shop, token, &format!("{PATH}/{id}")).await, change(shop, token, id, &json!({"city": "Evil"})).await, delete(shop, token, id).await];
                for answer in answers {
                    let named = if id.starts_with('%') { "" } else { &id[..id.len().min(60)] };
                    let answer = answer.expect_error(404, &format!("Address with id: {named} was not found"));
                    assert_eq!(answer.json()["type"], "not_found");
                }
            }
            let shown = shop.me(token).await.json();
            assert_eq!((shown["customer"]["addresses"].as_array().unwrap().len(), marked(&shown, "is_default_shipping")), (1, vec![0]));
            assert_eq!(listed(&get(shop, token, PATH).await, "city"), (vec!["-".into()], [1, 0, 50]));
        }
        assert_eq!(get(&shop, &ann, PATH).await.text, before);
        for token in ["", "x", &foreign] {
            for answer in [get(&shop, token, PATH).await, add(&shop, token, &json!({"nope": 1})).await, delete(&shop, token, &id).await, get(&shop, token, &format!("{PATH}?nope=1")).await] {
                answer.expect_error(401, "Unauthorized");
            }
        }
    }

    async fn a_body_of_an_address_is_strict(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let id = added(&shop, &token, &json!({})).await;
        let long = "ä".repeat(1001);
        for (body, message) in [
            (json!({"street": "x"}), "Unrecognized fields: 'street'"),
            (json!({"street": "x", "id": "y", "customer_id": "z"}), "Unrecognized fields: 'street, id, customer_id'"),
            (json!({"is_default_shipping": "yes", "city": 1}), "Expected type: 'string' for field 'city', got: '1'; Expected type: 'boolean' for field 'is_default_shipping', got: 'yes'"),
            (json!({"is_default_billing": "yes"}), "Expected type: 'boolean' for field 'is_default_billing', got: 'yes'"),
            (json!({"is_default_billing": null, "is_default_shipping": 1}), "Expected type: 'boolean' for field 'is_default_shipping', got: '1'; Expected type: 'boolean' for field 'is_default_billing', got: 'null'"),
            (json!({"metadata": [], "address_name": 1, "first_name": 2, "nope": 3}), "Expected type: 'string' for field 'first_name', got: '2'; Expected type: 'string' for field 'address_name', got: '1'; Expected type: 'record' for field 'metadata', got: ''"),
            (json!({"postal_code": long}), "Value for field 'postal_code' too big, expected at most: '1000'"),
            (json!({"phone": "a\u{0}b"}), "Field 'phone' holds a NUL character"),
            (json!({"metadata": {"a": "x".repeat(4096)}}), "Value for field 'metadata' too big, expected at most: '4096'"),
            (json!([]), "Field '' is required"),
        ] {
            let text = format!("Invalid request: {message}");
            add(&shop, &token, &body).await.expect_error(400, &text);
            change(&shop, &token, &id, &body).await.expect_error(400, &text);
            // The body is looked at before the address, and before the query.
            change(&shop, &token, "cuaddr_nope?nope=1", &body).await.expect_error(400, &text);
        }
        change(&shop, &token, "cuaddr_nope?nope=1", &json!({})).await.expect_error(400, "Invalid request: Unrecognized fields: 'nope'");
        change(&shop, &token, &id, &json!({"metadata": {"k0": "x".repeat(4_000)}})).await.expect_status(200);
        let room = json!({"metadata": {"k0": "x".repeat(4_000), "k1": "x".repeat(4_096 - 4_000 - json!({"k0": "", "k1": ""}).to_string().len())}});
        change(&shop, &token, &id, &json!({"metadata": {"k1": room["metadata"]["k1"]}})).await.expect_status(200);
        change(&shop, &token, &id, &json!({"metadata": {"k2": ""}, "city": "Bonn"})).await.expect_status(200);
        change(&shop, &token, &id, &json!({"metadata": {"k2": 1}, "city": "Aachen"})).await
            .expect_error(400, "Invalid request: Value for field 'metadata' too big, expected at most: '4096'");
        let kept = change(&shop, &token, &id, &json!({"phone": "ä".repeat(1000)})).await.expect_status(200).json();
        assert_eq!((&kept["customer"]["addresses"][0]["metadata"], &kept["customer"]["addresses"][0]["city"]), (&room["metadata"], &json!("Bonn")));
        assert_eq!(number(&app.engine, ROWS).await.unwrap(), 1);
    }

    async fn r119_a_list_is_cut_ordered_and_searched(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        for (city, street, code) in [("London", "1 Road", "gb"), ("Bonn", "2 Road", "de"), ("", "3 Way", "GB"), ("Aachen", "4 road", "de")] {
            app.clock.advance(Duration::from_secs(1));
            let city = if city.is_empty() { Value::Null } else { city.into() };
            add(&shop, &token, &json!({"city": city, "address_1": street, "country_code": code})).await.expect_status(200);
        }
        for (query, cities, numbers) in [
            ("", "London Bonn - Aachen", [4, 0, 50]),
            ("?order=-created_at", "Aachen - Bonn London", [4, 0, 50]),
            ("?limit=1&offset=1&order=-created_at", "-", [4, 1, 1]),
            ("?offset=3", "Aachen", [4, 3, 50]),
            ("?offset=99&limit=1000", "", [4, 99, 1000]),
            ("?limit=0", "", [4, 0, 0]),
            ("?order=city", "Aachen Bonn London -", [4, 0, 50]),
            ("?order=-city", "- London Bonn Aachen", [4, 0, 50]),
            ("?order=", "London Bonn - Aachen", [4, 0, 50]),
            ("?order=metadata", "London Bonn - Aachen", [4, 0, 50]),
            ("?city=London", "London", [1, 0, 50]),
            ("?city=london", "", [0, 0, 50]),
            ("?city[]=London&city[]=Bonn", "London Bonn", [2, 0, 50]),
            ("?city[0]=London&city[7]=Aachen", "London Aachen", [2, 0, 50]),
            ("?city=London&city=Bonn&limit=1", "London", [2, 0, 1]),
            ("?country_code=de&q=ROAD&order=-id", "Aachen Bonn", [2, 0, 50]),
            ("?postal_code=x", "", [0, 0, 50]),
            ("?q=way&with_deleted=true&locale=de-DE", "-", [1, 0, 50]),
            ("?q=%25", "", [0, 0, 50]),
            ("?q=_%20Way", "", [0, 0, 50]),
            ("?q=%5C", "", [0, 0, 50]),
            ("?q=%27%20OR%201=1--", "", [0, 0, 50]),
            ("?city=%25", "", [0, 0, 50]),
            ("?q=", "London Bonn - Aachen", [4, 0, 50]),
        ] {
            let answer = get(&shop, &token, &format!("{PATH}{query}")).await.expect_status(200);
            let expected: Vec<String> = cities.split_whitespace().map(str::to_owned).collect();
            assert_eq!(listed(&answer, "city"), (expected, numbers), "{query}");
        }
        let some = get(&shop, &token, &format!("{PATH}?q=3%20Way&fields=address_1,nope")).await.json();
        assert_eq!(names(&some["addresses"][0]), "id address_1");
        for (query, message) in [
            ("limit=abc", "Invalid request: Expected type: 'number' for field 'limit', got: 'abc'"),
            ("limit=1&limit=2", "Invalid request: Expected type: 'number' for field 'limit', got: '1,2'"),
            ("limit=-1", "Invalid request: Value for field 'limit' too small, expected at least: '0'"),
            ("offset=1.5", "Invalid request: Expected type: 'number' for field 'offset', got: '1.5'"),
            ("with_deleted=x", "Invalid request: Expected type: 'boolean' for field 'with_deleted', got: 'x'"),
            ("q[]=x", "Invalid request: Expected type: 'string' for field 'q', got: 'x'"),
            ("city[$ne]=x", "Invalid request: Expected type: 'string, array' for field 'city', got: '[object Object]'"),
            ("metadata[$ne]=x&password_hash[$startsWith]=a", "Invalid request: Unrecognized fields: 'metadata, password_hash'"),
            ("expand=x&id=y", "Invalid request: Unrecognized fields: 'expand, id'"),
            ("order=foo", "Order field foo is not valid"),
            ("order=-foo", "Order field foo is not valid"),
            ("order=tenant_id", "Order field tenant_id is not valid"),
            ("order=customer.email", "Order field customer.email is not valid"),
            ("order=city,id", "Order field city,id is not valid"),
            ("order=deleted_at", "Order field deleted_at is not valid"),
        ] {
            let answer = get(&shop, &token, &format!("{PATH}?{query}")).await.expect_error(400, message);
            assert_eq!(answer.json()["type"], "invalid_data");
        }
    }

    async fn r118_fields_choose_what_is_shown_on_every_route(app: TestApp) {
        let shop = app.acme();
        let login = shop.register(ADDRESS, crate::support::app::PASSWORD).await.token();
        let made = shop.post("/store/customers?fields=email").bearer(&login).json(&json!({"email": ADDRESS})).send().await.expect_status(200).json();
        assert_eq!(names(&made["customer"]), "id email");
        let token = shop.sign_in(ADDRESS, crate::support::app::PASSWORD).await.token();
        let made = shop.post(&format!("{PATH}?fields=addresses.city")).bearer(&token).json(&json!({"city": "Bonn"})).send().await.expect_status(200).json();
        let id = made["customer"]["addresses"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(made["customer"]["addresses"], json!([{"id": id, "city": "Bonn"}]));
        assert_eq!(names(&made["customer"]), "id addresses");
        let all = "id email company_name first_name last_name phone metadata has_account deleted_at created_at updated_at";
        for (query, expected) in [
            ("", format!("{all} addresses")),
            ("?fields=id,email", "id email".into()),
            ("?fields=%2Bemail,-metadata", format!("{} addresses", all.replace(" metadata", ""))),
            ("?fields=+email", format!("{all} addresses")),
            ("?fields=-addresses", all.into()),
            ("?fields=*orders", format!("{all} addresses orders")),
            ("?fields=*addresses,email", "id email addresses".into()),
            ("?fields=orders.id", "id".into()),
            ("?fields=nope", "id".into()),
            ("?fields=", "id".into()),
            ("?locale=de-DE&fields=phone", "id phone".into()),
        ] {
            assert_eq!(names(&get(&shop, &token, &format!("/store/customers/me{query}")).await.expect_status(200).json()["customer"]), expected, "{query}");
            let update = shop.post(&format!("/store/customers/me{query}")).bearer(&token).json(&json!({})).send().await.expect_status(200).json();
            assert_eq!(names(&update["customer"]), expected, "{query}");
            let update = change(&shop, &token, &format!("{id}{query}"), &json!({})).await.expect_status(200).json();
            assert_eq!(names(&update["customer"]), expected, "{query}");
        }
        assert_eq!(get(&shop, &token, "/store/customers/me?fields=*orders").await.json()["customer"]["orders"], json!([]));
        assert_eq!(get(&shop, &token, "/store/customers/me?fields=*addresses").await.text, shop.me(&token).await.text);
        let one = get(&shop, &token, &format!("{PATH}/{id}?fields=city,deleted_at,*customer")).await.expect_status(200).json();
        assert_eq!(one["address"], json!({"id": id, "city": "Bonn"}));
        for path in ["/store/customers/me".to_owned(), format!("{PATH}/{id}")] {
            for (query, message) in [
                ("fields=id&fields=email", "Expected type: 'string' for field 'fields', got: 'id,email'"),
                ("fields[]=id", "Expected type: 'string' for field 'fields', got: 'id'"),
                ("unknown=1", "Unrecognized fields: 'unknown'"),
                ("limit=5&fields=id", "Unrecognized fields: 'limit'"),
            ] {
                let text = format!("Invalid request: {message}");
                get(&shop, &token, &format!("{path}?{query}")).await.expect_error(400, &text);
                shop.post(&format!("{path}?{query}")).bearer(&token).json(&json!({})).send().await.expect_error(400, &text);
                get(&shop, "x", &format!("{path}?{query}")).await.expect_error(401, "Unauthorized");
            }
        }
        delete(&shop, &token, &format!("{id}?limit=1")).await.expect_error(400, "Invalid request: Unrecognized fields: 'limit'");
        let deleted = delete(&shop, &token, &format!("{id}?fields=email,addresses.id")).await.expect_status(200).json();
        assert_eq!(deleted["parent"], json!({"id": claims(&token)["actor_id"], "email": ADDRESS, "addresses": []}));
    }

    async fn a_customer_has_at_most_200_addresses(app: TestApp) {
        app.restart(|config| config.tenants[0].limits.enabled = false).await;
        let shop = app.acme();
        let (token, other) = (customer(&shop, ADDRESS).await, customer(&shop, "bob@example.com").await);
        let empty = json!({});
        let at_once = async |number: usize| join_all((0..number).map(|_| add(&shop, &token, &empty))).await;
        for _ in 0..19 {
            assert!(at_once(10).await.iter().all(|a| a.status == 200));
        }
        let refused: Vec<_> = at_once(15).await.into_iter().filter(|a| a.status != 200).collect();
        assert_eq!(refused.len(), 5);
        for answer in refused {
            answer.expect_error(400, "A customer can have at most 200 addresses");
        }
        assert_eq!(number(&app.engine, ROWS).await.unwrap(), 200);
        let list = get(&shop, &token, PATH).await.json();
        assert_eq!((list["addresses"].as_array().unwrap().len(), &list["count"]), (50, &json!(200)));
        let id = list["addresses"][0]["id"].as_str().unwrap();
        change(&shop, &token, id, &json!({"city": "Bonn"})).await.expect_status(200);
        add(&shop, &other, &json!({})).await.expect_status(200);
        delete(&shop, &token, id).await.expect_status(200);
        add(&shop, &token, &json!({})).await.expect_status(200);
        add(&shop, &token, &json!({})).await.expect_status(400);
    }

    async fn changes_of_addresses_take_the_customers_budget(app: TestApp) {
        app.restart(|config| config.tenants[0].limits.customer_updates = 3).await;
        let shop = app.acme();
        let (token, other) = (customer(&shop, ADDRESS).await, customer(&shop, "bob@example.com").await);
        let id = added(&shop, &token, &json!({})).await;
        change(&shop, &token, &id, &json!({})).await.expect_status(200);
        shop.post("/store/customers/me").bearer(&token).json(&json!({})).send().await.expect_status(200);
        for answer in [add(&shop, &token, &json!({})).await, change(&shop, &token, &id, &json!({})).await, delete(&shop, &token, &id).await] {
            assert_eq!((answer.status, answer.header("retry-after")), (429, "3601"), "{}", answer.text);
        }
        assert_eq!(number(&app.engine, ROWS).await.unwrap(), 1);
        get(&shop, &token, PATH).await.expect_status(200);
        add(&shop, &other, &json!({})).await.expect_status(200);
        app.clock.advance(Duration::from_hours(1));
        delete(&shop, &token, &id).await.expect_status(200);
    }

    async fn a_deleted_customer_changes_no_addresses(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let id = added(&shop, &token, &json!({})).await;
        execute(&app.engine, "UPDATE customers SET deleted_at = 1").await.unwrap();
        let message = format!("Customer with id: {} was not found", claims(&token)["actor_id"].as_str().unwrap());
        for answer in [add(&shop, &token, &json!({})).await, change(&shop, &token, &id, &json!({})).await, delete(&shop, &token, &id).await] {
            answer.expect_error(404, &message);
        }
        assert_eq!(number(&app.engine, ROWS).await.unwrap(), 1);
    }
}
