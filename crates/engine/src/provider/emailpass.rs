//! Sign-in with an address and a password.

use crate::error::{Error, Result};
use crate::model::email::Email;
use crate::model::identity::{ActorType, IdentityKey};

/// The provider's name in paths, rows and tokens.
pub const NAME: &str = "emailpass";

/// The identity that `email` names for `actor`.
#[must_use]
pub fn key(actor: &ActorType, email: &Email) -> IdentityKey {
    IdentityKey { actor_type: actor.clone(), provider: NAME.into(), issuer: String::new(), entity_id: email.key().to_owned() }
}

/// An address as a caller sent it.
pub fn address(text: &str) -> Result<Email> {
    Email::parse(text).map_err(|e| Error::invalid(e.to_string()))
}
