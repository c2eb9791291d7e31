//! Addresses of a customer, and how a list of them is searched.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::model::customer::Change;
use crate::model::ids::{AddressId, CustomerId};
use crate::model::time::Timestamp;

/// Most addresses that a customer may keep.
pub const MOST: i64 = 200;

/// Largest `metadata` of an address, in bytes of JSON. A customer is shown with all addresses, so each has to be small.
pub const METADATA_BYTES: usize = 4 * 1024;

/// The texts of an address, in the order in which a request is checked.
pub const TEXTS: [&str; 11] =
    ["first_name", "last_name", "phone", "company", "address_1", "address_2", "city", "country_code", "province", "postal_code", "address_name"];

/// An address as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    pub id: AddressId,
    pub customer: CustomerId,
    /// In the order of `TEXTS`.
    pub texts: [Option<String>; TEXTS.len()],
    pub metadata: Option<Map<String, Value>>,
    pub is_default_shipping: bool,
    pub is_default_billing: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a customer may say of an address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AddressChange {
    /// In the order of `TEXTS`.
    pub texts: [Change<String>; TEXTS.len()],
    pub metadata: Change<Map<String, Value>>,
    pub is_default_shipping: Option<bool>,
    pub is_default_billing: Option<bool>,
}

impl Address {
    /// An address of which nothing is known yet.
    #[must_use]
    pub fn empty(id: AddressId, customer: CustomerId, now: Timestamp) -> Self {
        Self {
            id,
            customer,
            texts: Default::default(),
            metadata: None,
            is_default_shipping: false,
            is_default_billing: false,
            created_at: now,
            updated_at: now,
        }
    }

    /// Applies `change`. `metadata` merges.
    pub fn apply(&mut self, change: AddressChange) {
        for (text, change) in self.texts.iter_mut().zip(change.texts) {
            change.apply(text);
        }
        change.metadata.merge(&mut self.metadata);
        self.is_default_shipping = change.is_default_shipping.unwrap_or(self.is_default_shipping);
        self.is_default_billing = change.is_default_billing.unwrap_or(self.is_default_billing);
    }

    /// The text called `name`; none, too, where no text is called so.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        TEXTS.iter().zip(&self.texts).find(|(known, _)| **known == name).and_then(|(_, text)| text.as_deref())
    }

    /// Whether the metadata is more than an address may keep.
    #[must_use]
    pub fn metadata_is_too_big(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| Value::Object(metadata.clone()).to_string().len() > METADATA_BYTES)
    }
}

/// Which addresses of a customer are wanted. A customer has few, so they are searched in memory, alike for both databases.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// A piece of any text, in any case.
    pub piece: Option<String>,
    /// A text and the values of which it must be one.
    pub one_of: Vec<(&'static str, Vec<String>)>,
    /// A field by its name, `id` where none is told.
    pub order: String,
    pub descending: bool,
    pub offset: usize,
    pub limit: usize,
}

/// A part of what a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub addresses: Vec<Address>,
    /// How many there are in all parts.
    pub count: usize,
}

impl Search {
    /// What is wanted of `all`.
    #[must_use]
    pub fn page(&self, all: Vec<Address>) -> Page {
        let piece = self.piece.as_ref().map(|piece| piece.to_lowercase());
        let matches = |address: &Address| {
            let contains = |piece: &String| address.texts.iter().flatten().any(|text| text.to_lowercase().contains(piece));
            let is_one = |(name, values): &(&str, Vec<String>)| address.text(name).is_some_and(|text| values.iter().any(|value| value == text));
            piece.as_ref().is_none_or(contains) && self.one_of.iter().all(is_one)
        };
        let mut found: Vec<Address> = all.into_iter().filter(matches).collect();
        found.sort_by(|a, b| {
            let order = compare(a, b, &self.order);
            (if self.descending { order.reverse() } else { order }).then(a.id.cmp(&b.id))
        });
        let count = found.len();
        Page { addresses: found.into_iter().skip(self.offset).take(self.limit).collect(), count }
    }
}

fn compare(a: &Address, b: &Address, field: &str) -> Ordering {
    match field {
        "id" => a.id.cmp(&b.id),
        "customer_id" => a.customer.cmp(&b.customer),
        "is_default_shipping" => a.is_default_shipping.cmp(&b.is_default_shipping),
        "is_default_billing" => a.is_default_billing.cmp(&b.is_default_billing),
        "created_at" => a.created_at.cmp(&b.created_at),
        "updated_at" => a.updated_at.cmp(&b.updated_at),
        "metadata" => {
            let text = |address: &Address| address.metadata.as_ref().map(|metadata| Value::Object(metadata.clone()).to_string());
            nothing_last(text(a).as_deref(), text(b).as_deref())
        }
        text => nothing_last(a.text(text), b.text(text)),
    }
}

