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
    /// What the caller should change, though it was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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

/// Body of `POST /models` and `POST /migrations/plan`: a model as its author writes it down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub name: String,
    /// Each field's type, or `{type, required, default, unique, index, enum, min, max, pattern, references, ...}`.
    pub fields: Map<String, Value>,
    /// `{soft_delete, multi_tenant, append_only, table_name, retention: {policy, after_days, cutoff_field}}`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

/// A model that is part of a program. `#[derive(Model)]` of `dataflow-macros` implements it for a struct.
pub trait Model {
    const NAME: &'static str;

    /// What `POST /models` would be sent.
    fn definition() -> Definition;
}
