//! Customers as the shop's staff and its own programs see them: listed, shown, deleted.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use vestibule_engine::ops;
use vestibule_engine::provider::emailpass;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, assert_same, customer, publishable_key, secret_key};
use crate::support::client::{Answer, Shop, basic, claims};
use crate::support::each_db;

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
const DELETED: &str = "SELECT COUNT(*) FROM events WHERE name = 'customer.deleted'";
const ORPHANS: &str = "SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL AND identity_id NOT IN (SELECT id FROM identities)";

/// A program of the shop.
struct Program {
    shop: Shop,
    authorization: String,
}

impl Program {
    async fn of(app: &TestApp, slug: &str) -> Self {
        Self { shop: app.shop(slug), authorization: basic(&secret_key(app, slug).await.1) }
    }

    async fn call(&self, method: Method, path: &str) -> Answer {
        self.shop.call(method, path).header("authorization", &self.authorization).send().await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).await
    }

    async fn delete(&self, id: &str) -> Answer {
        self.call(Method::DELETE, &format!("/admin/customers/{id}")).await
    }

    /// The addresses in a list, and its count.
    async fn listed(&self, query: &str) -> (Vec<String>, Value) {
        let list = self.get(&format!("/admin/customers{query}")).await.expect_status(200).json();
        let text = |customer: &Value| customer["email"].as_str().unwrap().split('@').next().unwrap().to_owned();
        (list["customers"].as_array().unwrap().iter().map(text).collect(), list["count"].clone())
    }
}

fn id_of(token: &str) -> String {
    claims(token)["actor_id"].as_str().unwrap().to_owned()
}

fn deleted(id: &str) -> Value {
    json!({"id": id, "object": "customer", "deleted": true})
}

