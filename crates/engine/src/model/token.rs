//! What tokens say. `crypto::token` signs and verifies them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The claims of a session token: Medusa's, and `iss`, `aud`, `jti`, `sid` of our own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// `cus_…`; empty until the identity has an actor.
    pub actor_id: String,
    pub actor_type: String,
    pub auth_identity_id: String,
    pub auth_provider: String,
    pub mfa_enabled: bool,
    pub mfa_challenge_completed_at: Option<String>,
    pub app_metadata: Map<String, Value>,
    pub user_metadata: Map<String, Value>,
    pub iss: String,
    /// The tenant's slug.
    pub aud: String,
    /// Seconds since 1970.
    pub iat: i64,
    /// Seconds since 1970.
    pub exp: i64,
    pub jti: String,
    /// The session row that every use reads.
    pub sid: String,
}

/// The claims of a reset token. It carries no `sid`, so it opens nothing but `update`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResetClaims {
    pub entity_id: String,
    pub provider: String,
    pub actor_type: String,
    pub purpose: ResetPurpose,
    pub iss: String,
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
    /// The row of the reset: a version 4 UUID.
    pub jti: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetPurpose {
    #[serde(rename = "reset")]
    Reset,
}
