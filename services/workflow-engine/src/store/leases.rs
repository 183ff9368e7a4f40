//! Whose runs are whose: a process keeps its runs by renewing their lease. When it dies, whichever replica sees
//! the lease run out gives them up.

use std::time::Duration;

use sqlx::Row;

use super::Store;
use crate::error::Result;

impl Store {
    /// How long a run is its process's without being renewed.
    pub(crate) fn lease(&self) -> Duration {
        self.0.lease
    }

    /// Keeps these runs for another lease.
    pub(crate) async fn renew(&self, runs: &[String]) -> Result<()> {
        let renew =
            "UPDATE workflow.executions SET lease_until = now() + $3::double precision * interval '1 second'
            WHERE execution_id = ANY($1) AND owner = $2 AND state IN ('pending', 'running', 'waiting')";
        sqlx::query(renew)
            .bind(runs)
            .bind(&self.0.owner)
            .bind(self.0.lease.as_secs_f64())
            .execute(self.keepers_pool()?)
            .await?;
        Ok(())
    }

    /// Which of these runs are not this process's any more: cancelled, or given up.
    pub(crate) async fn lost(&self, runs: &[String]) -> Result<Vec<String>> {
        let lost = "SELECT execution_id FROM workflow.executions
            WHERE execution_id = ANY($1) AND NOT (owner = $2 AND state IN ('pending', 'running', 'waiting'))";
        let rows = sqlx::query(lost)
            .bind(runs)
            .bind(&self.0.owner)
            .fetch_all(self.pool()?)
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Gives up the runs whose lease ran out: they failed, interrupted. How many they were.
    pub(crate) async fn give_up(&self) -> Result<usize> {
        let give_up = "WITH dead AS (
                SELECT execution_id FROM workflow.executions
                WHERE state IN ('pending', 'running', 'waiting') AND (lease_until IS NULL OR lease_until < now())
                ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED
            ), ended AS (
                UPDATE workflow.executions e SET state = 'failed', error = $1::jsonb, ended_at = now(),
                    lease_until = NULL
                FROM dead WHERE e.execution_id = dead.execution_id
                RETURNING e.*
            ), kept AS (
                INSERT INTO workflow.history (execution_id, kind, data)
                SELECT execution_id, 'run.failed', $1::jsonb FROM ended
            ), told AS (
                INSERT INTO workflow.outbox (event)
                SELECT workflow.event('handler.error', tenant, workflow, version, execution_id, state) FROM ended
            )
            SELECT pg_notify('workflow_runs', execution_id)::text FROM ended";
        let ended = sqlx::query(give_up)
            .bind(Self::interrupted())
            .fetch_all(self.keepers_pool()?)
            .await?;
        if !ended.is_empty() {
            self.0.events.notify_one();
        }
        Ok(ended.len())
    }
}
