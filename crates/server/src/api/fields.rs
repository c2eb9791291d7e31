//! The `fields` of a query: which fields of a thing are shown.
//!
//! A list parted by commas. `+x` (or a space, which is how a `+` arrives) adds a field, `-x` takes one away, `*x` and `x.*` add all of a relation. If any
//! item is plain, the list stands in the place of the defaults. `id` is always shown. What a thing does not have, or does not show, is left out in silence.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// What a thing has, in the order in which it is shown.
pub struct Shape {
    fields: &'static [&'static str],
    relations: &'static [Relation],
}

/// Other things that are shown within a thing.
pub struct Relation {
    name: &'static str,
    fields: &'static [&'static str],
    by_default: bool,
}

/// An address within its customer.
const ADDRESS_WITHIN: &[&str] = &[
    "id",
    "address_name",
    "is_default_shipping",
    "is_default_billing",
    "company",
    "first_name",
    "last_name",
    "address_1",
    "address_2",
    "city",
    "country_code",
    "province",
    "postal_code",
    "phone",
    "metadata",
    "customer_id",
    "created_at",
    "updated_at",
    "deleted_at",
];

pub const CUSTOMER: Shape = Shape {
    fields: &["id", "email", "company_name", "first_name", "last_name", "phone", "metadata", "has_account", "deleted_at", "created_at", "updated_at"],
    relations: &[
        Relation { name: "addresses", fields: ADDRESS_WITHIN, by_default: true },
        // Storefronts ask for them; here nobody has any, and nothing within them is known.
        Relation { name: "orders", fields: &[], by_default: false },
    ],
};

/// A customer as a shop's staff sees it.
pub const CUSTOMER_FOR_STAFF: Shape = Shape {
    fields: &[
        "id",
        "company_name",
        "first_name",
        "last_name",
        "email",
        "phone",
        "metadata",
        "has_account",
        "created_by",
        "created_at",
        "updated_at",
        "deleted_at",
    ],
    relations: &[Relation { name: "addresses", fields: ADDRESS_WITHIN, by_default: false }],
};

pub const ADDRESS: Shape = Shape {
    fields: &[
        "id",
        "address_name",
        "company",
        "customer_id",
        "first_name",
        "last_name",
        "address_1",
        "address_2",
        "city",
        "province",
        "postal_code",
        "country_code",
        "phone",
        "metadata",
        "is_default_shipping",
        "is_default_billing",
        "created_at",
        "updated_at",
    ],
    relations: &[],
};

impl Shape {
    /// All fields of its own, in the order in which they are shown.
    #[must_use]
    pub const fn fields(&self) -> &'static [&'static str] {
        self.fields
    }

    /// The fields of each thing of the relation `name`.
    #[must_use]
    pub fn related(&self, name: &str) -> &'static [&'static str] {
        self.relations.iter().find(|relation| relation.name == name).map_or(&[], |relation| relation.fields)
    }

    /// Whether it has `field` of its own.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains(&field)
    }
}

