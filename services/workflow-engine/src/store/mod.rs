//! The only SQL of this service. Tables live in a schema of their own, so that they never meet a model's table.

mod executions;
mod workflows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use kit::Problem;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::config::Config;

pub(crate) use executions::{Ended, Execution};
pub(crate) use workflows::{Registration, Removal, Stored, Summary};

/// One key for all who change the schema at once ("horme_we" in ASCII).
const SCHEMA_LOCK: i64 = 0x686f_726d_655f_7765;

/// Taken one after the other; each may run again and again.
const SCHEMA: [&str; 5] = [
    "CREATE SCHEMA IF NOT EXISTS workflow_engine",
    "CREATE TABLE IF NOT EXISTS workflow_engine.workflows (
        sequence BIGINT GENERATED ALWAYS AS IDENTITY,
        workflow_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        definition JSONB NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        UNIQUE (name, version))",
    "CREATE TABLE IF NOT EXISTS workflow_engine.executions (
        execution_id TEXT PRIMARY KEY,
        workflow_id TEXT NOT NULL REFERENCES workflow_engine.workflows ON DELETE CASCADE,
        state TEXT NOT NULL,
        outputs JSONB,
        error JSONB,
        started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        deadline TIMESTAMPTZ NOT NULL,
        ended_at TIMESTAMPTZ)",
    "CREATE INDEX IF NOT EXISTS executions_by_workflow ON workflow_engine.executions (workflow_id)",
    "CREATE INDEX IF NOT EXISTS executions_by_start ON workflow_engine.executions (started_at)",
];

/// Where workflows and their executions are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: Option<PgPool>,
    prepared: Arc<AtomicBool>,
}

impl Store {
    /// Connects when it is first used.
    pub(crate) fn new(config: &Config) -> Self {
        let pool = config.database.clone().map(|options| {
            let limit_ms = config.statement_timeout.as_millis().to_string();
            let options = options.options([("statement_timeout", limit_ms.as_str())]);
            PgPoolOptions::new()
                .max_connections(config.pool_size)
                .acquire_timeout(config.acquire_timeout)
                .connect_lazy_with(options)
        });
        Store {
            pool,
            prepared: Arc::default(),
        }
    }

    /// Whether the database answers; makes the tables where they were not seen since it last came up.
    ///
    /// # Errors
    /// It does not answer, or the tables cannot be made.
    pub(crate) async fn check(&self) -> Result<(), sqlx::Error> {
        let pool = self.pool.as_ref().ok_or(sqlx::Error::PoolClosed)?;
        let checked = if self.prepared.load(Ordering::Relaxed) {
            sqlx::query("SELECT 1").execute(pool).await.map(drop)
        } else {
            prepare(pool).await
        };
        self.prepared.store(checked.is_ok(), Ordering::Relaxed);
        checked
    }

    fn pool(&self) -> Result<&PgPool, Problem> {
        self.pool
            .as_ref()
            .ok_or_else(|| unavailable(&"DATABASE_URL is not set"))
    }
}

async fn prepare(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(SCHEMA_LOCK)
        .execute(&mut *transaction)
        .await?;
    for statement in SCHEMA {
        sqlx::query(statement).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// What the caller learns of a failed statement: whether trying again may help, and no more.
fn problem(error: sqlx::Error) -> Problem {
    match &error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Tls(_) => {
            unavailable(&error)
        }
        sqlx::Error::Database(database) => match database.code().as_deref() {
            Some(code) if is_passing(code) => unavailable(&error),
            // 22P05 and 22021: a text holds U+0000, which PostgreSQL cannot keep.
            Some("22P05" | "22021") => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "INVALID_TEXT",
                "a text holds a character that cannot be kept (U+0000)",
            ),
            _ => Problem::internal(error),
        },
        _ => Problem::internal(error),
    }
}

/// Whether it passes by itself: class 08 is the connection, 53 resources, 57 an operator; 42P01 and 3F000 are tables
/// that are not made yet.
fn is_passing(code: &str) -> bool {
    ["08", "53", "57"].iter().any(|class| code.starts_with(class)) || ["42P01", "3F000"].contains(&code)
}

fn unavailable(detail: &dyn std::fmt::Display) -> Problem {
    Problem::unavailable("DATABASE_UNAVAILABLE", "the database does not answer", detail)
}
