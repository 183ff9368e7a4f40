//! A field's type and rules, and whether a JSON value keeps them.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use super::kind::Kind;
use super::naming::{is_field_name, is_model_name};

/// pgvector indexes vectors up to this length.
const LONGEST_INDEXED_VECTOR: u16 = 2000;
/// A longer pattern is a mistake.
const LONGEST_PATTERN: usize = 1000;

/// One field of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<Value>,
    #[serde(default)]
    pub(crate) unique: bool,
    #[serde(default)]
    pub(crate) index: bool,
    /// The values allowed; none listed, all allowed.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed: Vec<Value>,
    /// The least number, or the least characters of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    /// What a text must hold somewhere; `^` and `$` tie it to the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) references: Option<Reference>,
    /// What happens to rows that refer to a row that is deleted; `restrict` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_delete: Option<OnDelete>,
    /// By which distance an indexed vector is searched; `cosine` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<Metric>,
}

/// `Model` or `Model.field`: a row of that model must have the value. Without a field, the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Reference {
    pub(crate) model: String,
    pub(crate) field: String,
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (model, field) = text.split_once('.').unwrap_or((&text, "id"));
        if !is_model_name(model) || !is_field_name(field) {
            return Err("references takes a model, or a model and its field as in User.email".to_owned());
        }
        Ok(Reference {
            model: model.to_owned(),
            field: field.to_owned(),
        })
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        format!("{}.{}", reference.model, reference.field)
    }
}

/// What becomes of rows whose reference loses its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnDelete {
    /// The row cannot be deleted.
    Restrict,
    /// They are deleted, too.
    Cascade,
    /// Their field becomes null.
    SetNull,
}

/// A distance of vectors. Less is nearer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Metric {
    #[default]
    Cosine,
    L2,
    /// The negative inner product.
    Ip,
}

