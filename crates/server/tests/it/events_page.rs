//! What is written of events is generated from `model/event.rs`: the table of `docs/events.md`, and the JSON Schema of what webhooks receive.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Map, Value, json};
use vestibule_engine::model::event::{EventName, Field, Kind};

use crate::generated::{assert_generated, root};

const SCHEMA: &str = "docs/events.schema.json";

fn table() -> String {
    let mut table = "| event | since | told when | data |\n|---|---|---|---|\n".to_owned();
    for spec in EventName::ALL.map(EventName::spec) {
        let one = |field: &Field| format!("`{}`{}: {}", field.name, if field.secret { " (**secret**)" } else { "" }, field.what);
        let data: Vec<String> = spec.fields.iter().map(one).collect();
        writeln!(table, "| `{}` | {} | {} | {} |", spec.name, spec.since, spec.when, data.join("; ")).unwrap();
    }
    table
}

fn property(field: &Field) -> (String, Value) {
    let what = field.what;
    let schema = match field.kind {
        Kind::Text => json!({"type": "string", "description": what}),
        Kind::Number => json!({"type": "integer", "description": what}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}, "description": what}),
        Kind::Object => json!({"type": "object", "description": what}),
    };
    (field.name.to_owned(), schema)
}

/// What a webhook receives of `name`. A secret field is not required: who does not name the event gets it without.
fn schema(name: EventName) -> Value {
    let spec = name.spec();
    let required: Vec<&str> = spec.fields.iter().filter(|field| !field.secret).map(|field| field.name).collect();
    let properties: Map<String, Value> = spec.fields.iter().map(property).collect();
    json!({
        "title": spec.name,
        "description": format!("Told when {}.", spec.when),
        "type": "object",
        "required": ["type", "timestamp", "data", "metadata"],
        "properties": {
            "type": {"const": spec.name},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"type": "object", "required": required, "properties": properties, "additionalProperties": false},
            "metadata": {"type": "object", "required": ["tenant"], "properties": {"tenant": {"type": "string"}}},
        },
    })
}

fn schemas() -> String {
    let each: Map<String, Value> = EventName::ALL.iter().map(|name| (name.as_str().to_owned(), schema(*name))).collect();
    let any: Vec<Value> = EventName::ALL.iter().map(|name| json!({"$ref": format!("#/$defs/{}", name.as_str())})).collect();
    let all = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Events of Vestibule, as webhooks receive them", "oneOf": any, "$defs": each});
    format!("{}\n", serde_json::to_string_pretty(&all).unwrap())
}

#[test]
fn the_events_page_is_fresh() {
    assert_generated("docs/events.md", "events", &table());
}

#[test]
fn the_schemas_of_events_are_fresh() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(SCHEMA), schemas()).unwrap();
    }
    assert_eq!(fs::read_to_string(root().join(SCHEMA)).unwrap_or_default(), schemas(), "UPDATE_DOCS=1 on this test writes it anew");
}
