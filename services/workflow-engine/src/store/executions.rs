//! Runs: begun, noted, ended. Only its owner changes a run, and only while it is active: one that was cancelled,
//! or given up when its owner's lease ran out, stays so whatever the owner does later.

use contract::workflow::{ExecuteAnswer, Status};
use kit::{Identity, Problem};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Kept, Store};
use crate::error::{Error, Result};

/// Something that happened in a run, from its owner.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// Its place among the owner's entries of the run, so that one that is written twice is there once.
    pub(crate) seq: i64,
    pub(crate) kind: &'static str,
    pub(crate) node: Option<String>,
    pub(crate) data: Option<Value>,
    /// Of a node that is done. For queries; not part of the history that is told.
    pub(crate) output: Option<Value>,
    /// RFC 3339, UTC.
    pub(crate) at: String,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ending {
    state: &'static str,
    event: &'static str,
    outputs: Option<String>,
    error: Option<String>,
    took_s: f64,
}

impl Ending {
    pub(crate) fn of(ended: &Result<ExecuteAnswer, Problem>, took_s: f64) -> Result<Self> {
        Ok(match ended {
            Ok(answer) => Ending {
                state: "completed",
                event: "handler.completed",
                outputs: Some(serde_json::to_string(&answer.outputs)?),
                error: None,
                took_s,
            },
            Err(problem) => Ending {
                state: "failed",
                event: "handler.error",
                outputs: None,
                error: Some(error_of(problem).to_string()),
                took_s,
            },
        })
    }
}

/// A run's failure as it is kept: what the synchronous caller sees, and with which status.
pub(crate) fn error_of(problem: &Problem) -> Value {
    let mut error = problem.body();
    error.remove("execution_id");
    error.insert("status_code".to_owned(), problem.status().as_u16().into());
    Value::Object(error)
}