/// The fields that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Borrowed where all are wanted, which is usual, so that they are neither copied nor searched.
    fields: Cow<'static, [&'static str]>,
    relations: Vec<(&'static str, Cow<'static, [&'static str]>)>,
}

/// One item of the list.
enum Item<'l> {
    /// `x`, which is also that the defaults do not count.
    Plain(&'l str),
    Add(&'l str),
    Remove(&'l str),
    /// `*x` or `x.*`.
    All(&'l str),
}

impl<'l> Item<'l> {
    fn of(text: &'l str) -> Self {
        let all = |name: &'l str| name.strip_prefix('*').or_else(|| name.strip_suffix(".*"));
        if let Some(name) = text.strip_prefix('-') {
            return Self::Remove(all(name).unwrap_or(name));
        }
        let name = text.trim_start_matches(['+', ' ']);
        match all(name) {
            Some(relation) => Self::All(relation),
            None if name.len() < text.len() => Self::Add(name),
            None => Self::Plain(name),
        }
    }
}

impl Selection {
    /// What `list` wants of a thing of this shape; without a list, the defaults.
    #[must_use]
    pub fn of(shape: &'static Shape, list: Option<&str>) -> Self {
        let by_default = shape.relations.iter().filter(|relation| relation.by_default);
        let defaults = Self { fields: shape.fields.into(), relations: by_default.map(|r| (r.name, r.fields.into())).collect() };
        let Some(list) = list else { return defaults };
        let items: Vec<Item<'_>> = list.split(',').filter(|item| !item.is_empty()).map(Item::of).collect();
        let stands_alone = items.is_empty() || items.iter().any(|item| matches!(item, Item::Plain(_)));
        let mut selection = if stands_alone { Self { fields: Vec::new().into(), relations: Vec::new() } } else { defaults };
        for item in items {
            match item {
                Item::Plain(name) | Item::Add(name) => selection.add(shape, name),
                Item::All(name) => selection.add_relation(shape, name, None),
                Item::Remove(name) => selection.remove(name),
            }
        }
        add(selection.fields.to_mut(), shape.fields, "id");
        selection
    }

    fn add(&mut self, shape: &Shape, name: &str) {
        if let Some((relation, field)) = name.split_once('.') {
            self.add_relation(shape, relation, Some(field));
        } else {
            add(self.fields.to_mut(), shape.fields, name);
            self.add_relation(shape, name, None);
        }
    }

    /// Adds one field of a relation, or all.
    fn add_relation(&mut self, shape: &Shape, name: &str, field: Option<&str>) {
        let Some(relation) = shape.relations.iter().find(|relation| relation.name == name) else { return };
        if field.is_some_and(|field| !relation.fields.contains(&field)) {
            return;
        }
        let at = self.relations.iter().position(|(known, _)| *known == relation.name).unwrap_or_else(|| {
            self.relations.push((relation.name, Vec::new().into()));
            self.relations.len() - 1
        });
        let Some((_, fields)) = self.relations.get_mut(at) else { return };
        match field {
            None => *fields = relation.fields.into(),
            Some(field) => {
                add(fields.to_mut(), relation.fields, "id");
                add(fields.to_mut(), relation.fields, field);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        match name.split_once('.') {
            None => {
                self.fields.to_mut().retain(|field| *field != name || name == "id");
                self.relations.retain(|(relation, _)| *relation != name);
            }
            Some((relation, field)) => {
                for (_, fields) in self.relations.iter_mut().filter(|(known, _)| *known == relation) {
                    fields.to_mut().retain(|known| *known != field || *known == "id");
                }
            }
        }
    }

    /// The fields of a relation that are wanted; `None`: not even the relation.
    #[must_use]
    pub fn relation(&self, name: &str) -> Option<&[&'static str]> {
        self.relations.iter().find(|(known, _)| *known == name).map(|(_, fields)| fields.as_ref())
    }

    /// The fields that are wanted of a thing itself, in its order. `shape` is the one that the selection was made of.
    pub fn wanted(&self, shape: &'static Shape) -> impl Iterator<Item = &'static str> {
        let all = matches!(self.fields, Cow::Borrowed(_));
        shape.fields.iter().copied().filter(move |field| all || self.fields.contains(field))
    }

    /// A thing without its relations: each wanted field with what `value` says of it.
    pub fn show(&self, shape: &Shape, value: impl Fn(&str) -> Value) -> Map<String, Value> {
        show(shape.fields, &self.fields, value)
    }

    /// One thing of the relation `name`, if that is wanted.
    pub fn show_related(&self, shape: &Shape, name: &str, value: impl Fn(&str) -> Value) -> Map<String, Value> {
        show(shape.related(name), self.relation(name).unwrap_or_default(), value)
    }
}

/// The order is the thing's, however the list was written.
fn show(all: &[&'static str], wanted: &[&str], value: impl Fn(&str) -> Value) -> Map<String, Value> {
    all.iter().filter(|field| wanted.contains(field)).map(|field| ((*field).to_owned(), value(field))).collect()
}

fn add(fields: &mut Vec<&'static str>, all: &[&'static str], name: &str) {
    if let Some(known) = all.iter().find(|known| **known == name)
        && !fields.contains(known)
    {
        fields.push(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown, as text: `addresses` as a bracket with its fields, or `[…]` for all.
    fn shown(list: Option<&str>) -> String {
        let selection = Selection::of(&CUSTOMER, list);
        let mut words: Vec<String> = selection.show(&CUSTOMER, |_| Value::Null).into_iter().map(|(name, _)| name).collect();
        for relation in CUSTOMER.relations {
            let Some(fields) = selection.relation(relation.name) else { continue };
            let within: Vec<String> = selection.show_related(&CUSTOMER, relation.name, |_| Value::Null).into_iter().map(|(name, _)| name).collect();
            let within = if fields.len() == relation.fields.len() { "…".into() } else { within.join(" ") };
            words.push(format!("{}[{within}]", relation.name));
        }
        words.join(" ").replace("id email company_name first_name last_name phone metadata has_account deleted_at created_at updated_at", "ALL")
    }

    #[test]
    fn the_grammar_of_fields() {
        for (list, expected) in [
            (None, "ALL addresses[…]"),
            (Some(""), "id"),
            (Some(","), "id"),
            (Some("id,email"), "id email"),
            (Some("email"), "id email"),
            (Some("email,id,email"), "id email"),
            (Some("+email"), "ALL addresses[…]"),
            (Some(" email"), "ALL addresses[…]"),
            (Some("-addresses"), "ALL"),
            (Some("-addresses.*"), "ALL"),
            (Some("-*addresses"), "ALL"),
            (Some("-addresses,+addresses.city"), "ALL addresses[id city]"),
            (Some("-id,-company_name,-last_name,-has_account"), "id email first_name phone metadata deleted_at created_at updated_at addresses[…]"),
            (Some("*orders"), "ALL addresses[…] orders[…]"),
            (Some("orders.*"), "ALL addresses[…] orders[…]"),
            (Some("+*orders"), "ALL addresses[…] orders[…]"),
            (Some("+orders"), "ALL addresses[…] orders[…]"),
            (Some("*orders,-addresses"), "ALL orders[…]"),
            (Some("orders"), "id orders[…]"),
            (Some("orders.id"), "id"),
            (Some("*orders.items"), "ALL addresses[…]"),
            (Some("*addresses,email"), "id email addresses[…]"),
            (Some("addresses"), "id addresses[…]"),
            (Some("addresses.*,email"), "id email addresses[…]"),
            (Some("+addresses.city"), "ALL addresses[…]"),
            (Some("addresses.city,addresses.phone"), "id addresses[id city phone]"),
            (Some("addresses.city,*addresses"), "id addresses[…]"),
            (Some("addresses.nope"), "id"),
            (Some("addresses.customer.id"), "id"),
            (Some("nope"), "id"),
            (Some("id,nope"), "id"),
            (Some("password"), "id"),
            (Some("*auth_identity.*"), "ALL addresses[…]"),
            (Some("auth_identity.provider_identities.*,email"), "id email"),
            (Some("*auth_identity"), "ALL addresses[…]"),
            (Some("+groups,+groups.name,+created_by"), "ALL addresses[…]"),
            (Some("*"), "ALL addresses[…]"),
            (Some("*email"), "ALL addresses[…]"),
            (Some("email,-email"), "id"),
            (Some("EMAIL"), "id"),
        ] {
            assert_eq!(shown(list), expected, "{list:?}");
        }
    }

    #[test]
    fn a_field_of_a_relation_can_be_taken_away() {
        let fields = |list| Selection::of(&CUSTOMER, Some(list)).relation("addresses").map(<[_]>::len);
        assert_eq!((fields("-addresses.city"), fields("-addresses.id"), fields("-addresses.nope")), (Some(18), Some(19), Some(19)));
    }

    #[test]
    fn an_address_has_no_relations() {
        let shown =
            |list: &str| Selection::of(&ADDRESS, Some(list)).show(&ADDRESS, |_| Value::Null).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(shown("address_1"), ["id", "address_1"]);
        assert_eq!(shown("deleted_at,*customer,customer.email"), ["id"]);
        assert_eq!(shown("*customer,-metadata").len(), 17);
    }
}