/// As databases order: what is missing comes after everything.
fn nothing_last(a: Option<&str>, b: Option<&str>) -> Ordering {
    a.is_none().cmp(&b.is_none()).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;

    fn address(number: u128, city: Option<&str>, street: &str) -> Address {
        let mut address = Address::empty(AddressId(Ulid(number)), CustomerId(Ulid(1)), Timestamp::from_micros(0));
        let texts = [("city", city), ("address_1", Some(street))];
        address.texts = TEXTS.map(|name| texts.iter().find(|(known, _)| *known == name).and_then(|(_, text)| text.map(str::to_owned)));
        address
    }

    fn search() -> Search {
        Search { piece: None, one_of: Vec::new(), order: "id".into(), descending: false, offset: 0, limit: 50 }
    }

    #[test]
    fn a_list_is_searched_ordered_and_cut() {
        let all = || vec![address(3, Some("Bonn"), "3 Road"), address(1, None, "1 STRASSE"), address(2, Some("Aachen"), "2 Road")];
        let of = |search: Search| {
            let page = search.page(all());
            (page.addresses.iter().map(|a| a.id.0.0).collect::<Vec<_>>(), page.count)
        };
        let values = |values: &[&str]| vec![("city", values.iter().map(|value| (*value).to_owned()).collect())];
        assert_eq!(of(search()), (vec![1, 2, 3], 3));
        assert_eq!(of(Search { descending: true, ..search() }), (vec![3, 2, 1], 3));
        assert_eq!(of(Search { order: "city".into(), ..search() }), (vec![2, 3, 1], 3), "what is missing comes last");
        assert_eq!(of(Search { order: "city".into(), descending: true, ..search() }), (vec![1, 3, 2], 3), "and first in the other order");
        assert_eq!(of(Search { order: "created_at".into(), descending: true, ..search() }), (vec![1, 2, 3], 3), "equals go by their ids");
        assert_eq!(of(Search { piece: Some("rOAd".into()), ..search() }), (vec![2, 3], 2));
        assert_eq!(of(Search { piece: Some("strasse".into()), ..search() }), (vec![1], 1));
        assert_eq!(of(Search { piece: Some("%".into()), ..search() }), (vec![], 0), "no pattern, a text");
        assert_eq!(of(Search { one_of: values(&["Bonn"]), ..search() }), (vec![3], 1));
        assert_eq!(of(Search { one_of: values(&["bonn"]), ..search() }), (vec![], 0));
        assert_eq!(of(Search { one_of: values(&["Bonn", "Aachen"]), ..search() }), (vec![2, 3], 2));
        assert_eq!(of(Search { one_of: values(&[]), ..search() }), (vec![], 0));
        assert_eq!(of(Search { offset: 1, limit: 1, ..search() }), (vec![2], 3));
        assert_eq!(of(Search { offset: 9, ..search() }), (vec![], 3));
        assert_eq!(of(Search { limit: 0, ..search() }), (vec![], 3));
    }

    #[test]
    fn every_field_can_order() {
        let (mut a, mut b) = (address(1, None, "x"), address(2, None, "x"));
        b.is_default_shipping = true;
        b.is_default_billing = true;
        b.updated_at = Timestamp::from_micros(1);
        a.metadata = Some(Map::new());
        for field in ["id", "is_default_shipping", "is_default_billing", "updated_at", "metadata"] {
            assert_eq!(compare(&a, &b, field), Ordering::Less, "{field}");
        }
        for field in ["customer_id", "created_at", "address_1", "city"] {
            assert_eq!(compare(&a, &b, field), Ordering::Equal, "{field}");
        }
    }

    #[test]
    fn a_change_touches_what_it_names() {
        let mut changed = address(1, Some("Bonn"), "1 Road");
        changed.is_default_billing = true;
        let mut change = AddressChange { is_default_shipping: Some(true), ..AddressChange::default() };
        change.texts = TEXTS.map(|name| if name == "city" { Change::Set(None) } else { Change::Keep });
        changed.apply(change);
        assert_eq!((changed.text("city"), changed.text("address_1"), changed.text("nope")), (None, Some("1 Road"), None));
        assert_eq!((changed.is_default_shipping, changed.is_default_billing), (true, true));
    }
}
