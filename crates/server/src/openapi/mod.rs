//! The API as an OpenAPI document: the route table, a description of each route, and what is true of every route of its kind.

mod address;
mod admin;
mod callback;
mod customer;
mod event;
mod fault;
mod health;
mod identity;
mod jwks;
mod operation;
mod password_change;
mod password_reset;
mod registration;
mod schema;
mod session;
mod sign_in;
mod timeline;
mod token;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use self::fault::Fault;
use self::operation::{Answer, JSON, Media, Operation, TEXT};
use crate::router::{MayCall, ROUTES, Route};
use crate::wire::{is_shared, needs_tenant};

/// Method, path, and what is to be said of the route.
type Described = (&'static str, &'static str, fn() -> Operation);

/// Each route that programs call, and its description. Pages and what only `vestibule dev` has are not for programs.
const DESCRIBED: &[Described] = &[
    ("GET", "/health", health::live),
    ("GET", "/livez", health::live),
    ("GET", "/readyz", health::ready),
    ("GET", "/openapi.json", health::openapi),
    ("GET", "/.well-known/jwks.json", jwks::get),
    ("GET", "/auth/{actor_type}/{auth_provider}", sign_in::get),
    ("POST", "/auth/{actor_type}/{auth_provider}", sign_in::post),
    ("POST", "/auth/{actor_type}/{auth_provider}/register", registration::post),
    ("POST", "/auth/{actor_type}/{auth_provider}/reset-password", password_reset::request),
    ("POST", "/auth/{actor_type}/{auth_provider}/update", password_reset::update),
    ("GET", "/auth/{actor_type}/{auth_provider}/callback", callback::get),
    ("POST", "/auth/{actor_type}/{auth_provider}/callback", callback::post),
    ("GET", "/auth/{actor_type}/providers", callback::providers),
    ("GET", "/auth/callback/{auth_provider}", callback::shared_get),
    ("POST", "/auth/callback/{auth_provider}", callback::shared_post),
    ("POST", "/auth/token/refresh", token::refresh),
    ("POST", "/auth/{actor_type}/{auth_provider}/change-password", password_change::post),
    ("POST", "/auth/session", session::give),
    ("DELETE", "/auth/session", session::end),
    ("GET", "/auth/sessions", session::list),
    ("DELETE", "/auth/sessions", session::end_several),
    ("DELETE", "/auth/sessions/current", session::end_current),
    ("DELETE", "/auth/sessions/{id}", session::end_one),
    ("GET", "/auth/identities", identity::list),
    ("POST", "/auth/identities", identity::link),
    ("DELETE", "/auth/identities/{id}", identity::unlink),
    ("POST", "/store/customers", customer::create),
    ("GET", "/store/customers/me", customer::me),
    ("POST", "/store/customers/me", customer::update),
    ("GET", "/store/customers/me/addresses", address::list),
    ("POST", "/store/customers/me/addresses", address::create),
    ("GET", "/store/customers/me/addresses/{id}", address::show),
    ("POST", "/store/customers/me/addresses/{id}", address::update),
    ("DELETE", "/store/customers/me/addresses/{id}", address::delete),
    ("GET", "/admin/customers", admin::list),
    ("GET", "/admin/customers/{id}", admin::show),
    ("DELETE", "/admin/customers/{id}", admin::delete),
    ("GET", "/admin/customers/{id}/timeline", timeline::show),
    ("GET", "/admin/events", event::list),
];

const AUTH: &str = "Auth";
const CUSTOMERS: &str = "Customers";
const STAFF: &str = "Staff";
const SERVER: &str = "Server";

