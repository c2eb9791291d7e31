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
    /// The session row that every use reads. Empty in a token that was made elsewhere, with a former secret.
    pub sid: String,
}

/// The claims of a session token of the server that was here before. No row knows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct FormerClaims {
    actor_id: String,
    actor_type: String,
    auth_identity_id: String,
    /// Absent in the oldest.
    #[serde(default)]
    auth_provider: String,
    #[serde(default)]
    mfa_enabled: bool,
    #[serde(default)]
    mfa_challenge_completed_at: Option<String>,
    #[serde(default)]
    app_metadata: Option<Map<String, Value>>,
    #[serde(default)]
    user_metadata: Option<Map<String, Value>>,
}

impl FormerClaims {
    /// The same as claims of ours, with neither session nor audience. `None`: a second factor was asked for and not given.
    #[must_use]
    pub fn into_session(self, iat: i64, exp: i64) -> Option<SessionClaims> {
        if self.mfa_enabled && self.mfa_challenge_completed_at.is_none() {
            return None;
        }
        Some(SessionClaims {
            actor_id: self.actor_id,
            actor_type: self.actor_type,
            auth_identity_id: self.auth_identity_id,
            auth_provider: self.auth_provider,
            mfa_enabled: self.mfa_enabled,
            mfa_challenge_completed_at: self.mfa_challenge_completed_at,
            app_metadata: self.app_metadata.unwrap_or_default(),
            user_metadata: self.user_metadata.unwrap_or_default(),
            iss: String::new(),
            aud: String::new(),
            iat,
            exp,
            jti: String::new(),
            sid: String::new(),
        })
    }
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
