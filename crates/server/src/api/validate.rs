//! Validation with the messages that storefronts know: `Invalid request: ` and up to three issues.

use serde_json::{Map, Value};
use vestibule_engine::error::Error;
use vestibule_engine::model::customer::Change;

/// Longest text in a customer's field, in characters.
pub const TEXT: usize = 1_000;

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

    /// A string that is kept, null, or nothing.
    pub fn text(&mut self, name: &str) -> Change<String> {
        let change = self.string(name);
        if let Change::Set(Some(text)) = &change {
            if text.chars().count() > TEXT {
                self.issue(format!("Value for field '{name}' too big, expected at most: '{TEXT}'"));
            }
            // PostgreSQL cannot store it.
            if text.contains('\0') {
                self.issue(format!("Field '{name}' holds a NUL character"));
            }
        }
        change
    }

    /// `metadata`: an object, null, or nothing; as JSON at most `most` bytes.
    pub fn metadata(&mut self, most: usize) -> Change<Map<String, Value>> {
        let change = self.record("metadata");
        if let Change::Set(Some(metadata)) = &change
            && Value::Object(metadata.clone()).to_string().len() > most
        {
            self.issue(format!("Value for field 'metadata' too big, expected at most: '{most}'"));
        }
        change
    }

    /// A boolean or nothing; null is neither.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.left.shift_remove(name)? {
            Value::Bool(flag) => Some(flag),
            other => self.wrong_type(name, "boolean", &other),
        }
    }

    /// A text of a query.
    pub fn parameter(&mut self, name: &str) -> Option<String> {
        match self.left.shift_remove(name)? {
            Value::String(text) => Some(text),
            other => self.wrong_type(name, "string", &other),
        }
    }

    /// A number of a query that counts something.
    pub fn number(&mut self, name: &str) -> Option<usize> {
        let value = self.left.shift_remove(name)?;
        match value.as_str().map(str::parse::<i64>) {
            Some(Ok(number)) if number < 0 => {
                self.issue(format!("Value for field '{name}' too small, expected at least: '0'"));
                None
            }
            Some(Ok(number)) => usize::try_from(number).ok(),
            _ => self.wrong_type(name, "number", &value),
        }
    }

    /// A number of a query that counts something, and no more than `most`.
    pub fn number_up_to(&mut self, name: &str, most: usize) -> Option<usize> {
        let number = self.number(name)?;
        if number > most {
            self.issue(format!("Value for field '{name}' too big, expected at most: '{most}'"));
        }
        Some(number)
    }

    /// A boolean of a query.
    pub fn switch(&mut self, name: &str) -> Option<bool> {
        let value = self.left.shift_remove(name)?;
        match value.as_str() {
            Some("true" | "1") => Some(true),
            Some("false" | "0") => Some(false),
            _ => self.wrong_type(name, "boolean", &value),
        }
    }

    /// A text of a query, or several of which any will do.
    pub fn one_of(&mut self, name: &str) -> Option<Vec<String>> {
        match self.left.shift_remove(name)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            other => self.wrong_type(name, "string, array", &other),
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
