//! What a fuzz target is fed to (`fuzz/fuzz_targets`). Part of the crate only when it is compiled for that, or for tests.

use kit::Identity;
use serde_json::{Map, Value, json};

use crate::domain::filter;
use crate::domain::model::Model;
use crate::store::all_bound;

/// Any bytes as the filter of a call.
///
/// # Panics
/// What was accepted is not a statement in which every value is bound.
pub fn filter(bytes: &[u8]) {
    let (Some(model), Ok(sent)) = (model(), serde_json::from_slice::<Map<String, Value>>(bytes)) else {
        return;
    };
    if let Ok(conditions) = filter::parse(&model, &sent) {
        let identity = Identity::default();
        assert!(
            all_bound(&identity, &model, conditions),
            "a value is part of the statement"
        );
    }
}

fn model() -> Option<Model> {
    let definition = json!({ "name": "Product", "fields": {
        "title": "str", "stock": "int", "price": "float", "at": "datetime", "data": "json", "tags": "list", "sold": "bool",
        "seen": "timestamp", "more": "dict", "blob": "bytes", "code": "uuid", "cost": "decimal", "place": "vector(2)",
    } });
    Model::from_definition(&serde_json::from_value(definition).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_and_what_looks_like_sql_pass() {
        assert!(model().is_some());
        for seed in [
            r#"{"stock":{"$gte":2,"$in":[1,2]},"title":{"$like":"a%"},"at":{"$null":true}}"#,
            r#"{"title":"$1'; drop table products; --","data":{"$1":"$2"},"place":{"$in":[[1,2]]}}"#,
            "not json",
        ] {
            filter(seed.as_bytes());
        }
    }
}
