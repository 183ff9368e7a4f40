//! Values made from other values: JSON in which a text may hold `{{path}}` or `{{path | filter | ...}}`, and in
//! which `{"$from": "path", "default": ...}` stands for a value. Read once, filled in at every run.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::path;
use super::suggest;

/// JSON with places to fill in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Template {
    Literal(Value),
    /// One place alone: its value keeps its type.
    Place(Place),
    /// A text with places in it.
    Text(Vec<Piece>),
    Array(Vec<Template>),
    Object(Vec<(String, Template)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Literal(String),
    Place(Place),
}

/// Where a value comes from and what is done to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    path: String,
    filters: Vec<Filter>,
    default: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Trim,
    Upper,
    Lower,
    Number,
    Text,
    Length,
}

const FILTERS: [(&str, Filter); 6] = [
    ("trim", Filter::Trim),
    ("upper", Filter::Upper),
    ("lower", Filter::Lower),
    ("number", Filter::Number),
    ("text", Filter::Text),
    ("length", Filter::Length),
];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in public words.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => read_text(text),
            Value::Array(items) => {
                let items = items.iter().map(Self::read).collect::<Result<_, _>>();
                Ok(Template::Array(items?))
            }
            Value::Object(object) if object.contains_key("$from") => Ok(Template::Place(read_from(object)?)),
            Value::Object(object) => {
                let members = object
                    .iter()
                    .map(|(key, member)| Ok((key.clone(), Self::read(member)?)))
                    .collect::<Result<_, String>>();
                Ok(Template::Object(members?))
            }
            scalar => Ok(Template::Literal(scalar.clone())),
        }
    }

    /// Fills it in from `input`.
    ///
    /// # Errors
    /// A value is absent, or of a kind that a filter cannot take; named by its path, never by its content.
    pub(crate) fn fill(&self, input: &Map<String, Value>) -> Result<Value, String> {
        match self {
            Template::Literal(value) => Ok(value.clone()),
            Template::Place(place) => place.value(input),
            Template::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Place(place) => text.push_str(&as_text(&place.value(input)?)),
                    }
                }
                Ok(Value::String(text))
            }
            Template::Array(items) => items.iter().map(|item| item.fill(input)).collect(),
            Template::Object(members) => {
                let filled = members
                    .iter()
                    .map(|(key, member)| Ok((key.clone(), member.fill(input)?)));
                Ok(Value::Object(filled.collect::<Result<_, String>>()?))
            }
        }
    }
}

fn read_from(object: &Map<String, Value>) -> Result<Place, String> {
    if let Some(other) = object
        .keys()
        .find(|key| !["$from", "default"].contains(&key.as_str()))
    {
        return Err(format!("'$from' stands beside '{other}'; only 'default' may"));
    }
    let Some(expression) = object["$from"].as_str() else {
        return Err("'$from' expects a text: a path, with filters".to_owned());
    };
    let mut place = read_place(expression)?;
    place.default = object.get("default").cloned();
    Ok(place)
}

fn read_text(text: &str) -> Result<Template, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((expression, remainder)) = after.split_once("}}") else {
            return Err(format!("'{text}' opens '{{{{' and does not close it"));
        };
        if !before.is_empty() {
            pieces.push(Piece::Literal(before.to_owned()));
        }
        pieces.push(Piece::Place(read_place(expression)?));
        rest = remainder;
    }
    if pieces.is_empty() {
        return Ok(Template::Literal(Value::from(text)));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(match <[Piece; 1]>::try_from(pieces) {
        Ok([Piece::Place(place)]) => Template::Place(place),
        Ok([literal]) => Template::Text(vec![literal]),
        Err(pieces) => Template::Text(pieces),
    })
}

fn read_place(expression: &str) -> Result<Place, String> {
    let mut parts = expression.split('|').map(str::trim);
    let path = parts.next().unwrap_or_default().to_owned();
    if !path::is_path(&path) {
        return Err(format!("'{path}' is no path such as product.name"));
    }
    let filters = parts.map(|word| {
        let found = FILTERS.iter().find(|(name, _)| *name == word);
        found.map(|(_, filter)| *filter).ok_or_else(|| {
            let near = suggest::hint(word, FILTERS.map(|(name, _)| name));
            format!("unknown filter '{word}'{near}")
        })
    });
    Ok(Place {
        path,
        filters: filters.collect::<Result<_, _>>()?,
        default: None,
    })
}

