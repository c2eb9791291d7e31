//! The OpenAPI document and the page made of it. That answers are as it says is asked of every answer that any test sees: `support/documented.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::Value;
use vestibule::openapi::{DOCUMENT, text};
use vestibule::router::{MayCall, ROUTES};

use crate::errors::triggers::TRIGGERS;
use crate::support::app::TestApp;
use crate::support::documented::{self, fault, resolved};
use crate::support::{each_db, raw};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json")
}

/// Every operation with its name.
fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

#[test]
fn the_document_is_fresh() {
    #[expect(clippy::disallowed_methods, reason = "tests are configured by their environment")]
    if std::env::var("UPDATE_DOCS").is_ok_and(|v| v == "1") {
        fs::write(file(), text()).unwrap();
    }
    assert!(fs::read_to_string(file()).unwrap_or_default() == text(), "openapi.json is stale: run this test with UPDATE_DOCS=1");
}

#[test]
fn each_route_is_described_unless_it_is_a_page() {
    let is_page = |path: &str| ["/account/", "/app", "/t/", "/docs"].iter().any(|start| path.starts_with(start));
    let routes: BTreeSet<String> = ROUTES
        .iter()
        .filter(|route| route.may_call != MayCall::Development && !is_page(route.path))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(operations().map(|(name, _)| name).collect::<BTreeSet<_>>(), routes, "crates/server/src/openapi/mod.rs describes each route");
}

#[test]
fn each_operation_has_a_name_of_its_own_and_the_published_ones_are_kept() {
    let mut ids = BTreeSet::new();
    for (name, operation) in operations() {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}");
        for field in ["summary", "description"] {
            let text = operation[field].as_str().unwrap();
            assert!(text.len() > 5 && text.ends_with('.') == (field == "description"), "{name}: {text}");
        }
    }
    for published in ["PostActor_typeAuth_providerResetPassword", "PostActor_typeAuth_providerCallback", "PostActor_typeAuth_providerUpdate"] {
        assert!(ids.contains(published), "{published}");
    }
}

#[test]
fn each_parameter_of_a_path_is_described() {
    for (name, operation) in operations() {
        let described: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(resolved)
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let named: BTreeSet<&str> = name.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        assert_eq!(described, named, "{name}");
    }
}

/// The examples of a media type or a parameter, each with the schema that it is an example of.
fn examples_in(value: &'static Value, found: &mut Vec<(&'static Value, &'static Value)>) {
    let value = resolved(value);
    if let Some(schema) = value.get("schema") {
        let named = value.get("examples").and_then(Value::as_object).into_iter().flatten().map(|(_, example)| &resolved(example)["value"]);
        let before = found.len();
        found.extend(value.get("example").into_iter().chain(named).map(|example| (schema, example)));
        assert!(found.len() > before, "no example: {value}");
    }
    match value {
        Value::Object(map) => map.iter().filter(|(name, _)| *name != "schema").for_each(|(_, value)| examples_in(value, found)),
        Value::Array(items) => items.iter().for_each(|item| examples_in(item, found)),
        _ => {}
    }
}

#[test]
fn each_example_is_what_its_schema_says() {
    let mut found = Vec::new();
    examples_in(&DOCUMENT["paths"], &mut found);
    assert!(found.len() > 200, "only {} examples were found", found.len());
    for (schema, example) in found {
        assert_eq!(fault(schema, example), None, "{example} by {schema}");
    }
}

/// An error's body without what differs from one customer to the next.
fn masked(body: &str) -> String {
    let body = ["{deleted id}", "{orphan id}", "{login id}"].iter().fold(body.to_owned(), |body, id| body.replace(id, "{id}"));
    let word = |word: &str| if ["cus_0", "authid_0"].iter().any(|prefix| word.starts_with(prefix)) { "{id}".to_owned() } else { word.to_owned() };
    body.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn same(example: &Value, body: &str) -> bool {
    let written = |value: &Value| value.as_str().map_or_else(|| masked(&value.to_string()), str::to_owned);
    // Keys in any order.
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    parsed(&written(example)) == parsed(&masked(body))
}

#[test]
fn each_trigger_is_an_example_at_its_route_and_each_example_of_an_error_has_a_trigger() {
    let mut seen = 0;
    for trigger in TRIGGERS {
        let (method, target) = trigger.request.lines().next().unwrap().split_once(' ').unwrap();
        let path = target.split('?').next().unwrap();
        let Some(operation) = documented::operation(&method.parse::<Method>().unwrap(), path) else { continue };
        seen += 1;
        let mut found = Vec::new();
        examples_in(documented::response(operation, trigger.status).unwrap_or_else(|| panic!("{}: no {}", trigger.when, trigger.status)), &mut found);
        assert!(found.iter().any(|(_, example)| same(example, trigger.body)), "{method} {path} has no example for: {}", trigger.when);
    }
    assert_eq!(seen, TRIGGERS.len() - 1, "all but the one for what is no route");
    for (name, example) in DOCUMENT["components"]["examples"].as_object().unwrap() {
        assert!(TRIGGERS.iter().any(|trigger| same(&example["value"], trigger.body)), "nothing triggers {name}");
    }
}

each_db! {
    async fn document_and_page_need_no_store(app: TestApp) {
        for host in ["Host: nobody.example", "Host: acme.api.example.com"] {
            let document = raw::get(&app.base, "/openapi.json", &[host]).await;
            assert_eq!((document.status, document.header("content-type")), (200, "application/json; charset=utf-8"));
            assert!(document.text.ends_with(&text()), "what is served is what is committed");
            let page = raw::get(&app.base, "/docs", &[host]).await;
            assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
            assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
            assert!(!page.text.contains("<script") && !page.text.contains(" style="), "nothing but the page and its style sheet");
            for target in page.text.replace("&#x2f;", "/").split(" href=\"").skip(1) {
                assert!(target.starts_with(['/', '#']) || target.starts_with("data:"), "{}", &target[..40]);
            }
            for (name, operation) in operations() {
                assert!(page.text.contains(&format!("id=\"{}\"", operation["operationId"].as_str().unwrap())), "{name}");
            }
            assert_eq!(raw::get(&app.base, "/account/assets/style.css", &[host]).await.status, 200);
        }
    }
}
