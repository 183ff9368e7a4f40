//! Types of fields: their names, and how a JSON value of each becomes text that PostgreSQL casts.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::decimal;

/// Numbers that a vector may hold (pgvector's own limit).
const LONGEST_VECTOR: u16 = 16_000;
/// The types but `vector(n)`, as definitions name them.
const NAMES: [(&str, Kind); 13] = [
    ("int", Kind::Int),
    ("str", Kind::Str),
    ("float", Kind::Float),
    ("bool", Kind::Bool),
    ("datetime", Kind::Datetime),
    ("timestamp", Kind::Timestamp),
    ("dict", Kind::Dict),
    ("json", Kind::Json),
    ("list", Kind::List),
    ("bytes", Kind::Bytes),
    ("uuid", Kind::Uuid),
    ("decimal", Kind::Decimal),
    ("vector", Kind::Vector(0)),
];

/// A field's type. The names are DataFlow's; `timestamp`, `json`, `uuid`, `decimal` and `vector(n)` are our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Kind {
    /// 32 bits, as PostgreSQL's INTEGER.
    Int,
    Str,
    /// 64 bits.
    Float,
    Bool,
    /// ISO 8601, stored without a time zone, in UTC.
    Datetime,
    /// ISO 8601, a moment: stored and answered with its zone.
    Timestamp,
    Dict,
    /// Any JSON.
    Json,
    List,
    /// Base64 (RFC 4648, section 4) in JSON.
    Bytes,
    Uuid,
    /// Exact: taken as a text or a number, answered as a text.
    Decimal,
    /// So many numbers of 32 bits, from 1 to 16000.
    Vector(u16),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Kind::Vector(length) = self {
            return write!(f, "vector({length})");
        }
        let name = NAMES.iter().find(|(_, kind)| kind == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> String {
        kind.to_string()
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let length = text
            .strip_prefix("vector(")
            .and_then(|rest| rest.strip_suffix(')'));
        if let Some(length) = length {
            return match length.parse() {
                Ok(length @ 1..=LONGEST_VECTOR) => Ok(Kind::Vector(length)),
                _ => Err(format!("a vector has from 1 to {LONGEST_VECTOR} numbers")),
            };
        }
        let known = NAMES
            .iter()
            .find(|(name, kind)| *name == text && *kind != Kind::Vector(0));
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("unknown type; known are {}(n)", names.join(", "))
        })
    }
}

impl Kind {
    /// Whether its values are JSON documents, stored as JSONB.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Kind::Dict | Kind::Json | Kind::List)
    }

    /// Whether its values are numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Float | Kind::Decimal)
    }

    /// Whether greater and less mean anything.
    pub(crate) fn has_order(self) -> bool {
        !self.is_json() && !matches!(self, Kind::Bool | Kind::Vector(_))
    }

    /// The value as text, where it is of this type.
    ///
    /// # Errors
    /// What was expected, in words that do not repeat the value.
    pub(crate) fn text_of(self, value: &Value) -> Result<String, String> {
        match (self, value) {
            (Kind::Int, Value::Number(number)) => number
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
                .map(|number| number.to_string())
                .ok_or_else(|| "must be a whole number of 32 bits".to_owned()),
            (Kind::Float, Value::Number(number)) => Ok(number.to_string()),
            (Kind::Decimal, Value::Number(number)) => decimal::text_of(number),
            (Kind::Bool, Value::Bool(truth)) => Ok(truth.to_string()),
            (kind, Value::String(text)) if kind != Kind::Json => kind.text_of_text(text),
            (Kind::Dict, Value::Object(_)) | (Kind::List, Value::Array(_)) => document(value),
            (Kind::Json, value) if !value.is_null() => document(value),
            (Kind::Vector(length), Value::Array(numbers)) if numbers.len() == usize::from(length) => {
                vector(numbers)
            }
            (kind, _) => Err(kind.expected()),
        }
    }

    /// Whether two values of this type are the same one, however they are written.
    pub(crate) fn same(self, one: &Value, other: &Value) -> bool {
        match (self, self.text_of(one), self.text_of(other)) {
            (Kind::Float, Ok(_), Ok(_)) => one.as_f64() == other.as_f64(),
            (Kind::Decimal, Ok(one), Ok(other)) => decimal::same(&one, &other),
            (Kind::Uuid, Ok(one), Ok(other)) => one == other,
            _ => one == other,
        }
    }

    fn text_of_text(self, text: &str) -> Result<String, String> {
        let fits = match self {
            Kind::Str if text.contains('\0') => {
                return Err("must not hold the character U+0000".to_owned());
            }
            Kind::Str => true,
            Kind::Datetime | Kind::Timestamp => is_a_date(text),
            Kind::Bytes => is_base64(text),
            Kind::Decimal => decimal::is_one(text),
            Kind::Uuid => {
                return uuid::Uuid::try_parse(text)
                    .map(|id| id.to_string())
                    .map_err(|_| self.expected());
            }
            _ => false,
        };
        if fits {
            Ok(text.to_owned())
        } else {
            Err(self.expected())
        }
    }

    fn expected(self) -> String {
        let what = match self {
            Kind::Int => "a whole number",
            Kind::Str => "a text",
            Kind::Float => "a number",
            Kind::Bool => "true or false",
            Kind::Datetime => "a date and time such as 2026-01-31T12:00:00",
            Kind::Timestamp => "a moment such as 2026-01-31T12:00:00Z",
            Kind::Dict => "an object",
            Kind::Json => "JSON other than null",
            Kind::List => "an array",
            Kind::Bytes => "bytes in base64",
            Kind::Uuid => "a UUID",
            Kind::Decimal => "a decimal number, as text or number, of 400 characters at most",
            Kind::Vector(length) => return format!("must be an array of {length} numbers"),
        };
        format!("must be {what}")
    }
}