impl Place {
    fn value(&self, input: &Map<String, Value>) -> Result<Value, String> {
        let Some(value) = path::get(input, &self.path).or(self.default.as_ref()) else {
            let near = suggest::hint(&self.path, input.keys().map(String::as_str));
            return Err(format!("'{}' is not among the inputs{near}", self.path));
        };
        let mut value = value.clone();
        for filter in &self.filters {
            value = filter
                .apply(&value)
                .ok_or_else(|| format!("'{}' cannot be made {}", self.path, filter.result()))?;
        }
        Ok(value)
    }
}

impl Filter {
    fn apply(self, value: &Value) -> Option<Value> {
        Some(match (self, value) {
            (Filter::Trim, Value::String(text)) => Value::from(text.trim()),
            (Filter::Upper, Value::String(text)) => Value::from(text.to_uppercase()),
            (Filter::Lower, Value::String(text)) => Value::from(text.to_lowercase()),
            (Filter::Number, Value::Number(_)) => value.clone(),
            (Filter::Number, Value::String(text)) => Value::Number(number(text.trim())?),
            (Filter::Text, _) => Value::from(as_text(value)),
            (Filter::Length, Value::String(text)) => Value::from(text.chars().count()),
            (Filter::Length, Value::Array(items)) => Value::from(items.len()),
            (Filter::Length, Value::Object(members)) => Value::from(members.len()),
            _ => return None,
        })
    }

    fn result(self) -> &'static str {
        match self {
            Filter::Number => "a number",
            Filter::Length => "a length",
            _ => "a text",
        }
    }
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    Number::from_f64(text.parse().ok()?)
}

/// A value inside a text: texts as they are, the rest as JSON.
fn as_text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::String(content) => text.push_str(content),
        Value::Null => {}
        // Writing into a String cannot fail.
        other => write!(text, "{other}").unwrap_or_default(),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: Value, input: Value) -> Result<Value, String> {
        Template::read(&template)?.fill(input.as_object().unwrap())
    }

    #[test]
    fn a_place_alone_keeps_its_type_and_in_a_text_it_is_text() {
        let input = json!({ "n": 3, "p": { "name": " Drill " }, "none": null });
        assert_eq!(fill(json!("{{n}}"), input.clone()), Ok(json!(3)));
        assert_eq!(
            fill(json!("no. {{ n }}!{{none}}"), input.clone()),
            Ok(json!("no. 3!"))
        );
        let nested = json!({ "a": ["{{p.name | trim | upper}}", 1], "b": { "$from": "n" } });
        assert_eq!(fill(nested, input), Ok(json!({ "a": ["DRILL", 1], "b": 3 })));
    }

    #[test]
    fn filters_turn_texts_into_numbers_and_lengths() {
        let input = json!({ "price": " 12.5 ", "count": "7", "tags": ["a", "b"] });
        assert_eq!(fill(json!("{{price | number}}"), input.clone()), Ok(json!(12.5)));
        assert_eq!(fill(json!("{{count | number}}"), input.clone()), Ok(json!(7)));
        assert_eq!(fill(json!("{{tags | length}}"), input.clone()), Ok(json!(2)));
        assert_eq!(
            fill(json!("{{tags | number}}"), input),
            Err("'tags' cannot be made a number".into())
        );
    }

    #[test]
    fn what_is_absent_is_named_unless_it_has_a_default() {
        let input = json!({ "name": "x" });
        let error = "'nmae' is not among the inputs; did you mean 'name'?";
        assert_eq!(fill(json!("{{nmae}}"), input.clone()), Err(error.into()));
        assert_eq!(
            fill(json!({ "$from": "nmae", "default": 1 }), input),
            Ok(json!(1))
        );
    }

    #[test]
    fn a_malformed_template_is_refused_when_it_is_read() {
        for template in [
            json!("{{a"),
            json!("{{}}"),
            json!("{{a | shout}}"),
            json!({ "$from": 1 }),
        ] {
            assert!(Template::read(&template).is_err(), "{template}");
        }
        assert!(Template::read(&json!({ "$from": "a", "else": 1 })).is_err());
    }
}
