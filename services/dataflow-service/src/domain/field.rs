//! A field's type and rules, and whether a JSON value fits them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field's type. The names are DataFlow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// 32 bits, as PostgreSQL's INTEGER.
    Int,
    Str,
    Float,
    Bool,
    /// ISO 8601, stored without a time zone.
    Datetime,
    Dict,
    List,
}

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
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
        if !self.allowed.is_empty() && !self.allowed.contains(value) {
            return Err("is not one of the allowed values".to_owned());
        }
        self.within_bounds(value)?;
        Ok(Some(text))
    }

    fn within_bounds(&self, value: &Value) -> Result<(), String> {
        let Some(number) = value.as_f64() else {
            return Ok(());
        };
        match (self.min, self.max) {
            (Some(min), _) if number < min => Err(format!("must be at least {min}")),
            (_, Some(max)) if number > max => Err(format!("must be at most {max}")),
            _ => Ok(()),
        }
    }

    /// Whether the rules agree with each other and with the type.
    pub(crate) fn check(&self) -> Result<(), String> {
        if (self.min.is_some() || self.max.is_some()) && !matches!(self.kind, Kind::Int | Kind::Float) {
            return Err("min and max are for int and float only".to_owned());
        }
        if self.allowed.iter().any(|value| self.kind.text_of(value).is_err()) {
            return Err("enum holds a value of another type".to_owned());
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

impl Kind {
    /// The value as text, where it is of this type.
    pub(crate) fn text_of(self, value: &Value) -> Result<String, String> {
        match (self, value) {
            (Kind::Int, Value::Number(number)) => number
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
                .map(|number| number.to_string())
                .ok_or_else(|| "must be a whole number of 32 bits".to_owned()),
            (Kind::Float, Value::Number(number)) => Ok(number.to_string()),
            (Kind::Bool, Value::Bool(truth)) => Ok(truth.to_string()),
            (Kind::Str | Kind::Datetime, Value::String(text)) if text.contains('\0') => {
                Err("must not hold the character U+0000".to_owned())
            }
            (Kind::Str, Value::String(text)) => Ok(text.clone()),
            (Kind::Datetime, Value::String(text)) if looks_like_a_date(text) => Ok(text.clone()),
            (Kind::Dict, Value::Object(_)) | (Kind::List, Value::Array(_)) => {
                let text = value.to_string();
                // JSONB cannot hold U+0000 either.
                if text.contains("\\u0000") {
                    return Err("must not hold the character U+0000".to_owned());
                }
                Ok(text)
            }
            (kind, _) => Err(format!("must be {}", kind.article())),
        }
    }

    fn article(self) -> &'static str {
        match self {
            Kind::Int => "a whole number",
            Kind::Str => "a text",
            Kind::Float => "a number",
            Kind::Bool => "true or false",
            Kind::Datetime => "a date and time such as 2026-01-31T12:00:00",
            Kind::Dict => "an object",
            Kind::List => "an array",
        }
    }
}

/// `YYYY-MM-DD...`: the form alone. PostgreSQL also takes words such as `now`, which are not dates.
fn looks_like_a_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_type_takes_its_own_values_only() {
        let samples = [
            (Kind::Int, json!(7)),
            (Kind::Str, json!("7")),
            (Kind::Float, json!(7.5)),
            (Kind::Bool, json!(true)),
            (Kind::Datetime, json!("2026-01-31T12:00:00")),
            (Kind::Dict, json!({ "a": 1 })),
            (Kind::List, json!([1])),
        ];
        for (kind, own) in &samples {
            assert!(kind.text_of(own).is_ok(), "{kind:?} {own}");
            for (other, value) in &samples {
                let also = matches!(
                    (kind, other),
                    (Kind::Float, Kind::Int) | (Kind::Str, Kind::Datetime)
                );
                if other != kind && !also {
                    assert!(kind.text_of(value).is_err(), "{kind:?} took {value}");
                }
            }
        }
    }

    #[test]
    fn what_postgresql_would_refuse_is_refused_before() {
        assert!(Kind::Int.text_of(&json!(2_147_483_648_i64)).is_err());
        assert!(Kind::Str.text_of(&json!("a\u{0}")).is_err());
        assert!(Kind::Dict.text_of(&json!({ "a": "\u{0}" })).is_err());
        assert!(Kind::Datetime.text_of(&json!("now")).is_err());
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
}
