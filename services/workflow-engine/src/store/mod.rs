//! The only SQL: definitions and runs, in a schema of their own.

mod executions;
mod workflows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::config::Config;
use crate::error::{Error, Result};

pub(crate) use executions::Ending;
pub(crate) use workflows::{Kept, Registration};

/// One number for all replicas; "workflow" in ASCII.
const LOCK: i64 = 0x776f_726b_666c_6f77;
/// PostgreSQL cancels what takes longer.
const STATEMENT_TIMEOUT_MS: &str = "10000";

const PREPARE: [&str; 3] = [
    "CREATE SCHEMA IF NOT EXISTS workflow",
    "CREATE TABLE IF NOT EXISTS workflow.definitions (
        workflow_id text PRIMARY KEY,
        name text NOT NULL,
        version text NOT NULL,
        fingerprint text NOT NULL,
        definition jsonb NOT NULL,
        place bigserial,
        registered_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (name, version)
    )",
    "CREATE TABLE IF NOT EXISTS workflow.executions (
        execution_id text PRIMARY KEY,
        workflow_id text NOT NULL REFERENCES workflow.definitions,
        state text NOT NULL,
        inputs jsonb NOT NULL,
        outputs jsonb,
        error jsonb,
        started_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz
    )",
];

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Option<PgPool>,
    /// Whether the tables are there since the database last came.
    prepared: AtomicBool,
    max_runtime: Duration,
}

impl Store {
    /// A store that connects when it is first asked.
    pub(crate) fn new(config: &Config) -> Self {
        let pool = config.database.clone().map(|options| {
            PgPoolOptions::new()
                .max_connections(config.pool_size)
                .acquire_timeout(config.acquire_timeout)
                .connect_lazy_with(options.options([("statement_timeout", STATEMENT_TIMEOUT_MS)]))
        });
        Store(Arc::new(Inner {
            pool,
            prepared: AtomicBool::new(false),
            max_runtime: config.max_runtime,
        }))
    }

    /// Whether the database answers. When it comes, its tables are prepared; so again when it has been away,
    /// since it may have come back empty.
    pub(crate) async fn check(&self) -> Result<()> {
        let asked = if self.0.prepared.load(Ordering::Relaxed) {
            self.ping().await
        } else {
            self.prepare().await
        };
        self.0.prepared.store(asked.is_ok(), Ordering::Relaxed);
        asked
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.pool()?).await?;
        Ok(())
    }

    async fn prepare(&self) -> Result<()> {
        let mut change = self.pool()?.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .execute(&mut *change)
            .await?;
        for statement in PREPARE {
            sqlx::query(statement).execute(&mut *change).await?;
        }
        change.commit().await?;
        self.fail_interrupted().await
    }

    fn pool(&self) -> Result<&PgPool> {
        self.0.pool.as_ref().ok_or(Error::NoDatabase)
    }
}