impl Store {
    /// Records that a run begins. False where its workflow was deleted meanwhile.
    pub(crate) async fn begin(
        &self,
        execution_id: &str,
        kept: &Kept,
        state: Status,
        inputs: &Map<String, Value>,
        identity: &Identity,
    ) -> Result<bool> {
        let begin = "WITH live AS (
                SELECT workflow_id, name, version FROM workflow.definitions
                WHERE workflow_id = $2 AND deleted_at IS NULL FOR KEY SHARE
            ), begun AS (
                INSERT INTO workflow.executions
                    (execution_id, workflow_id, workflow, version, state, inputs, tenant, owner, lease_until)
                SELECT $1, workflow_id, name, version, $3, $4::jsonb, $5, $6,
                    now() + $7::double precision * interval '1 second' FROM live
                RETURNING *
            )
            INSERT INTO workflow.outbox (event)
            SELECT workflow.event('handler.called', tenant, workflow, version, execution_id, NULL) FROM begun";
        let begun = sqlx::query(begin)
            .bind(execution_id)
            .bind(&kept.workflow_id)
            .bind(if state == Status::Pending {
                "pending"
            } else {
                "running"
            })
            .bind(serde_json::to_string(inputs)?)
            .bind(&identity.tenant)
            .bind(&self.0.owner)
            .bind(self.0.lease.as_secs_f64())
            .execute(self.pool()?)
            .await?;
        self.0.events.notify_one();
        Ok(begun.rows_affected() == 1)
    }

    /// Adds to a run's history, and tells who follows it. False where the run is no longer this process's.
    pub(crate) async fn note(&self, execution_id: &str, waiting: bool, entries: &[Entry]) -> Result<bool> {
        // The run's row is locked first, so that places in its history grow in the order of commits.
        let note = "WITH mine AS (
                UPDATE workflow.executions SET state = $3
                WHERE execution_id = $1 AND owner = $2 AND state IN ('pending', 'running', 'waiting')
                RETURNING execution_id
            ), kept AS (
                INSERT INTO workflow.history (execution_id, seq, kind, node, data, output, at)
                SELECT mine.execution_id, e.seq, e.kind, e.node, e.data, e.output, e.at
                FROM mine, jsonb_to_recordset($4::jsonb)
                    AS e(seq bigint, kind text, node text, data jsonb, output jsonb, at timestamptz)
                ORDER BY e.seq
                ON CONFLICT (execution_id, seq) DO NOTHING
            )
            SELECT pg_notify('workflow_runs', execution_id)::text FROM mine";
        let noted = sqlx::query(note)
            .bind(execution_id)
            .bind(&self.0.owner)
            .bind(if waiting { "waiting" } else { "running" })
            .bind(serde_json::to_string(entries)?)
            .fetch_optional(self.pool()?)
            .await?;
        Ok(noted.is_some())
    }

    /// Records how a run ended, with what was not noted yet. False where the run was no longer this process's.
    /// `followed`: whether others may be following it.
    pub(crate) async fn end(
        &self,
        execution_id: &str,
        ending: &Ending,
        entries: &[Entry],
        followed: bool,
    ) -> Result<bool> {
        let end = "WITH ended AS (
                UPDATE workflow.executions SET state = $3, outputs = $4::jsonb, error = $5::jsonb, took_s = $6,
                    ended_at = now(), lease_until = NULL
                WHERE execution_id = $1 AND owner = $2 AND state IN ('pending', 'running', 'waiting')
                RETURNING *
            ), kept AS (
                INSERT INTO workflow.history (execution_id, seq, kind, node, data, output, at)
                SELECT ended.execution_id, e.seq, e.kind, e.node, e.data, e.output, e.at
                FROM ended, jsonb_to_recordset($7::jsonb)
                    AS e(seq bigint, kind text, node text, data jsonb, output jsonb, at timestamptz)
                ORDER BY e.seq
                ON CONFLICT (execution_id, seq) DO NOTHING
            ), told AS (
                INSERT INTO workflow.outbox (event)
                SELECT workflow.event($8, tenant, workflow, version, execution_id, state) FROM ended
            )
            SELECT CASE WHEN $9 THEN pg_notify('workflow_runs', execution_id)::text END FROM ended";
        let ended = sqlx::query(end)
            .bind(execution_id)
            .bind(&self.0.owner)
            .bind(ending.state)
            .bind(&ending.outputs)
            .bind(&ending.error)
            .bind(ending.took_s)
            .bind(serde_json::to_string(entries)?)
            .bind(ending.event)
            .bind(followed)
            .fetch_optional(self.pool()?)
            .await?;
        self.0.events.notify_one();
        Ok(ended.is_some())
    }

    /// Ends an active run of the tenant for good. False where there is none of this id.
    pub(crate) async fn cancel(&self, execution_id: &str, identity: &Identity) -> Result<bool> {
        let cancel = "WITH ended AS (
                UPDATE workflow.executions SET state = 'cancelled', error = $3::jsonb, ended_at = now(),
                    lease_until = NULL
                WHERE execution_id = $1 AND tenant IS NOT DISTINCT FROM $2
                    AND state IN ('pending', 'running', 'waiting')
                RETURNING *
            ), kept AS (
                INSERT INTO workflow.history (execution_id, kind) SELECT execution_id, 'run.cancelled' FROM ended
            ), told AS (
                INSERT INTO workflow.outbox (event)
                SELECT workflow.event('handler.error', tenant, workflow, version, execution_id, state) FROM ended
            )
            SELECT pg_notify('workflow_runs', execution_id)::text FROM ended";
        let cancelled = sqlx::query(cancel)
            .bind(execution_id)
            .bind(&identity.tenant)
            .bind(error_of(&Error::cancelled()).to_string())
            .fetch_optional(self.pool()?)
            .await?;
        self.0.events.notify_one();
        Ok(cancelled.is_some())
    }

    /// The error of a run whose process died, as it is kept.
    pub(super) fn interrupted() -> String {
        error_of(&Error::interrupted()).to_string()
    }
}
