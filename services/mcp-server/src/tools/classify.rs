//! The classifier as a tool.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::json;

use super::{object, unknown};

pub(super) const CLASSIFY_PRODUCT: &str = "classify_product";
/// Arguments of `classify_product` that hold text; the first or the second is needed.
const TEXTS: [&str; 5] = ["text", "name", "description", "category", "brand"];

/// Everything that is wrong with the arguments of `classify_product`.
pub(super) fn faults(arguments: &JsonObject) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, value) in arguments {
        let expected = match name.as_str() {
            text if TEXTS.contains(&text) => (!value.is_string()).then_some("expected text"),
            "top_k" => (!matches!(value.as_u64(), Some(1..=20))).then_some("expected 1 to 20"),
            "level" => {
                let levels = ["segment", "family", "class", "commodity"];
                let known = value.as_str().is_some_and(|level| levels.contains(&level));
                (!known).then_some("expected segment, family, class or commodity")
            }
            _ => {
                faults.push(unknown(name));
                None
            }
        };
        faults.extend(expected.map(|what| format!("{name}: {what}")));
    }
    if !TEXTS[..2].iter().any(|name| arguments.contains_key(*name)) {
        faults.push("expected text or name".to_owned());
    }
    faults
}

pub(super) fn tool() -> Tool {
    let text = |description: &str| json!({ "type": "string", "maxLength": 8192, "description": description });
    let schema = json!({
        "type": "object",
        "properties": {
            "text": text("What the product is, in any words"),
            "name": text("The product's name"),
            "description": text("The product's description"),
            "category": text("The seller's own category"),
            "brand": text("The product's brand"),
            "top_k": { "type": "integer", "minimum": 1, "maximum": 20, "default": 5,
                "description": "How many candidates to list" },
            "level": { "type": "string", "enum": ["segment", "family", "class", "commodity"],
                "default": "commodity", "description": "How deep the answer may go" },
        },
        "anyOf": [{ "required": ["text"] }, { "required": ["name"] }],
        "additionalProperties": false,
    });
    let description = "Finds the eight-digit code of a product with its hierarchy, confidence and other \
        candidates. It abstains where it is unsure.";
    Tool::new(CLASSIFY_PRODUCT, description, object(schema))
        .with_title("Classify a product")
        .with_annotations(
            ToolAnnotations::new()
                .read_only(true)
                .idempotent(true)
                .open_world(false),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn arguments(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_wrong_argument_is_told() {
        assert!(
            faults(&arguments(
                json!({ "text": "hammer", "top_k": 3, "level": "class" })
            ))
            .is_empty()
        );
        let faults = faults(&arguments(
            json!({ "brand": 1, "top_k": 0, "level": "x", "colour": "red" }),
        ));
        assert_eq!(faults.len(), 5, "{faults:?}");
    }
}
