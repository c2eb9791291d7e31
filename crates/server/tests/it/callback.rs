//! Signing in with a third party, over real HTTP, against an issuer that can be bent.

mod account;
mod browser;
mod flow;
mod identity;
mod shared;

use serde_json::{Value, json};
use url::Url;
use vestibule_engine::provider::hostile::HostileIssuer;

use crate::support::app::{TestApp, provider};
use crate::support::client::{Answer, Call, Shop};

pub const START: &str = "/auth/customer/certified";
const PAGE: &str = "https://acme.example/callback";

/// The app, with the provider `certified` at both shops.
pub async fn with_issuer(app: &mut TestApp) -> HostileIssuer {
    let issuer = HostileIssuer::start_at(app.clock.clone());
    let name = issuer.issuer().as_str().trim_end_matches('/').to_owned();
    app.restart(|config| {
        for tenant in &mut config.tenants {
            tenant.providers = [("certified".to_owned(), provider(&name, PAGE))].into();
        }
    })
    .await;
    issuer
}

/// Begins, and lets the customer consent: what comes back in the query of the page.
pub async fn go_there(shop: &Shop, issuer: &HostileIssuer) -> String {
    come_back(issuer, &shop.post(START).json(&json!({})).send().await)
}

/// The query with which the issuer sends back whom `started` sent there.
pub fn come_back(issuer: &HostileIssuer, started: &Answer) -> String {
    assert_eq!(started.status, 200, "{}", started.text);
    let location = Url::parse(started.json()["location"].as_str().unwrap()).unwrap();
    issuer.visit(&location).query().unwrap().to_owned()
}

fn callback(shop: &Shop, query: &str) -> Call {
    shop.get(&format!("{START}/callback?{query}"))
}

/// Signs in from beginning to end.
pub async fn sign_in(shop: &Shop, issuer: &HostileIssuer) -> Answer {
    callback(shop, &go_there(shop, issuer).await).send().await
}

pub fn person(sub: &str, email: &str, verified: bool) -> Value {
    json!({"sub": sub, "email": email, "email_verified": verified, "name": "Ann Lee"})
}
