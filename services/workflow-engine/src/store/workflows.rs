//! Definitions. Each version of a workflow is kept; the one registered last is run.

use contract::workflow::{Definition, Registered, Version};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Store;
use crate::domain::workflow::Workflow;
use crate::error::{Error, Result};

/// A workflow as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) workflow_id: String,
    pub(crate) workflow: Workflow,
}

/// What registering came to.
#[derive(Debug)]
pub(crate) enum Registration {
    New(Registered),
    /// The very same definition was there.
    Known(Registered),
}

impl Store {
    /// Registers a version, once and for all.
    pub(crate) async fn register(&self, workflow: &Workflow) -> Result<Registration> {
        let Definition { name, version, .. } = &workflow.definition;
        let fingerprint = workflow.fingerprint();
        let registered = |workflow_id: String| Registered {
            name: name.clone(),
            version: version.clone(),
            workflow_id,
            fingerprint: fingerprint.clone(),
        };
        let keep = "WITH kept AS (
                INSERT INTO workflow.definitions (workflow_id, name, version, fingerprint, definition)
                VALUES ($1, $2, $3, $4, $5::jsonb)
                ON CONFLICT (name, version) WHERE deleted_at IS NULL DO NOTHING
                RETURNING *
            ), told AS (
                INSERT INTO workflow.outbox (event)
                SELECT workflow.event('handler.registered', NULL, name, version, NULL, NULL) FROM kept
            )
            SELECT workflow_id FROM kept";
        let kept = sqlx::query(keep)
            .bind(uuid::Uuid::new_v4().to_string())
            .bind(name)
            .bind(version)
            .bind(&fingerprint)
            .bind(serde_json::to_string(&workflow.definition)?)
            .fetch_optional(self.pool()?)
            .await?;
        self.0.events.notify_one();
        if let Some(row) = kept {
            return Ok(Registration::New(registered(row.try_get(0)?)));
        }
        let known = "SELECT workflow_id, fingerprint FROM workflow.definitions \
             WHERE name = $1 AND version = $2 AND deleted_at IS NULL";
        let row = sqlx::query(known)
            .bind(name)
            .bind(version)
            .fetch_one(self.pool()?)
            .await?;
        if row.try_get::<String, _>(1)? == fingerprint {
            Ok(Registration::Known(registered(row.try_get(0)?)))
        } else {
            Err(Error::workflow_exists(name, version))
        }
    }

    /// The version of a workflow that was registered last.
    pub(crate) async fn latest(&self, name: &str) -> Result<Kept> {
        let latest = "SELECT workflow_id, definition::text FROM workflow.definitions \
                      WHERE name = $1 AND deleted_at IS NULL ORDER BY place DESC LIMIT 1";
        let row = sqlx::query(latest)
            .bind(name)
            .fetch_optional(self.pool()?)
            .await?;
        match row {
            Some(row) => kept(&row),
            None => Err(Error::workflow_unknown(name, &self.names().await?)),
        }
    }

    /// The latest version of every workflow, by name.
    pub(crate) async fn all(&self) -> Result<Vec<Kept>> {
        let all = "SELECT DISTINCT ON (name) workflow_id, definition::text FROM workflow.definitions \
                   WHERE deleted_at IS NULL ORDER BY name, place DESC LIMIT 1000";
        let rows = sqlx::query(all).fetch_all(self.pool()?).await?;
        rows.iter().map(kept).collect()
    }

    /// The versions of a workflow, the last one first.
    pub(crate) async fn versions(&self, name: &str) -> Result<Vec<Version>> {
        let versions = "SELECT version, workflow_id, fingerprint, workflow.rfc3339(registered_at) \
                        FROM workflow.definitions WHERE name = $1 AND deleted_at IS NULL \
                        ORDER BY place DESC LIMIT 1000";
        let rows = sqlx::query(versions).bind(name).fetch_all(self.pool()?).await?;
        if rows.is_empty() {
            return Err(Error::workflow_unknown(name, &self.names().await?));
        }
        let version = |row: &PgRow| {
            Ok(Version {
                version: row.try_get(0)?,
                workflow_id: row.try_get(1)?,
                fingerprint: row.try_get(2)?,
                registered_at: row.try_get(3)?,
            })
        };
        rows.iter().map(version).collect()
    }

    /// Deletes a workflow with all its versions; its runs stay. No run can begin meanwhile: it would wait for the
    /// rows that are locked here, and then find them deleted.
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        let mut change = self.change().await?;
        let lock =
            "SELECT workflow_id FROM workflow.definitions WHERE name = $1 AND deleted_at IS NULL FOR UPDATE";
        let rows = sqlx::query(lock).bind(name).fetch_all(&mut *change).await?;
        if rows.is_empty() {
            return Err(Error::workflow_unknown(name, &self.names().await?));
        }
        let ids: Vec<String> = rows
            .iter()
            .map(|row| Ok(row.try_get(0)?))
            .collect::<Result<_>>()?;
        let active = "SELECT EXISTS (SELECT FROM workflow.executions \
                      WHERE workflow_id = ANY($1) AND state IN ('pending', 'running', 'waiting'))";
        if sqlx::query_scalar(active)
            .bind(&ids)
            .fetch_one(&mut *change)
            .await?
        {
            return Err(Error::workflow_active(name));
        }
        let delete = "UPDATE workflow.definitions SET deleted_at = now() WHERE workflow_id = ANY($1)";
        sqlx::query(delete).bind(&ids).execute(&mut *change).await?;
        change.commit().await?;
        Ok(())
    }

    async fn names(&self) -> Result<Vec<String>> {
        let names = "SELECT DISTINCT name FROM workflow.definitions WHERE deleted_at IS NULL LIMIT 1000";
        let rows = sqlx::query(names).fetch_all(self.pool()?).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

/// From `workflow_id` and `definition::text`.
pub(super) fn kept(row: &PgRow) -> Result<Kept> {
    let definition = serde_json::from_str(&row.try_get::<String, _>(1)?)?;
    let workflow = Workflow::define(definition).map_err(|faults| Error::Broken(faults.join("; ")))?;
    Ok(Kept {
        workflow_id: row.try_get(0)?,
        workflow,
    })
}
