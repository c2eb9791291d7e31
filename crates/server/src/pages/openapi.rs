//! `GET /docs`: the description of the API, for people. The same for every store, so it is made once.

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use vestibule_engine::error::Error;

use super::{page, render};
use crate::error::ApiError;
use crate::extract::App;
use crate::openapi::DOCUMENT;

/// The whole page.
#[derive(Serialize)]
pub struct Reference {
    version: String,
    description: String,
    groups: Vec<Group>,
}

/// The routes with one tag.
#[derive(Serialize)]
struct Group {
    name: String,
    description: String,
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    /// What the caller has to show.
    needs: Vec<String>,
    curl: String,
    parameters: Vec<Parameter>,
    bodies: Vec<Content>,
    body_required: bool,
    answers: Vec<Answer>,
}

/// A parameter, or a field of a body.
#[derive(Serialize)]
struct Parameter {
    name: String,
    place: String,
    kind: String,
    required: bool,
    description: String,
}

#[derive(Serialize)]
struct Content {
    kind: String,
    fields: Vec<Parameter>,
    examples: Vec<Example>,
}

#[derive(Serialize)]
struct Example {
    summary: String,
    text: String,
}

#[derive(Serialize)]
struct Answer {
    status: String,
    description: String,
    headers: Vec<Parameter>,
    contents: Vec<Content>,
}

static PAGE: LazyLock<Result<String, String>> = LazyLock::new(|| render::openapi(&reference()).map_err(|e| format!("{e:#}")));

pub async fn show(State(app): State<App>) -> Result<Response, ApiError> {
    let html = PAGE.as_ref().map_err(|e| Error::unexpected(format!("a page: {e}")))?;
    let server = &app.engine.config.server;
    // On a developer's machine the lines to copy work as they stand.
    let on_page = |url: &str| url.replace('/', "&#x2f;");
    let html = if server.development { html.replace(&on_page(&base()), &on_page(&format!("http://{}", server.listen))) } else { html.clone() };
    page(StatusCode::OK, Ok(html))
}

