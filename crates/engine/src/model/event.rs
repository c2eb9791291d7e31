//! Events: their names, and who hears them.

use serde_json::{Map, Value};

use crate::model::ids::EventId;
use crate::model::time::Timestamp;

/// Every event there is. `EventName::spec` says what each tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventName {
    PasswordReset,
    PasswordUpdated,
    SignedIn,
    SessionEnded,
    SignInFailed,
    IdentityLinked,
    IdentityUnlinked,
    CustomerCreated,
    CustomerUpdated,
    CustomerDeleted,
}

/// What an event is and what its data holds. `docs/events.md` and `docs/events.schema.json` are generated from it.
#[derive(Debug)]
pub struct Spec {
    pub name: &'static str,
    /// The version of Vestibule that had it first.
    pub since: &'static str,
    /// Completes the sentence "it is told when …".
    pub when: &'static str,
    pub fields: &'static [Field],
}

/// A field of an event's data. All are always there.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// It rests nowhere, is made at delivery, and only a subscriber of exactly this event receives it.
    pub secret: bool,
    pub what: &'static str,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A whole number.
    Number,
    /// A list of texts.
    Texts,
    /// An object with whatever was sent.
    Object,
}

const fn text(name: &'static str, what: &'static str) -> Field {
    Field { name, kind: Kind::Text, secret: false, what }
}

const fn field(name: &'static str, kind: Kind, what: &'static str) -> Field {
    Field { name, kind, secret: false, what }
}

const LOGIN: &str = "id of the login: `authid_…`";
const ACTOR_TYPE: &str = "whose login it is: `customer`, `user`, …";
const PROVIDER: &str = "`emailpass`, or the name of a third party";
const CUSTOMER: &[Field] = &[text("id", "the customer's id: `cus_…`")];
const LINKED: &[Field] = &[text("auth_identity_id", LOGIN), text("actor_type", ACTOR_TYPE), text("auth_provider", PROVIDER)];

const PASSWORD_RESET: Spec = Spec {
    name: "auth.password_reset",
    since: "0.1",
    when: "a reset token was issued",
    fields: &[
        text("entity_id", "the address that registered"),
        text("actor_type", ACTOR_TYPE),
        Field { name: "metadata", kind: Kind::Object, secret: false, what: "what the request sent" },
        Field { name: "token", kind: Kind::Text, secret: true, what: "the token, for the link" },
    ],
};

const PASSWORD_UPDATED: Spec = Spec {
    name: "auth.password_updated",
    since: "0.1",
    when: "a password was replaced, by a reset or by its owner",
    fields: &[
        text("auth_identity_id", LOGIN),
        text("entity_id", "the address that registered"),
        text("actor_type", ACTOR_TYPE),
        text("auth_provider", PROVIDER),
    ],
};

const SIGNED_IN: Spec = Spec {
    name: "auth.signed_in",
    since: "0.1",
    when: "a sign-in began a session: by password, by a third party, also the first one, or by registering again what has no account yet; neither a new registration nor a refresh",
    fields: &[
        text("auth_identity_id", LOGIN),
        text("actor_type", ACTOR_TYPE),
        text("auth_provider", PROVIDER),
        text("actor_id", "id of the account, `cus_…`, or empty where the login has none yet"),
        text("session_id", "id of the session"),
    ],
};

const SESSION_ENDED: Spec = Spec {
    name: "auth.session_ended",
    since: "0.1",
    when: "one act ended sessions before their time; one that runs out is not told of",
    fields: &[
        text("auth_identity_id", "id of a login of the account whose sessions they were: `authid_…`"),
        text("actor_type", ACTOR_TYPE),
        text("auth_provider", PROVIDER),
        text(
            "reason",
            "`signed_out`, `ended_by_owner` (one, the others or all), `password_changed`, `password_reset`, `login_removed`, `customer_deleted`, `replaced` (by another session in the same browser) or `taken_over` (the address got an owner who had shown it to be theirs)",
        ),
        field("count", Kind::Number, "how many ended"),
        field("session_ids", Kind::Texts, "their ids, the newest 100"),
    ],
};

