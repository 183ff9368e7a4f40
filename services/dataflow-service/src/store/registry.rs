//! The registry of models, and the changes of tables: one at a time across all replicas.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, PgPool, Postgres, Row, Transaction};

use super::{Store, ddl};
use crate::domain::model::Model;
use crate::error::{Error, Result};

/// One number for all replicas; "dataflow" in ASCII.
const LOCK: i64 = 0x6461_7461_666c_6f77;

const PREPARE: [&str; 3] = [
    "CREATE SCHEMA IF NOT EXISTS dataflow",
    "CREATE SCHEMA IF NOT EXISTS models",
    "CREATE TABLE IF NOT EXISTS dataflow.model_registry (
        name text PRIMARY KEY,
        table_name text NOT NULL UNIQUE,
        definition jsonb NOT NULL,
        registered_at timestamptz NOT NULL DEFAULT now()
    )",
];

/// What registering came to.
#[derive(Debug)]
pub(crate) enum Registration {
    New(Arc<Model>),
    /// The very same definition was there.
    Known(Arc<Model>),
}

/// Makes the schemas and the registry, unless they are there.
pub(super) async fn prepare(store: &Store) -> Result<()> {
    let mut change = locked(store).await?;
    for statement in PREPARE {
        sqlx::query(statement).execute(&mut *change).await?;
    }
    change.commit().await?;
    Ok(())
}

impl Store {
    /// Registers a model and makes its table, both or neither.
    pub(crate) async fn register(&self, model: Model) -> Result<Registration> {
        let mut change = locked(self).await?;
        let taken =
            "SELECT name, definition::text FROM dataflow.model_registry WHERE name = $1 OR table_name = $2";
        let taken = sqlx::query(taken)
            .bind(&model.name)
            .bind(model.table())
            .fetch_optional(&mut *change)
            .await?;
        if let Some(row) = taken {
            let known: Model = serde_json::from_str(&row.try_get::<String, _>(1)?)?;
            if known == model {
                return Ok(Registration::Known(self.keep(known)));
            }
            let message = format!(
                "{} has the name or the table of another definition, {}",
                model.name, known.name
            );
            return Err(Error::model_exists(message));
        }
        for statement in ddl::create(&model) {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut *change)
                .await?;
        }
        let kept =
            "INSERT INTO dataflow.model_registry (name, table_name, definition) VALUES ($1, $2, $3::jsonb)";
        sqlx::query(kept)
            .bind(&model.name)
            .bind(model.table())
            .bind(serde_json::to_string(&model)?)
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        tracing::info!(model = model.name, table = model.table(), "model registered");
        Ok(Registration::New(self.keep(model)))
    }
}

/// A transaction that holds the lock on all changes of tables.
async fn locked(store: &Store) -> Result<Transaction<'static, Postgres>> {
    let mut change = store.pool()?.begin().await?;
    let limit = store.0.migration_lock_timeout.as_millis();
    let patience = format!("SET LOCAL lock_timeout = {limit}; SET LOCAL statement_timeout = 0");
    sqlx::raw_sql(AssertSqlSafe(patience))
        .execute(&mut *change)
        .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *change)
        .await?;
    Ok(change)
}

pub(super) async fn all(pool: &PgPool) -> Result<Vec<Model>> {
    let all = "SELECT definition::text FROM dataflow.model_registry ORDER BY name";
    let rows = sqlx::query(all).fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?))
        .collect()
}

pub(super) async fn one(pool: &PgPool, name: &str) -> Result<Option<Model>> {
    let one = "SELECT definition::text FROM dataflow.model_registry WHERE name = $1";
    let row = sqlx::query(one).bind(name).fetch_optional(pool).await?;
    row.map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?))
        .transpose()
}
