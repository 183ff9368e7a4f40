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
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// JSON Schema of its inputs. `required` and `type` of top-level properties are checked; the rest is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs_schema: Option<Map<String, Value>>,
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

/// A workflow in the answer of `GET /workflows`, under its name: the version that was registered last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// `workflow`.
    #[serde(rename = "type")]
    pub kind: String,
    pub description: String,
    pub version: String,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Paths of the engine itself.
    pub endpoints: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs_schema: Option<Map<String, Value>>,
}

/// Answer of `GET /workflows/{name}/info`: the version that was registered last, and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    pub name: String,
    pub version: String,
    pub description: String,
    pub tags: Vec<String>,
    pub workflow_id: String,
    /// SHA-256 of the definition, 64 hex digits.
    pub fingerprint: String,
    /// Null where the definition has none: any object is taken.
    pub inputs_schema: Option<Map<String, Value>>,
    pub nodes: Vec<Node>,
    pub connections: Vec<Connection>,
}

/// Answer of `GET /workflows/{name}/versions`: the last one first, which is the one that is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub name: String,
    pub versions: Vec<Version>,
}

/// One registered version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub version: String,
    pub workflow_id: String,
    pub fingerprint: String,
    /// RFC 3339, UTC.
    pub registered_at: String,
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
    /// Empty or left out (422 `CONFIG_UNSUPPORTED`): a run has no settings of its own.
    #[serde(default)]
    pub config: Option<Map<String, Value>>,
    #[serde(default)]
    pub mode: Mode,
    /// Whether the run is cancelled when its caller hangs up before its end. Says nothing in mode `async`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_on_disconnect: bool,
}

/// How the caller of a run learns of its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The answer is the result: [`ExecuteAnswer`].
    #[default]
    Sync,
    /// The answer is [`Accepted`], at once; the result is that of `GET /executions/{id}`.
    Async,
    /// The answer is a stream of server-sent events: `start` {workflow_id, version, timestamp, execution_id}, then
    /// `complete` {result: [`ExecuteAnswer`], timestamp} or `error` {error: {code, error, ...}, timestamp}.
    Stream,
}

/// Answer of a run in mode `async`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    pub execution_id: String,
    /// `pending`.
    pub status: Status,
    pub message: String,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pending,
    Running,
    /// For a signal.
    Waiting,
    Completed,
    Failed,
    Cancelled,
}

/// Answer of `GET /executions/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Execution {
    pub execution_id: String,
    pub workflow: String,
    pub workflow_id: String,
    pub version: String,
    pub status: Status,
    /// Of a completed run: what the synchronous answer would have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ExecuteAnswer>,
    /// Of a run that failed or was cancelled: `{code, error, status_code, node?, ...}`, where `status_code` is
    /// what the synchronous answer would have had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// RFC 3339, UTC.
    pub started_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// Answer of `GET /executions`: the last begun first, without their results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Executions {
    pub executions: Vec<Execution>,
}

/// Something that happened in a run: an item of the query `history`, and the data of an event of
/// `GET /executions/{id}/events`, whose name is `type` and whose id is `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// Grows within a run.
    pub id: i64,
    /// `run.started`, `node.started`, `node.completed`, `node.failed`, `node.waiting`, `signal.received`,
    /// `run.completed`, `run.failed` or `run.cancelled`.
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339, UTC.
    pub at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `{signal}` of a signal or of a node that waits for one; an error as in [`Execution`]. Never an output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Answer of `POST /executions/{id}/signals/{signal}`, with 202.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signalled {
    pub execution_id: String,
    pub signal: String,
    /// `accepted`: kept until a step waits for it.
    pub status: String,
}

/// Answer of `GET /executions/{id}/queries/{query}`. `status` has `{status, waiting_for: [signal]}` as its result,
/// `outputs` the outputs of the nodes that are done by their ids, `history` a list of [`Happening`]s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryAnswer {
    pub execution_id: String,
    pub query: String,
    pub result: Value,
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
