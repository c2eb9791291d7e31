//! The OpenAPI document as a judge: what it says of an answer, and whether a value is what a schema says.

use http::Method;
use serde_json::Value;
use vestibule::openapi::DOCUMENT;
use vestibule::router::{ROUTES, Route};

use super::client::Answer;

/// The route that `path` leads to: of several, the one whose words stand there first.
fn route(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    let words: Vec<&str> = path.split('/').collect();
    let fixed = |route: &Route| route.path.split('/').map(|part| !part.starts_with('{')).collect::<Vec<_>>();
    let fits = |route: &&Route| {
        let parts: Vec<&str> = route.path.split('/').collect();
        parts.len() == words.len() && parts.iter().zip(&words).all(|(part, word)| part == word || (part.starts_with('{') && !word.is_empty()))
    };
    let best = ROUTES.iter().filter(fits).max_by_key(|route| fixed(route))?;
    ROUTES.iter().find(|route| route.path == best.path && route.method == *method)
}

/// What the document says of the operation at `path`. Pages and development are not in it.
pub fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let route = route(method, path)?;
    DOCUMENT["paths"].get(route.path)?.get(route.method.as_str().to_ascii_lowercase())
}

/// What `value` names, or itself.
pub fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(name) => DOCUMENT.pointer(name.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{name} is nowhere")),
        None => value,
    }
}

/// The description of an answer with `status`.
pub fn response(operation: &'static Value, status: u16) -> Option<&'static Value> {
    operation["responses"].get(status.to_string()).map(resolved)
}

/// Fails unless an answer of the API is as the document says: status, content type, headers, body.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let what = format!("{method} {path}: {} {}", answer.status, answer.text);
    let described = response(operation, answer.status).unwrap_or_else(|| panic!("the status is not documented: {what}"));
    for name in described["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
        assert!(answer.headers.contains_key(name.as_str()), "{name} is documented and not there: {what}");
    }
    if *method == Method::HEAD {
        return;
    }
    let kind = answer.header("content-type").split(';').next().unwrap();
    match described.get("content").and_then(|content| content.get(kind)) {
        None => assert!(answer.text.is_empty() && described.get("content").is_none(), "the content type {kind} is not documented: {what}"),
        Some(media) => {
            let body = if kind == "application/json" { answer.json() } else { answer.text.clone().into() };
            let fault = fault(&media["schema"], &body);
            assert!(fault.is_none(), "{}: {what}", fault.unwrap_or_default());
        }
    }
}

/// What is wrong with `value` by `schema`. An object has no other fields than the schema names, if it names any.
/// Patterns and formats are left to scripts/schemathesis.sh.
pub fn fault(schema: &'static Value, value: &Value) -> Option<String> {
    let schema = resolved(schema);
    for (keyword, rule) in schema.as_object()? {
        let wrong = match keyword.as_str() {
            "description" | "pattern" | "format" | "additionalProperties" => None,
            "type" => {
                (!rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice).iter().any(|kind| is(kind, value))).then(|| format!("no {rule}"))
            }
            "const" => (rule != value).then(|| format!("not {rule}")),
            "enum" => (!rule.as_array()?.contains(value)).then(|| format!("none of {rule}")),
            "anyOf" => rule.as_array()?.iter().map(|one| fault(one, value)).collect::<Option<Vec<_>>>().map(|all| all.join(", ")),
            "minimum" => value.as_i64().filter(|number| *number < rule.as_i64().unwrap()).map(|_| format!("below {rule}")),
            "maximum" => value.as_i64().filter(|number| *number > rule.as_i64().unwrap()).map(|_| format!("above {rule}")),
            "minLength" => {
                value.as_str().filter(|text| (text.chars().count() as u64) < rule.as_u64().unwrap()).map(|_| format!("shorter than {rule}"))
            }
            "maxLength" => value.as_str().filter(|text| text.chars().count() as u64 > rule.as_u64().unwrap()).map(|_| format!("longer than {rule}")),
            "maxItems" => value.as_array().filter(|items| items.len() as u64 > rule.as_u64().unwrap()).map(|_| format!("more than {rule}")),
            "items" => value.as_array().into_iter().flatten().find_map(|item| fault(rule, item)),
            "required" => rule
                .as_array()?
                .iter()
                .filter_map(Value::as_str)
                .find(|name| value.is_object() && value.get(name).is_none())
                .map(|name| format!("without {name}")),
            "properties" => value.as_object().into_iter().flatten().find_map(|(name, value)| match rule.get(name) {
                Some(known) => fault(known, value).map(|wrong| format!("{name}: {wrong}")),
                None => Some(format!("{name} is not documented")),
            }),
            other => panic!("no rule for {other}"),
        };
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}
