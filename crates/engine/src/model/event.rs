//! Events: their names, and who hears them.

use serde_json::{Map, Value};

use crate::model::ids::EventId;
use crate::model::time::Timestamp;

/// Every event there is. `docs/events.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventName {
    /// A reset token was issued. Data: `entity_id`, `actor_type`, `metadata`, and the secret `token`.
    PasswordReset,
    /// A password was replaced. Data: `auth_identity_id`, `entity_id`, `actor_type`, `auth_provider`.
    PasswordUpdated,
    /// A login was linked to an account that has others. Data: `auth_identity_id`, `actor_type`, `auth_provider`.
    IdentityLinked,
    /// A login was taken from its account. Data as above.
    IdentityUnlinked,
    /// Data: `id`.
    CustomerCreated,
    /// Data: `id`.
    CustomerUpdated,
}

impl EventName {
    pub const ALL: [Self; 6] =
        [Self::PasswordReset, Self::PasswordUpdated, Self::IdentityLinked, Self::IdentityUnlinked, Self::CustomerCreated, Self::CustomerUpdated];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "auth.password_reset",
            Self::PasswordUpdated => "auth.password_updated",
            Self::IdentityLinked => "auth.identity_linked",
            Self::IdentityUnlinked => "auth.identity_unlinked",
            Self::CustomerCreated => "customer.created",
            Self::CustomerUpdated => "customer.updated",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// The data fields that only a subscriber of exactly this name receives.
    #[must_use]
    pub const fn secret_fields(self) -> &'static [&'static str] {
        match self {
            Self::PasswordReset => &["token"],
            _ => &[],
        }
    }

    /// Whether `pattern` covers this event: its name, `*`, or a prefix such as `customer.*`.
    #[must_use]
    pub fn matches(self, pattern: &str) -> bool {
        pattern == self.as_str()
            || pattern == "*"
            || pattern.strip_suffix(".*").is_some_and(|p| self.as_str().strip_prefix(p).is_some_and(|rest| rest.starts_with('.')))
    }
}

/// An event as it is stored. Secret fields are not in `data`; they are made at delivery.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: EventId,
    pub name: EventName,
    pub data: Map<String, Value>,
    /// The row from which the secret fields are made, for example a reset's `jti`.
    pub secret_ref: Option<String>,
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::EventName::{CustomerCreated, PasswordReset};

    #[test]
    fn patterns_cover_whole_segments() {
        for (pattern, covers) in [
            ("*", true),
            ("auth.*", true),
            ("auth.password_reset", true),
            ("au.*", false),
            ("auth", false),
            ("auth.password_reset.*", false),
            ("", false),
            (".*", false),
        ] {
            assert_eq!(PasswordReset.matches(pattern), covers, "{pattern}");
        }
        assert!(!CustomerCreated.matches("auth.*"));
    }
}
