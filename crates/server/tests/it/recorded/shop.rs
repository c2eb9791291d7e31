//! The shop of the recording, with the settings that restore Medusa's answers.

use serde_json::{Value, json};
use url::Url;
use vestibule_engine::model::provider::ProviderSettings;
use vestibule_engine::model::tenant::{Algorithm, Secret, TenantSettings};
use vestibule_engine::ops;
use vestibule_engine::provider::emailpass;
use vestibule_engine::provider::hostile::{Bend, Endpoint, HostileIssuer};

use crate::support::app::{TestApp, publishable_key};
use crate::support::webhook_sink::WebhookSink;

/// The recording's own secret is one that everybody knows, and the program refuses it.
pub const SECRET: &str = "a secret of the recorded shop, long enough for HS256";
/// The second publishable key, which in Medusa belongs to no sales channel.
pub const SECOND_KEY: &str = "pk_00000000000000000000000000000000000000000000000000000000000000ff";

/// The key of the shop's own programs.
pub const SECRET_KEY: &str = "sk_00000000000000000000000000000000000000000000000000000000000000ff";

/// Google and GitHub behind their authorization pages.
pub struct Parties {
    issuer: HostileIssuer,
}

/// What the recorded shop says at `config`.
pub async fn open(app: &mut TestApp, parties: &Parties, sink: &WebhookSink, config: char) {
    let settings = settings(&app.config.tenants[0], parties, sink, config);
    app.restart(|all| {
        all.server.development = config == 'D';
        all.tenants[0] = settings;
    })
    .await;
}

/// Creates the recording's member of staff.
pub async fn staff(app: &TestApp) {
    let tenant = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
    let address = emailpass::address("admin@test.com").unwrap();
    ops::user::create(&app.engine, &tenant, &address, "supersecret").await.unwrap();
}

fn settings(standing: &TenantSettings, parties: &Parties, sink: &WebhookSink, config: char) -> TenantSettings {
    let mut shop = TenantSettings { slug: standing.slug.clone(), ..TenantSettings::default() };
    shop.publishable_keys = vec![publishable_key("acme"), SECOND_KEY.into()];
    shop.secret_keys = vec![Secret::new(SECRET_KEY)];
    shop.tokens.algorithm = Algorithm::Hs256;
    shop.tokens.secret = Some(Secret::new(SECRET));
    shop.passwords.min_length = 1;
    shop.passwords.revoke_sessions_on_change = false;
    shop.customers.email_must_match_identity = false;
    shop.limits.enabled = false;
    let origins = |listed: &[&str]| listed.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>();
    shop.cors.store = origins(&["http://localhost:8000", "http://shop.example.com"]);
    shop.cors.auth = origins(&["http://localhost:8000", "http://localhost:7001"]);
    shop.cors.admin = origins(&["http://localhost:7001"]);
    shop.webhooks = vec![sink.webhook("/events", &["auth.password_reset", "*"])];
    shop.providers = ["google", "github"].map(|name| (name.to_owned(), parties.settings(name))).into();
    if config == 'M' {
        shop.auth_methods = ["customer", "user"].map(|actor| (actor.to_owned(), vec!["emailpass".to_owned()])).into();
    }
    shop
}

impl Parties {
    pub fn start(app: &TestApp) -> Self {
        Self { issuer: HostileIssuer::start_at(app.clock.clone()) }
    }

    /// The customer is sent to the real authorization page; what the server asks for itself, it asks here.
    fn settings(&self, name: &str) -> ProviderSettings {
        let mut settings = json!({
            "type": name,
            "client_id": format!("fake-{name}-id"),
            "client_secret": "a secret of the recorded shop",
            "callback_url": format!("http://localhost:8000/auth/customer/{name}/callback"),
            // One of the two addresses that the recording asks for; the other one is a stranger's.
            "allowed_callback_urls": ["http://localhost:8000/cb?x=1&y=ü"],
            "token_endpoint": self.issuer.url(Endpoint::Token),
        });
        let (edge, endpoint) = if name == "google" { ("jwks_uri", Endpoint::Jwks) } else { ("userinfo_endpoint", Endpoint::User) };
        settings[edge] = json!(self.issuer.url(endpoint));
        serde_json::from_value(settings).unwrap()
    }

    /// A code that means what the recorded `code` means, for the customer who was sent to `location`.
    pub fn code(&self, name: &str, code: &str, location: &Url) -> String {
        self.issuer.straighten();
        if name == "google" {
            self.issuer.bend(Bend::Claim("iss", json!("https://accounts.google.com")));
        }
        self.issuer.person(person(name));
        self.issuer.emails(json!([{"email": "octo@example.com", "primary": true, "verified": true}]));
        match code {
            "badcode" => self.issuer.bend(Bend::Status(Endpoint::Token, 400)),
            "noid" => self.issuer.bend(Bend::NoToken("id_token")),
            "unverified" => self.issuer.bend(Bend::Claim("email_verified", json!(false))),
            "badsig" => self.issuer.bend(Bend::BrokenSignature),
            "badaud" => self.issuer.bend(Bend::Claim("aud", json!("another-client"))),
            "neterr" => self.issuer.bend(Bend::Cut(Endpoint::Token)),
            "err200" => self.issuer.bend(Bend::Token("error", json!("bad_verification_code"))),
            "noexp" => self.issuer.bend(Bend::NoToken("expires_in")),
            _ => {}
        }
        let asked = |name: &str| location.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap_or_default();
        self.issuer.grant(&asked("nonce"), &asked("code_challenge"), &asked("redirect_uri"), &asked("client_id"))
    }
}

fn person(name: &str) -> Value {
    match name {
        "google" => json!({
            "sub": "104857600000000000001", "name": "Gina Example", "email": "gina@example.com", "email_verified": true,
            "picture": "https://example.com/p.png", "given_name": "Gina", "family_name": "Example",
        }),
        _ => json!({
            "id": 583_231, "url": "https://api.github.com/users/octo", "avatar_url": "https://example.com/a.png", "email": "octo@example.com",
            "name": "Octo", "company": null, "two_factor_authentication": true,
        }),
    }
}
