//! The books of background jobs: who does what, until when, and how far it is. A worker holds a lease that it
//! prolongs; when it is silent for longer, another replica takes the job over.

use std::time::Duration;

use kit::Identity;
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row, Transaction};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::Store;
use crate::config::Config;
use crate::domain::job::JobKind;
use crate::error::{Error, Result};

/// Imports that one replica receives at a time. Each keeps one of the service's few own connections for as long as
/// its sender takes.
const UPLOADS: usize = 2;

/// How jobs are paced, and whom to wake for a new one.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) lease: Duration,
    pub(super) attempts: i32,
    pub(super) retention_interval: Duration,
    pub(super) new: Notify,
    uploads: Semaphore,
    upload_patience: Duration,
}

impl Pace {
    pub(super) fn new(config: &Config) -> Self {
        Pace {
            lease: config.job_lease,
            attempts: config.job_attempts,
            retention_interval: config.retention_interval,
            new: Notify::new(),
            uploads: Semaphore::new(UPLOADS),
            upload_patience: config.acquire_timeout,
        }
    }
}

/// A job that this process holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) kind: JobKind,
    pub(super) model: String,
    /// Of the schedule: for the rows of all tenants.
    pub(super) scheduled: bool,
    pub(super) identity: Identity,
    pub(super) options: Map<String, Value>,
    pub(super) attempts: i32,
    pub(super) worker: String,
}

/// As `GET /jobs/{id}` tells it.
const VIEW: &str = "jsonb_build_object('id', id, 'kind', kind, 'model', model, 'status', status,
    'progress', jsonb_build_object('done', done, 'failed', failed, 'total', total), 'attempts', attempts,
    'error', error, 'faults', faults, 'created_at', created_at, 'started_at', started_at,
    'finished_at', finished_at)::text";

