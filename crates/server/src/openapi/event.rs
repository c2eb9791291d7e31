//! `/admin/events`.

use serde_json::{Value, json};

use super::operation::Operation;
use super::schema::{CUSTOMER_ID, date_time, described, list_of, object, or_null, text};
use super::{STAFF, fault};

fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// An event as it is listed.
fn event() -> Value {
    object(
        &["number", "id", "type", "timestamp", "data", "metadata"],
        [
            ("number", described("1, 2, 3 … of the store, without a gap.", number())),
            ("id", described("The webhook-id of its webhooks.", text())),
            ("type", text()),
            ("timestamp", date_time()),
            ("data", described("As docs/events.md says, without secret fields.", json!({"type": "object"}))),
            ("metadata", object(&["tenant"], [("tenant", text())])),
        ],
    )
}

/// `GET /admin/events`.
pub fn list() -> Operation {
    let some = json!({"type": "array", "items": {"type": "string"}, "maxItems": 100});
    let count = |least: u32, most: u32| json!({"type": "integer", "minimum": least, "maximum": most});
    let id = "evt_01K0A2B3C4D5E6F7G8H9J0KMNP";
    let example = json!({
        "number": 17, "id": id, "type": "customer.created", "timestamp": "2026-11-23T15:16:40.973Z",
        "data": {"id": CUSTOMER_ID}, "metadata": {"tenant": "acme"},
    });
    Operation::new(STAFF, "List Events", "The events of the store in the order of their numbers, for who would rather pull than be called.")
        .query("after", "The next of the answer before; from the oldest event on if nothing is said.", &number(), &16.into())
        .query("after_id", "The next_id of the answer before, so that a database that was restored from a backup is noticed.", &text(), &id.into())
        .query("limit", "How many to show; 100 if nothing is said.", &count(1, 500), &20.into())
        .query("name", "One name, or several, or prefixes such as customer.*", &some, &json!(["customer.*"]))
        .query("wait", "How many seconds to wait for an event if there is none yet.", &count(0, 30), &30.into())
        .answers(
            200,
            "Events. Everything up to next is in this answer or was in one before: ask again with after=next, also where no event is shown.",
            object(
                &["events", "next", "next_id", "last"],
                [
                    ("events", list_of(&event())),
                    ("next", number()),
                    ("next_id", described("The id of the event with the number next, if it is still kept.", or_null(text()))),
                    ("last", number()),
                ],
            ),
            json!({"events": [example], "next": 17, "next_id": id, "last": 17}),
        )
        .fails(&[
            &fault::UNKNOWN_PARAMETER,
            &fault::EVENT_COUNTS,
            &fault::UNKNOWN_EVENT,
            &fault::EVENT_AHEAD,
            &fault::EVENT_REPLACED,
            &fault::EVENTS_GONE,
            &fault::BUDGET_SPENT,
        ])
}
