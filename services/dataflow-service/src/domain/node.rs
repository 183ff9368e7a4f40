//! A model's nodes: their names, and which operation a name means.

use super::bulk::BulkOperation;
use super::model::Model;

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Read,
    Update,
    Delete,
    List,
    Count,
    Upsert,
    Bulk(BulkOperation),
}

/// The operations, by the word in a node's name; a word that ends in another one stands before it in `meanings`.
pub(crate) const OPERATIONS: [(&str, Operation); 11] = [
    ("Create", Operation::Create),
    ("Read", Operation::Read),
    ("Update", Operation::Update),
    ("Delete", Operation::Delete),
    ("List", Operation::List),
    ("Count", Operation::Count),
    ("Upsert", Operation::Upsert),
    ("BulkCreate", Operation::Bulk(BulkOperation::Create)),
    ("BulkUpdate", Operation::Bulk(BulkOperation::Update)),
    ("BulkDelete", Operation::Bulk(BulkOperation::Delete)),
    ("BulkUpsert", Operation::Bulk(BulkOperation::Upsert)),
];

/// `ProductCreateNode`.
pub(crate) fn names(model: &Model) -> Vec<String> {
    OPERATIONS
        .iter()
        .map(|(word, _)| format!("{}{word}Node", model.name))
        .collect()
}

/// The models and operations (by word, too) that a node's name may mean, the longest operation first. `ABulkCreateNode` is `A`'s
/// bulk creation or `ABulk`'s creation: the models decide.
pub(crate) fn meanings(name: &str) -> Vec<(&str, &'static str, Operation)> {
    let Some(stem) = name.strip_suffix("Node") else {
        return Vec::new();
    };
    OPERATIONS
        .iter()
        .rev()
        .filter_map(|(word, operation)| Some((stem.strip_suffix(word)?, *word, *operation)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_may_mean_two_models() {
        let fields = json!({ "title": "str" });
        let model = Model::define("Product", fields.as_object().unwrap()).unwrap();
        assert_eq!(
            meanings("ProductCreateNode"),
            [("Product", "Create", Operation::Create)]
        );
        let bulk = Operation::Bulk(BulkOperation::Create);
        assert_eq!(
            meanings("ABulkCreateNode"),
            [("A", "BulkCreate", bulk), ("ABulk", "Create", Operation::Create)]
        );
        assert_eq!(meanings("Product"), []);
        assert_eq!(names(&model)[0], "ProductCreateNode");
    }
}
