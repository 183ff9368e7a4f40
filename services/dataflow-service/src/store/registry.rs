//! The registry of models: which there are, and at what revision, so that replicas notice what another changed.

use std::sync::atomic::Ordering;

use sqlx::{AssertSqlSafe, PgConnection, PgExecutor, Postgres, Row, Transaction};

use super::connections::{self, Guard};
use super::{Store, schema, table};
use crate::domain::model::Model;
use crate::error::Result;

/// One number for all replicas; "dataflow" in ASCII.
pub(super) const LOCK: i64 = 0x6461_7461_666c_6f77;
/// Told when a model changed.
pub(super) const CHANNEL: &str = "dataflow_models";

/// What a replica looks at to know whether its models are those of the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    revision: i64,
    models: i64,
    /// Whether a migration was begun and not ended.
    pub(super) pending: bool,
}

/// Makes the role of row connections and the service's own tables, unless they are there. Only what is missing waits
/// for the lock: another replica may hold it for long. That the role cannot be had is no reason to wait: whether it can
/// is tried once a process, without the lock.
pub(super) async fn prepare(store: &Store) -> Result<()> {
    let mut connection = store.pool()?.acquire().await?;
    let mut guard = connections::known(&mut connection).await?;
    if guard != Guard::Role && !store.0.role_tried.swap(true, Ordering::Relaxed) {
        guard = connections::make_role(&mut connection).await?;
    }
    let is_whole = schema::is_current(&mut connection).await?
        && (guard != Guard::Role || schema::is_granted(&mut connection).await?);
    if !is_whole {
        drop(connection);
        let mut change = locked(store).await?;
        guard = connections::make_role(&mut change).await?;
        schema::apply(&mut change, guard).await?;
        // Tables that were made before there was the role, or before it could be had.
        for model in all(&mut *change).await? {
            let rights = table::privileges(&model, guard == Guard::Role);
            sqlx::raw_sql(AssertSqlSafe(rights)).execute(&mut *change).await?;
        }
        change.commit().await?;
    }
    store.connections()?.guarded_by(guard);
    Ok(())
}

/// A transaction that holds the lock on all changes of tables.
async fn locked(store: &Store) -> Result<Transaction<'static, Postgres>> {
    let mut change = store.begin().await?;
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

pub(super) async fn state(database: impl PgExecutor<'_>) -> Result<State> {
    let state = "SELECT coalesce(max(revision), 0), count(*), \
                 EXISTS (SELECT 1 FROM dataflow.migrations WHERE status = 'pending') FROM dataflow.model_registry";
    let row = sqlx::query(state).fetch_one(database).await?;
    Ok(State {
        revision: row.try_get(0)?,
        models: row.try_get(1)?,
        pending: row.try_get(2)?,
    })
}

pub(super) async fn all(database: impl PgExecutor<'_>) -> Result<Vec<Model>> {
    let all = "SELECT definition FROM dataflow.model_registry ORDER BY name";
    let rows = sqlx::query(all).fetch_all(database).await?;
    rows.iter()
        .map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?))
        .collect()
}

pub(super) async fn one(database: impl PgExecutor<'_>, name: &str) -> Result<Option<Model>> {
    let one = "SELECT definition FROM dataflow.model_registry WHERE name = $1";
    let row = sqlx::query(one).bind(name).fetch_optional(database).await?;
    row.map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?))
        .transpose()
}

/// Makes every kept answer about a model's rows one of a former revision.
pub(super) async fn raise(connection: &mut PgConnection, model: &str) -> Result<()> {
    sqlx::query(
        "UPDATE dataflow.model_registry SET revision = nextval('dataflow.revisions') WHERE name = $1",
    )
    .bind(model)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes down what a migration made of a model, in the migration's transaction; all replicas are told at its end.
pub(super) async fn replace(
    connection: &mut PgConnection,
    before: Option<&Model>,
    after: Option<&Model>,
) -> Result<()> {
    if let Some(before) = before.filter(|_| after.is_none()) {
        sqlx::query("DELETE FROM dataflow.model_registry WHERE name = $1")
            .bind(&before.name)
            .execute(&mut *connection)
            .await?;
    }
    if let Some(after) = after {
        let keep = "INSERT INTO dataflow.model_registry (name, table_name, definition) VALUES ($1, $2, $3) \
                    ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, \
                    revision = nextval('dataflow.revisions')";
        sqlx::query(keep)
            .bind(&after.name)
            .bind(after.table())
            .bind(serde_json::to_string(after)?)
            .execute(&mut *connection)
            .await?;
    }
    let name = before.or(after).map(|model| model.name.clone());
    sqlx::query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(name.unwrap_or_default())
        .execute(connection)
        .await?;
    Ok(())
}
