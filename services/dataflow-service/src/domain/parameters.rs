//! Reading a call's parameters: each by its name and type, unknown ones refused.

use serde_json::{Map, Value};

use super::fault::{Fault, PARAMETER};
use super::model::Model;

/// What a call sends.
pub(crate) type Parameters = Map<String, Value>;
/// What a reading comes to.
pub(crate) type Read<T> = Result<T, Vec<Fault>>;

/// Refuses what is not known.
pub(crate) fn only(sent: &Parameters, known: &[&str]) -> Read<()> {
    let faults: Vec<Fault> = sent
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| {
            let message = match name.as_str() {
                "database_url" => "database_url is not accepted: the service has one database".to_owned(),
                _ => format!("unknown parameter {name}; known are {}", known.join(", ")),
            };
            Fault::about(PARAMETER, name, message)
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// An object; an empty one where none was sent.
pub(crate) fn object(sent: &Parameters, name: &str, code: &'static str) -> Read<Parameters> {
    match sent.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => refuse(code, name, "must be an object"),
    }
}

pub(crate) fn flag(sent: &Parameters, name: &str, default: bool) -> Read<bool> {
    match sent.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => refuse(PARAMETER, name, "must be true or false"),
    }
}

pub(crate) fn number(sent: &Parameters, name: &str, default: i64) -> Read<i64> {
    match sent.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => match value.as_i64() {
            Some(number) if number >= 0 => Ok(number),
            _ => refuse(PARAMETER, name, "must be a whole number from 0"),
        },
    }
}

/// One of a few words.
pub(crate) fn word<T: serde::de::DeserializeOwned>(
    sent: &Parameters,
    name: &str,
    default: T,
    words: &str,
) -> Read<T> {
    match sent.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => match serde_json::from_value(value.clone()) {
            Ok(word) => Ok(word),
            Err(_) => refuse(PARAMETER, name, &format!("must be {words}")),
        },
    }
}

/// One fault about a parameter. `what` completes the sentence that its name begins.
pub(crate) fn refuse<T>(code: &'static str, name: &str, what: &str) -> Read<T> {
    Err(vec![Fault::about(code, name, format!("{name} {what}"))])
}

/// `order_by`: `["field", "-field"]` or `[{field: -1}]`; `sort`: `[{field, order}]`. Newest first otherwise.
pub(crate) fn order(model: &Model, sent: &Parameters) -> Read<Vec<(String, bool)>> {
    let wrong = |parameter: &str| {
        let message = format!(
            "{parameter}: expected fields of {} that have an order, and their direction",
            model.name
        );
        vec![Fault::about(PARAMETER, parameter, message)]
    };
    let mut order = Vec::new();
    for parameter in ["order_by", "sort"] {
        let Some(given) = sent.get(parameter).filter(|given| !given.is_null()) else {
            continue;
        };
        let entries = given.as_array().ok_or_else(|| wrong(parameter))?;
        for entry in entries {
            let (column, descends) = direction(entry).ok_or_else(|| wrong(parameter))?;
            model.kind_of(&column).ok_or_else(|| wrong(parameter))?;
            // A column orders once; the first word counts.
            if !order.iter().any(|(known, _)| *known == column) {
                order.push((column, descends));
            }
        }
    }
    if order.is_empty() {
        order.push(("id".to_owned(), true));
    }
    Ok(order)
}

fn direction(entry: &Value) -> Option<(String, bool)> {
    if let Some(text) = entry.as_str() {
        return Some(match text.strip_prefix('-') {
            Some(column) => (column.to_owned(), true),
            None => (text.to_owned(), false),
        });
    }
    let object = entry.as_object()?;
    if let (Some(column), Some(order)) = (object.get("field"), object.get("order")) {
        let descends = match order.as_str()? {
            "asc" => false,
            "desc" => true,
            _ => return None,
        };
        return Some((column.as_str()?.to_owned(), descends));
    }
    let (column, sign) = object.iter().next().filter(|_| object.len() == 1)?;
    match sign.as_i64()? {
        1 => Some((column.clone(), false)),
        -1 => Some((column.clone(), true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_order_has_three_spellings() {
        let fields = json!({ "title": "str", "stock": "int" });
        let model = Model::define("Product", fields.as_object().unwrap()).unwrap();
        let read = |sent: Value| order(&model, sent.as_object().unwrap());
        let sent = json!({
            "order_by": ["-stock", { "title": 1 }, "stock"], "sort": [{ "field": "id", "order": "asc" }]
        });
        let wanted = [("stock", true), ("title", false), ("id", false)];
        assert_eq!(
            read(sent).unwrap(),
            wanted.map(|(column, descends)| (column.to_owned(), descends))
        );
        assert_eq!(read(json!({})).unwrap(), [("id".to_owned(), true)]);
        for wrong in [
            json!("id"),
            json!(["id; drop"]),
            json!([{ "id": 2 }]),
            json!([{ "id": 1, "title": 1 }]),
        ] {
            assert!(read(json!({ "order_by": wrong })).is_err());
        }
    }

    #[test]
    fn a_server_of_the_callers_choice_is_refused_by_name() {
        let sent = json!({ "database_url": "postgres://elsewhere" });
        let faults = only(sent.as_object().unwrap(), &["id"]).unwrap_err();
        assert_eq!(
            faults[0].message,
            "database_url is not accepted: the service has one database"
        );
    }
}