/// Answers that many routes give alike: the name, and what they say.
const SHARED: &[(&str, &[&Fault])] = &[
    ("conflict", &[&fault::CONFLICT]),
    ("too_large", &[&fault::TOO_LARGE]),
    ("unsupported", &[&fault::UNSUPPORTED_CHARSET, &fault::UNSUPPORTED_ENCODING]),
    ("budget_spent", &[&fault::BUDGET_SPENT]),
    ("failed", &[&fault::STORAGE_FAILED, &fault::UNEXPECTED]),
    ("busy", &[&fault::BUSY]),
    ("busy_or_unknown", &[&fault::BUSY, &fault::OUTCOME_UNKNOWN]),
];

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The document as it is served, printed and committed.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", *DOCUMENT)
}

/// A `$ref` to a component.
fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// A `$ref` to a schema.
fn named(name: &str) -> Value {
    reference("schemas", name)
}

fn description(route: &Route) -> Option<Operation> {
    let found = DESCRIBED.iter().find(|(method, path, _)| route.method == *method && route.path == *path);
    found.map(|(_, _, describe)| describe())
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut faults: BTreeMap<&str, &Fault> = BTreeMap::new();
    for route in ROUTES {
        let Some(mut described) = description(route) else { continue };
        described.faults.extend(common(route, &described));
        faults.extend(described.faults.iter().map(|fault| (fault.name, *fault)));
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_ascii_lowercase(), operation(route, &described));
        }
    }
    let mut types: Vec<String> = faults.values().filter_map(|fault| Some(fault.answer().1.get("type")?.as_str()?.to_owned())).collect();
    types.sort();
    types.dedup();
    let examples: Map<String, Value> =
        faults.values().map(|fault| (fault.name.to_owned(), json!({"summary": fault.when, "value": fault.answer().1}))).collect();
    let shared: Map<String, Value> = SHARED.iter().map(|(name, faults)| ((*name).to_owned(), failure(faults))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vestibule",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The customer entrance to a store: sign-up, sign-in, password reset and profiles. \
                The host names the store. A path or a method that is not listed here is answered with 404. \
                The hosted pages under /account are for people and not listed; nor is what only vestibule dev has.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{
            "url": "https://{tenant}.api.example.com",
            "description": "A store's own host.",
            "variables": {"tenant": {"default": "acme", "description": "The slug of the store."}},
        }],
        "tags": [
            {"name": AUTH, "description": "Sign-up, sign-in, tokens and password reset."},
            {"name": CUSTOMERS, "description": "The profile of a customer, and its addresses."},
            {"name": STAFF, "description": "For a store's staff and its own programs."},
            {"name": SERVER, "description": "The server itself."},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": schema::security(),
            "parameters": schema::parameters(),
            "headers": schema::headers(),
            "schemas": schema::components(&types),
            "responses": shared,
            "examples": examples,
        },
    })
}

/// Whether its answer can be kept by the client and asked for again.
fn is_tagged(route: &Route) -> bool {
    route.method == Method::GET && is_shared(route.path) && needs_tenant(route.path)
}

/// Whether it takes an Idempotency-Key.
fn is_keyed(route: &Route) -> bool {
    route.method == Method::POST && is_shared(route.path) && needs_tenant(route.path)
}

