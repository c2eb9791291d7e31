//! `/auth/{actor_type}/{auth_provider}/…`: which actors exist here, and which providers they may use.

use axum::extract::FromRequestParts;
use http::request::Parts;
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::provider::emailpass;

use super::App;
use super::path::Path;
use super::tenant::CurrentTenant;
use crate::error::ApiError;

/// Words under `/auth` that belong to other routes, and can be no actor type.
const RESERVED: &[&str] = &["session", "sessions", "token", "verification", "mfa", "identities", "callback"];

/// An actor type and a provider that this shop allows together.
pub struct Gate {
    pub actor: ActorType,
    pub provider: String,
    installed: bool,
}

impl Gate {
    /// Whether the provider exists. One that passes the list need not be installed.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.installed
    }

    /// Whether it is somebody else who signs the customer in.
    #[must_use]
    pub fn is_third_party(&self) -> bool {
        self.installed && self.provider != emailpass::NAME
    }

    /// # Errors
    /// `Unauthorized` in the words that Medusa has for it.
    pub fn require_installed(&self) -> Result<(), Error> {
        if self.is_installed() {
            return Ok(());
        }
        Err(Error::unauthorized(format!(
            "\nUnable to retrieve the auth provider with id: {}\nPlease make sure that the provider is registered in the container and it is configured correctly in your project configuration file.",
            self.provider
        )))
    }
}

impl FromRequestParts<App> for Gate {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CurrentTenant(tenant) = CurrentTenant::from_request_parts(parts, app).await?;
        let Path((actor, provider)) = Path::<(String, String)>::from_request_parts(parts, app).await?;
        if RESERVED.contains(&actor.as_str()) {
            return Err(ApiError::no_route(&parts.method, &parts.uri));
        }
        let actor = ActorType::new(actor);
        if !tenant.allows(&actor, &provider) {
            let text = format!("The actor type {actor} is not allowed to use the auth provider {provider}");
            return Err(Error::new(Code::NotAllowed, text).into());
        }
        let installed = provider == emailpass::NAME || tenant.settings.providers.contains_key(&provider);
        Ok(Self { actor, provider, installed })
    }
}
