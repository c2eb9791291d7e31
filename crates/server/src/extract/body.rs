//! Request bodies: JSON, forms and text, up to 100 KiB; anything else counts as empty.

use axum::body::Body as HttpBody;
use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use vestibule_engine::error::Error;

use super::App;
use crate::error::{ApiError, echo};

/// Largest body, in bytes.
pub const LIMIT: usize = 100 * 1024;

/// What the Content-Type makes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Json,
    Form,
    Text,
    /// A type that is not read: its bytes count as none.
    Other,
}

/// A body that was read, and not yet understood.
#[derive(Debug, Clone)]
pub struct Raw {
    pub kind: Kind,
    pub bytes: Bytes,
    /// Whether a Content-Type was sent at all.
    pub typed: bool,
}

/// A body as JSON: an object or an array, or a string where text was sent.
pub struct Body(pub Value);

/// Reads the body, however the route is going to understand it.
///
/// # Errors
/// 413 above the limit; 415 for a charset other than UTF-8 or an encoding.
pub async fn read(headers: &HeaderMap, body: HttpBody) -> Result<Raw, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let kind = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/json" => Kind::Json,
        "application/x-www-form-urlencoded" => Kind::Form,
        "text/plain" => Kind::Text,
        _ => Kind::Other,
    };
    let charset =
        parts.find_map(|p| p.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset")).map(|(_, value)| value.trim_matches('"')));
    let encoding = headers.get(header::CONTENT_ENCODING).map_or("identity", |v| v.to_str().unwrap_or("?"));
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(ApiError::Unsupported(format!("unsupported content encoding \"{}\"", printable(encoding))));
    }
    if let Some(charset) = charset.filter(|c| kind != Kind::Other && !c.eq_ignore_ascii_case("utf-8")) {
        return Err(ApiError::Unsupported(format!("unsupported charset \"{}\"", printable(&charset.to_ascii_uppercase()))));
    }
    let bytes = match Limited::new(body, LIMIT).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(e) if e.is::<LengthLimitError>() => return Err(ApiError::TooLarge),
        Err(_) => return Err(Error::invalid("The body could not be read").into()),
    };
    Ok(Raw { kind, bytes, typed: !content_type.is_empty() })
}

/// Keeps what a client sent from breaking lines or growing the answer.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && *c != '"').take(40).collect()
}

impl Raw {
    /// The body as JSON.
    ///
    /// # Errors
    /// `InvalidData` for JSON that is malformed, repeats a key, or is neither object nor array.
    pub fn parse(&self) -> Result<Value, Error> {
        if self.bytes.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        match self.kind {
            Kind::Other => Ok(Value::Object(Map::new())),
            Kind::Text => self.text().map(|text| Value::String(text.to_owned())),
            Kind::Form => form(&self.bytes),
            Kind::Json => json(self.text()?),
        }
    }

    /// # Errors
    /// `InvalidData` for bytes that are no UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        let text = std::str::from_utf8(&self.bytes).map_err(|_| Error::invalid("The body is not valid UTF-8"))?;
        // Some editors and languages begin a text with a mark of its encoding (RFC 8259, section 8.1 lets a reader ignore it).
        Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text))
    }
}

fn form(bytes: &[u8]) -> Result<Value, Error> {
    let pairs: Vec<(String, String)> = serde_html_form::from_bytes(bytes).map_err(|_| Error::invalid("The form could not be read"))?;
    let mut map = Map::new();
    for (name, value) in pairs {
        if map.insert(name.clone(), Value::String(value)).is_some() {
            return Err(Error::invalid(format!("The field '{}' is given twice", printable(&name))));
        }
    }
    Ok(Value::Object(map))
}

fn json(text: &str) -> Result<Value, Error> {
    let start = text.trim_start_matches([' ', '\t', '\r', '\n']);
    match start.chars().next() {
        None => return Ok(Value::Object(Map::new())),
        Some('{' | '[') => {}
        // Only an object or an array says anything to any route.
        Some(first) => {
            return Err(Error::invalid(format!("Unexpected token '{first}', \"{}\" is not valid JSON", echo(start, 40))));
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Unique.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|e| if e.is_eof() { Error::invalid("Unexpected end of JSON input") } else { Error::invalid(format!("Malformed JSON: {e}")) })
}

/// Reads any JSON, and refuses an object that repeats a key: two readers could see two different values.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Self)?;
            if out.contains_key(&name) {
                return Err(A::Error::custom(format!("the key \"{}\" is given twice", printable(&name))));
            }
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

impl FromRequestParts<App> for Raw {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Error::unexpected("the body was not read").into())
    }
}

impl FromRequestParts<App> for Body {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(Raw::from_request_parts(parts, app).await?.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Value, String> {
        let raw = Raw { kind: Kind::Json, bytes: Bytes::copy_from_slice(text.as_bytes()), typed: true };
        raw.parse().map_err(|e| e.message.into_owned())
    }

    #[test]
    fn what_is_no_object_comes_back_as_it_was_sent() {
        assert_eq!(parsed("\"abc\"").unwrap_err(), "Unexpected token '\"', \"\"abc\"\" is not valid JSON");
    }
}