/// A regular expression in the syntax of `regex-lite`: linear in time, whatever the pattern. It is checked here and
/// not by PostgreSQL, so that a refusal names the field, in a bulk call the item, before any SQL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > LONGEST_PATTERN {
            return Err(format!("pattern is longer than {LONGEST_PATTERN} bytes"));
        }
        Regex::new(&text)
            .map(Pattern)
            .map_err(|error| format!("pattern is no regular expression: {error}"))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.as_str().to_owned()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Pattern {
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Field {
    /// A field of a type and no rules.
    pub(crate) fn of(kind: Kind) -> Self {
        Field {
            kind,
            required: false,
            default: None,
            unique: false,
            index: false,
            allowed: Vec::new(),
            min: None,
            max: None,
            pattern: None,
            references: None,
            on_delete: None,
            metric: None,
        }
    }

    /// The value as text that PostgreSQL casts to the field's type; `None` for null.
    ///
    /// # Errors
    /// What was expected, in words that do not repeat the value.
    pub(crate) fn accept(&self, value: &Value) -> Result<Option<String>, String> {
        if value.is_null() {
            return if self.required {
                Err("is required and may not be null".to_owned())
            } else {
                Ok(None)
            };
        }
        let text = self.kind.text_of(value)?;
        let allows = |allowed: &Value| self.kind.same(allowed, value);
        if !self.allowed.is_empty() && !self.allowed.iter().any(allows) {
            return Err("is not one of the allowed values".to_owned());
        }
        self.within_bounds(value)?;
        match &self.pattern {
            Some(pattern) if !pattern.0.is_match(&text) => {
                Err(format!("does not match {}", pattern.as_str()))
            }
            _ => Ok(Some(text)),
        }
    }

    fn within_bounds(&self, value: &Value) -> Result<(), String> {
        if self.min.is_none() && self.max.is_none() {
            return Ok(());
        }
        let (size, what) = match value {
            // Decimals come as text, too.
            Value::String(text) if self.kind == Kind::Str => {
                (text.chars().count() as f64, " characters long")
            }
            Value::String(text) => (text.parse().unwrap_or(f64::NAN), ""),
            value => (value.as_f64().unwrap_or(f64::NAN), ""),
        };
        match (self.min, self.max) {
            (Some(min), _) if size < min => Err(format!("must be at least {min}{what}")),
            (_, Some(max)) if size > max => Err(format!("must be at most {max}{what}")),
            _ => Ok(()),
        }
    }

    /// Whether the rules agree with each other and with the type.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let bounded = self.kind.is_number() || self.kind == Kind::Str;
        let vector = matches!(self.kind, Kind::Vector(_));
        let rules = [
            (
                (self.min.is_some() || self.max.is_some()) && !bounded,
                "min and max are for int, float, decimal and str only",
            ),
            (
                self.pattern.is_some() && self.kind != Kind::Str,
                "pattern is for str only",
            ),
            (
                self.unique && (vector || self.kind.is_json()),
                "unique is not for dict, json, list and vector",
            ),
            (self.metric.is_some() && !vector, "metric is for vector only"),
            (
                self.index && matches!(self.kind, Kind::Vector(length) if length > LONGEST_INDEXED_VECTOR),
                "a vector with an index has 2000 numbers at most",
            ),
            (
                self.on_delete.is_some() && self.references.is_none(),
                "on_delete is for a field with references",
            ),
            (
                self.on_delete == Some(OnDelete::SetNull) && self.required,
                "on_delete set_null is not for a required field",
            ),
            (
                self.allowed.iter().any(|value| self.kind.text_of(value).is_err()),
                "enum holds a value of another type",
            ),
        ];
        if let Some((_, why)) = rules.iter().find(|(broken, _)| *broken) {
            return Err((*why).to_owned());
        }
        match &self.default {
            Some(default) => self
                .accept(default)
                .map(|_| ())
                .map_err(|why| format!("default {why}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(definition: Value) -> Result<Field, String> {
        let field: Field = serde_json::from_value(definition).map_err(|error| error.to_string())?;
        field.check().map(|()| field)
    }

    #[test]
    fn rules_are_kept() {
        let mut field = Field::of(Kind::Int);
        field.required = true;
        (field.min, field.max) = (Some(1.0), Some(5.0));
        assert_eq!(field.accept(&json!(5)), Ok(Some("5".to_owned())));
        assert!(field.accept(&json!(0)).is_err() && field.accept(&json!(6)).is_err());
        assert!(field.accept(&Value::Null).is_err());
        field.default = Some(json!(9));
        assert_eq!(field.check(), Err("default must be at most 5".to_owned()));
    }

    #[test]
    fn what_an_enum_allows_may_be_written_otherwise() {
        let id = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
        for (kind, allowed, sent, other) in [
            ("float", json!(1), json!(1.0), json!(1.5)),
            ("decimal", json!("1.50"), json!(1.5), json!("1.51")),
            (
                "uuid",
                json!(id),
                json!(id.to_uppercase()),
                json!(id.replace('6', "7")),
            ),
        ] {
            let field = field(json!({ "type": kind, "enum": [allowed] })).unwrap();
            assert!(field.accept(&sent).is_ok(), "{kind}: {sent} is {allowed}");
            assert!(field.accept(&other).is_err(), "{kind}: {other} is not {allowed}");
        }
    }

    #[test]
    fn texts_have_a_length_and_a_pattern() {
        let field = field(json!({ "type": "str", "min": 2, "max": 4, "pattern": "^[a-z]+$" })).unwrap();
        assert!(field.accept(&json!("abc")).is_ok());
        for wrong in ["q", "qqqqq", "QQQ"] {
            let why = field.accept(&json!(wrong)).unwrap_err();
            assert!(!why.contains(wrong), "{why}");
        }
        assert_eq!(json!(field)["pattern"], "^[a-z]+$");
    }

    #[test]
    fn rules_that_do_not_fit_are_refused() {
        for wrong in [
            json!({ "type": "str", "pattern": "(" }),
            json!({ "type": "int", "pattern": "1" }),
            json!({ "type": "vector(3)", "unique": true }),
            json!({ "type": "vector(2001)", "index": true }),
            json!({ "type": "int", "metric": "l2" }),
            json!({ "type": "int", "on_delete": "cascade" }),
            json!({ "type": "int", "references": "User", "on_delete": "set_null", "required": true }),
            json!({ "type": "int", "references": "User; drop" }),
            json!({ "type": "decimal", "max": 1, "default": "2.5" }),
        ] {
            assert!(field(wrong.clone()).is_err(), "{wrong}");
        }
        let whole = field(json!({ "type": "int", "references": "User" })).unwrap();
        assert_eq!(json!(whole)["references"], "User.id");
    }
}