/// What can go wrong on any route of its kind.
fn common(route: &Route, described: &Operation) -> Vec<&'static Fault> {
    let mut faults: Vec<&Fault> = Vec::new();
    let writes = route.method != Method::GET;
    if route.path.contains("{actor_type}/{auth_provider}") {
        faults.push(&fault::PROVIDER_NOT_ALLOWED);
    }
    if route.path.starts_with("/auth") && route.path.contains('{') {
        faults.push(&fault::PATH_NO_UTF8);
    }
    if route.path.starts_with("/store") {
        faults.extend([&fault::KEY_MISSING, &fault::KEY_UNKNOWN, &fault::UNKNOWN_PARAMETER, &fault::FIELDS_TWICE]);
    }
    if !described.bodies.is_empty() {
        faults.extend([&fault::JSON_ENDS_EARLY, &fault::JSON_MALFORMED, &fault::JSON_NO_OBJECT, &fault::REPEATED_FIELD]);
    }
    match route.may_call {
        MayCall::Anyone | MayCall::Console | MayCall::Development => {}
        MayCall::ResetToken => faults.push(&fault::INVALID_TOKEN),
        MayCall::Token => faults.push(&fault::UNAUTHENTICATED),
        MayCall::Cookie | MayCall::Login | MayCall::CustomerLogin | MayCall::Customer | MayCall::Staff => {
            faults.push(&fault::UNAUTHENTICATED);
            if route.may_call == MayCall::Staff {
                faults.push(&fault::KEY_AS_BEARER);
            }
            if writes {
                faults.push(&fault::ORIGIN_REFUSED);
            }
        }
    }
    if needs_tenant(route.path) {
        faults.push(&fault::NO_STORE);
    }
    if writes {
        faults.extend([&fault::TOO_LARGE, &fault::UNSUPPORTED_CHARSET, &fault::UNSUPPORTED_ENCODING, &fault::CONFLICT]);
    }
    // What asks the database for anything: the rest only says that the server lives.
    if needs_tenant(route.path) || writes || route.path.starts_with("/auth") {
        faults.extend([&fault::STORAGE_FAILED, &fault::UNEXPECTED, &fault::BUSY]);
    }
    if writes {
        faults.push(&fault::OUTCOME_UNKNOWN);
    }
    if is_keyed(route) {
        faults.extend([&fault::KEY_MALFORMED, &fault::KEY_REUSED, &fault::BUDGET_SPENT]);
        if route.path.starts_with("/store/customers/me") {
            faults.push(&fault::TOO_LARGE_TO_KEEP);
        }
    }
    faults
}

fn operation(route: &Route, described: &Operation) -> Value {
    let mut operation = json!({
        "operationId": operation_id(&route.method, route.path),
        "tags": [described.tag],
        "summary": described.summary,
        "description": described.description,
        "security": security(route.may_call),
        "parameters": parameters(route, described),
    });
    let Some(map) = operation.as_object_mut() else { return operation };
    if !described.bodies.is_empty() {
        let content: Map<String, Value> = described.bodies.iter().map(content).collect();
        map.insert("requestBody".into(), json!({"required": described.body_required, "content": content}));
    }
    map.insert("responses".into(), responses(route, described).into());
    operation
}

