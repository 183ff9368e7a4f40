//! Values made from a step's inputs: texts with `{{path}}` in them, `{"$from": "path"}` for a value as it is,
//! and anything around them taken literally. Parsed when a workflow is registered, so that faults show then.

use serde_json::{Map, Value};

/// A value with holes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Template {
    Literal(Value),
    /// `{"$from": path, "default": value}`.
    From(String, Option<Value>),
    /// Pieces of a text.
    Text(Vec<Piece>),
    Object(Vec<(String, Template)>),
    Array(Vec<Template>),
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Words(String),
    /// A path, and what is done to the text found there.
    Hole(String, Vec<Change>),
}

/// What may follow a path: `{{ name | trim | upper }}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Trim,
    Upper,
    Lower,
}

/// Deeper values are refused; the parser is recursive.
const DEEPEST: usize = 32;

impl Template {
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        Self::parse_at(value, 0)
    }

    fn parse_at(value: &Value, depth: usize) -> Result<Self, String> {
        if depth > DEEPEST {
            return Err(format!("values may not be deeper than {DEEPEST}"));
        }
        match value {
            Value::String(text) => pieces(text),
            Value::Array(items) => {
                let items: Result<_, _> = items.iter().map(|item| Self::parse_at(item, depth + 1)).collect();
                items.map(Template::Array)
            }
            Value::Object(object) if object.contains_key("$from") => from(object),
            Value::Object(object) => {
                let fields: Result<_, String> = object
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), Self::parse_at(value, depth + 1)?)))
                    .collect();
                fields.map(Template::Object)
            }
            literal => Ok(Template::Literal(literal.clone())),
        }
    }

    /// The value, with the holes filled from `inputs`.
    ///
    /// # Errors
    /// A path that leads nowhere.
    pub(crate) fn fill(&self, inputs: &Value) -> Result<Value, String> {
        match self {
            Template::Literal(value) => Ok(value.clone()),
            Template::From(path, default) => match (look_up(inputs, path), default) {
                (Some(value), _) => Ok(value.clone()),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) => Err(absent(path, inputs)),
            },
            Template::Text(pieces) => fill_text(pieces, inputs).map(Value::String),
            Template::Array(items) => items.iter().map(|item| item.fill(inputs)).collect(),
            Template::Object(fields) => {
                let filled: Result<Map<_, _>, String> = fields
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.fill(inputs)?)))
                    .collect();
                filled.map(Value::Object)
            }
        }
    }
}

/// What a dotted path leads to: keys of objects, and places in arrays.
pub(crate) fn look_up<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Object(object) => object.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn from(object: &Map<String, Value>) -> Result<Template, String> {
    if let Some(key) = object
        .keys()
        .find(|key| !["$from", "default"].contains(&key.as_str()))
    {
        return Err(format!("$from goes with default and nothing else, got '{key}'"));
    }
    match object.get("$from").and_then(Value::as_str) {
        Some(path) if is_path(path) => Ok(Template::From(path.to_owned(), object.get("default").cloned())),
        _ => Err("$from must be a path such as 'order.title'".to_owned()),
    }
}

fn pieces(text: &str) -> Result<Template, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((words, after)) = rest.split_once("{{") {
        let (inside, after) = after
            .split_once("}}")
            .ok_or_else(|| format!("'{text}': a {{{{ is never closed"))?;
        if !words.is_empty() {
            pieces.push(Piece::Words(words.to_owned()));
        }
        pieces.push(hole(inside).map_err(|why| format!("'{text}': {why}"))?);
        rest = after;
    }
    if pieces.is_empty() {
        return Ok(Template::Literal(Value::from(text)));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Words(rest.to_owned()));
    }
    Ok(Template::Text(pieces))
}

fn hole(inside: &str) -> Result<Piece, String> {
    let mut parts = inside.split('|').map(str::trim);
    let path = parts.next().unwrap_or_default();
    if !is_path(path) {
        return Err(format!("'{path}' is no path such as order.title"));
    }
    let changes: Result<_, String> = parts
        .map(|word| match word {
            "trim" => Ok(Change::Trim),
            "upper" => Ok(Change::Upper),
            "lower" => Ok(Change::Lower),
            unknown => Err(format!("'{unknown}' is none of trim, upper, lower")),
        })
        .collect();
    Ok(Piece::Hole(path.to_owned(), changes?))
}

fn is_path(path: &str) -> bool {
    path.split('.').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    })
}

fn fill_text(pieces: &[Piece], inputs: &Value) -> Result<String, String> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Words(words) => text.push_str(words),
            Piece::Hole(path, changes) => {
                let value = look_up(inputs, path).ok_or_else(|| absent(path, inputs))?;
                let found = match value {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                text.push_str(&changes.iter().fold(found, |text, change| change.apply(&text)));
            }
        }
    }
    Ok(text)
}

impl Change {
    fn apply(self, text: &str) -> String {
        match self {
            Change::Trim => text.trim().to_owned(),
            Change::Upper => text.to_uppercase(),
            Change::Lower => text.to_lowercase(),
        }
    }
}

fn absent(path: &str, inputs: &Value) -> String {
    let known: Vec<&str> = inputs
        .as_object()
        .map(|object| object.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    format!("no input '{path}'; inputs are: {known}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: Value) -> Result<Value, String> {
        let inputs = json!({ "name": " Hammer ", "price": 12.5, "order": { "lines": [{ "sku": "A" }] } });
        Template::parse(&template)?.fill(&inputs)
    }

    #[test]
    fn texts_are_filled_and_values_taken_as_they_are() {
        let filled = fill(json!({
            "title": "{{ name | trim | upper }}: {{price}}",
            "price": { "$from": "price" },
            "sku": [{ "$from": "order.lines.0.sku" }],
            "unit": { "$from": "unit", "default": "piece" },
            "fixed": [1, "two", null],
        }));
        let wanted = json!({
            "title": "HAMMER: 12.5", "price": 12.5, "sku": ["A"], "unit": "piece", "fixed": [1, "two", null],
        });
        assert_eq!(filled, Ok(wanted));
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        assert_eq!(
            fill(json!("{{nmae}}")),
            Err("no input 'nmae'; inputs are: name, order, price".to_owned())
        );
    }

    #[test]
    fn malformed_templates_are_refused_when_parsed() {
        for wrong in [
            json!("{{name"),
            json!("{{}}"),
            json!("{{a b}}"),
            json!("{{name|shout}}"),
            json!({ "$from": 1 }),
            json!({ "$from": "a", "other": 1 }),
        ] {
            assert!(Template::parse(&wrong).is_err(), "{wrong}");
        }
        let deep = (0..40).fold(json!(1), |value, _| json!([value]));
        assert!(Template::parse(&deep).is_err());
    }
}
