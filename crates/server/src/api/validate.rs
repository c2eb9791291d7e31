//! Validation with the messages that storefronts know: `Invalid request: ` and up to three issues.

use serde_json::{Map, Value};
use vestibule_engine::error::Error;
use vestibule_engine::model::customer::Change;

/// An object whose fields are taken out one by one; what is left is unknown.
pub struct Fields {
    left: Map<String, Value>,
    issues: Vec<String>,
}

impl Fields {
    /// # Errors
    /// If the body is no object.
    pub fn of(body: Value) -> Result<Self, Error> {
        match body {
            Value::Object(left) => Ok(Self { left, issues: Vec::new() }),
            _ => Err(invalid("Field '' is required")),
        }
    }

    /// A string that must be there.
    pub fn required_string(&mut self, name: &str) -> Option<String> {
        match self.left.shift_remove(name) {
            None => {
                self.issues.push(format!("Field '{name}' is required"));
                None
            }
            Some(Value::String(text)) => Some(text),
            Some(other) => self.wrong_type(name, "string", &other),
        }
    }

    /// A string, null, or nothing.
    pub fn string(&mut self, name: &str) -> Change<String> {
        match self.left.shift_remove(name) {
            None => Change::Keep,
            Some(Value::Null) => Change::Set(None),
            Some(Value::String(text)) => Change::Set(Some(text)),
            Some(other) => {
                self.wrong_type::<()>(name, "string", &other);
                Change::Keep
            }
        }
    }

    /// An object, null, or nothing.
    pub fn record(&mut self, name: &str) -> Change<Map<String, Value>> {
        match self.left.shift_remove(name) {
            None => Change::Keep,
            Some(Value::Null) => Change::Set(None),
            Some(Value::Object(map)) => Change::Set(Some(map)),
            Some(other) => {
                self.wrong_type::<()>(name, "record", &other);
                Change::Keep
            }
        }
    }

    /// An object or nothing; null is neither.
    pub fn optional_record(&mut self, name: &str) -> Map<String, Value> {
        match self.left.shift_remove(name) {
            None => Map::new(),
            Some(Value::Object(map)) => map,
            Some(other) => {
                self.wrong_type::<()>(name, "record", &other);
                Map::new()
            }
        }
    }

    fn wrong_type<T>(&mut self, name: &str, expected: &str, got: &Value) -> Option<T> {
        self.issues.push(format!("Expected type: '{expected}' for field '{name}', got: '{}'", shown(got)));
        None
    }

    /// Adds an issue of the caller's own.
    pub fn issue(&mut self, text: impl Into<String>) {
        self.issues.push(text.into());
    }

    /// # Errors
    /// `InvalidData` naming the first three issues, unknown fields last.
    pub fn finish(mut self) -> Result<(), Error> {
        if !self.left.is_empty() {
            let names: Vec<_> = self.left.keys().map(String::as_str).collect();
            self.issues.push(format!("Unrecognized fields: '{}'", names.join(", ")));
        }
        if self.issues.is_empty() {
            return Ok(());
        }
        self.issues.truncate(3);
        Err(invalid(&self.issues.join("; ")))
    }
}

fn invalid(issues: &str) -> Error {
    // A field's name comes from the caller; a long one need not come back whole.
    let text: String = issues.chars().take(1000).collect();
    Error::invalid(format!("Invalid request: {text}"))
}

/// A value as JavaScript prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(items) => items.iter().map(|i| if i.is_null() { String::new() } else { shown(i) }).collect::<Vec<_>>().join(","),
        Value::Object(_) => "[object Object]".into(),
    }
}

/// A query string that must be empty: no route of this surface that calls this takes a parameter.
///
/// # Errors
/// `InvalidData` naming what was sent.
pub fn no_query(query: Option<&str>) -> Result<(), Error> {
    let pairs: Vec<(String, String)> =
        serde_html_form::from_str(query.unwrap_or_default()).map_err(|_| Error::invalid("The query could not be read"))?;
    let mut names: Vec<_> = pairs.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    if names.is_empty() { Ok(()) } else { Err(invalid(&format!("Unrecognized fields: '{}'", names.join(", ")))) }
}