const SIGN_IN_FAILED: Spec = Spec {
    name: "auth.sign_in_failed",
    since: "0.1",
    when: "a wrong password was tried at a login that there is; tries of some seconds are one event",
    fields: &[
        text("auth_identity_id", LOGIN),
        text("actor_type", ACTOR_TYPE),
        text("auth_provider", PROVIDER),
        field("attempts", Kind::Number, "how many tries"),
        text("first_at", "when the first was"),
        text("last_at", "when the last was"),
    ],
};

const IDENTITY_LINKED: Spec =
    Spec { name: "auth.identity_linked", since: "0.1", when: "a login was linked to an account that has others", fields: LINKED };

const IDENTITY_UNLINKED: Spec = Spec { name: "auth.identity_unlinked", since: "0.1", when: "a login was taken from its account", fields: LINKED };

const CUSTOMER_CREATED: Spec = Spec { name: "customer.created", since: "0.1", when: "a login became a customer", fields: CUSTOMER };

const CUSTOMER_UPDATED: Spec = Spec { name: "customer.updated", since: "0.1", when: "a customer changed the profile", fields: CUSTOMER };

const CUSTOMER_DELETED: Spec = Spec { name: "customer.deleted", since: "0.1", when: "the store's staff deleted a customer", fields: CUSTOMER };

impl EventName {
    pub const ALL: [Self; 10] = [
        Self::PasswordReset,
        Self::PasswordUpdated,
        Self::SignedIn,
        Self::SessionEnded,
        Self::SignInFailed,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::CustomerCreated,
        Self::CustomerUpdated,
        Self::CustomerDeleted,
    ];

    #[must_use]
    pub const fn spec(self) -> &'static Spec {
        match self {
            Self::PasswordReset => &PASSWORD_RESET,
            Self::PasswordUpdated => &PASSWORD_UPDATED,
            Self::SignedIn => &SIGNED_IN,
            Self::SessionEnded => &SESSION_ENDED,
            Self::SignInFailed => &SIGN_IN_FAILED,
            Self::IdentityLinked => &IDENTITY_LINKED,
            Self::IdentityUnlinked => &IDENTITY_UNLINKED,
            Self::CustomerCreated => &CUSTOMER_CREATED,
            Self::CustomerUpdated => &CUSTOMER_UPDATED,
            Self::CustomerDeleted => &CUSTOMER_DELETED,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// The data fields that only a subscriber of exactly this name receives.
    pub fn secret_fields(self) -> impl Iterator<Item = &'static str> {
        self.spec().fields.iter().filter(|field| field.secret).map(|field| field.name)
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// The events that `patterns` cover, or all where there are none. `Err` with a pattern that covers none.
    pub fn covered(patterns: &[String]) -> Result<Vec<Self>, &str> {
        if let Some(nothing) = patterns.iter().find(|pattern| !Self::ALL.iter().any(|name| name.matches(pattern))) {
            return Err(nothing);
        }
        let covers = |name: &Self| patterns.is_empty() || patterns.iter().any(|pattern| name.matches(pattern));
        Ok(Self::ALL.into_iter().filter(covers).collect())
    }

    /// Whether `pattern` covers this event: its name, `*`, or a prefix such as `customer.*`.
    #[must_use]
    pub fn matches(self, pattern: &str) -> bool {
        pattern == self.as_str()
            || pattern == "*"
            || pattern.strip_suffix(".*").is_some_and(|p| self.as_str().strip_prefix(p).is_some_and(|rest| rest.starts_with('.')))
    }
}

impl Spec {
    /// Whether `data` holds each field that is no secret, as what it is, and nothing else.
    #[must_use]
    pub fn fits(&self, data: &Map<String, Value>) -> bool {
        let mut plain = self.fields.iter().filter(|field| !field.secret);
        let count = plain.clone().count();
        data.len() == count && plain.all(|field| data.get(field.name).is_some_and(|value| field.kind.covers(value)))
    }
}

impl Kind {
    fn covers(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_u64(),
            Self::Texts => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            Self::Object => value.is_object(),
        }
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

impl Event {
    /// Whom it is of: the id of a login or a customer, or `customer:ann@example.com`, the actor type and address of a login.
    #[must_use]
    pub fn subject(&self) -> String {
        let text = |name: &str| self.data.get(name).and_then(Value::as_str);
        match (text("auth_identity_id").or_else(|| text("id")), text("actor_type"), text("entity_id")) {
            (Some(id), ..) => id.to_owned(),
            (None, Some(actor), Some(address)) => format!("{actor}:{address}"),
            _ => String::new(),
        }
    }
}

/// An event and its place among those of its tenant.
#[derive(Debug, Clone)]
pub struct NumberedEvent {
    pub event: Event,
    /// `None`: it was committed a moment ago.
    pub number: Option<i64>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::EventName::{self, CustomerCreated, PasswordReset, SessionEnded};
    use super::{Event, EventId, Timestamp};

