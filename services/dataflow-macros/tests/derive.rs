//! The derived definition is the one that an author would have written as JSON.

use contract::dataflow::{Definition, Model as _};
use dataflow_macros::Model;
use serde_json::json;

#[derive(Model)]
#[model(soft_delete, multi_tenant, table = "wares")]
#[model(retention(policy = "archive", after_days = 30))]
#[expect(dead_code, reason = "only its definition is read")]
struct Product {
    id: Option<i32>,
    #[model(unique, min = 3, max = 40, pattern = "^[A-Z]")]
    sku: String,
    #[model(decimal, min = -1.5, index)]
    price: Option<String>,
    #[model(default = 0, one_of(0, 1, 2))]
    stock: i32,
    #[model(references = "Maker.code", on_delete = "set_null")]
    maker: Option<String>,
    #[model(vector = 3, index, metric = "l2")]
    embedding: Option<Vec<f32>>,
    #[model(timestamp)]
    since: String,
    tags: Option<serde_json::Map<String, serde_json::Value>>,
    sizes: Vec<String>,
    picture: Option<Vec<u8>>,
    r#type: serde_json::Value,
}

#[test]
fn a_struct_is_the_model_that_its_json_is() {
    let wanted: Definition = serde_json::from_value(json!({
        "name": "Product",
        "fields": {
            "id": { "type": "int" },
            "sku": { "type": "str", "required": true, "unique": true, "min": 3, "max": 40, "pattern": "^[A-Z]" },
            "price": { "type": "decimal", "min": -1.5, "index": true },
            "stock": { "type": "int", "required": true, "default": 0, "enum": [0, 1, 2] },
            "maker": { "type": "str", "references": "Maker.code", "on_delete": "set_null" },
            "embedding": { "type": "vector(3)", "index": true, "metric": "l2" },
            "since": { "type": "timestamp", "required": true },
            "tags": { "type": "dict" },
            "sizes": { "type": "list", "required": true },
            "picture": { "type": "bytes" },
            "type": { "type": "json", "required": true },
        },
        "config": {
            "soft_delete": true, "multi_tenant": true, "table_name": "wares",
            "retention": { "policy": "archive", "after_days": 30 },
        },
    }))
    .unwrap();
    assert_eq!(Product::NAME, "Product");
    assert_eq!(Product::definition(), wanted);
}
