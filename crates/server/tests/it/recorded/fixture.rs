//! The recording, as it was read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One request, and what Medusa answered if that was recorded.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub id: String,
    pub group: String,
    /// With which settings the shop ran.
    pub config: char,
    pub request: Request,
    /// Variables that the answer fills: name → path in its body, or `event:` and a path in what was emitted.
    #[serde(default)]
    pub saves: BTreeMap<String, String>,
    pub response: Option<Recorded>,
    #[serde(default)]
    pub events: Vec<Emitted>,
}

#[derive(Debug, Deserialize)]
pub struct Request {
    pub method: String,
    pub path_template: String,
    pub headers_template: serde_json::Map<String, Value>,
    pub body_template: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Recorded {
    pub status: u16,
    pub content_type: Option<String>,
    pub cors: BTreeMap<String, String>,
    pub set_cookie: Vec<Value>,
    pub body: Value,
    /// Where a token stands in the body → its header and claims.
    pub jwt: BTreeMap<String, Token>,
}

#[derive(Debug, Deserialize)]
pub struct Token {
    pub claims: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Emitted {
    pub name: String,
    pub data_keys: Vec<String>,
}

impl Case {
    /// Method and path, for people.
    pub fn line(&self) -> String {
        format!("{} {}", self.request.method, self.request.path_template)
    }
}

pub fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../recorded/medusa-2.21.2.json")).unwrap()
}
