//! `/health`, `/livez`, `/readyz`, and the document itself.

use serde_json::json;

use super::SERVER;
use super::operation::{Answer, HTML, JSON, Media, Operation};
use super::schema::{list_of, object, text};

pub fn live() -> Operation {
    let media = Some(Media { kind: HTML, schema: json!({"const": "OK"}), example: "OK".into() });
    let answer = Answer { status: 200, description: "The process answers.", media, headers: &[] };
    Operation::new(SERVER, "Say whether the server lives", "It needs no store.").answers_with(answer)
}

pub fn ready() -> Operation {
    let status = |word: &str| ("status", json!({"const": word}));
    let ready = object(&["status"], [status("ready"), ("waiting", json!({"type": "integer", "minimum": 0})), ("warnings", list_of(&text()))]);
    let schema = object(&["status"], [status("unavailable")]);
    let unavailable = Some(Media { kind: JSON, schema, example: json!({"status": "unavailable"}) });
    Operation::new(
        SERVER,
        "Say whether the server works",
        "Whether the database can be written. Only who asks on this machine also learns how much work waits, and what to mend.",
    )
    .answers(200, "The database can be written.", ready, json!({"status": "ready", "waiting": 0, "warnings": []}))
    .answers_with(Answer { status: 503, description: "The database cannot be written.", media: unavailable, headers: &[] })
}

pub fn openapi() -> Operation {
    let schema = json!({"type": "object", "required": ["openapi", "paths"]});
    Operation::new(SERVER, "Describe the API", "This document. GET /docs shows it to people.").answers(
        200,
        "An OpenAPI document.",
        schema,
        json!({"openapi": "3.1.0", "paths": {}}),
    )
}
