//! `/store/customers/me/addresses`.

use serde_json::json;

use super::operation::{JSON, Operation};
use super::schema::{
    ADDRESS_ID, address_example, address_input, address_input_example, boolean, customer_envelope, customer_example, list_of, object, order_of, text,
};
use super::{CUSTOMERS, fault, named};
use crate::api::fields::ADDRESS;

const ID: &str = "The id of the address.";

pub fn list() -> Operation {
    let count = json!({"type": "integer", "format": "int64", "minimum": 0});
    let counts = ["count", "offset", "limit"].map(|name| (name, count.clone()));
    let addresses = ("addresses", list_of(&named("Address")));
    let some = list_of(&text());
    Operation::new(CUSTOMERS, "List Addresses", "The addresses of the customer who is signed in, the oldest first.")
        .query("limit", "How many to show; 50 if nothing is said.", &count, &20.into())
        .query("offset", "How many to leave out before.", &count, &0.into())
        .query("order", "The field to sort by, with a minus sign from the end; id if nothing is said.", &order_of(&ADDRESS), &"-created_at".into())
        .query("q", "A piece of any text, in any case.", &text(), &"bonn".into())
        .query("city", "One city, or several.", &some, &json!(["Bonn"]))
        .query("country_code", "One country code, or several.", &some, &json!(["de", "at"]))
        .query("postal_code", "One postal code, or several.", &some, &json!(["53113"]))
        .query("with_deleted", "Accepted; nothing that is deleted is kept.", &boolean(), &false.into())
        .answers(
            200,
            "A page of the list; count is how many there are in all pages.",
            object(&["addresses", "count", "offset", "limit"], [addresses].into_iter().chain(counts)),
            json!({"addresses": [address_example()], "count": 1, "offset": 0, "limit": 50}),
        )
        .fails(&[&fault::NO_COUNT, &fault::UNKNOWN_ORDER])
}

pub fn create() -> Operation {
    let (schema, example) = customer_envelope();
    Operation::new(CUSTOMERS, "Create Address", "Adds an address. No field is required, and none is judged.")
        .takes(JSON, address_input(), address_input_example())
        .answers(200, "The customer, with all addresses.", schema, example)
        .fails(&[&fault::WRONG_FIELDS, &fault::ADDRESSES_FULL, &fault::CUSTOMER_DELETED, &fault::BUDGET_SPENT])
}

pub fn show() -> Operation {
    Operation::new(CUSTOMERS, "Get Address", "One address of the customer who is signed in.")
        .id(ID, ADDRESS_ID)
        .answers(200, "The address.", object(&["address"], [("address", named("Address"))]), json!({"address": address_example()}))
        .fails(&[&fault::UNKNOWN_ADDRESS])
}

pub fn update() -> Operation {
    let (schema, example) = customer_envelope();
    Operation::new(CUSTOMERS, "Update Address", "Changes what it names: what is left out stays, null empties.")
        .id(ID, ADDRESS_ID)
        .takes(JSON, address_input(), address_input_example())
        .answers(200, "The customer, with all addresses.", schema, example)
        .fails(&[&fault::WRONG_FIELDS, &fault::UNKNOWN_ADDRESS, &fault::CUSTOMER_DELETED, &fault::BUDGET_SPENT])
}

pub fn delete() -> Operation {
    let deleted = [("id", text()), ("object", json!({"const": "address"})), ("deleted", json!({"const": true})), ("parent", named("Customer"))];
    Operation::new(CUSTOMERS, "Delete Address", "Deletes the address for good.")
        .id(ID, ADDRESS_ID)
        .answers(
            200,
            "The address is gone; parent is the customer without it.",
            object(&["id", "object", "deleted", "parent"], deleted),
            json!({"id": ADDRESS_ID, "object": "address", "deleted": true, "parent": customer_example()}),
        )
        .fails(&[&fault::UNKNOWN_ADDRESS, &fault::CUSTOMER_DELETED, &fault::BUDGET_SPENT])
}
