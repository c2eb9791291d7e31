//! A login: one credential of one kind of actor with one provider.

use std::fmt;

use serde_json::{Map, Value};

use crate::model::ids::IdentityId;
use crate::model::time::Timestamp;

/// What kind of person or program signs in: `customer`, `user`, or what a shop declares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActorType(String);

impl ActorType {
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    #[must_use]
    pub fn customer() -> Self {
        Self("customer".into())
    }

    /// A shop's staff.
    #[must_use]
    pub fn user() -> Self {
        Self("user".into())
    }

    #[must_use]
    pub fn is_user(&self) -> bool {
        self.0 == "user"
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names an identity within a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityKey {
    pub actor_type: ActorType,
    pub provider: String,
    /// The OpenID issuer; empty for `emailpass`.
    pub issuer: String,
    /// The provider's name for the person; for `emailpass` the address in its look-up form.
    pub entity_id: String,
}

/// A login as it is stored.
#[derive(Debug, Clone)]
pub struct Identity {
    pub id: IdentityId,
    pub key: IdentityKey,
    /// The address as its owner wrote it or the provider told it; mail goes here. Empty where none was told.
    pub address: String,
    /// When the address was shown to be the owner's.
    pub proven_at: Option<Timestamp>,
    /// PHC string; `None` where the login has no password.
    pub password_hash: Option<String>,
    /// Bare id of the customer or staff member; `None` until one is created.
    pub actor_id: Option<String>,
    /// What a provider told of the person: name, address, picture.
    pub user_metadata: Map<String, Value>,
    pub created_at: Timestamp,
}

impl Identity {
    /// A login with an address and a password, of nobody yet.
    #[must_use]
    pub fn with_password(id: IdentityId, key: IdentityKey, address: &str, hash: String, created_at: Timestamp) -> Self {
        let address = address.to_owned();
        Self { id, key, address, proven_at: None, password_hash: Some(hash), actor_id: None, user_metadata: Map::new(), created_at }
    }
}
