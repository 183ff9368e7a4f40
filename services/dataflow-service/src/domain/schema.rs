//! JSON Schema (2020-12) of models, and of nodes' parameters and results.

use serde_json::{Map, Value, json};

use super::bulk_schema;
use super::field::{Field, Kind};
use super::model::{DELETED, Model, STAMPS};
use super::node::Operation;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A row of the model, as it is answered. What the service sets is `readOnly`.
pub(crate) fn of_model(model: &Model) -> Value {
    json!({
        "$schema": DIALECT, "title": model.name, "type": "object", "properties": row(model),
        "required": required(model), "additionalProperties": false,
    })
}

/// A node: `{node, model, operation, parameters, result}`.
pub(crate) fn of_node(model: &Model, word: &str, operation: Operation, max_page: i64) -> Value {
    let parameters = parameters(model, operation, max_page);
    json!({
        "node": format!("{}{word}Node", model.name), "model": model.name, "operation": word,
        "parameters": parameters, "result": result(model, operation),
    })
}

fn properties(model: &Model) -> Map<String, Value> {
    let fields = model.fields.iter();
    fields
        .map(|(name, field)| (name.clone(), of_field(field)))
        .collect()
}

/// The fields, and what the service sets.
fn row(model: &Model) -> Map<String, Value> {
    let mut row = properties(model);
    let own = STAMPS
        .into_iter()
        .chain([DELETED].into_iter().filter(|_| model.config.soft_delete));
    for name in own {
        let mut stamp = of_kind(Kind::Datetime);
        stamp.insert("readOnly".to_owned(), json!(true));
        row.insert(name.to_owned(), Value::Object(stamp));
    }
    row
}

/// What must be sent with a new row.
fn required(model: &Model) -> Vec<&str> {
    let needs = |name: &str, field: &Field| {
        (field.required && field.default.is_none() && name != "id") || (name == "id" && !model.makes_ids())
    };
    let fields = model.fields.iter().filter(|(name, field)| needs(name, field));
    fields.map(|(name, _)| name.as_str()).collect()
}

fn of_field(field: &Field) -> Value {
    let mut schema = of_kind(field.kind);
    let mut say = |name: &str, value: Value| {
        schema.insert(name.to_owned(), value);
    };
    let is_text = field.kind == Kind::Str;
    if let Some(min) = field.min {
        say(if is_text { "minLength" } else { "minimum" }, bound(min));
    }
    if let Some(max) = field.max {
        say(if is_text { "maxLength" } else { "maximum" }, bound(max));
    }
    if let Some(pattern) = &field.pattern {
        say("pattern", json!(pattern.as_str()));
    }
    if let Some(default) = &field.default {
        say("default", default.clone());
    }
    if !field.allowed.is_empty() {
        say("enum", json!(field.allowed));
    }
    if !field.required {
        // Null is a value of every field that is not required.
        match schema.remove("type") {
            Some(Value::Array(mut types)) => {
                types.push(json!("null"));
                schema.insert("type".to_owned(), Value::Array(types));
            }
            Some(one) => {
                schema.insert("type".to_owned(), json!([one, "null"]));
            }
            None => {}
        }
        if let Some(Value::Array(allowed)) = schema.get_mut("enum") {
            allowed.push(Value::Null);
        }
    }
    Value::Object(schema)
}

/// Whole numbers are written as such: a length of `3.0` is no length to many readers.
fn bound(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        json!(number as i64)
    } else {
        json!(number)
    }
}

