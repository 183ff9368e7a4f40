//! dataflow-service's wire types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Body of `POST /nodes/{Node}/execute`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeCall {
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

/// Its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeAnswer {
    pub result: Map<String, Value>,
}

/// Answer of `POST /models` and `GET /models/{Model}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRegistered {
    pub model: String,
    /// The table that holds the model's rows.
    pub table: String,
    /// The nodes that exist for the model, `{Model}{Operation}Node`.
    pub nodes: Vec<String>,
}
