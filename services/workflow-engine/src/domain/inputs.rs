//! Which inputs a run takes: the limits that all runs have, and the part of a workflow's own JSON Schema that is
//! checked, `required` and `type` of top-level properties. The rest of a schema is told to callers, not checked.

use serde_json::{Map, Value};

/// Longest name of an input, in bytes.
const LONGEST_KEY: usize = 256;
/// Names that Nexus refuses, since its interpreters know them.
const REFUSED: [&str; 3] = ["eval", "exec", "compile"];
const TYPES: [&str; 7] = [
    "string", "number", "integer", "boolean", "object", "array", "null",
];

/// Everything that is wrong with a run's inputs, each beginning with the input's name.
pub(crate) fn faults(inputs: &Map<String, Value>, schema: Option<&Map<String, Value>>) -> Vec<String> {
    let mut faults: Vec<String> = inputs.keys().filter_map(|key| refused(key)).collect();
    let Some(schema) = schema else {
        return faults;
    };
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !inputs.contains_key(name) {
            faults.push(format!("{name}: is required"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        if let (Some(value), Some(types)) = (inputs.get(name), property.get("type").map(names))
            && !types.iter().any(|kind| is(value, kind))
        {
            faults.push(format!("{name}: must be of type {}", types.join(" or ")));
        }
    }
    faults
}

fn refused(key: &str) -> Option<String> {
    if key.len() > LONGEST_KEY {
        let start: String = key.chars().take(32).collect();
        return Some(format!("{start}...: a name has {LONGEST_KEY} bytes at most"));
    }
    (key.starts_with("__") || REFUSED.contains(&key))
        .then(|| format!("{key}: this name is refused, as are those that begin with __"))
}

/// What of a schema cannot be understood, in words.
pub(crate) fn schema_faults(schema: &Map<String, Value>) -> Vec<String> {
    let mut faults = Vec::new();
    if schema.get("type").is_some_and(|kind| kind != "object") {
        faults.push("inputs_schema.type must be 'object'".to_owned());
    }
    let texts = |list: &Value| {
        list.as_array()
            .is_some_and(|list| list.iter().all(Value::is_string))
    };
    if schema.get("required").is_some_and(|list| !texts(list)) {
        faults.push("inputs_schema.required must be a list of names".to_owned());
    }
    match schema.get("properties") {
        None => {}
        Some(Value::Object(properties)) => faults.extend(
            properties
                .iter()
                .filter_map(|(name, property)| property_fault(name, property)),
        ),
        Some(_) => faults.push("inputs_schema.properties must be an object".to_owned()),
    }
    faults
}

fn property_fault(name: &str, property: &Value) -> Option<String> {
    if !(property.is_object() || property.is_boolean()) {
        return Some(format!("inputs_schema.properties.{name} must be a schema"));
    }
    let types = names(property.get("type")?);
    let known = !types.is_empty() && types.iter().all(|kind| TYPES.contains(kind));
    (!known).then(|| {
        format!(
            "inputs_schema.properties.{name}.type must be of {}",
            TYPES.join(", ")
        )
    })
}

/// The types that a `type` keyword names: one, or a list.
fn names(kind: &Value) -> Vec<&str> {
    match kind {
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap_or("?")).collect(),
        kind => vec![kind.as_str().unwrap_or("?")],
    }
}

/// JSON Schema 2020-12, validation, 6.1.1: a number without a fraction is an integer.
fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(inputs: Value, schema: Value) -> Vec<String> {
        faults(inputs.as_object().unwrap(), schema.as_object())
    }

    #[test]
    fn required_and_typed_inputs_are_checked_by_name() {
        let schema = json!({
            "required": ["name", "count"],
            "properties": { "count": { "type": "integer" }, "note": { "type": ["string", "null"] }, "any": true },
        });
        assert!(told(json!({ "name": 1, "count": 2.0, "note": null }), schema.clone()).is_empty());
        assert_eq!(
            told(json!({ "count": 2.5, "note": 1 }), schema),
            [
                "name: is required",
                "count: must be of type integer",
                "note: must be of type string or null"
            ]
        );
    }

    #[test]
    fn dangerous_and_long_names_are_refused() {
        let long = "k".repeat(257);
        let inputs = json!({ "__class__": 1, "eval": 1, "exec": 1, "compile": 1, long: 1, "fine": 1 });
        assert_eq!(told(inputs, Value::Null).len(), 5);
    }

    #[test]
    fn schemas_that_cannot_be_checked_are_refused() {
        let wrong =
            json!({ "type": "array", "required": "name", "properties": { "a": { "type": "text" }, "b": 1 } });
        assert_eq!(schema_faults(wrong.as_object().unwrap()).len(), 4);
        let right = json!({ "type": "object", "properties": { "a": {}, "b": { "type": "string" } } });
        assert!(schema_faults(right.as_object().unwrap()).is_empty());
    }
}