/// JSONB cannot hold U+0000, in keys neither.
fn document(value: &Value) -> Result<String, String> {
    if has_nul(value) {
        return Err("must not hold the character U+0000".to_owned());
    }
    Ok(value.to_string())
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn vector(numbers: &[Value]) -> Result<String, String> {
    let mut text = String::with_capacity(numbers.len() * 10 + 2);
    for number in numbers {
        let number = number.as_number().and_then(Number::as_f64);
        let Some(number) = number.filter(|number| number.abs() <= f64::from(f32::MAX)) else {
            return Err("must hold numbers of 32 bits only".to_owned());
        };
        text.push(if text.is_empty() { '[' } else { ',' });
        text.push_str(&number.to_string());
    }
    text.push(']');
    Ok(text)
}

/// PostgreSQL also takes words such as `now`, which are not dates.
fn is_a_date(text: &str) -> bool {
    let has_form = text.len() >= 10
        && text
            .bytes()
            .take(10)
            .enumerate()
            .all(|(place, byte)| match place {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
    let day = |text: &str| text.parse::<jiff::civil::Date>().is_ok();
    let time =
        |text: &str| text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok();
    // An annotation such as [Europe/Berlin] (RFC 9557) is none of PostgreSQL's.
    has_form
        && !text.starts_with("0000")
        && !text.contains('[')
        && if text.len() == 10 { day(text) } else { time(text) }
}

/// With padding and nothing in between, as JSON's `contentEncoding` means it.
fn is_base64(text: &str) -> bool {
    let stem = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - stem.len() <= 2
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_type_takes_its_own_values_only() {
        let samples = [
            (Kind::Int, json!(7)),
            (Kind::Str, json!("x")),
            (Kind::Float, json!(7.5)),
            (Kind::Bool, json!(true)),
            (Kind::Datetime, json!("2026-01-31T12:00:00")),
            (Kind::Timestamp, json!("2026-01-31T12:00:00+02:00")),
            (Kind::Dict, json!({ "a": 1 })),
            (Kind::Json, json!(false)),
            (Kind::List, json!([1])),
            (Kind::Bytes, json!("aGk=")),
            (Kind::Uuid, json!("6F9619FF-8B86-D011-B42D-00C04FC964FF")),
            (Kind::Decimal, json!("-12345678901234567890.123e-2")),
            (Kind::Vector(2), json!([1, -0.5])),
        ];
        for (kind, own) in &samples {
            assert!(kind.text_of(own).is_ok(), "{kind} {own}");
            for (other, value) in samples.iter().filter(|(other, _)| other != kind) {
                let also = match (kind, other) {
                    (Kind::Json, _) | (Kind::Float, Kind::Int) | (Kind::Bool, Kind::Json) => true,
                    (Kind::Datetime | Kind::Timestamp, Kind::Datetime | Kind::Timestamp) => true,
                    (Kind::Decimal, Kind::Int | Kind::Float) | (Kind::List, Kind::Vector(_)) => true,
                    (Kind::Str, _) => value.is_string(),
                    _ => false,
                };
                assert_eq!(kind.text_of(value).is_ok(), also, "{kind} and {value}");
            }
        }
    }

    #[test]
    fn what_postgresql_would_refuse_is_refused_before() {
        for (kind, wrong) in [
            (Kind::Int, json!(2_147_483_648_i64)),
            (Kind::Int, json!(1e300)),
            (Kind::Str, json!("a\u{0}")),
            (Kind::Dict, json!({ "a": ["\u{0}"] })),
            (Kind::Dict, json!({ "\u{0}": 1 })),
            (Kind::Datetime, json!("now")),
            (Kind::Datetime, json!("2026-02-30")),
            (Kind::Timestamp, json!("2026-02-03T25:00:00Z")),
            (Kind::Bytes, json!("aGk")),
            (Kind::Bytes, json!("a=k=")),
            (Kind::Decimal, json!("NaN")),
            (Kind::Decimal, json!("1e999999")),
            (Kind::Decimal, json!("1.")),
            (Kind::Vector(1), json!([1e39])),
            (Kind::Vector(1), json!([null])),
            (Kind::Vector(3), json!([1, 2])),
        ] {
            assert!(kind.text_of(&wrong).is_err(), "{kind} took {wrong}");
        }
        assert!(
            Kind::Dict.text_of(&json!({ "a": "\\u0000" })).is_ok(),
            "six characters, not one"
        );
    }

    #[test]
    fn a_number_is_the_one_that_was_sent() {
        let sent = "31.245270191439438";
        let read: Value = serde_json::from_str(sent).unwrap();
        assert_eq!(Kind::Float.text_of(&read).unwrap(), sent);
    }

    #[test]
    fn a_type_has_one_name() {
        for name in ["int", "decimal", "vector(384)"] {
            let kind: Kind = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(json!(kind), json!(name));
        }
        for wrong in [
            "text",
            "vector",
            "vector(0)",
            "vector(16001)",
            "vector(-1)",
            "vector(1) ",
        ] {
            assert!(serde_json::from_value::<Kind>(json!(wrong)).is_err(), "{wrong}");
        }
    }
}