/// `PostActor_typeAuth_providerResetPassword`: the words of method and path, without the area that the path begins with.
fn operation_id(method: &Method, path: &str) -> String {
    let path = path.strip_prefix("/auth").or_else(|| path.strip_prefix("/store")).unwrap_or(path);
    let method = method.as_str().to_ascii_lowercase();
    let words = path.split(['/', '-', '.', '{', '}']).filter(|word| !word.is_empty());
    std::iter::once(method.as_str()).chain(words).map(capitalised).collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn security(may_call: MayCall) -> Value {
    match may_call {
        MayCall::Anyone | MayCall::Console | MayCall::Development => json!([]),
        MayCall::ResetToken => json!([{"reset": []}]),
        MayCall::Token => json!([{"session": []}]),
        MayCall::Cookie => json!([{"cookie": []}]),
        MayCall::Login => json!([{"session": []}, {"cookie": []}]),
        MayCall::Staff => json!([{"secret_key": []}, {"session": []}, {"cookie": []}]),
        MayCall::CustomerLogin | MayCall::Customer => json!([{"publishable_key": [], "session": []}, {"publishable_key": [], "cookie": []}]),
    }
}

fn parameters(route: &Route, described: &Operation) -> Vec<Value> {
    let of_path = ["actor_type", "auth_provider"].into_iter().filter(|name| route.path.contains(&format!("{{{name}}}")));
    let mut parameters: Vec<Value> = of_path.map(|name| reference("parameters", name)).collect();
    parameters.extend(described.parameters.iter().cloned());
    if route.path.starts_with("/store") {
        parameters.extend([reference("parameters", "fields"), reference("parameters", "locale")]);
    }
    if is_keyed(route) {
        parameters.push(reference("parameters", "idempotency_key"));
    }
    if is_tagged(route) {
        parameters.push(reference("parameters", "if_none_match"));
    }
    parameters
}

fn content(media: &Media) -> (String, Value) {
    (media.kind.to_owned(), json!({"schema": media.schema, "example": media.example}))
}

fn responses(route: &Route, described: &Operation) -> Map<String, Value> {
    let mut all: BTreeMap<u16, Value> = described.answers.iter().map(|answer| (answer.status, success(answer, is_tagged(route)))).collect();
    if is_tagged(route) {
        all.insert(304, json!({"description": "You have it already.", "headers": {"ETag": schema::header("ETag")}}));
    }
    let mut failures: BTreeMap<u16, Vec<&Fault>> = BTreeMap::new();
    for fault in &described.faults {
        let same = failures.entry(fault.answer().0).or_default();
        if !same.iter().any(|known| known.name == fault.name) {
            same.push(fault);
        }
    }
    for (status, faults) in failures {
        let names = |faults: &[&Fault]| faults.iter().map(|fault| fault.name).collect::<Vec<_>>();
        let shared = SHARED.iter().find(|(_, shared)| names(shared) == names(&faults));
        all.insert(status, shared.map_or_else(|| failure(&faults), |(name, _)| reference("responses", name)));
    }
    all.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect()
}

fn success(answer: &Answer, tagged: bool) -> Value {
    let mut names = answer.headers.to_vec();
    if tagged && answer.status == 200 {
        names.push("ETag");
    }
    let mut response = json!({"description": answer.description});
    let Some(map) = response.as_object_mut() else { return response };
    if !names.is_empty() {
        map.insert("headers".into(), headers(&names));
    }
    if let Some(media) = &answer.media {
        map.insert("content".into(), Map::from_iter([content(media)]).into());
    }
    response
}

fn headers(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), schema::header(name))).collect::<Map<String, Value>>().into()
}

/// An answer of one status with these faults.
fn failure(faults: &[&Fault]) -> Value {
    let status = faults.first().map_or(500, |fault| fault.answer().0);
    let examples: Map<String, Value> = faults.iter().map(|fault| (fault.name.to_owned(), reference("examples", fault.name))).collect();
    let mut content = Map::from_iter([(JSON.to_owned(), json!({"schema": named("Error"), "examples": examples}))]);
    if faults.iter().any(|fault| fault.is_plain()) {
        content.insert(TEXT.to_owned(), json!({"schema": {"const": "Unauthorized"}, "example": "Unauthorized"}));
    }
    let mut response = json!({"description": meaning(status)});
    let Some(map) = response.as_object_mut() else { return response };
    let about: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        409 => &["Idempotency-Key"],
        429 | 503 => &["Retry-After"],
        _ => &[],
    };
    if !about.is_empty() {
        map.insert("headers".into(), headers(about));
    }
    map.insert("content".into(), content.into());
    response
}

fn meaning(status: u16) -> String {
    let text = match status {
        400 => "What was sent breaks a rule that the message names, or the store does not allow it.",
        401 => {
            "The credentials are missing or refused. A body that says no more than Unauthorized is plain text unless Accept names application/json."
        }
        403 => "The caller is known, and may not do this, or not now.",
        404 => "There is no such thing in this store.",
        410 => "It was there and is no longer kept.",
        409 => "Other requests changed the same rows; a retry may pass.",
        413 => "The body is too large.",
        415 => "The body is not UTF-8, or compressed.",
        422 => "A unique value is taken.",
        429 => "A budget is spent; wait as long as Retry-After says.",
        500 => "The server failed; nothing was changed.",
        503 => "The server is busy; wait as long as Retry-After says.",
        _ => StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default(),
    };
    text.to_owned()
}
