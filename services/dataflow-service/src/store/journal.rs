//! The table of migrations: what was planned, how far it came, and a checksum by which an edited history shows.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row};

use super::schema::checksum_of;
use crate::domain::fault::MIGRATION_ALTERED;
use crate::domain::model::Model;
use crate::domain::plan::{Plan, Step};
use crate::domain::risk::Risk;
use crate::error::{Error, Result};

/// Migrations shown at most.
const MOST_SHOWN: i64 = 200;

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Begun. Whoever finds it and holds the lock goes on with it: its process has died.
    Pending,
    Applied,
    /// PostgreSQL refused a step, and the steps before it were taken back.
    Failed,
    RolledBack,
}

/// One migration.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Migration {
    /// 0 until it is written down.
    pub(crate) version: i64,
    pub(crate) model: String,
    pub(crate) name: String,
    pub(crate) risk: Risk,
    pub(crate) status: Status,
    pub(crate) steps: Vec<Step>,
    pub(crate) steps_done: usize,
    /// Why it failed: a class of SQLSTATE, never a value.
    pub(crate) error: Option<String>,
    /// The version that this one takes back.
    pub(crate) rolls_back: Option<i64>,
    pub(crate) checksum: String,
    pub(crate) created_at: Option<String>,
    pub(crate) applied_at: Option<String>,
    #[serde(skip)]
    pub(super) before: Value,
    #[serde(skip)]
    pub(super) after: Value,
}

impl Migration {
    pub(super) fn new(plan: &Plan, steps: Vec<Step>, rolls_back: Option<i64>) -> Result<Self> {
        let name = match rolls_back {
            Some(version) => format!("roll back {version}"),
            None => plan.name(),
        };
        let mut migration = Migration {
            version: 0,
            model: plan.model().to_owned(),
            name,
            risk: plan.risk(),
            status: Status::Pending,
            steps,
            steps_done: 0,
            error: None,
            rolls_back,
            checksum: String::new(),
            created_at: None,
            applied_at: None,
            before: serde_json::to_value(&plan.before)?,
            after: serde_json::to_value(&plan.after)?,
        };
        migration.checksum = migration.sum()?;
        Ok(migration)
    }

    /// The checksum of what it is: not of how far it came.
    fn sum(&self) -> Result<String> {
        self.sum_of(&self.before, &self.after)
    }

    fn sum_of(&self, before: &Value, after: &Value) -> Result<String> {
        let content = (&self.model, &self.name, before, after, &self.steps);
        Ok(checksum_of(&serde_json::to_string(&content)?))
    }

    /// Whether it is what was written down.
    fn is_whole(&self) -> Result<bool> {
        if self.sum()? == self.checksum {
            return Ok(true);
        }
        // It was kept as JSONB once, which wrote a large bound as a whole number: the model reads it as it was.
        let (Ok(before), Ok(after)) = (self.model_before(), self.model_after()) else {
            return Ok(false);
        };
        let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
        Ok(self.sum_of(&before, &after)? == self.checksum)
    }

    pub(super) fn model_before(&self) -> Result<Option<Model>> {
        Ok(serde_json::from_value(self.before.clone())?)
    }

    pub(super) fn model_after(&self) -> Result<Option<Model>> {
        Ok(serde_json::from_value(self.after.clone())?)
    }

    /// Writes it down; its version is made.
    pub(super) async fn insert(&mut self, connection: &mut PgConnection) -> Result<()> {
        let insert = "INSERT INTO dataflow.migrations \
                      (model, name, checksum, statements, risk, before, after, status, rolls_back) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8) RETURNING version";
        let risk = serde_json::to_value(self.risk)?;
        let row = sqlx::query(insert)
            .bind(&self.model)
            .bind(&self.name)
            .bind(&self.checksum)
            .bind(serde_json::to_string(&self.steps)?)
            .bind(risk.as_str().unwrap_or_default().to_owned())
            .bind(self.before.to_string())
            .bind(self.after.to_string())
            .bind(self.rolls_back)
            .fetch_one(connection)
            .await?;
        self.version = row.try_get(0)?;
        Ok(())
    }

    /// That the first `done` steps are done.
    pub(super) async fn advance(&mut self, connection: &mut PgConnection, done: usize) -> Result<()> {
        sqlx::query("UPDATE dataflow.migrations SET steps_done = $2, error = NULL WHERE version = $1")
            .bind(self.version)
            .bind(i32::try_from(done).unwrap_or(i32::MAX))
            .execute(connection)
            .await?;
        self.steps_done = done;
        Ok(())
    }

