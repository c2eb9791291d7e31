//! `/admin/customers`.

use serde_json::{Value, json};

use super::operation::Operation;
use super::schema::{CUSTOMER_ID, EXAMPLE_EMAIL, described, list_of, object, staff_customer_example, strict, text};
use super::{STAFF, fault, named, reference};

/// How a list can be narrowed by the time at which a customer came.
fn created_at() -> Value {
    let time = || json!({"type": "string", "format": "date-time"});
    let operators = ["$gt", "$gte", "$lt", "$lte"].map(|operator| (operator, time()));
    json!({"name": "created_at", "in": "query", "style": "deepObject", "explode": true, "schema": strict(object(&[], operators)),
        "description": "When they came: created_at[$gte]=2026-11-23T15:16:40.973Z.", "example": {"$gte": "2026-11-23T15:16:40.973Z"}})
}

fn shows(mut operation: Operation) -> Operation {
    operation.parameters.push(reference("parameters", "fields"));
    operation.fails(&[&fault::UNKNOWN_PARAMETER, &fault::FIELDS_TWICE])
}

/// `GET /admin/customers`.
pub fn list() -> Operation {
    let count = |most: u32| json!({"type": "integer", "minimum": 0, "maximum": most});
    let counts = ["count", "offset", "limit"].map(|name| (name, json!({"type": "integer", "minimum": 0})));
    let customers = ("customers", list_of(&named("StaffCustomer")));
    let some = json!({"type": "array", "items": {"type": "string"}, "maxItems": 100});
    let mut operation = Operation::new(STAFF, "List Customers", "The customers of the store, the oldest first. What no index answers is refused.")
        .query("limit", "How many to show; 50 if nothing is said.", &count(200), &20.into())
        .query("offset", "How many to leave out before; go further by created_at.", &count(10_000), &0.into())
        .query(
            "order",
            "id and created_at are one order; with a minus sign the newest first.",
            &json!({"type": "string", "pattern": "^(-?(id|created_at))?$"}),
            &"-created_at".into(),
        )
        .query("q", "How an address begins, in any case.", &json!({"type": "string", "pattern": "^[^\\u0000]*$"}), &"ann".into())
        .query("email", "One address, or several.", &some, &json!([EXAMPLE_EMAIL]))
        .query("id", "One id, or several.", &some, &json!([CUSTOMER_ID]));
    operation.parameters.push(created_at());
    shows(operation)
        .answers(
            200,
            "A page of the list; count is how many there are in all pages, and stops at 10000 where only q or created_at narrow the list.",
            object(&["customers", "count", "offset", "limit"], [customers].into_iter().chain(counts)),
            json!({"customers": [staff_customer_example()], "count": 1, "offset": 0, "limit": 50}),
        )
        .fails(&[&fault::NO_COUNT, &fault::COUNT_TOO_BIG, &fault::UNKNOWN_STAFF_ORDER, &fault::NO_TIME])
}

/// `GET /admin/customers/{id}`.
pub fn show() -> Operation {
    let operation = Operation::new(STAFF, "Get a Customer", "One customer of the store. Addresses are shown if fields names them.")
        .id("The id of the customer.", CUSTOMER_ID);
    shows(operation)
        .answers(200, "The customer.", object(&["customer"], [("customer", named("StaffCustomer"))]), json!({"customer": staff_customer_example()}))
        .fails(&[&fault::UNKNOWN_CUSTOMER])
}

/// `DELETE /admin/customers/{id}`.
pub fn delete() -> Operation {
    let deleted = [("id", described("As it was asked for.", text())), ("object", json!({"const": "customer"})), ("deleted", json!({"const": true}))];
    Operation::new(STAFF, "Delete a Customer", "Ends its sessions, removes its logins and voids its reset links; the address may register again.")
        .id("The id of the customer. The answer is the same for one that nobody has.", CUSTOMER_ID)
        .answers(
            200,
            "The customer is gone.",
            object(&["id", "object", "deleted"], deleted),
            json!({"id": CUSTOMER_ID, "object": "customer", "deleted": true}),
        )
}
