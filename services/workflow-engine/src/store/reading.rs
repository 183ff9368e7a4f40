//! Runs read back: as they stand, in lists, their histories, and what queries ask.

use contract::workflow::{Execution, Happening, Status};
use kit::Identity;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Kept, Store, workflows};
use crate::error::{Error, Result};

/// Longest list of runs.
const MOST_LISTED: i64 = 500;
const LISTED: i64 = 50;
/// Happenings read at once.
const BATCH: i64 = 200;

/// `?workflow=&status=&limit=` of `GET /executions`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) workflow: Option<String>,
    pub(crate) status: Option<Status>,
    /// 50 unless set, 500 at most.
    pub(crate) limit: Option<i64>,
}

impl Store {
    /// A run of the tenant, as it stands.
    pub(crate) async fn execution(&self, execution_id: &str, identity: &Identity) -> Result<Execution> {
        let read = "SELECT (jsonb_strip_nulls(jsonb_build_object('execution_id', execution_id,
                'workflow', workflow, 'workflow_id', workflow_id, 'version', version, 'status', state,
                'started_at', workflow.rfc3339(started_at), 'ended_at', workflow.rfc3339(ended_at)))
                || CASE WHEN error IS NULL THEN '{}' ELSE jsonb_build_object('error', error) END
                || CASE WHEN state <> 'completed' THEN '{}' ELSE jsonb_build_object('result',
                    jsonb_build_object('outputs', outputs, 'execution_time', coalesce(took_s, 0),
                    'workflow_id', workflow_id, 'execution_id', execution_id, 'version', version)) END)::text
            FROM workflow.executions WHERE execution_id = $1 AND tenant IS NOT DISTINCT FROM $2";
        let row = sqlx::query(read)
            .bind(execution_id)
            .bind(&identity.tenant)
            .fetch_optional(self.pool()?)
            .await?;
        json(&row.ok_or_else(Error::execution_unknown)?, 0)
    }

    /// The tenant's runs, the last begun first, without their results.
    pub(crate) async fn executions(&self, wanted: &Wanted, identity: &Identity) -> Result<Vec<Execution>> {
        let list = "SELECT (jsonb_strip_nulls(jsonb_build_object('execution_id', execution_id,
                'workflow', workflow, 'workflow_id', workflow_id, 'version', version, 'status', state,
                'started_at', workflow.rfc3339(started_at), 'ended_at', workflow.rfc3339(ended_at)))
                || CASE WHEN error IS NULL THEN '{}' ELSE jsonb_build_object('error', error) END)::text
            FROM workflow.executions
            WHERE tenant IS NOT DISTINCT FROM $1 AND ($2::text IS NULL OR workflow = $2)
                AND ($3::text IS NULL OR state = $3)
            ORDER BY started_at DESC, execution_id LIMIT $4";
        let status = serde_json::to_value(wanted.status)?;
        let rows = sqlx::query(list)
            .bind(&identity.tenant)
            .bind(&wanted.workflow)
            .bind(status.as_str())
            .bind(wanted.limit.unwrap_or(LISTED).clamp(1, MOST_LISTED))
            .fetch_all(self.pool()?)
            .await?;
        rows.iter().map(|row| json(row, 0)).collect()
    }

    /// Where a run of the tenant stands, and its workflow.
    pub(crate) async fn run(&self, execution_id: &str, identity: &Identity) -> Result<(Status, Kept)> {
        let read = "SELECT d.workflow_id, d.definition::text, to_jsonb(e.state)::text
            FROM workflow.executions e JOIN workflow.definitions d USING (workflow_id)
            WHERE e.execution_id = $1 AND e.tenant IS NOT DISTINCT FROM $2";
        let row = sqlx::query(read)
            .bind(execution_id)
            .bind(&identity.tenant)
            .fetch_optional(self.pool()?)
            .await?;
        let row = row.ok_or_else(Error::execution_unknown)?;
        Ok((json(&row, 2)?, workflows::kept(&row)?))
    }

    /// What happened in a run after the happening `after`, a batch at most; and whether more may come. Both are of
    /// one moment: when nothing is there and nothing more may come, the history is told.
    pub(crate) async fn history(&self, execution_id: &str, after: i64) -> Result<(Vec<Happening>, bool)> {
        let read = "SELECT coalesce(jsonb_agg(h.told ORDER BY h.place), '[]')::text,
                (SELECT state IN ('pending', 'running', 'waiting') FROM workflow.executions WHERE execution_id = $1)
            FROM (SELECT place, jsonb_strip_nulls(jsonb_build_object('id', place, 'type', kind,
                    'at', workflow.rfc3339(at), 'node', node, 'data', data)) AS told
                FROM workflow.history WHERE execution_id = $1 AND place > $2 ORDER BY place LIMIT $3) h";
        let row = sqlx::query(read)
            .bind(execution_id)
            .bind(after)
            .bind(BATCH)
            .fetch_one(self.pool()?)
            .await?;
        let active: Option<bool> = row.try_get(1)?;
        Ok((json(&row, 0)?, active.unwrap_or(false)))
    }

    /// The outputs of a run's nodes that are done, by their ids.
    pub(crate) async fn outputs(&self, execution_id: &str) -> Result<Map<String, Value>> {
        let read = "SELECT coalesce(
                (SELECT outputs FROM workflow.executions WHERE execution_id = $1 AND outputs IS NOT NULL),
                (SELECT jsonb_object_agg(node, output) FROM workflow.history
                    WHERE execution_id = $1 AND kind = 'node.completed' AND output IS NOT NULL),
                '{}')::text";
        let row = sqlx::query(read)
            .bind(execution_id)
            .fetch_one(self.pool()?)
            .await?;
        json(&row, 0)
    }

    /// The signals that a run's steps wait for at the moment.
    pub(crate) async fn waiting_for(&self, execution_id: &str) -> Result<Vec<String>> {
        let read =
            "SELECT coalesce(jsonb_agg(DISTINCT w.data->>'signal'), '[]')::text FROM workflow.history w
            WHERE w.execution_id = $1 AND w.kind = 'node.waiting' AND NOT EXISTS (
                SELECT FROM workflow.history d WHERE d.execution_id = $1 AND d.node = w.node
                    AND d.kind IN ('node.completed', 'node.failed'))";
        let row = sqlx::query(read)
            .bind(execution_id)
            .fetch_one(self.pool()?)
            .await?;
        json(&row, 0)
    }
}

/// A column of JSON as text, in our own words.
fn json<T: DeserializeOwned>(row: &PgRow, column: usize) -> Result<T> {
    Ok(serde_json::from_str(&row.try_get::<String, _>(column)?)?)
}
