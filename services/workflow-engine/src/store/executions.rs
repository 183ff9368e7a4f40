//! Executions: begun, then ended once. One whose process died stays `running` in its row; past its deadline it
//! is told as `interrupted`.

use std::time::Duration;

use kit::{Problem, Result};
use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Store, problem};

/// An execution as it is told.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Execution {
    pub execution_id: String,
    pub workflow: String,
    pub version: String,
    pub workflow_id: String,
    /// `running`, `completed`, `failed` or `interrupted`.
    pub status: String,
    /// RFC 3339.
    pub started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// How an execution ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended<'a> {
    Completed(&'a Value),
    /// With an object of `error` and `code`.
    Failed(&'a Value),
}

impl Store {
    /// Notes that an execution begins, and until when it must have ended.
    pub(crate) async fn begin(&self, execution_id: &str, workflow_id: &str, limit: Duration) -> Result<()> {
        let begun = sqlx::query(
            "INSERT INTO workflow_engine.executions (execution_id, workflow_id, state, deadline)
             VALUES ($1, $2, 'running', now() + make_interval(secs => $3))",
        )
        .bind(execution_id)
        .bind(workflow_id)
        .bind(limit.as_secs_f64())
        .execute(self.pool()?)
        .await;
        begun.map(drop).map_err(problem)
    }

    /// Notes how it ended. The first end stays.
    pub(crate) async fn end(&self, execution_id: &str, ended: Ended<'_>) -> Result<()> {
        let (state, outputs, error) = match ended {
            Ended::Completed(outputs) => ("completed", Some(outputs.to_string()), None),
            Ended::Failed(error) => ("failed", None, Some(error.to_string())),
        };
        let noted = sqlx::query(
            "UPDATE workflow_engine.executions
             SET state = $2, outputs = $3::text::jsonb, error = $4::text::jsonb, ended_at = now()
             WHERE execution_id = $1 AND state = 'running'",
        )
        .bind(execution_id)
        .bind(state)
        .bind(outputs)
        .bind(error)
        .execute(self.pool()?)
        .await;
        noted.map(drop).map_err(problem)
    }

    /// One execution.
    pub(crate) async fn execution(&self, execution_id: &str) -> Result<Option<Execution>> {
        let row = sqlx::query(
            "SELECT execution_id, name, version, workflow_id, outputs::text, error::text,
                    CASE WHEN state = 'running' AND deadline < now() THEN 'interrupted' ELSE state END AS status,
                    to_json(started_at) #>> '{}' AS started_at, to_json(ended_at) #>> '{}' AS ended_at
             FROM workflow_engine.executions JOIN workflow_engine.workflows USING (workflow_id)
             WHERE execution_id = $1",
        )
        .bind(execution_id)
        .fetch_optional(self.pool()?)
        .await
        .map_err(problem)?;
        row.as_ref().map(execution).transpose()
    }
}

fn execution(row: &PgRow) -> Result<Execution> {
    let json = |column: &str| -> Result<Option<Value>> {
        let text: Option<String> = row.try_get(column).map_err(problem)?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(Problem::internal)
    };
    let (outputs, error) = (json("outputs")?, json("error")?);
    let read = || {
        Ok(Execution {
            execution_id: row.try_get("execution_id")?,
            workflow: row.try_get("name")?,
            version: row.try_get("version")?,
            workflow_id: row.try_get("workflow_id")?,
            status: row.try_get("status")?,
            started_at: row.try_get("started_at")?,
            ended_at: row.try_get("ended_at")?,
            outputs,
            error,
        })
    };
    read().map_err(problem)
}
