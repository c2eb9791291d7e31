//! `/admin/customers/{id}/timeline`.

use serde_json::json;

use super::operation::Operation;
use super::schema::{CUSTOMER_ID, date_time, described, list_of, object, or_null, text};
use super::{STAFF, fault};

/// `GET /admin/customers/{id}/timeline`.
pub fn show() -> Operation {
    let what = ["asked", "happened", "queued", "tried", "delivered", "superseded", "expired", "dead", "opened", "used", "replaced"];
    let step = object(
        &["at", "what", "event", "event_id", "number", "subscriber", "answer"],
        [
            ("at", date_time()),
            ("what", json!({"enum": what})),
            ("event", described("The name of the event that the step belongs to.", text())),
            ("event_id", text()),
            ("number", or_null(json!({"type": "integer", "minimum": 1}))),
            ("subscriber", described("Of a delivery: to whom.", or_null(text()))),
            ("answer", described("Of a delivery: what the subscriber or the mail server answered.", or_null(text()))),
        ],
    );
    let example = json!({
        "timeline": [{
            "at": "2026-11-23T15:16:40.973Z", "what": "delivered", "event": "auth.password_reset", "event_id": "evt_01K0A2B3C4D5E6F7G8H9J0KMNP",
            "number": 17, "subscriber": "mail", "answer": "250 2.0.0 OK",
        }],
        "last_reset": "Delivered to mail at 2026-11-23T15:16:40.973Z, which answered: 250 2.0.0 OK",
    });
    Operation::new(
        STAFF,
        "Get a Customer's Timeline",
        "What happened to a customer, in order, and what became of the last request for a new password.",
    )
    .id("The id of the customer.", CUSTOMER_ID)
    .answers(
        200,
        "The steps, the oldest first, of the newest 100 events of the customer and of each of its logins.",
        object(&["timeline", "last_reset"], [("timeline", list_of(&step)), ("last_reset", described("A sentence.", text()))]),
        example,
    )
    .fails(&[&fault::UNKNOWN_PARAMETER, &fault::UNKNOWN_CUSTOMER])
}
