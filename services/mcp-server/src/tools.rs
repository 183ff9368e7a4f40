//! The tools: their contracts, and the calls behind them. A failure of a tool is a result that says so
//! (`isError`), never a protocol error: the model that called is meant to read it.

use std::sync::Arc;

use axum::http::Method;
use kit::upstream::Upstream;
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use crate::config::Config;

const CLASSIFY_PRODUCT: &str = "classify_product";
const CHANNEL_STATUS: &str = "channel_status";
/// Arguments of `classify_product` that hold text; the first or the second is needed.
const TEXTS: [&str; 5] = ["text", "name", "description", "category", "brand"];

/// The services that tools reach.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    classification: Upstream,
}

impl Tools {
    pub(crate) fn new(config: &Config) -> Self {
        let base = config.classification.clone();
        Self {
            classification: Upstream::new("classification-service", base, config.tool_timeout),
        }
    }

    /// Every tool, in the order of the names: lists are the same every time.
    pub(crate) fn list() -> Vec<Tool> {
        vec![channel_status(), classify_product()]
    }

    /// Calls a tool; `None` when there is none of that name.
    pub(crate) async fn call(&self, name: &str, arguments: &JsonObject) -> Option<CallToolResult> {
        match name {
            CLASSIFY_PRODUCT => Some(self.classify(arguments).await),
            CHANNEL_STATUS => Some(self.status(arguments).await),
            _ => None,
        }
    }

    async fn classify(&self, arguments: &JsonObject) -> CallToolResult {
        let faults = classify_faults(arguments);
        if !faults.is_empty() {
            return invalid(&faults);
        }
        self.answer(Method::POST, "/classify", Some(arguments)).await
    }

    async fn status(&self, arguments: &JsonObject) -> CallToolResult {
        let known = |name: &&String| name.as_str() != "verbose";
        let mut faults: Vec<String> = arguments.keys().filter(known).map(|name| unknown(name)).collect();
        let verbose = match arguments.get("verbose") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                faults.push("verbose: expected true or false".to_owned());
                false
            }
        };
        if !faults.is_empty() {
            return invalid(&faults);
        }
        let readiness = self.classification.call(Method::GET, "/ready", None::<&()>).await;
        let mut said = readiness.map_or_else(|_| json!({ "status": "unreachable" }), |answer| answer.body);
        if !verbose {
            said = said["status"].take();
        }
        CallToolResult::structured(json!({
            "channel": "mcp",
            "transports": ["streamable-http"],
            "tools": Self::list().iter().map(|tool| tool.name.to_string()).collect::<Vec<_>>(),
            "services": { "classification-service": said },
        }))
    }

    /// A service's answer as a result; its refusals and its absence too.
    async fn answer(&self, method: Method, path: &str, body: Option<&JsonObject>) -> CallToolResult {
        match self.classification.call(method, path, body).await {
            Ok(answer) if answer.status.is_success() => CallToolResult::structured(answer.body),
            Ok(answer) => CallToolResult::structured_error(answer.body),
            Err(problem) => {
                let body = json!({ "code": problem.code(), "error": problem.to_string() });
                CallToolResult::structured_error(body)
            }
        }
    }
}

fn invalid(faults: &[String]) -> CallToolResult {
    CallToolResult::structured_error(json!({ "code": "INVALID_ARGUMENTS", "error": faults.join("; ") }))
}

fn unknown(name: &str) -> String {
    format!("{name}: no such argument")
}

/// Everything that is wrong with the arguments of `classify_product`.
fn classify_faults(arguments: &JsonObject) -> Vec<String> {
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

fn classify_product() -> Tool {
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

fn channel_status() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": {
            "verbose": { "type": "boolean", "default": false, "description": "With each service's own words" },
        },
        "additionalProperties": false,
    });
    Tool::new(
        CHANNEL_STATUS,
        "Says how this channel and the services behind its tools are.",
        object(schema),
    )
    .with_title("Status of the channel")
    .with_annotations(
        ToolAnnotations::new()
            .read_only(true)
            .idempotent(true)
            .open_world(false),
    )
}

fn object(schema: Value) -> Arc<Map<String, Value>> {
    Arc::new(match schema {
        Value::Object(object) => object,
        _ => Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn tools_are_listed_in_order_and_described() {
        let tools = Tools::list();
        assert!(tools.is_sorted_by_key(|tool| tool.name.clone()));
        for tool in tools {
            assert!(
                tool.description.is_some() && tool.input_schema["type"] == "object",
                "{}",
                tool.name
            );
        }
    }

    #[test]
    fn every_wrong_argument_is_told() {
        assert!(
            classify_faults(&arguments(
                json!({ "text": "hammer", "top_k": 3, "level": "class" })
            ))
            .is_empty()
        );
        let faults = classify_faults(&arguments(
            json!({ "brand": 1, "top_k": 0, "level": "x", "colour": "red" }),
        ));
        assert_eq!(faults.len(), 5, "{faults:?}");
    }
}
