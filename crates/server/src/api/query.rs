//! Query strings: `a=1`, `a[]=1`, `a[0]=1`, `a=1&a=2` and `a[$gt]=1`, as strict as bodies are.

use serde_json::{Map, Value};
use vestibule_engine::error::Error;

use super::fields::{Selection, Shape};
use super::validate::Fields;

/// The parameters of a query. `locale` is for all routes of a storefront and means nothing to any of these.
///
/// # Errors
/// `InvalidData` for what is no query.
pub fn parse(query: Option<&str>) -> Result<Fields, Error> {
    let pairs: Vec<(String, String)> =
        serde_html_form::from_str(query.unwrap_or_default()).map_err(|_| Error::invalid("The query could not be read"))?;
    let mut parameters = Map::new();
    for (key, value) in pairs {
        let (name, step) = split(&key);
        let slot = parameters.entry(name).or_insert(Value::Null);
        *slot = with(slot.take(), step, Value::String(value));
    }
    parameters.shift_remove("locale");
    Fields::of(Value::Object(parameters))
}

/// The query of a route that shows one thing: `fields` and nothing else.
///
/// # Errors
/// `InvalidData` naming what else was sent.
pub fn selection(query: Option<&str>, shape: &'static Shape) -> Result<Selection, Error> {
    if query.is_none_or(str::is_empty) {
        return Ok(Selection::of(shape, None));
    }
    let mut parameters = parse(query)?;
    let list = parameters.parameter("fields");
    parameters.finish()?;
    Ok(Selection::of(shape, list.as_deref()))
}

/// Where in a parameter a value goes.
enum Step<'k> {
    Itself,
    Element,
    Key(&'k str),
}

fn split(key: &str) -> (&str, Step<'_>) {
    let Some((name, rest)) = key.split_once(['[', '.']).filter(|(name, _)| !name.is_empty()) else { return (key, Step::Itself) };
    let inner = rest.strip_suffix(']').unwrap_or(rest);
    (name, if inner.bytes().all(|b| b.is_ascii_digit()) { Step::Element } else { Step::Key(inner) })
}

/// `before` and the new value together.
fn with(before: Value, step: Step<'_>, value: Value) -> Value {
    match (before, step) {
        (Value::Null, Step::Itself) => value,
        (Value::Null, Step::Element) => Value::Array(vec![value]),
        (Value::Null, Step::Key(key)) => Value::Object(Map::from_iter([(key.to_owned(), value)])),
        (Value::Object(mut map), Step::Key(key)) => {
            map.insert(key.to_owned(), value);
            Value::Object(map)
        }
        (Value::Array(mut items), _) => {
            items.push(value);
            Value::Array(items)
        }
        (one, _) => Value::Array(vec![one, value]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::CUSTOMER;
    use super::*;

    #[test]
    fn a_query_of_one_thing_takes_fields_alone() {
        const WRONG: &str = "Invalid request: Expected type: 'string' for field 'fields', got: ";
        for (query, expected) in [
            ("", None),
            ("fields=id", None),
            ("locale=de-DE&fields=id", None),
            ("locale=", None),
            ("expand=x", Some("Invalid request: Unrecognized fields: 'expand'".to_owned())),
            ("b=1&a=2&b=3", Some("Invalid request: Unrecognized fields: 'b, a'".to_owned())),
            ("a[x][y]=1&b.c=2", Some("Invalid request: Unrecognized fields: 'a, b'".to_owned())),
            ("[x]=1", Some("Invalid request: Unrecognized fields: '[x]'".to_owned())),
            ("fields=id&fields=email", Some(format!("{WRONG}'id,email'"))),
            ("fields[]=id", Some(format!("{WRONG}'id'"))),
            ("fields[0]=id&fields[1]=email", Some(format!("{WRONG}'id,email'"))),
            ("fields[a]=id", Some(format!("{WRONG}'[object Object]'"))),
            ("fields[]=x&limit=1", Some(format!("{WRONG}'x'; Unrecognized fields: 'limit'"))),
        ] {
            assert_eq!(selection(Some(query), &CUSTOMER).err().map(|e| e.message.into_owned()), expected, "{query}");
        }
        assert_eq!(selection(Some("fields=%2Bemail,-id"), &CUSTOMER).unwrap(), selection(None, &CUSTOMER).unwrap());
        assert_eq!(selection(Some("fields=+email"), &CUSTOMER).unwrap(), selection(None, &CUSTOMER).unwrap());
    }
}
