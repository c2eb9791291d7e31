//! Every POST of the table takes a key, and keeps its answer in the transaction of its effect.

use http::Method;
use serde_json::{Value, json};
use vestibule::router::{ROUTES, Route};
use vestibule_engine::provider::hostile::HostileIssuer;
use vestibule_engine::testing::Fault;

use super::{ADDRESSES, KEY, OTHER, REGISTER, REPLAYED, SIGN_IN, assert_fresh, assert_replay, credentials};
use crate::callback::{START, go_there, person, sign_in, with_issuer};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer};
use crate::support::client::{Call, claims};
use crate::support::each_db;

/// Where the header means nothing, and why.
const EXEMPT: &[(&str, &str)] = &[
    ("/auth/callback/", "a provider's form, sent by a browser: it carries no header, and a state that is good once"),
    ("/account/", "a form, sent by a browser"),
    ("/app/", "a form, sent by a browser"),
    ("/t/", "a form, sent by a browser"),
    ("/dev/", "not of the product"),
];

/// A request of the route that succeeds: path, token, body.
struct Right {
    path: String,
    token: Option<String>,
    body: Value,
}

impl Right {
    fn new(path: &str, token: Option<&String>, body: Value) -> Self {
        Self { path: path.to_owned(), token: token.cloned(), body }
    }

    fn call(&self, app: &TestApp) -> Call {
        let call = app.acme().post(&self.path).header(KEY, "k-1").json(&self.body);
        match &self.token {
            Some(token) => call.bearer(token),
            None => call,
        }
    }
}

/// Who calls.
struct Cast {
    /// A customer whose address is proven, with a fresh session.
    account: String,
    /// A login of a third party with the same address, of nobody.
    other: String,
    login: String,
    address: String,
    reset: String,
    /// A customer with the password `PASSWORD`.
    changing: String,
    /// Of somebody who comes back from the third party.
    state: Value,
}

impl Cast {
    async fn of(app: &mut TestApp, issuer: &HostileIssuer) -> Self {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        issuer.person(person("one", ADDRESS, true));
        let other = sign_in(&shop, issuer).await.token();
        let link = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&link, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        let account = shop.sign_in(ADDRESS, NEW_PASSWORD).await.token();
        let added = shop.post(ADDRESSES).bearer(&account).json(&json!({})).send().await.expect_status(200).json();
        customer(&shop, "pat@example.com").await;
        let reset = app.reset_token(&shop, "pat@example.com").await;
        let changing = customer(&shop, "zoe@example.com").await;
        let login = shop.register("bob@example.com", PASSWORD).await.token();
        issuer.person(person("two", "two@example.com", true));
        let query = go_there(&shop, issuer).await;
        let state =
            url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
        let address = added["customer"]["addresses"][0]["id"].as_str().unwrap().to_owned();
        Self { account, other, login, address, reset, changing, state }
    }

    /// `None`: nobody has said what a request of this route is.
    fn right(&self, route: &Route) -> Option<Right> {
        let account = Some(&self.account);
        Some(match route.path {
            "/auth/{actor_type}/{auth_provider}" => Right::new(SIGN_IN, None, credentials(ADDRESS, NEW_PASSWORD)),
            "/auth/{actor_type}/{auth_provider}/register" => Right::new(REGISTER, None, credentials("new@example.com", PASSWORD)),
            "/auth/{actor_type}/{auth_provider}/reset-password" => {
                Right::new("/auth/customer/emailpass/reset-password", None, json!({"identifier": ADDRESS}))
            }
            "/auth/{actor_type}/{auth_provider}/update" => {
                Right::new("/auth/customer/emailpass/update", Some(&self.reset), json!({"password": NEW_PASSWORD}))
            }
            "/auth/{actor_type}/{auth_provider}/callback" => Right::new(&format!("{START}/callback"), None, self.state.clone()),
            "/auth/{actor_type}/{auth_provider}/change-password" => {
                let body = json!({"current_password": PASSWORD, "password": NEW_PASSWORD});
                Right::new("/auth/customer/emailpass/change-password", Some(&self.changing), body)
            }
            "/auth/session" => Right::new("/auth/session", account, json!({})),
            "/auth/token/refresh" => Right::new("/auth/token/refresh", account, json!({})),
            "/auth/identities" => Right::new("/auth/identities", account, json!({"token": self.other})),
            "/store/customers" => Right::new("/store/customers", Some(&self.login), json!({"email": "bob@example.com"})),
            "/store/customers/me" => Right::new("/store/customers/me", account, json!({"first_name": "Ann"})),
            "/store/customers/me/addresses" => Right::new(ADDRESSES, account, json!({"city": "Bremen"})),
            "/store/customers/me/addresses/{id}" => Right::new(&format!("{ADDRESSES}/{}", self.address), account, json!({"city": "Ghent"})),
            _ => return None,
        })
    }
}

/// Every row but those that say that the database can be written, who numbers events, and that a password was wrong: of that the process tells seconds later,
/// and a stranger here tries one at another's login.
async fn rows(app: &TestApp) -> String {
    app.settle().await;
    let all = app.database.everything().await.unwrap();
    let passing = |line: &&str| line.starts_with("store_state") || line.starts_with("sequences") || line.contains("| auth.sign_in_failed |");
    let mut lines: Vec<_> = all.lines().filter(|line| !passing(line)).collect();
    // A row that was looked at under its lock may have moved.
    lines.sort_unstable();
    lines.join("\n")
}

each_db! {
    async fn r142_every_post_keeps_its_answer_with_its_effect(app: TestApp) {
        let issuer = with_issuer(app).await;
        let cast = Cast::of(app, &issuer).await;
        let mut seen = 0;
        for route in ROUTES.iter().filter(|route| route.method == Method::POST) {
            if EXEMPT.iter().any(|(prefix, _)| route.path.starts_with(prefix)) {
                continue;
            }
            let right = cast.right(route).unwrap_or_else(|| panic!("POST {} takes no Idempotency-Key that anybody has tried", route.path));
            println!("POST {}", route.path);
            // The process dies between the commit of the effect and the answer: what is stored then must be all there is to store.
            app.engine.faults().arm(Fault::Death, 1);
            let first = right.call(app).send().await;
            app.engine.faults().arm(Fault::Death, 0);
            assert!(matches!(first.status, 200 | 201), "{} {}", first.status, first.text);
            assert_fresh(&first);
            let before = rows(app).await;
            assert_replay(&first, &right.call(app).send().await);
            assert_eq!(rows(app).await, before, "a replay of POST {} has an effect", route.path);
            right.call(app).json(&json!({"another": "body"})).send().await.expect_error(422, OTHER);
            // To another caller the key is nothing.
            if let Some(token) = &right.token
                && claims(token).get("sid").is_some()
            {
                let stranger = app.acme().register(&format!("stranger-{seen}@example.com"), "a-Strange-pass-7").await.token();
                let answer = right.call(app).bearer(&stranger).send().await;
                assert!(!answer.headers.contains_key(REPLAYED), "POST {}: {} {}", route.path, answer.status, answer.text);
                assert_ne!(answer.text, first.text);
            }
            seen += 1;
        }
        assert!(seen >= 13, "the table was not walked");
        app.take_all_mail().await;
    }
}
