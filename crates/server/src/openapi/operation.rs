//! What a caller has to know of a route besides its method, its path and who may call: all that is not the same for its neighbours.

use serde_json::{Value, json};

use super::fault::Fault;

pub const JSON: &str = "application/json";
pub const FORM: &str = "application/x-www-form-urlencoded";
pub const TEXT: &str = "text/plain";
pub const HTML: &str = "text/html";

/// The description of a route.
pub struct Operation {
    pub tag: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub parameters: Vec<Value>,
    /// Whether an empty body is refused.
    pub body_required: bool,
    pub bodies: Vec<Media>,
    pub answers: Vec<Answer>,
    pub faults: Vec<&'static Fault>,
}

/// A content type with its schema and an example.
pub struct Media {
    pub kind: &'static str,
    pub schema: Value,
    pub example: Value,
}

/// An answer that is no error of the common shape.
pub struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub media: Option<Media>,
    /// Names of the headers that it is about.
    pub headers: &'static [&'static str],
}

impl Operation {
    #[must_use]
    pub const fn new(tag: &'static str, summary: &'static str, description: &'static str) -> Self {
        Self { tag, summary, description, parameters: Vec::new(), body_required: false, bodies: Vec::new(), answers: Vec::new(), faults: Vec::new() }
    }

    /// The `{id}` of the path.
    #[must_use]
    pub fn id(mut self, description: &str, example: &str) -> Self {
        self.parameters.push(
            json!({"name": "id", "in": "path", "required": true, "description": description, "schema": {"type": "string"}, "example": example}),
        );
        self
    }

    /// A parameter of the query that may be left out.
    #[must_use]
    pub fn query(mut self, name: &str, description: &str, schema: &Value, example: &Value) -> Self {
        self.parameters.push(json!({"name": name, "in": "query", "description": description, "schema": schema, "example": example}));
        self
    }

    /// A header that may be left out.
    #[must_use]
    pub fn header(mut self, name: &str, description: &str, example: &str) -> Self {
        let schema = json!({"type": "string"});
        self.parameters.push(json!({"name": name, "in": "header", "description": description, "schema": schema, "example": example}));
        self
    }

    /// A body that may be left out.
    #[must_use]
    pub fn takes(mut self, kind: &'static str, schema: Value, example: Value) -> Self {
        self.bodies.push(Media { kind, schema, example });
        self
    }

    /// A body without which the route refuses.
    #[must_use]
    pub fn needs(self, kind: &'static str, schema: Value, example: Value) -> Self {
        Self { body_required: true, ..self.takes(kind, schema, example) }
    }

    /// A JSON answer.
    #[must_use]
    pub fn answers(self, status: u16, description: &'static str, schema: Value, example: Value) -> Self {
        self.answers_with(Answer { status, description, media: Some(Media { kind: JSON, schema, example }), headers: &[] })
    }

    #[must_use]
    pub fn answers_with(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    #[must_use]
    pub fn fails(mut self, faults: &[&'static Fault]) -> Self {
        self.faults.extend(faults);
        self
    }
}
