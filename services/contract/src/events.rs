//! Events: what happened to runs and rows, from the services that know to whoever listens. They travel on one
//! stream in Redis, after the change they tell of was committed; at least once, so that `id` tells repeats.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The stream's key in Redis. An entry has one field, [`FIELD`], which holds an [`Event`] as JSON.
pub const STREAM: &str = "horme:events";
/// The one field of an entry.
pub const FIELD: &str = "event";
/// Entries kept, approximately (`XADD ... MAXLEN ~`).
pub const MOST: usize = 10_000;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The event's own name: the same when it is told again.
    pub id: String,
    /// `handler.registered`, `handler.called`, `handler.completed` or `handler.error` of a workflow;
    /// `dataflow.{Model}.{create|update|delete|upsert|bulk_create|bulk_update|bulk_delete|bulk_upsert}` of rows.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose data it is about; `None` where the data belongs to no tenant.
    pub tenant: Option<String>,
    /// When it happened: RFC 3339, UTC.
    pub at: String,
    /// `{workflow, execution_id, version, ...}` or `{model, ids | count, ...}`. Never a row's values.
    pub data: Value,
}