fn of_kind(kind: Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Int => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
        Kind::Str => json!({ "type": "string" }),
        Kind::Float => json!({ "type": "number" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Datetime => {
            json!({ "type": "string", "description": "ISO 8601, UTC, answered without a zone" })
        }
        Kind::Timestamp => json!({ "type": "string", "format": "date-time" }),
        Kind::Dict => json!({ "type": "object" }),
        Kind::Json => json!({}),
        Kind::List => json!({ "type": "array" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Uuid => json!({ "type": "string", "format": "uuid" }),
        Kind::Decimal => {
            json!({ "type": ["string", "number"], "description": "exact; answered as a string" })
        }
        Kind::Vector(length) => json!({
            "type": "array", "items": { "type": "number" }, "minItems": length, "maxItems": length,
        }),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn parameters(model: &Model, operation: Operation, max_page: i64) -> Value {
    let id = id(model);
    let object = json!({ "type": "object", "default": {} });
    let deleted = flag(false);
    let properties = match operation {
        Operation::Create => {
            return json!({
                "$schema": DIALECT, "type": "object", "properties": properties(model),
                "required": required(model), "additionalProperties": false,
            });
        }
        Operation::Read => json!({
            "id": id, "record_id": id, "conditions": object, "raise_on_not_found": flag(true), "include_deleted": deleted,
        }),
        Operation::Update => {
            let old = json!({ "type": "object", "deprecated": true });
            let mut flat = properties(model);
            flat.extend(named(json!({
                "filter": object, "fields": object, "conditions": old, "updates": old, "id": id, "record_id": id,
            })));
            Value::Object(flat)
        }
        Operation::Delete => json!({ "id": id, "record_id": id, "filter": object }),
        Operation::List => json!({
            "filter": object, "limit": { "type": "integer", "minimum": 0, "default": 10, "maximum": max_page },
            "offset": { "type": "integer", "minimum": 0, "default": 0 },
            "order_by": { "type": "array", "items": { "type": ["string", "object"] }, "default": [] },
            "sort": { "type": "array", "default": [], "items": { "type": "object", "required": ["field", "order"],
                "properties": { "field": { "type": "string" }, "order": { "enum": ["asc", "desc"] } } } },
            "count_only": flag(false), "enable_cache": flag(true), "cache_ttl": { "type": "integer", "minimum": 1 },
            "cache_key": { "type": "string", "maxLength": 200 }, "include_deleted": deleted,
        }),
        Operation::Count => json!({
            "filter": object, "include_deleted": deleted, "enable_cache": flag(true),
            "cache_ttl": { "type": "integer", "minimum": 1 }, "cache_key": { "type": "string", "maxLength": 200 },
        }),
        Operation::Upsert => json!({
            "where": { "type": "object", "minProperties": 1 }, "update": object, "create": object,
            "conflict_on": { "type": "array", "items": { "type": "string" }, "maxItems": 1 },
        }),
        Operation::Bulk(operation) => bulk_schema::parameters(model, operation),
    };
    let needed: &[&str] = if operation == Operation::Upsert {
        &["where"]
    } else {
        &[]
    };
    json!({
        "$schema": DIALECT, "type": "object", "properties": properties, "required": needed,
        "additionalProperties": false,
    })
}

pub(super) fn id(model: &Model) -> Value {
    let field = model.fields.get("id");
    field.map_or_else(|| json!({}), |field| Value::Object(of_kind(field.kind)))
}

fn result(model: &Model, operation: Operation) -> Value {
    let id = id(model);
    let count = json!({ "type": "integer" });
    let row = |more: Value| {
        let mut row = row(model);
        row.extend(named(more));
        Value::Object(row)
    };
    let yes_no = json!({ "type": "boolean" });
    let properties = match operation {
        Operation::Create => row(json!({})),
        Operation::Read => row(json!({ "found": yes_no })),
        Operation::Update => row(json!({ "updated": yes_no })),
        Operation::Delete => json!({ "id": id, "deleted": yes_no }),
        Operation::List => json!({
            "records": { "type": "array", "items": { "type": "object" } }, "count": count, "limit": count,
            "_cache": { "type": "object" },
        }),
        Operation::Count => json!({ "count": count }),
        Operation::Upsert => json!({
            "created": yes_no, "record": { "type": "object" }, "action": { "enum": ["created", "updated"] },
        }),
        Operation::Bulk(operation) => bulk_schema::result(operation),
    };
    json!({ "type": "object", "properties": properties })
}

pub(super) fn flag(default: bool) -> Value {
    json!({ "type": "boolean", "default": default })
}

pub(super) fn named(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bulk::{BulkOperation, Refusal};
    use crate::domain::call::Action;
    use crate::domain::fault::Fault;
    use crate::domain::node::OPERATIONS;

    fn model() -> Model {
        let definition = json!({ "name": "Product", "config": { "soft_delete": true }, "fields": {
            "sku": { "type": "str", "required": true, "max": 20, "pattern": "^[A-Z]" },
            "stock": { "type": "int", "default": 0, "min": 0, "required": true },
            "state": { "type": "str", "enum": ["new", "old"] },
            "place": "vector(3)", "price": "decimal", "more": "json",
        } });
        Model::from_definition(&serde_json::from_value(definition).unwrap()).unwrap()
    }

    #[test]
    fn a_models_schema_says_its_rules() {
        let schema = of_model(&model());
        assert_eq!(schema["required"], json!(["sku"]));
        let of = |name: &str| schema["properties"][name].clone();
        assert_eq!(
            of("sku"),
            json!({ "type": "string", "maxLength": 20, "pattern": "^[A-Z]" })
        );
        assert_eq!(
            (&of("stock")["minimum"], &of("stock")["default"]),
            (&json!(0), &json!(0))
        );
        assert_eq!(of("state")["enum"], json!(["new", "old", null]));
        assert_eq!(
            (&of("place")["maxItems"], &of("place")["type"]),
            (&json!(3), &json!(["array", "null"]))
        );
        assert_eq!(of("price")["type"], json!(["string", "number", "null"]));
        assert_eq!(of("more"), json!({}));
        assert_eq!(of("deleted_at")["readOnly"], true);
    }

    #[test]
    fn each_node_says_its_parameters_and_defaults() {
        for (word, operation) in OPERATIONS {
            let node = of_node(&model(), word, operation, 1000);
            assert_eq!(node["node"], format!("Product{word}Node"));
            assert_eq!(node["parameters"]["$schema"], DIALECT);
            assert!(node["result"]["properties"].is_object());
        }
        let bulk = of_node(
            &model(),
            "BulkDelete",
            Operation::Bulk(BulkOperation::Delete),
            1000,
        );
        assert_eq!(bulk["parameters"]["properties"]["batch_size"]["maximum"], 10_000);
        assert_eq!(
            bulk["parameters"]["properties"]["data"]["items"]["anyOf"][0]["type"],
            "integer"
        );
        assert!(
            bulk["result"]["properties"]["deleted"].is_object()
                && bulk["result"]["properties"]["ids"].is_null()
        );
        let list = of_node(&model(), "List", Operation::List, 1000);
        assert_eq!(list["parameters"]["properties"]["limit"]["default"], 10);
        assert_eq!(list["parameters"]["properties"]["limit"]["maximum"], 1000);
    }

    #[test]
    fn what_is_advertised_is_accepted() {
        for (word, operation) in OPERATIONS {
            let node = of_node(&model(), word, operation, 1000);
            for name in node["parameters"]["properties"].as_object().unwrap().keys() {
                let sent = [(name.clone(), Value::Null)].into_iter().collect();
                let faults = match Action::parse(operation, &model(), sent, 1000) {
                    Err(Refusal::Call(faults)) => faults,
                    _ => Vec::new(),
                };
                let unknown = |fault: &&Fault| {
                    ["unknown parameter", "has no field"]
                        .iter()
                        .any(|words| fault.message.contains(words))
                };
                assert_eq!(faults.iter().find(unknown), None, "{word}: {name}");
            }
        }
    }
}
