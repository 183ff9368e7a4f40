//! Signals to runs: kept until a step takes them, in the order in which they came.

use kit::Identity;
use serde_json::Value;
use sqlx::Row;

use super::Store;
use crate::error::Result;

/// Signals that one run may be sent.
const MOST: i64 = 1000;

impl Store {
    /// Keeps a signal for an active run of the tenant, and tells the process that runs it. False where the run is
    /// not active, or has been sent too many.
    pub(crate) async fn signal(
        &self,
        execution_id: &str,
        name: &str,
        payload: &Value,
        identity: &Identity,
    ) -> Result<bool> {
        let send = "WITH live AS (
                SELECT execution_id FROM workflow.executions
                WHERE execution_id = $1 AND tenant IS NOT DISTINCT FROM $2
                    AND state IN ('pending', 'running', 'waiting')
                    AND (SELECT count(*) FROM workflow.signals WHERE execution_id = $1) < $5
                FOR NO KEY UPDATE
            ), sent AS (
                INSERT INTO workflow.signals (execution_id, name, payload)
                SELECT execution_id, $3, $4::jsonb FROM live
            ), kept AS (
                INSERT INTO workflow.history (execution_id, kind, data)
                SELECT execution_id, 'signal.received', jsonb_build_object('signal', $3) FROM live
            )
            SELECT pg_notify('workflow_runs', execution_id)::text FROM live";
        let sent = sqlx::query(send)
            .bind(execution_id)
            .bind(&identity.tenant)
            .bind(name)
            .bind(payload.to_string())
            .bind(MOST)
            .fetch_optional(self.pool()?)
            .await?;
        Ok(sent.is_some())
    }

    /// Takes the oldest signal of a name that no other step has taken. A step that took one and lost the connection
    /// before it was told asks again, and gets the same.
    pub(crate) async fn take_signal(
        &self,
        execution_id: &str,
        name: &str,
        node: &str,
    ) -> Result<Option<Value>> {
        let take = "UPDATE workflow.signals SET taken_by = $3 WHERE place = (
                SELECT place FROM workflow.signals WHERE execution_id = $1 AND name = $2
                    AND (taken_by IS NULL OR taken_by = $3)
                ORDER BY place LIMIT 1 FOR UPDATE SKIP LOCKED
            ) RETURNING payload::text";
        let taken = sqlx::query(take)
            .bind(execution_id)
            .bind(name)
            .bind(node)
            .fetch_optional(self.pool()?)
            .await?;
        let text: Option<String> = taken.map(|row| row.try_get(0)).transpose()?;
        Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
    }
}
