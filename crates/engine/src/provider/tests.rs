//! Sign-ins against the hostile issuer, over real HTTP.

mod check;
mod companies;
mod id_token;
mod keys;
mod oidc;
mod transport;

use serde_json::{Value, json};
use ulid::Ulid;
use url::Url;

use super::hostile::{Algorithm, Bend, Endpoint, HostileIssuer};
use super::*;
use crate::model::tenant::Secret;
use crate::model::time::Timestamp;

const NOW: i64 = 1_795_447_001;
const CALLBACK: &str = "https://shop.example/callback";
const CLIENT: &str = "the-client";
const SECRET: &str = "the secret & more";
const NONCE: &str = "the-nonce";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const FAILED: &str = "Authentication failed";

/// A shop's provider and the issuer behind it.
struct Scene {
    issuer: HostileIssuer,
    http: Http,
    clock: Clock,
    providers: Providers,
    settings: ProviderSettings,
}

impl Scene {
    /// A provider of this kind whose every place is the hostile issuer's. It signs with ES256.
    fn new(kind: ProviderType) -> Self {
        let clock = Clock::frozen(Timestamp::from_seconds(NOW));
        let issuer = HostileIssuer::start_at(clock.clone());
        let http = Http::new(vec!["127.0.0.1/32".parse().unwrap()]).unwrap();
        let mut settings: ProviderSettings = serde_json::from_value(json!({
            "type": kind, "client_id": CLIENT, "client_secret": SECRET, "callback_url": CALLBACK,
        }))
        .unwrap();
        if matches!(kind, ProviderType::Oidc) {
            settings.issuer = Some(issuer.issuer());
        } else if kind != ProviderType::Microsoft {
            settings.authorization_endpoint = Some(issuer.url(Endpoint::Authorize));
            settings.token_endpoint = Some(issuer.url(Endpoint::Token));
            settings.jwks_uri = Some(issuer.url(Endpoint::Jwks));
        }
        Self { issuer, http, clock, providers: Providers::default(), settings }
    }

    fn oidc() -> Self {
        Self::new(ProviderType::Oidc)
    }

    fn bent(bends: &[Bend]) -> Self {
        let scene = Self::oidc();
        for bend in bends {
            scene.issuer.bend(bend.clone());
        }
        scene
    }

    fn flow(&self) -> Flow<'_> {
        Flow {
            http: &self.http,
            clock: &self.clock,
            tenant: TenantId(Ulid(7)),
            name: "theirs",
            settings: &self.settings,
            redirect_uri: CALLBACK,
            nonce: NONCE,
            code_verifier: VERIFIER,
        }
    }

    async fn location(&self) -> Result<Url, Refusal> {
        self.providers.location(self.flow(), "the-state").await
    }

    /// A customer's way there and back.
    async fn sign_in(&self) -> Result<Claims, Refusal> {
        let callback = self.issuer.visit(&self.location().await?);
        let given = |name: &str| callback.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned());
        assert_eq!(given("state").as_deref(), Some("the-state"));
        let (code, iss) = (given("code").unwrap(), given("iss"));
        self.providers.claims(self.flow(), Returned { code: &code, iss: iss.as_deref(), user: None }).await
    }

    /// The refusal of a sign-in, and that its message holds nothing of the issuer's.
    async fn refusal(&self) -> Refusal {
        let refusal = self.sign_in().await.unwrap_err();
        for text in ["script", "hostile", "Hostile", "127.0.0.1"] {
            assert!(!refusal.message.contains(text), "{refusal:?}");
        }
        assert!(!refusal.detail.contains("script") && !refusal.detail.contains(SECRET), "{refusal:?}");
        refusal
    }
}

/// The parameters of a URL, in their order.
fn parameters(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().into_owned().collect()
}