/// `value` with what its `$ref`s name in their place.
fn resolved(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("$ref").and_then(Value::as_str).and_then(|name| DOCUMENT.pointer(name.trim_start_matches('#'))) {
            Some(named) => resolved(named),
            None => map.iter().map(|(name, value)| (name.clone(), resolved(value))).collect(),
        },
        Value::Array(items) => items.iter().map(resolved).collect(),
        plain => plain.clone(),
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn members<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.get(name).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Where the example's calls go: the first server, with its variables filled in.
fn base() -> String {
    let Some(server) = list(&DOCUMENT, "servers").first() else { return String::new() };
    members(server, "variables").fold(text(server, "url"), |url, (name, variable)| url.replace(&format!("{{{name}}}"), &text(variable, "default")))
}

fn reference() -> Reference {
    let document = resolved(&DOCUMENT);
    let info = document.get("info").unwrap_or(&Value::Null);
    let mut groups: Vec<Group> = list(&document, "tags")
        .iter()
        .map(|tag| Group { name: text(tag, "name"), description: text(tag, "description"), operations: Vec::new() })
        .collect();
    for (path, methods) in members(&document, "paths") {
        for (method, described) in methods.as_object().into_iter().flatten() {
            let tag = list(described, "tags").first().and_then(Value::as_str).unwrap_or_default();
            if let Some(group) = groups.iter_mut().find(|group| group.name == tag) {
                group.operations.push(operation(&document, &method.to_ascii_uppercase(), path, described));
            }
        }
    }
    Reference { version: text(info, "version"), description: text(info, "description"), groups }
}

fn operation(document: &Value, method: &str, path: &str, described: &Value) -> Operation {
    let body = described.get("requestBody").unwrap_or(&Value::Null);
    let schemes: Vec<&String> = list(described, "security").iter().flat_map(|all| all.as_object().into_iter().flat_map(Map::keys)).collect();
    let scheme = |name: &str| document.pointer(&format!("/components/securitySchemes/{name}")).unwrap_or(&Value::Null);
    Operation {
        id: text(described, "operationId"),
        method: method.to_owned(),
        path: path.to_owned(),
        summary: text(described, "summary"),
        description: text(described, "description"),
        needs: schemes.iter().map(|name| text(scheme(name), "description")).collect(),
        curl: curl(method, path, described, &schemes),
        parameters: list(described, "parameters").iter().map(parameter).collect(),
        bodies: members(body, "content").map(content).collect(),
        body_required: body.get("required").and_then(Value::as_bool).unwrap_or_default(),
        answers: members(described, "responses").map(answer).collect(),
    }
}

fn parameter(described: &Value) -> Parameter {
    Parameter {
        name: text(described, "name"),
        place: text(described, "in"),
        kind: described.get("schema").map(kind).unwrap_or_default(),
        required: described.get("required").and_then(Value::as_bool).unwrap_or_default(),
        description: text(described, "description"),
    }
}

/// The type of a schema in a few words.
fn kind(schema: &Value) -> String {
    let alternatives = list(schema, "anyOf");
    if !alternatives.is_empty() {
        return alternatives.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(only) = schema.get("const") {
        return only.to_string();
    }
    let some = list(schema, "enum");
    if !some.is_empty() {
        return some.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    match schema.get("type") {
        Some(Value::String(name)) if name == "array" => format!("array of {}", schema.get("items").map(kind).unwrap_or_default()),
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    }
}

/// The fields of a body, of each of its alternatives in turn.
fn fields(schema: &Value) -> Vec<Parameter> {
    let required = list(schema, "required");
    let own = members(schema, "properties").map(|(name, field)| Parameter {
        name: name.clone(),
        place: String::new(),
        kind: kind(field),
        required: required.iter().any(|known| known == name),
        description: text(field, "description"),
    });
    own.chain(list(schema, "anyOf").iter().flat_map(fields)).collect()
}

fn content((kind, media): (&String, &Value)) -> Content {
    let named = members(media, "examples").map(|(_, example)| (text(example, "summary"), example.get("value")));
    let examples = media.get("example").map(|example| (String::new(), Some(example))).into_iter().chain(named);
    Content {
        kind: kind.clone(),
        fields: media.get("schema").map(fields).unwrap_or_default(),
        examples: examples.filter_map(|(summary, value)| Some(Example { summary, text: written(value?) })).collect(),
    }
}

/// A value as it is sent: a text without quotation marks.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned)
}

fn answer((status, described): (&String, &Value)) -> Answer {
    let header = |(name, header): (&String, &Value)| Parameter { name: name.clone(), ..parameter(header) };
    Answer {
        status: status.clone(),
        description: text(described, "description"),
        headers: members(described, "headers").map(header).collect(),
        contents: members(described, "content").map(content).collect(),
    }
}

/// A line for a shell, with `$KEY` and `$TOKEN` where the caller's own go.
fn curl(method: &str, path: &str, described: &Value, schemes: &[&String]) -> String {
    let of_path = list(described, "parameters").iter().filter(|parameter| text(parameter, "in") == "path");
    let path =
        of_path.fold(path.to_owned(), |path, parameter| path.replace(&format!("{{{}}}", text(parameter, "name")), &text(parameter, "example")));
    let mut words = vec!["curl".to_owned()];
    if method != "GET" {
        words.push(format!("-X {method}"));
    }
    words.push(format!("\"{}{path}\"", base()));
    for scheme in schemes {
        words
            .push(if *scheme == "publishable_key" { "-H \"x-publishable-api-key: $KEY\"" } else { "-H \"Authorization: Bearer $TOKEN\"" }.to_owned());
    }
    if let Some((kind, media)) = described.get("requestBody").and_then(|body| members(body, "content").next()) {
        let body = media.get("example").map(Value::to_string).unwrap_or_default();
        words.push(format!("-H \"Content-Type: {kind}\""));
        words.push(format!("-d '{body}'"));
    }
    words.join(" ")
}