    #[test]
    fn a_number_is_whole_and_a_list_holds_texts() {
        let login = json!({"auth_identity_id": "authid_1", "actor_type": "customer", "auth_provider": "emailpass", "reason": "signed_out"});
        for (count, ids, fits) in [
            (json!(1), json!(["sess_1", "sess_2"]), true),
            (json!(0), json!([]), true),
            (json!(1.5), json!([]), false),
            (json!(-1), json!([]), false),
            (json!("1"), json!([]), false),
            (json!(1), json!(["sess_1", 2]), false),
            (json!(1), json!("sess_1"), false),
        ] {
            let mut data = login.as_object().unwrap().clone();
            data.extend([("count".to_owned(), count), ("session_ids".to_owned(), ids)]);
            assert_eq!(SessionEnded.spec().fits(&data), fits, "{data:?}");
        }
    }

    #[test]
    fn an_event_is_of_a_login_before_a_customer_and_of_an_address_where_neither_is_named() {
        for (data, subject) in [
            (json!({"auth_identity_id": "authid_1", "id": "cus_1", "actor_type": "customer", "entity_id": "a@x.test"}), "authid_1"),
            (json!({"id": "cus_1", "actor_type": "customer", "entity_id": "a@x.test"}), "cus_1"),
            (json!({"actor_type": "customer", "entity_id": "a@x.test"}), "customer:a@x.test"),
            (json!({"entity_id": "a@x.test"}), ""),
            (json!({"actor_type": "customer"}), ""),
        ] {
            let Value::Object(data) = data else { unreachable!() };
            let at = Timestamp::from_seconds(1);
            let event = Event { id: EventId(ulid::Ulid::nil()), name: PasswordReset, data, secret_ref: None, created_at: at };
            assert_eq!(event.subject(), subject, "{event:?}");
        }
    }

    #[test]
    fn data_fits_with_every_plain_field_and_no_other() {
        for (data, fits) in [
            (json!({"entity_id": "a@x.test", "actor_type": "customer", "metadata": {}}), true),
            (json!({"entity_id": "a@x.test", "actor_type": "customer"}), false),
            (json!({"entity_id": "a@x.test", "actor_type": "customer", "metadata": {}, "token": "eyJ"}), false),
            (json!({"entity_id": "a@x.test", "actor_type": "customer", "other": {}}), false),
            (json!({"entity_id": "a@x.test", "actor_type": "customer", "metadata": "x"}), false),
            (json!({"entity_id": null, "actor_type": "customer", "metadata": {}}), false),
        ] {
            let Value::Object(data) = data else { unreachable!() };
            assert_eq!(PasswordReset.spec().fits(&data), fits, "{data:?}");
        }
    }

    #[test]
    fn patterns_name_events_and_one_that_names_none_is_told() {
        let covered = |patterns: &[&str]| EventName::covered(&patterns.iter().map(|&p| p.to_owned()).collect::<Vec<_>>()).map_err(str::to_owned);
        assert_eq!(covered(&[]), Ok(EventName::ALL.to_vec()));
        assert_eq!(covered(&["auth.password_reset", "customer.created"]), Ok(vec![PasswordReset, CustomerCreated]));
        assert!(covered(&["customer.*"]).unwrap().iter().all(|name| name.as_str().starts_with("customer.")));
        assert_eq!(covered(&["*", "auth.nothing"]), Err("auth.nothing".to_owned()));
    }

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
