//! The demo identity provider of `vestibule dev`: OpenID Connect with three invented people, so that a sign-in by a third party can be tried
//! without an account anywhere. Its client's secret is published, so it exists in development only and sends nobody off this machine.

mod authorize;
mod memory;
mod people;
mod token;

pub use authorize::{decide, show};
pub use memory::Memory;
pub use people::{PEOPLE, Person};
pub use token::{token, userinfo};

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::extract::App;

/// The one client, as `vestibule dev` declares it for both shops.
pub const CLIENT_ID: &str = "vestibule-demo";
pub const CLIENT_SECRET: &str = "vestibule-demo-secret";

/// Where this server answers.
#[must_use]
pub fn origin(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The issuer, as tokens and metadata name it.
#[must_use]
pub fn issuer(address: SocketAddr) -> String {
    format!("{}/dev/idp", origin(address))
}

/// `GET /dev/idp/.well-known/openid-configuration`.
pub async fn configuration(State(app): State<App>) -> Json<Value> {
    let issuer = issuer(app.engine.config.server.listen);
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "scopes_supported": ["openid", "email", "profile"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["sub", "email", "email_verified", "name", "given_name", "family_name", "picture"],
        "authorization_response_iss_parameter_supported": true,
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    }))
}

/// `GET /dev/idp/jwks`.
pub async fn jwks(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({"keys": [app.demo_provider.jwk()?]})))
}
