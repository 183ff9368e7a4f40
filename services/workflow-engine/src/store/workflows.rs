//! Definitions. Each version of a workflow is kept; the one registered last is run.

use contract::workflow::{Definition, Registered};
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
        let keep = "INSERT INTO workflow.definitions (workflow_id, name, version, fingerprint, definition) \
                    VALUES ($1, $2, $3, $4, $5::jsonb) ON CONFLICT (name, version) DO NOTHING RETURNING workflow_id";
        let kept = sqlx::query(keep)
            .bind(uuid::Uuid::new_v4().to_string())
            .bind(name)
            .bind(version)
            .bind(&fingerprint)
            .bind(serde_json::to_string(&workflow.definition)?)
            .fetch_optional(self.pool()?)
            .await?;
        if let Some(row) = kept {
            return Ok(Registration::New(registered(row.try_get(0)?)));
        }
        let known =
            "SELECT workflow_id, fingerprint FROM workflow.definitions WHERE name = $1 AND version = $2";
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
        let latest = "SELECT workflow_id, definition::text FROM workflow.definitions WHERE name = $1 \
                      ORDER BY place DESC LIMIT 1";
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
                   ORDER BY name, place DESC LIMIT 1000";
        let rows = sqlx::query(all).fetch_all(self.pool()?).await?;
        rows.iter().map(kept).collect()
    }

    async fn names(&self) -> Result<Vec<String>> {
        let names = "SELECT DISTINCT name FROM workflow.definitions LIMIT 1000";
        let rows = sqlx::query(names).fetch_all(self.pool()?).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

fn kept(row: &PgRow) -> Result<Kept> {
    let definition = serde_json::from_str(&row.try_get::<String, _>(1)?)?;
    let workflow = Workflow::define(definition).map_err(|faults| Error::Broken(faults.join("; ")))?;
    Ok(Kept {
        workflow_id: row.try_get(0)?,
        workflow,
    })
}
