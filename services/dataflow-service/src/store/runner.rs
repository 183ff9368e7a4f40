//! Running a migration. Steps that fit into one transaction are one transaction; the others are written down one by
//! one, so that whoever finds a migration whose process died goes on where it stopped. What PostgreSQL refuses is
//! taken back, and told as failed.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row};
use tokio::sync::MutexGuard;

use super::Store;
use super::journal::{self, Migration};
use super::registry::{self, LOCK};
use crate::domain::fault::{Fault, MIGRATION_FAILED, MIGRATION_LOCKED};
use crate::domain::plan::{Mode, Step};
use crate::error::{Error, Result};

/// A connection that holds the lock on all changes of tables. It is closed afterwards, and with it the lock is free.
pub(super) struct Session<'a> {
    pub(super) connection: PoolConnection<Postgres>,
    /// One session a process: waiting for the lock must not use up the service's own connections.
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Session<'a> {
    /// Waits for the lock, `MIGRATION_LOCK_TIMEOUT` at most: then 503 DF-301.
    pub(super) async fn begin(store: &'a Store) -> Result<Self> {
        let patience = store.0.migration_lock_timeout;
        let turn = tokio::time::timeout(patience, store.0.changing.lock())
            .await
            .map_err(|_| locked())?;
        let mut session = Self::unlocked(store, turn, patience).await?;
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(LOCK)
            .execute(&mut *session.connection)
            .await?;
        Ok(session)
    }

    /// `None` where somebody else is at it.
    pub(super) async fn try_begin(store: &'a Store) -> Result<Option<Self>> {
        let Ok(turn) = store.0.changing.try_lock() else {
            return Ok(None);
        };
        let mut session = Self::unlocked(store, turn, store.0.migration_lock_timeout).await?;
        let row = sqlx::query("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *session.connection)
            .await?;
        Ok(row.try_get::<bool, _>(0)?.then_some(session))
    }

    async fn unlocked(store: &'a Store, turn: MutexGuard<'a, ()>, patience: Duration) -> Result<Self> {
        let mut connection = store.pool()?.acquire().await?;
        connection.close_on_drop();
        let limits = format!(
            "SET lock_timeout = {}; SET statement_timeout = 0",
            patience.as_millis()
        );
        sqlx::raw_sql(AssertSqlSafe(limits))
            .execute(&mut *connection)
            .await?;
        Ok(Session {
            connection,
            _turn: turn,
        })
    }

    pub(super) async fn end(mut self) {
        let freed = sqlx::query("SELECT pg_advisory_unlock_all()")
            .execute(&mut *self.connection)
            .await;
        if let Err(error) = freed {
            // The connection ends, and with it the lock.
            tracing::debug!(%error, "the lock was not given back");
        }
    }

    /// Goes on with migrations whose process died: nobody who lives has them, since we hold the lock.
    pub(super) async fn finish_pending(&mut self) -> Result<()> {
        while let Some(migration) = journal::pending(&mut *self.connection).await? {
            let (model, version, done) = (migration.model.clone(), migration.version, migration.steps_done);
            journal::verify(&mut *self.connection, &model).await?;
            tracing::warn!(
                model,
                version,
                steps_done = done,
                "a migration stopped halfway: going on"
            );
            match self.steps(migration).await {
                Ok(_) => tracing::info!(model, version, "it is applied"),
                // It is told as failed, and does not stand in the way.
                Err(Error::Named(_, fault)) if fault.code == MIGRATION_FAILED => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// # Errors
    /// 409 DF-305 where PostgreSQL refuses a step; nothing of the migration remains.
    pub(super) async fn run(&mut self, mut migration: Migration) -> Result<Migration> {
        if is_journaled(&migration) {
            migration.insert(&mut self.connection).await?;
        }
        self.steps(migration).await
    }

    async fn steps(&mut self, mut migration: Migration) -> Result<Migration> {
        match self.forward(&mut migration).await {
            Ok(()) => Ok(migration),
            Err(error) => Err(self.undo(migration, error).await?),
        }
    }

    /// All steps that must be committed by themselves, then the rest and the registration as one transaction.
    async fn forward(&mut self, migration: &mut Migration) -> Result<()> {
        let last = migration
            .steps
            .iter()
            .rposition(|step| step.mode != Mode::Together);
        for place in migration.steps_done..last.map_or(0, |last| last + 1) {
            let step = migration.steps[place].clone();
            match step.mode {
                Mode::Together => {
                    let mut change = self.connection.begin().await?;
                    execute(&mut change, &step.sql).await?;
                    migration.advance(&mut change, place + 1).await?;
                    change.commit().await?;
                    continue;
                }
                Mode::Alone => {
                    // What a former attempt left may be an index that is not valid.
                    execute(&mut self.connection, step.reverse.as_deref().unwrap_or_default()).await?;
                    execute(&mut self.connection, &step.sql).await?;
                }
                Mode::Batches => self.batches(&step, &migration.model).await?,
            }
            migration.advance(&mut self.connection, place + 1).await?;
        }
        let mut change = self.connection.begin().await?;
        if !is_journaled(migration) {
            migration.insert(&mut change).await?;
        }
        for step in &migration.steps[migration.steps_done..] {
            execute(&mut change, &step.sql).await?;
        }
        let (before, after) = (migration.model_before()?, migration.model_after()?);
        registry::replace(&mut change, before.as_ref(), after.as_ref()).await?;
        migration.advance(&mut change, migration.steps.len()).await?;
        migration.applied(&mut change).await?;
        change.commit().await?;
        Ok(())
    }

    async fn batches(&mut self, step: &Step, model: &str) -> Result<()> {
        loop {
            let mut change = self.connection.begin().await?;
            let done = sqlx::raw_sql(AssertSqlSafe(step.sql.clone()))
                .execute(&mut *change)
                .await?;
            if done.rows_affected() == 0 {
                return Ok(());
            }
            // What was answered of these rows before is stale, whatever becomes of the migration.
            registry::raise(&mut change, model).await?;
            change.commit().await?;
        }
    }

    /// The public error. Without an answer from PostgreSQL the migration stays pending: it will be gone on with.
    async fn undo(&mut self, mut migration: Migration, error: Error) -> Result<Error> {
        let Some(why) = refusal(&error) else {
            return Ok(error);
        };
        if !is_journaled(&migration) {
            // What was written down went with the transaction.
            migration.insert(&mut self.connection).await?;
        }
        tracing::warn!(model = migration.model, version = migration.version, %error, "a migration was refused");
        let done = migration.steps_done;
        let began = migration
            .steps
            .get(done)
            .is_some_and(|step| step.mode == Mode::Alone);
        for step in migration.steps[..done + usize::from(began)].iter().rev() {
            execute(&mut self.connection, step.reverse.as_deref().unwrap_or_default()).await?;
        }
        migration.failed(&mut self.connection, why).await?;
        let message = format!(
            "migration {} of {} ({}) was refused by the database, and nothing of it remains: {why}",
            migration.version, migration.model, migration.name
        );
        Ok(Error::conflict(MIGRATION_FAILED, message))
    }
}

/// Whether it is written down before it begins: it is more than one transaction.
fn is_journaled(migration: &Migration) -> bool {
    migration.steps.iter().any(|step| step.mode != Mode::Together)
}

/// One step, which may hold several statements; an empty one is nothing.
async fn execute(connection: &mut PgConnection, sql: &str) -> Result<()> {
    if !sql.is_empty() {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// 503 DF-301.
pub(super) fn locked() -> Error {
    let fault = Fault::new(MIGRATION_LOCKED, "another change of tables is under way");
    Error::Named(axum::http::StatusCode::SERVICE_UNAVAILABLE, fault)
}

/// Why PostgreSQL refused a step, by SQLSTATE (documentation, appendix A), without its words: they may hold values.
/// `None` where the database was lost, or told to end.
fn refusal(error: &Error) -> Option<&'static str> {
    let Error::Database(error) = error else {
        return None;
    };
    let state = error.as_database_error()?.code()?;
    match &*state {
        "23505" => Some("two rows have the same value"),
        "23502" | "23514" => Some("a row has no value, or one that is not allowed"),
        "23503" => Some("a row refers to one that does not exist"),
        "2BP01" => Some("another table depends on it"),
        "42830" => Some("a field that is referred to is neither an id nor unique"),
        "55006" => Some("the table is not empty"),
        "55P03" => Some("the table was in use for too long"),
        "42501" => Some("the user of DATABASE_URL may not do it"),
        "0A000" | "58P01" => Some("the server lacks what it needs, such as the extension vector"),
        _ if state.starts_with("22") => Some("a value does not fit the new type"),
        _ if ["08", "53", "57"].iter().any(|class| state.starts_with(class)) => None,
        _ => Some("see the log"),
    }
}