    /// That it is in force, in the transaction that makes it so.
    pub(super) async fn applied(&mut self, connection: &mut PgConnection) -> Result<()> {
        sqlx::query(
            "UPDATE dataflow.migrations SET status = 'applied', applied_at = now() WHERE version = $1",
        )
        .bind(self.version)
        .execute(&mut *connection)
        .await?;
        let back = "UPDATE dataflow.migrations SET status = 'rolled_back', rolled_back_at = now() WHERE version = $1";
        sqlx::query(back)
            .bind(self.rolls_back)
            .execute(connection)
            .await?;
        self.status = Status::Applied;
        Ok(())
    }

    /// That it failed, and nothing of it remains.
    pub(super) async fn failed(&mut self, connection: &mut PgConnection, why: &str) -> Result<()> {
        let failed =
            "UPDATE dataflow.migrations SET status = 'failed', steps_done = 0, error = $2 WHERE version = $1";
        sqlx::query(failed)
            .bind(self.version)
            .bind(why)
            .execute(connection)
            .await?;
        (self.status, self.error) = (Status::Failed, Some(why.to_owned()));
        Ok(())
    }
}

const COLUMNS: &str = "version, model, name, checksum, statements, risk, before, after, status, \
     steps_done, error, rolls_back, \
     to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
     to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";

fn read(row: &PgRow) -> Result<Migration> {
    let json = |column: usize| -> Result<Value> {
        let text: Option<String> = row.try_get(column)?;
        Ok(text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?)
    };
    let word = |column: usize| -> Result<Value> { Ok(Value::String(row.try_get(column)?)) };
    Ok(Migration {
        version: row.try_get(0)?,
        model: row.try_get(1)?,
        name: row.try_get(2)?,
        checksum: row.try_get(3)?,
        steps: serde_json::from_value(json(4)?)?,
        risk: serde_json::from_value(word(5)?)?,
        before: json(6)?,
        after: json(7)?,
        status: serde_json::from_value(word(8)?)?,
        steps_done: usize::try_from(row.try_get::<i32, _>(9)?).unwrap_or_default(),
        error: row.try_get(10)?,
        rolls_back: row.try_get(11)?,
        created_at: row.try_get(12)?,
        applied_at: row.try_get(13)?,
    })
}

async fn select(
    database: impl PgExecutor<'_>,
    condition: &str,
    model: Option<&str>,
    version: Option<i64>,
) -> Result<Vec<Migration>> {
    let text = format!(
        "SELECT {COLUMNS} FROM dataflow.migrations \
         WHERE ($1::text IS NULL OR model = $1) AND ($2::bigint IS NULL OR version = $2) AND {condition}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(model)
        .bind(version)
        .fetch_all(database)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn all(database: impl PgExecutor<'_>, model: Option<&str>) -> Result<Vec<Migration>> {
    let newest = format!("true ORDER BY version DESC LIMIT {MOST_SHOWN}");
    select(database, &newest, model, None).await
}

pub(super) async fn one(database: impl PgExecutor<'_>, version: i64) -> Result<Option<Migration>> {
    Ok(select(database, "true", None, Some(version)).await?.pop())
}

/// The oldest that was begun and not ended.
pub(super) async fn pending(database: impl PgExecutor<'_>) -> Result<Option<Migration>> {
    let oldest = "status = 'pending' ORDER BY version LIMIT 1";
    Ok(select(database, oldest, None, None).await?.pop())
}

/// The version that could be rolled back.
pub(super) async fn newest_applied(database: impl PgExecutor<'_>, model: &str) -> Result<Option<i64>> {
    let newest = "SELECT max(version) FROM dataflow.migrations \
                  WHERE model = $1 AND status = 'applied' AND rolls_back IS NULL";
    let row = sqlx::query(newest).bind(model).fetch_one(database).await?;
    Ok(row.try_get(0)?)
}

/// # Errors
/// 409 DF-307 with the first migration of the model whose row was edited.
pub(super) async fn verify(database: impl PgExecutor<'_>, model: &str) -> Result<()> {
    let known = "status IN ('applied', 'rolled_back', 'pending') ORDER BY version";
    for migration in select(database, known, Some(model), None).await? {
        if !migration.is_whole()? {
            let message = format!(
                "migration {} of {model} was edited after it was written down: restore its row of dataflow.migrations",
                migration.version
            );
            return Err(Error::conflict(MIGRATION_ALTERED, message));
        }
    }
    Ok(())
}
