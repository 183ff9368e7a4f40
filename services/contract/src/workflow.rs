//! workflow-engine's wire types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Body of `POST /workflows`: a directed acyclic graph of nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub name: String,
    #[serde(default = "first_version")]
    pub version: String,
    #[serde(default)]
    pub description: String,
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub connections: Vec<Connection>,
}

fn first_version() -> String {
    "1.0.0".to_owned()
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub config: Map<String, Value>,
}

/// A value's way from one step to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    pub from: String,
    /// A key of the source's output, or a dotted path into it.
    pub output: String,
    pub to: String,
    /// The name under which the target sees it.
    pub input: String,
}

/// Answer of `POST /workflows`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    pub name: String,
    pub version: String,
    pub workflow_id: String,
    /// SHA-256 of the definition, 64 hex digits.
    pub fingerprint: String,
}

/// Body of `POST /workflows/{name}/execute`. `inputs` are bound untouched; `parameters` are bound flat and, as
/// a whole, under `parameters` too.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecuteCall {
    #[serde(default)]
    pub inputs: Option<Map<String, Value>>,
    #[serde(default)]
    pub parameters: Option<Map<String, Value>>,
    #[serde(default)]
    pub mode: Option<String>,
}

/// Its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecuteAnswer {
    /// Each node's output by the node's id.
    pub outputs: BTreeMap<String, Value>,
    /// Seconds.
    pub execution_time: f64,
    pub workflow_id: String,
    pub execution_id: String,
    pub version: String,
}