impl Store {
    /// Held while an import is received. 503 where others are received for longer than a connection is waited for.
    pub(crate) async fn upload_turn(&self) -> Result<SemaphorePermit<'_>> {
        let jobs = &self.0.jobs;
        match tokio::time::timeout(jobs.upload_patience, jobs.uploads.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::PoolExhausted),
        }
    }

    /// A job in the making: it is there when the transaction is committed.
    pub(crate) async fn begin_job(
        &self,
        identity: &Identity,
        kind: JobKind,
        model: &str,
        options: Map<String, Value>,
    ) -> Result<NewJob> {
        let mut change = self.begin().await?;
        let made = "INSERT INTO dataflow.jobs (kind, model, tenant, options) VALUES ($1, $2, $3, $4::jsonb)
                    RETURNING id::text";
        let row = sqlx::query(made)
            .bind(kind.word())
            .bind(model)
            .bind(&identity.tenant)
            .bind(Value::Object(options).to_string())
            .fetch_one(&mut *change)
            .await?;
        Ok(NewJob {
            id: row.try_get(0)?,
            change,
            chunks: 0,
            rows: 0,
        })
    }

    /// The job is written; a worker looks at it at once.
    pub(crate) async fn queue_job(&self, job: NewJob) -> Result<String> {
        let NewJob {
            id,
            mut change,
            chunks,
            rows,
        } = job;
        if chunks > 0 {
            sqlx::query("UPDATE dataflow.jobs SET total = $2 WHERE id = $1::uuid")
                .bind(&id)
                .bind(rows)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        self.0.jobs.new.notify_one();
        Ok(id)
    }

    /// A job of the caller's tenant.
    pub(crate) async fn job(&self, identity: &Identity, id: &str) -> Result<Value> {
        let asked = format!(
            "SELECT {VIEW} FROM dataflow.jobs WHERE id = $1::uuid AND tenant IS NOT DISTINCT FROM $2"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(asked))
            .bind(id)
            .bind(&identity.tenant)
            .fetch_optional(self.pool()?)
            .await?;
        view(&row.ok_or_else(Error::job_unknown)?)
    }

    /// The newest jobs of the caller's tenant; `dead` are the dead letters.
    pub(crate) async fn jobs(
        &self,
        identity: &Identity,
        status: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Value>> {
        let asked = format!(
            "SELECT {VIEW} FROM dataflow.jobs WHERE tenant IS NOT DISTINCT FROM $1 AND ($2::text IS NULL OR status = $2)
             ORDER BY created_at DESC LIMIT $3"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(asked))
            .bind(&identity.tenant)
            .bind(status)
            .bind(limit.clamp(1, self.max_page()))
            .fetch_all(self.pool()?)
            .await?;
        rows.iter().map(view).collect()
    }

    /// A dead or cancelled job goes on where it was.
    pub(crate) async fn requeue_job(&self, identity: &Identity, id: &str) -> Result<Value> {
        let changed = "UPDATE dataflow.jobs SET status = 'queued', attempts = 0, run_after = now(), error = NULL,
                       finished_at = NULL, worker = NULL
                       WHERE id = $1::uuid AND tenant IS NOT DISTINCT FROM $2 AND status IN ('dead', 'cancelled')";
        self.change_job(identity, id, changed, "only dead and cancelled jobs are requeued")
            .await?;
        self.0.jobs.new.notify_one();
        self.job(identity, id).await
    }

    /// A job that has not ended ends. What it has written stays.
    pub(crate) async fn cancel_job(&self, identity: &Identity, id: &str) -> Result<Value> {
        let changed = "UPDATE dataflow.jobs SET status = 'cancelled', finished_at = now(), worker = NULL
                       WHERE id = $1::uuid AND tenant IS NOT DISTINCT FROM $2 AND status IN ('queued', 'running')";
        self.change_job(identity, id, changed, "the job has ended already")
            .await?;
        self.job(identity, id).await
    }

    async fn change_job(
        &self,
        identity: &Identity,
        id: &str,
        sql: &'static str,
        otherwise: &str,
    ) -> Result<()> {
        let done = sqlx::query(sql)
            .bind(id)
            .bind(&identity.tenant)
            .execute(self.pool()?)
            .await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        self.job(identity, id).await?;
        Err(Error::job_state(otherwise))
    }

    /// The job that has waited longest, or whose worker is silent; nobody else gets it.
    pub(super) async fn claim_job(&self) -> Result<Option<Held>> {
        let claimed = "UPDATE dataflow.jobs SET status = 'running', worker = gen_random_uuid(),
                lease_until = now() + make_interval(secs => $1), attempts = attempts + 1,
                started_at = coalesce(started_at, now())
            WHERE id = (
                SELECT id FROM dataflow.jobs
                WHERE (status = 'queued' AND run_after <= now()) OR (status = 'running' AND lease_until < now())
                ORDER BY run_after LIMIT 1 FOR UPDATE SKIP LOCKED
            ) RETURNING id::text, kind, model, tenant, scheduled IS NOT NULL, options::text, attempts, worker::text";
        let row = sqlx::query(claimed)
            .bind(self.0.jobs.lease.as_secs_f64())
            .fetch_optional(self.pool()?)
            .await?;
        row.map(|row| held(&row)).transpose()
    }

    /// Whether the job is still this worker's.
    pub(super) async fn prolong_job(&self, job: &Held) -> Result<bool> {
        let prolonged = "UPDATE dataflow.jobs SET lease_until = now() + make_interval(secs => $3)
                         WHERE id = $1::uuid AND worker = $2::uuid AND status = 'running'";
        let done = sqlx::query(prolonged)
            .bind(&job.id)
            .bind(&job.worker)
            .bind(self.0.jobs.lease.as_secs_f64())
            .execute(self.pool()?)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn finish_job(&self, job: &Held) -> Result<()> {
        let done = "UPDATE dataflow.jobs SET status = 'done', finished_at = now(), error = NULL
                    WHERE id = $1::uuid AND worker = $2::uuid AND status = 'running'";
        sqlx::query(done)
            .bind(&job.id)
            .bind(&job.worker)
            .execute(self.pool()?)
            .await?;
        Ok(())
    }

    /// It is tried again later, or is dead: after the last attempt since it made progress, or where trying again
    /// cannot help.
    pub(super) async fn fail_job(&self, job: &Held, error: &Error, hopeless: bool) -> Result<()> {
        let failed =
            "UPDATE dataflow.jobs SET status = CASE WHEN $3 OR attempts >= $5 THEN 'dead' ELSE 'queued' END,
                error = $4, finished_at = CASE WHEN $3 OR attempts >= $5 THEN now() END, worker = NULL,
                run_after = now() + make_interval(secs => power(2, least(attempts - 1, 8)))
            WHERE id = $1::uuid AND worker = $2::uuid AND status = 'running'";
        sqlx::query(failed)
            .bind(&job.id)
            .bind(&job.worker)
            .bind(hopeless)
            .bind(error.code())
            .bind(self.0.jobs.attempts)
            .execute(self.pool()?)
            .await?;
        Ok(())
    }

    /// Jobs by state, for the metrics.
    pub(super) async fn count_jobs(&self) -> Result<Vec<(String, i64)>> {
        let rows = sqlx::query("SELECT status, count(*) FROM dataflow.jobs GROUP BY status")
            .fetch_all(self.pool()?)
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }
}

/// A job that is not committed yet.
#[derive(Debug)]
pub(crate) struct NewJob {
    id: String,
    change: Transaction<'static, Postgres>,
    chunks: i32,
    rows: i64,
}

impl NewJob {
    /// Adds a chunk of an import.
    pub(crate) async fn add(&mut self, (lines, rows): (String, usize)) -> Result<()> {
        sqlx::query("INSERT INTO dataflow.job_chunks (job, n, first, rows) VALUES ($1::uuid, $2, $3, $4)")
            .bind(&self.id)
            .bind(self.chunks)
            .bind(self.rows)
            .bind(lines)
            .execute(&mut *self.change)
            .await?;
        self.chunks += 1;
        self.rows += i64::try_from(rows).unwrap_or_default();
        Ok(())
    }
}

fn view(row: &PgRow) -> Result<Value> {
    Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)
}

fn held(row: &PgRow) -> Result<Held> {
    let kind: String = row.try_get(1)?;
    Ok(Held {
        id: row.try_get(0)?,
        kind: JobKind::of(&kind).ok_or_else(|| Error::Broken(format!("a job of kind {kind}")))?,
        model: row.try_get(2)?,
        identity: Identity {
            tenant: row.try_get(3)?,
            ..Identity::default()
        },
        scheduled: row.try_get(4)?,
        options: serde_json::from_str(&row.try_get::<String, _>(5)?)?,
        attempts: row.try_get(6)?,
        worker: row.try_get(7)?,
    })
}
