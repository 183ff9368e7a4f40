//! Runs: begun, ended, and read back.

use kit::Problem;
use serde_json::{Map, Value, json};
use sqlx::Row;

use super::{Kept, Store};
use crate::domain::binding::Outputs;
use crate::error::{Error, Result};

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ending<'a> {
    Completed(&'a Outputs),
    Failed(&'a Problem),
}

impl Store {
    /// Records that a run begins.
    pub(crate) async fn begin(
        &self,
        execution_id: &str,
        kept: &Kept,
        inputs: &Map<String, Value>,
    ) -> Result<()> {
        let begin = "INSERT INTO workflow.executions (execution_id, workflow_id, state, inputs) \
                     VALUES ($1, $2, 'running', $3::jsonb)";
        sqlx::query(begin)
            .bind(execution_id)
            .bind(&kept.workflow_id)
            .bind(serde_json::to_string(inputs)?)
            .execute(self.pool()?)
            .await?;
        Ok(())
    }

    /// Records how it ended. One that was given up meanwhile stays so.
    pub(crate) async fn end(&self, execution_id: &str, ending: Ending<'_>) -> Result<()> {
        let (state, outputs, error) = match ending {
            Ending::Completed(outputs) => ("completed", Some(serde_json::to_string(outputs)?), None),
            Ending::Failed(problem) => {
                let error = json!({ "code": problem.code(), "error": problem.message() });
                ("failed", None, Some(error.to_string()))
            }
        };
        let end = "UPDATE workflow.executions SET state = $2, outputs = $3::jsonb, error = $4::jsonb, \
                   ended_at = now() WHERE execution_id = $1 AND state = 'running'";
        sqlx::query(end)
            .bind(execution_id)
            .bind(state)
            .bind(outputs)
            .bind(error)
            .execute(self.pool()?)
            .await?;
        Ok(())
    }

    /// Runs that are older than any run may be were interrupted, by the end of their process.
    pub(super) async fn fail_interrupted(&self) -> Result<()> {
        let fail = "UPDATE workflow.executions SET state = 'failed', ended_at = now(), error = $2::jsonb \
                    WHERE state = 'running' AND started_at < now() - $1::double precision * interval '1 second'";
        let error = json!({ "code": "INTERRUPTED", "error": "the engine ended during the run" });
        let failed = sqlx::query(fail)
            .bind((self.0.max_runtime * 2).as_secs_f64())
            .bind(error.to_string())
            .execute(self.pool()?)
            .await?;
        if failed.rows_affected() > 0 {
            tracing::warn!(runs = failed.rows_affected(), "runs were interrupted");
        }
        Ok(())
    }

    /// A run as it stands.
    pub(crate) async fn execution(&self, execution_id: &str) -> Result<Value> {
        let read = "SELECT row_to_json(t)::text FROM (
                        SELECT e.execution_id, e.workflow_id, d.name AS workflow, d.version, e.state, e.inputs,
                               e.outputs, e.error, e.started_at, e.ended_at
                        FROM workflow.executions e JOIN workflow.definitions d USING (workflow_id)
                        WHERE e.execution_id = $1
                    ) t";
        let row = sqlx::query(read)
            .bind(execution_id)
            .fetch_optional(self.pool()?)
            .await?;
        let row = row.ok_or_else(Error::execution_unknown)?;
        Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)
    }
}
