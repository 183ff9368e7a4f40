//! Workflows: a name has versions, the newest is the one that runs; a version never changes.

use contract::workflow::Definition;
use kit::{Problem, Result};
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Store, problem};

/// A kept version of a workflow.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stored {
    pub workflow_id: String,
    pub fingerprint: String,
    pub created_at: String,
    #[serde(flatten)]
    pub definition: Definition,
}

/// A version in a list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub name: String,
    pub version: String,
    pub workflow_id: String,
    pub fingerprint: String,
    /// RFC 3339.
    pub created_at: String,
}

/// What became of a registration.
#[derive(Debug)]
pub(crate) enum Registration {
    Created(Summary),
    /// The same definition was there already.
    Unchanged(Summary),
    /// The version is there with another definition.
    Taken,
}

/// What became of a removal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Removed,
    Unknown,
    Running,
}

/// Rows of a list, at most.
const MOST: i64 = 1000;

impl Store {
    /// Keeps a definition under its name and version.
    pub(crate) async fn register(&self, definition: &Definition, fingerprint: &str) -> Result<Registration> {
        let text = serde_json::to_string(definition).map_err(Problem::internal)?;
        let inserted = sqlx::query(
            "INSERT INTO workflow_engine.workflows (workflow_id, name, version, fingerprint, definition)
             VALUES ($1, $2, $3, $4, $5::text::jsonb) ON CONFLICT (name, version) DO NOTHING
             RETURNING name, version, workflow_id, fingerprint, to_json(created_at) #>> '{}' AS created_at",
        )
        .bind(Uuid::new_v4().to_string())
        .bind(&definition.name)
        .bind(&definition.version)
        .bind(fingerprint)
        .bind(text)
        .fetch_optional(self.pool()?)
        .await
        .map_err(problem)?;
        if let Some(row) = inserted {
            return summary(&row).map(Registration::Created);
        }
        let versions = self.versions(&definition.name).await?;
        let same = versions
            .into_iter()
            .find(|stored| stored.version == definition.version);
        Ok(match same {
            Some(stored) if stored.fingerprint == fingerprint => Registration::Unchanged(stored),
            _ => Registration::Taken,
        })
    }

    /// The newest version.
    pub(crate) async fn newest(&self, name: &str) -> Result<Option<Stored>> {
        let row = sqlx::query(
            "SELECT workflow_id, fingerprint, to_json(created_at) #>> '{}' AS created_at, definition::text
             FROM workflow_engine.workflows WHERE name = $1 ORDER BY sequence DESC LIMIT 1",
        )
        .bind(name)
        .fetch_optional(self.pool()?)
        .await
        .map_err(problem)?;
        row.as_ref().map(stored).transpose()
    }

    /// The newest version of each name, by name.
    pub(crate) async fn workflows(&self) -> Result<Vec<Summary>> {
        let rows = sqlx::query(
            "SELECT DISTINCT ON (name) name, version, workflow_id, fingerprint,
                    to_json(created_at) #>> '{}' AS created_at
             FROM workflow_engine.workflows ORDER BY name, sequence DESC LIMIT $1",
        )
        .bind(MOST)
        .fetch_all(self.pool()?)
        .await
        .map_err(problem)?;
        rows.iter().map(summary).collect()
    }

    /// Every version of a name, newest first.
    pub(crate) async fn versions(&self, name: &str) -> Result<Vec<Summary>> {
        let rows = sqlx::query(
            "SELECT name, version, workflow_id, fingerprint, to_json(created_at) #>> '{}' AS created_at
             FROM workflow_engine.workflows WHERE name = $1 ORDER BY sequence DESC LIMIT $2",
        )
        .bind(name)
        .bind(MOST)
        .fetch_all(self.pool()?)
        .await
        .map_err(problem)?;
        rows.iter().map(summary).collect()
    }

    /// Removes every version and its executions, unless one is under way.
    pub(crate) async fn remove(&self, name: &str) -> Result<Removal> {
        let removed = sqlx::query(
            "DELETE FROM workflow_engine.workflows WHERE name = $1 AND NOT EXISTS (
                SELECT FROM workflow_engine.executions JOIN workflow_engine.workflows AS w USING (workflow_id)
                WHERE w.name = $1 AND state = 'running' AND deadline > now())",
        )
        .bind(name)
        .execute(self.pool()?)
        .await
        .map_err(problem)?;
        if removed.rows_affected() > 0 {
            return Ok(Removal::Removed);
        }
        let there = self.newest(name).await?.is_some();
        Ok(if there { Removal::Running } else { Removal::Unknown })
    }
}

fn summary(row: &PgRow) -> Result<Summary> {
    let read = || {
        Ok(Summary {
            name: row.try_get("name")?,
            version: row.try_get("version")?,
            workflow_id: row.try_get("workflow_id")?,
            fingerprint: row.try_get("fingerprint")?,
            created_at: row.try_get("created_at")?,
        })
    };
    read().map_err(problem)
}

fn stored(row: &PgRow) -> Result<Stored> {
    let definition: String = row.try_get("definition").map_err(problem)?;
    let read = || {
        Ok(Stored {
            workflow_id: row.try_get("workflow_id")?,
            fingerprint: row.try_get("fingerprint")?,
            created_at: row.try_get("created_at")?,
            definition: serde_json::from_str(&definition)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
        })
    };
    read().map_err(problem)
}
