//! Who does the jobs: two at a time in each replica, each under a lease that is prolonged while it is done.

use std::time::Duration;

use metrics::gauge;
use serde_json::{Value, json};
use sqlx::Row;

use super::jobs::Held;
use super::{Store, bulk};
use crate::domain::job::{self, JobKind};
use crate::domain::model::Model;
use crate::error::{Error, Result};

/// Jobs that one replica does at a time.
const WORKERS: usize = 2;
/// How soon a job of another replica is seen; one of this process wakes a worker at once.
const EVERY: Duration = Duration::from_secs(1);
/// How often figures are taken and the schedule is looked at.
const BOOKS: Duration = Duration::from_secs(5);
/// Faults of one chunk that a job remembers.
const MOST_FAULTS: usize = 20;

impl Store {
    /// Works for ever.
    pub(crate) fn start_jobs(&self) {
        for _ in 0..WORKERS {
            let store = self.clone();
            tokio::spawn(async move {
                loop {
                    match store.claim_job().await {
                        Ok(Some(job)) => {
                            store.work(job).await;
                            continue;
                        }
                        Ok(None) => {}
                        Err(error) => tracing::debug!(%error, "no job can be claimed"),
                    }
                    // A wait that ends by itself is the usual case.
                    let _ = tokio::time::timeout(EVERY, store.0.jobs.new.notified()).await;
                }
            });
        }
        let store = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(BOOKS).await;
                if let Err(error) = store.keep_books().await {
                    tracing::debug!(%error, "the books cannot be kept");
                }
            }
        });
    }

    async fn keep_books(&self) -> Result<()> {
        self.schedule_retention().await?;
        let counted = self.count_jobs().await?;
        for state in ["queued", "running", "done", "dead", "cancelled"] {
            let count = counted
                .iter()
                .find(|(name, _)| name == state)
                .map_or(0, |(_, count)| *count);
            gauge!("dataflow_jobs", "state" => state).set(count as f64);
        }
        let pool = self.row_pool()?;
        crate::metrics::pool(pool.size(), pool.num_idle(), pool.options().get_max_connections());
        Ok(())
    }

    async fn work(&self, job: Held) {
        tracing::info!(
            job = job.id,
            kind = job.kind.word(),
            model = job.model,
            attempt = job.attempts,
            "job begins"
        );
        let result = if job.attempts > self.0.jobs.attempts {
            // Its workers died, each time.
            Err(Error::Broken("every attempt ended without a word".to_owned()))
        } else {
            tokio::select! {
                result = self.perform(&job) => result,
                () = self.lose(&job) => {
                    tracing::warn!(job = job.id, "job is no longer ours");
                    return;
                }
            }
        };
        let noted = match &result {
            Ok(()) => self.finish_job(&job).await,
            Err(error) => {
                let hopeless = matches!(error, Error::Refused(_) | Error::Items(_) | Error::Named(..));
                tracing::warn!(job = job.id, %error, hopeless, "job failed");
                self.fail_job(&job, error, hopeless).await
            }
        };
        if let Err(error) = noted {
            // The lease ends by itself, and the job is taken again.
            tracing::warn!(job = job.id, %error, "a job's end cannot be noted");
        }
    }

    /// Prolongs the lease; ends when the job was cancelled, or the lease could not be prolonged in time.
    async fn lose(&self, job: &Held) {
        let lease = self.0.jobs.lease;
        let mut good_until = tokio::time::Instant::now() + lease;
        loop {
            tokio::time::sleep(lease / 4).await;
            let begun = tokio::time::Instant::now();
            match self.prolong_job(job).await {
                Ok(true) => good_until = begun + lease,
                Ok(false) => return,
                Err(error) => tracing::debug!(%error, "a lease cannot be prolonged"),
            }
            if tokio::time::Instant::now() >= good_until {
                return;
            }
        }
    }

    async fn perform(&self, job: &Held) -> Result<()> {
        let model = self.model(&job.model).await?;
        match job.kind {
            JobKind::Import => self.import(job, &model).await,
            JobKind::Retention => self.retain(job, &model).await,
            JobKind::Reindex => self.reindex(job, &model).await,
        }
    }

    /// Chunk by chunk: what a chunk's rows are written in is the transaction that deletes the chunk. So no row
    /// is written twice, whoever does the rest.
    async fn import(&self, job: &Held, model: &Model) -> Result<()> {
        let next = "SELECT n, first, rows FROM dataflow.job_chunks WHERE job = $1::uuid ORDER BY n LIMIT 1";
        loop {
            let row = sqlx::query(next)
                .bind(&job.id)
                .fetch_optional(self.pool()?)
                .await?;
            let Some(row) = row else { return Ok(()) };
            let (n, first, lines): (i32, i64, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let mut tries = super::retry::Tries::default();
            while let Err(error) = self.import_chunk(job, model, n, first, &lines).await {
                if !tries.again(&error).await {
                    return Err(error);
                }
            }
            self.wake_relay();
        }
    }

    async fn import_chunk(&self, job: &Held, model: &Model, n: i32, first: i64, lines: &str) -> Result<()> {
        let call = job::chunk(&job.options, model, lines)?;
        let mut change = self.rows(&job.identity, model).await?.begin("BEGIN").await?;
        let tenant = bulk::tenant_of(&job.identity, model);
        let done = bulk::write(&mut change, model, tenant, &call).await?;
        let faults: Vec<Value> = done
            .faults
            .iter()
            .take(MOST_FAULTS)
            .map(|item| {
                let mut fault = item.to_json();
                fault["index"] = json!(first + i64::try_from(item.index).unwrap_or_default());
                fault
            })
            .collect();
        let row = sqlx::query("SELECT dataflow.chunk_done($1::uuid, $2, $3::uuid, $4, $5, $6::jsonb)")
            .bind(&job.id)
            .bind(n)
            .bind(&job.worker)
            .bind(i64::try_from(done.written()).unwrap_or_default())
            .bind(i64::try_from(done.faults.len()).unwrap_or_default())
            .bind(Value::from(faults).to_string())
            .fetch_one(&mut *change)
            .await?;
        if !row.try_get::<bool, _>(0)? {
            return Err(Error::Broken("the job went to another worker".to_owned()));
        }
        change.commit().await?;
        Ok(())
    }
}
