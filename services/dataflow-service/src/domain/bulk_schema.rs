//! JSON Schema of bulk nodes, made of the lists by which their parameters are read.

use serde_json::{Value, json};

use super::bulk::BulkOperation;
use super::bulk_parameters::{self, BATCH, CONFLICTS, LARGEST_BATCH, MOST_ITEMS, ON_ERRORS};
use super::model::Model;
use super::schema::{flag, id, named};

/// The parameters of a bulk node.
pub(super) fn parameters(model: &Model, operation: BulkOperation) -> Value {
    let named =
        bulk_parameters::names(operation).map(|name| (name.to_owned(), parameter(model, operation, name)));
    Value::Object(named.collect())
}

/// A parameter of a bulk node.
fn parameter(model: &Model, operation: BulkOperation, name: &str) -> Value {
    fn one_of<T>(words: &[(&str, T)]) -> Value {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        json!({ "enum": words, "default": words.first() })
    }
    match name {
        "batch_size" => {
            json!({ "type": "integer", "minimum": 1, "maximum": LARGEST_BATCH, "default": BATCH })
        }
        "on_error" => one_of(&ON_ERRORS),
        "conflict_resolution" => one_of(&CONFLICTS),
        "conflict_on" => {
            let unique: Vec<&String> = model.fields.keys().filter(|name| model.is_unique(name)).collect();
            json!({
                "type": "array", "items": { "enum": unique }, "minItems": 1, "maxItems": 1, "default": ["id"],
            })
        }
        "filter" | "fields" => json!({ "type": "object" }),
        "safe_mode" => flag(true),
        "confirmed" | "return_ids" => flag(false),
        _ => json!({ "type": "array", "maxItems": MOST_ITEMS, "items": item(model, operation) }),
    }
}

/// An item: a new row, what changes of a row, or the id of one.
fn item(model: &Model, operation: BulkOperation) -> Value {
    let named = |id: Value| json!({ "type": "object", "properties": { "id": id }, "required": ["id"] });
    match operation {
        BulkOperation::Create | BulkOperation::Upsert => json!({ "type": "object" }),
        BulkOperation::Update => named(id(model)),
        BulkOperation::Delete => json!({ "anyOf": [id(model), named(id(model))] }),
    }
}

/// The fields of a bulk node's result.
pub(super) fn result(operation: BulkOperation) -> Value {
    let count = json!({ "type": "integer" });
    let list = |of: &str| json!({ "type": "array", "items": { "type": of } });
    let counted: &[&str] = match operation {
        // `updated`: with conflict_resolution update.
        BulkOperation::Create => &["inserted", "skipped", "updated"],
        BulkOperation::Update => &["updated"],
        BulkOperation::Delete => &["deleted"],
        BulkOperation::Upsert => &["upserted", "total", "inserted", "updated", "skipped"],
    };
    let mut all = named(json!({
        "processed": count, "batch_size": count, "operation": { "const": operation.word() },
        "success": { "type": "boolean" },
        // With on_error continue.
        "failed": count, "errors": list("object"),
    }));
    all.extend(counted.iter().map(|name| ((*name).to_owned(), count.clone())));
    if bulk_parameters::names(operation).any(|name| name == "return_ids") {
        all.insert("ids".to_owned(), json!({ "type": "array" }));
    }
    Value::Object(all)
}
