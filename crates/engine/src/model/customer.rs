//! A customer of a shop.

use serde_json::{Map, Value};
use ulid::Ulid;

use crate::model::email::Email;
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
    /// Makes the change.
    pub(crate) fn apply(self, field: &mut Option<T>) {
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

impl Change<Map<String, Value>> {
    /// Merges one level deep; an empty string removes its key, an empty object all keys.
    pub(crate) fn merge(self, field: &mut Option<Map<String, Value>>) {
        match self {
            Self::Keep => {}
            Self::Set(None) => *field = None,
            Self::Set(Some(new)) => {
                let mut merged = field.take().unwrap_or_default();
                if new.is_empty() {
                    merged.clear();
                }
                for (key, value) in new {
                    if value.as_str() == Some("") {
                        merged.remove(&key);
                    } else {
                        merged.insert(key, value);
                    }
                }
                *field = Some(merged);
            }
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

impl Profile {
    /// The profile, with what it leaves out taken from what a provider told: name and picture.
    #[must_use]
    pub fn or_told(mut self, told: &Map<String, Value>) -> Self {
        let text = |name: &str| told.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let (first, last) = text("name").map(|name| name.split_once(' ').unwrap_or((name, ""))).unwrap_or_default();
        let fill = |field: &mut Change<String>, told: Option<&str>| {
            if *field == Change::Keep
                && let Some(told) = told
            {
                *field = Change::Set(Some(told.to_owned()));
            }
        };
        fill(&mut self.first_name, text("given_name").or(Some(first).filter(|first| !first.is_empty())));
        fill(&mut self.last_name, text("family_name").or(Some(last.trim()).filter(|last| !last.is_empty() && text("given_name").is_none())));
        if self.metadata == Change::Keep
            && let Some(picture) = text("picture").or_else(|| text("avatar"))
        {
            self.metadata = Change::Set(Some(Map::from_iter([("picture".to_owned(), Value::String(picture.to_owned()))])));
        }
        self
    }
}

impl Customer {
    /// A customer with an account of which no more than its address is known yet.
    #[must_use]
    pub fn with_account(id: CustomerId, email: &Email, now: Timestamp) -> Self {
        Self {
            id,
            email: Some(email.as_written().to_owned()),
            company_name: None,
            first_name: None,
            last_name: None,
            phone: None,
            metadata: None,
            has_account: true,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    /// Whether the metadata is more than a customer may keep.
    #[must_use]
    pub fn metadata_is_too_big(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| Value::Object(metadata.clone()).to_string().len() > METADATA_BYTES)
    }

    /// Applies `profile`. `metadata` merges.
    pub fn apply(&mut self, profile: Profile) {
        profile.company_name.apply(&mut self.company_name);
        profile.first_name.apply(&mut self.first_name);
        profile.last_name.apply(&mut self.last_name);
        profile.phone.apply(&mut self.phone);
        profile.metadata.merge(&mut self.metadata);
    }
}

/// Which customers of a shop its staff wants to see.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// One of these.
    pub ids: Option<Vec<CustomerId>>,
    /// With one of these addresses, in their look-up form.
    pub addresses: Option<Vec<String>>,
    /// With an address that begins so, in its look-up form.
    pub address_start: Option<String>,
    /// The first and the last id that is wanted.
    pub between: (CustomerId, CustomerId),
    pub newest_first: bool,
    pub offset: usize,
    pub limit: usize,
}

/// The first and the last id of what was made from one millisecond on and before another: an id begins with its time.
#[must_use]
pub fn ids_between(from_millis: Option<i64>, until_millis: Option<i64>) -> (CustomerId, CustomerId) {
    let first = |millis: i64| Ulid::from_parts(millis.clamp(0, (1 << Ulid::TIME_BITS) - 1).unsigned_abs(), 0);
    let last = until_millis.map_or(u128::MAX, |millis| first(millis).0.saturating_sub(1));
    (CustomerId(first(from_millis.unwrap_or(0))), CustomerId(Ulid(last)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_span_of_time_is_a_span_of_ids() {
        let id = |millis: u64, rest: u128| CustomerId(Ulid::from_parts(millis, rest));
        let within = |(first, last): (CustomerId, CustomerId), id: CustomerId| first <= id && id <= last;
        let (from, until) = (Some(1_000), Some(2_000));
        for (id, expected) in [(id(999, u128::MAX), false), (id(1_000, 0), true), (id(1_999, u128::MAX), true), (id(2_000, 0), false)] {
            assert_eq!(within(ids_between(from, until), id), expected, "{id}");
            assert!(within(ids_between(None, None), id), "{id}");
        }
        assert!(!within(ids_between(Some(2_000), Some(1_000)), id(1_500, 0)), "no time at all");
        assert!(!within(ids_between(None, Some(-5)), id(1, 0)) && within(ids_between(Some(-5), None), id(1, 0)), "before there were ids");
        assert!(!within(ids_between(Some(i64::MAX), None), id(1, 0)), "after the last of them");
    }

    #[test]
    fn what_a_provider_told_fills_what_was_left_out() {
        let names = |profile: Profile, value: &Value| {
            let profile = profile.or_told(&told(value));
            (profile.first_name.into_value(), profile.last_name.into_value(), profile.metadata.into_value().map(|m| Value::Object(m).to_string()))
        };
        let some = |text: &str| Some(text.to_owned());
        let whole = json!({"name": "Gina van Example", "given_name": "Gina", "family_name": "Example", "picture": "https://x.test/p.png"});
        assert_eq!(names(Profile::default(), &whole), (some("Gina"), some("Example"), some(r#"{"picture":"https://x.test/p.png"}"#)));
        assert_eq!(names(Profile::default(), &json!({"name": "Gina van Example", "avatar": null})), (some("Gina"), some("van Example"), None));
        assert_eq!(names(Profile::default(), &json!({"name": " Octo "})), (some("Octo"), None, None));
        assert_eq!(names(Profile::default(), &json!({})), (None, None, None));
        let own = Profile { first_name: Change::Set(some("G")), last_name: Change::Set(None), metadata: Change::Set(None), ..Profile::default() };
        assert_eq!(names(own, &whole), (some("G"), None, None));
    }
}
