//! A customer of a shop.

use serde_json::{Map, Value};

use crate::model::ids::CustomerId;
use crate::model::time::Timestamp;

/// Largest `metadata` of a customer, in bytes of JSON.
pub const METADATA_BYTES: usize = 16 * 1024;

/// A customer as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Customer {
    pub id: CustomerId,
    pub email: Option<String>,
    pub company_name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub phone: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub has_account: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
}

/// A change of one field: leave it, or set it (to null, too).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Change<T> {
    #[default]
    Keep,
    Set(Option<T>),
}

impl<T> Change<T> {
    fn apply(self, field: &mut Option<T>) {
        if let Self::Set(value) = self {
            *field = value;
        }
    }

    /// The value to start a new row with.
    #[must_use]
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => value,
        }
    }
}

/// What a customer may say of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    pub company_name: Change<String>,
    pub first_name: Change<String>,
    pub last_name: Change<String>,
    pub phone: Change<String>,
    pub metadata: Change<Map<String, Value>>,
}

impl Customer {
    /// Whether the metadata is more than a customer may keep.
    #[must_use]
    pub fn metadata_is_too_big(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| Value::Object(metadata.clone()).to_string().len() > METADATA_BYTES)
    }

    /// Applies `profile`. `metadata` merges one level deep; an empty string removes its key.
    pub fn apply(&mut self, profile: Profile) {
        profile.company_name.apply(&mut self.company_name);
        profile.first_name.apply(&mut self.first_name);
        profile.last_name.apply(&mut self.last_name);
        profile.phone.apply(&mut self.phone);
        match profile.metadata {
            Change::Keep => {}
            Change::Set(None) => self.metadata = None,
            Change::Set(Some(new)) => {
                let mut merged = self.metadata.take().unwrap_or_default();
                let cleared = new.is_empty();
                for (key, value) in new {
                    if value.as_str() == Some("") {
                        merged.remove(&key);
                    } else {
                        merged.insert(key, value);
                    }
                }
                self.metadata = Some(if cleared { Map::new() } else { merged });
            }
        }
    }
}