each_db! {
    async fn r122_a_secret_key_opens_admin_in_each_of_its_forms_and_nothing_else(app: TestApp) {
        let shop = app.acme();
        let (id, key) = secret_key(app, "acme").await;
        let ask = async |authorization: &str| shop.get("/admin/customers").header("authorization", authorization).send().await;
        for good in [basic(&key), format!("Basic {key}"), format!("basic  {key}:")] {
            ask(&good).await.expect_status(200);
        }
        ask(&format!("Bearer {key}")).await.expect_error(401, "A secret API key was passed as a Bearer token. Secret API keys must be sent using HTTP Basic authentication instead (Authorization: Basic <secret-api-key>).");
        let cut = &key[..key.len() - 1];
        for bad in [key.clone(), basic(cut), basic(&format!("{cut}x")), basic(&format!("{cut}ü")), basic(&publishable_key("acme")), basic("sk_"), basic(""), "Basic".into(), "Basic %".into()] {
            let answer = shop.get("/admin/customers").header("authorization", &bad).send().await.expect_error(401, "Unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{bad}");
        }
        app.globex().get("/admin/customers").header("authorization", &basic(&key)).send().await.expect_error(401, "Unauthorized");
        // It is no customer, and names no storefront.
        shop.get("/store/customers/me").header("authorization", &basic(&key)).send().await.expect_error(401, "Unauthorized");
        let named = shop.get("/store/customers/me").header("x-publishable-api-key", &key).header("authorization", &basic(&key)).send().await;
        named.expect_error(400, "A valid publishable key is required to proceed with the request");
        shop.post("/auth/token/refresh").header("authorization", &basic(&key)).send().await.expect_error(401, "Unauthorized");
        assert!(!app.database.everything().await.unwrap().contains(&key), "only its hash is kept");
        // At once: nothing remembers it, and the clock stands still.
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        ops::api_key::revoke(&app.engine, &tenant, id).await.unwrap();
        ask(&basic(&key)).await.expect_error(401, "Unauthorized");
    }

    async fn r121_a_member_of_staff_is_let_in_and_who_registers_as_one_is_not(app: TestApp) {
        let shop = app.acme();
        let credentials = json!({"email": "staff@acme.example", "password": PASSWORD});
        let registered = shop.post("/auth/user/emailpass/register").json(&credentials).send().await.expect_status(200).token();
        let list = async |token: &str| shop.get("/admin/customers").bearer(token).send().await;
        list(&registered).await.expect_error(401, "Unauthorized");
        list(&customer(&shop, ADDRESS).await).await.expect_error(401, "Unauthorized");
        let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        ops::user::create(&app.engine, &tenant, &emailpass::address("staff@acme.example").unwrap(), PASSWORD).await.unwrap();
        list(&registered).await.expect_error(401, "Unauthorized");
        let member = shop.post("/auth/user/emailpass").json(&credentials).send().await.expect_status(200).token();
        list(&member).await.expect_status(200);
        app.globex().get("/admin/customers").bearer(&member).send().await.expect_error(401, "Unauthorized");
    }

    async fn customers_are_listed_page_by_page(app: TestApp) {
        let (shop, program) = (app.acme(), Program::of(app, "acme").await);
        assert_eq!(program.get("/admin/customers").await.expect_status(200).json(), json!({"customers": [], "count": 0, "offset": 0, "limit": 50}));
        let mut made = Vec::new();
        for name in ["Ann", "bob", "anna", "dan"] {
            app.clock.advance(SECOND);
            made.push((id_of(&customer(&shop, &format!("{name}@example.com")).await), app.clock.now().to_string()));
        }
        customer(&app.globex(), "foreign@example.com").await;
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let (second, last) = (&made[1], &made[3]);
        for (query, expected, count) in [
            (String::new(), vec!["Ann", "bob", "anna", "dan"], 4),
            ("?limit=2".into(), vec!["Ann", "bob"], 4),
            ("?limit=2&offset=3".into(), vec!["dan"], 4),
            ("?limit=0".into(), vec![], 4),
            ("?offset=9".into(), vec![], 4),
            ("?order=-created_at&limit=3".into(), vec!["dan", "anna", "bob"], 4),
            ("?order=-id&offset=1&limit=1".into(), vec!["anna"], 4),
            ("?order=id&limit=1".into(), vec!["Ann"], 4),
            ("?q=AN".into(), vec!["Ann", "anna"], 2),
            ("?q=ann%40".into(), vec!["Ann"], 1),
            ("?q=%25".into(), vec![], 0),
            ("?q=_nn".into(), vec![], 0),
            ("?q=".into(), vec!["Ann", "bob", "anna", "dan"], 4),
            ("?q=an&order=-id&limit=1".into(), vec!["anna"], 2),
            ("?q=an&offset=1".into(), vec!["anna"], 2),
            ("?email=ANN%40example.com".into(), vec!["Ann"], 1),
            ("?email[]=dan%40example.com&email[]=bob%40example.com&email[]=none".into(), vec!["bob", "dan"], 2),
            ("?email=foreign%40example.com".into(), vec![], 0),
            (format!("?id={}", second.0), vec!["bob"], 1),
            (format!("?id[]={}&id[]={}&id[]=cus_nope&id[]={}", last.0, second.0, last.0), vec!["bob", "dan"], 2),
            (format!("?id[]={}&id[]={}&q=d", last.0, second.0), vec!["dan"], 1),
            (format!("?created_at[$gt]={}", second.1), vec!["anna", "dan"], 2),
            (format!("?created_at[$gte]={}&limit=1", second.1), vec!["bob"], 3),
            (format!("?created_at[$lt]={}", second.1), vec!["Ann"], 1),
            (format!("?created_at[$lte]={}&order=-created_at", second.1), vec!["bob", "Ann"], 2),
            (format!("?created_at[$gt]={}&created_at[$lt]={}", second.1, last.1), vec!["anna"], 1),
            (format!("?created_at[$gt]={}&q=an", second.1), vec!["anna"], 1),
        ] {
            assert_eq!(program.listed(&query).await, (names(&expected), json!(count)), "{query}");
        }
        let envelope = program.get("/admin/customers?limit=1&offset=1&fields=id").await.expect_status(200).json();
        assert_eq!(envelope, json!({"customers": [{"id": second.0}], "count": 4, "offset": 1, "limit": 1}));
    }

    async fn what_no_index_can_answer_is_refused(app: TestApp) {
        let program = Program::of(app, "acme").await;
        let many = (0..101).map(|n| format!("id[]={n}")).collect::<Vec<_>>().join("&");
        for (query, message) in [
            ("limit=201", "Invalid request: Value for field 'limit' too big, expected at most: '200'"),
            ("limit=-1", "Invalid request: Value for field 'limit' too small, expected at least: '0'"),
            ("limit=abc", "Invalid request: Expected type: 'number' for field 'limit', got: 'abc'"),
            ("offset=10001", "Invalid request: Value for field 'offset' too big, expected at most: '10000'"),
            ("order=email", "Order field email is not valid"),
            ("first_name=Ann&groups=x", "Invalid request: Unrecognized fields: 'first_name, groups'"),
            (many.as_str(), "Invalid request: Value for field 'id' too big, expected at most: '100'"),
            ("created_at=2026", "Invalid request: Expected type: 'record' for field 'created_at', got: '2026'"),
            ("created_at[$gt]=x", "Invalid request: Field 'created_at, $gt' is neither $gt, $gte, $lt nor $lte with a time such as 2026-11-23T15:16:40.973Z"),
            ("created_at[$like]=2026-11-23T15:16:40.973Z", "Invalid request: Field 'created_at, $like' is neither $gt, $gte, $lt nor $lte with a time such as 2026-11-23T15:16:40.973Z"),
            ("q=%00", "Invalid request: Field 'q' holds a NUL character"),
            ("q[]=a", "Invalid request: Expected type: 'string' for field 'q', got: 'a'"),
        ] {
            program.get(&format!("/admin/customers?{query}")).await.expect_error(400, message);
        }
        // R118: names that a customer does not have reach nothing.
        let answer = program.get("/admin/customers?fields=*auth_identity,password_hash&email=%00").await.expect_status(200).json();
        assert_eq!(answer["customers"], json!([]));
    }

    async fn a_customer_is_shown_to_the_staff(app: TestApp) {
        let (shop, program) = (app.acme(), Program::of(app, "acme").await);
        let token = customer(&shop, ADDRESS).await;
        shop.post("/store/customers/me").bearer(&token).json(&json!({"first_name": "Ann", "metadata": {"a": 1}})).send().await.expect_status(200);
        let address = shop.post("/store/customers/me/addresses").bearer(&token).json(&json!({"city": "Bonn"})).send().await.expect_status(200).json();
        let (id, now) = (id_of(&token), app.clock.now().to_string());
        let path = format!("/admin/customers/{id}");
        let shown = program.get(&path).await.expect_status(200).json();
        assert_eq!(shown, json!({"customer": {"id": id, "company_name": null, "first_name": "Ann", "last_name": null, "email": ADDRESS, "phone": null,
            "metadata": {"a": 1}, "has_account": true, "created_by": null, "created_at": now, "updated_at": now, "deleted_at": null}}));
        assert_eq!(program.get("/admin/customers").await.json()["customers"], json!([shown["customer"]]));
        for path in [format!("{path}?fields=email,*addresses"), "/admin/customers?fields=email,*addresses".into()] {
            let answer = program.get(&path).await.expect_status(200).json();
            let one = answer.get("customer").unwrap_or(&answer["customers"][0]);
            assert_eq!(one, &json!({"id": id, "email": ADDRESS, "addresses": address["customer"]["addresses"]}), "{path}");
        }
        program.get(&format!("{path}?limit=1")).await.expect_error(400, "Invalid request: Unrecognized fields: 'limit'");
        for unknown in ["cus_nope", "cus_01K0000000000000000000000A", &id.to_lowercase(), id.strip_prefix("cus_").unwrap()] {
            program.get(&format!("/admin/customers/{unknown}")).await.expect_error(404, &format!("Customer with id: {unknown} not found"));
        }
        Program::of(app, "globex").await.get(&path).await.expect_error(404, &format!("Customer with id: {id} not found"));
    }

    async fn r69_whoever_is_deleted_is_out_at_once_and_the_address_is_free(app: TestApp) {
        let (shop, program) = (app.acme(), Program::of(app, "acme").await);
        let first = customer(&shop, ADDRESS).await;
        let (second, bob) = (shop.sign_in(ADDRESS, PASSWORD).await.token(), customer(&shop, "bob@example.com").await);
        let reset = app.reset_token(&shop, ADDRESS).await;
        let id = id_of(&first);
        app.clock.advance(SECOND);
        assert_eq!(program.delete(&id).await.expect_status(200).json(), deleted(&id));
        for token in [&first, &second] {
            shop.me(token).await.expect_error(401, "Unauthorized");
            shop.post("/auth/token/refresh").bearer(token).send().await.expect_error(401, "Unauthorized");
            shop.post("/store/customers/me").bearer(token).json(&json!({})).send().await.expect_error(401, "Unauthorized");
        }
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_error(401, "Invalid token");
        assert_same(&shop.sign_in(ADDRESS, PASSWORD).await, &shop.sign_in("nobody@example.com", PASSWORD).await);
        shop.request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        assert!(app.unread().is_empty(), "there is nobody to write to");
        program.get(&format!("/admin/customers/{id}")).await.expect_status(404);
        assert_eq!(program.listed("").await, (vec!["bob".to_owned()], json!(1)));
        shop.me(&bob).await.expect_status(200);
        // Marked, not gone; told once, whoever asks again.
        assert_eq!(app.rows("SELECT deleted_at IS NULL, COUNT(*) FROM customers GROUP BY deleted_at IS NULL").await.len(), 2);
        assert_eq!(program.delete(&id).await.expect_status(200).json(), deleted(&id));
        assert_eq!(app.rows(DELETED).await, ["1"]);
        assert_eq!(app.rows("SELECT data FROM events WHERE name = 'customer.deleted'").await, [json!({"id": id}).to_string()]);
        let again = customer(&shop, ADDRESS).await;
        assert_ne!(id_of(&again), id);
        shop.me(&again).await.expect_status(200);
        assert_eq!(program.listed("?q=ann").await.1, json!(1));
    }

    async fn what_is_not_there_counts_as_deleted(app: TestApp) {
        let (shop, program) = (app.acme(), Program::of(app, "acme").await);
        let (ann, foreign) = (customer(&shop, ADDRESS).await, customer(&app.globex(), ADDRESS).await);
        for id in ["cus_01K0000000000000000000000A", "cus_nope", &id_of(&foreign), &id_of(&ann).to_lowercase()] {
            assert_eq!(program.delete(id).await.expect_status(200).json(), deleted(id));
        }
        shop.me(&ann).await.expect_status(200);
        app.globex().me(&foreign).await.expect_status(200);
        assert_eq!(app.rows(DELETED).await, ["0"]);
        shop.call(Method::DELETE, &format!("/admin/customers/{}", id_of(&ann))).bearer(&ann).send().await.expect_error(401, "Unauthorized");
        shop.me(&ann).await.expect_status(200);
    }

    async fn of_20_who_delete_one_tells_and_no_session_outlives_its_login(app: TestApp) {
        app.restart_acme(|acme| acme.limits.enabled = false).await;
        let (shop, program) = (app.acme(), Program::of(app, "acme").await);
        let token = customer(&shop, ADDRESS).await;
        let id = id_of(&token);
        let sign_ins = join_all((0..10).map(|_| shop.sign_in(ADDRESS, PASSWORD)));
        let (deletions, signed_in) = tokio::join!(join_all((0..20).map(|_| program.delete(&id))), sign_ins);
        assert!(deletions.iter().all(|answer| answer.status == 200));
        assert_eq!(app.rows(DELETED).await, ["1"]);
        assert_eq!(app.rows(ORPHANS).await, ["0"]);
        for answer in signed_in {
            match answer.status {
                200 => drop(shop.me(&answer.token()).await.expect_status(401)),
                _ => drop(answer.expect_error(401, "Invalid email or password")),
            }
        }
        assert_eq!(program.listed("").await.1, json!(0));
    }
}
