//! Jobs that keep tables in order: rows that are too old are deleted or archived, indexes are built anew.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::jobs::Held;
use super::sql::quote;
use crate::domain::field::{Kind, OnDelete};
use crate::domain::model::{Model, Retention, RetentionPolicy};
use crate::error::{Error, Result};

/// Rows of one transaction.
const BATCH: i64 = 1000;

impl Store {
    /// A retention job a model and interval, whichever replica comes first. The database's clock decides.
    pub(super) async fn schedule_retention(&self) -> Result<()> {
        let scheduled = "INSERT INTO dataflow.jobs (kind, model, scheduled)
            SELECT 'retention', $1, 'retention:' || $1 || ':' || floor(extract(epoch FROM now()) / $2)
            ON CONFLICT (scheduled) DO NOTHING";
        let models = self.kept_models();
        let kept = models.iter().filter(|model| model.config.retention.is_some());
        for model in kept {
            sqlx::query(scheduled)
                .bind(&model.name)
                .bind(self.0.jobs.retention_interval.as_secs_f64())
                .execute(self.pool()?)
                .await?;
        }
        // The books are kept for a week; dead letters stay until they are requeued, which nobody can do with those of
        // the schedule.
        sqlx::query(
            "DELETE FROM dataflow.jobs WHERE finished_at < now() - interval '7 days'
             AND (status IN ('done', 'cancelled') OR (status = 'dead' AND scheduled IS NOT NULL))",
        )
        .execute(self.pool()?)
        .await?;
        Ok(())
    }

    /// In batches, until no row is too old but those that other rows hold. The service's own connections see the rows of all tenants: the
    /// predicate says whose are meant.
    pub(super) async fn retain(&self, job: &Held, model: &Model) -> Result<()> {
        let Some(retention) = &model.config.retention else {
            return Ok(());
        };
        let tenant = super::bulk::tenant_of(&job.identity, model);
        if model.config.multi_tenant && tenant.is_none() && !job.scheduled {
            return Err(Error::tenant_required(&model.name));
        }
        if retention.policy == RetentionPolicy::Archive {
            self.make_archive(model).await?;
        }
        let sql = too_old(model, retention, tenant.is_some(), &self.kept_models());
        loop {
            let mut change = self.begin().await?;
            // Looking for old rows may take long where no index helps; nobody waits for it.
            sqlx::query("SET LOCAL statement_timeout = '300s'")
                .execute(&mut *change)
                .await?;
            let mut query = sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(&model.name)
                .bind(f64::from(retention.after_days))
                .bind(BATCH);
            if let Some(tenant) = tenant {
                query = query.bind(tenant);
            }
            let gone: i64 = query.fetch_one(&mut *change).await?.try_get(0)?;
            let counted =
                "UPDATE dataflow.jobs SET done = done + $3 WHERE id = $1::uuid AND worker = $2::uuid
                           AND status = 'running'";
            let ours = sqlx::query(counted)
                .bind(&job.id)
                .bind(&job.worker)
                .bind(gone)
                .execute(&mut *change)
                .await?;
            if ours.rows_affected() == 0 {
                return Err(Error::Broken("the job went to another worker".to_owned()));
            }
            change.commit().await?;
            self.wake_relay();
            // Of rows that refer to each other, those that were held before may go now.
            if gone == 0 {
                return Ok(());
            }
        }
    }

    /// Rows as JSON, whatever the model's fields are by then. Nobody but the owner may read it.
    async fn make_archive(&self, model: &Model) -> Result<()> {
        let made = format!(
            "CREATE TABLE IF NOT EXISTS models.{} (
                 archived_at timestamptz NOT NULL DEFAULT now(), row jsonb NOT NULL)",
            quote(&archive_of(model))
        );
        sqlx::query(AssertSqlSafe(made)).execute(self.pool()?).await?;
        Ok(())
    }

    /// `REINDEX TABLE CONCURRENTLY` locks no writer out. A crash leaves invalid copies behind, which PostgreSQL
    /// says to drop (documentation, REINDEX).
    pub(super) async fn reindex(&self, _job: &Held, model: &Model) -> Result<()> {
        let mut connection = self.pool()?.acquire().await?;
        // Without a time limit it is lent to nobody else; and closing it ends what a cancelled job has begun.
        connection.close_on_drop();
        let table = format!("models.{}", quote(&model.table()));
        sqlx::query("SET statement_timeout = 0")
            .execute(&mut *connection)
            .await?;
        let left = "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                    WHERE i.indrelid = $1::regclass AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'";
        let left = sqlx::query(left).bind(&table).fetch_all(&mut *connection).await?;
        for row in left {
            let name = quote(&row.try_get::<String, _>(0)?);
            sqlx::query(AssertSqlSafe(format!(
                "DROP INDEX CONCURRENTLY IF EXISTS models.{name}"
            )))
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query(AssertSqlSafe(format!("REINDEX TABLE CONCURRENTLY {table}")))
            .execute(&mut *connection)
            .await?;
        Ok(())
    }
}

fn archive_of(model: &Model) -> String {
    format!("{}_archive", model.table())
}

/// Deletes a batch, archives it where that is wanted, and tells each tenant of it.
fn too_old(model: &Model, retention: &Retention, of_tenant: bool, models: &[Arc<Model>]) -> String {
    let held: String = held(model, "k", models, &[&model.name])
        .iter()
        .map(|held| format!(" AND NOT {held}"))
        .collect();
    let table = quote(&model.table());
    let cutoff = quote(&retention.cutoff_field);
    let now = match model.kind_of(&retention.cutoff_field) {
        Some(Kind::Datetime) => "(now() AT TIME ZONE 'UTC')",
        _ => "now()",
    };
    let mine = if of_tenant { " AND tenant_id = $4" } else { "" };
    let whose = if model.config.multi_tenant {
        "tenant_id"
    } else {
        "NULL::text"
    };
    let same = if model.config.multi_tenant {
        " AND t.tenant_id = old.tenant_id"
    } else {
        ""
    };
    let key = if model.config.multi_tenant {
        "id, tenant_id"
    } else {
        "id"
    };
    let archived = match retention.policy {
        RetentionPolicy::Delete => String::new(),
        RetentionPolicy::Archive => format!(
            ", archived AS (INSERT INTO models.{} (row) SELECT to_jsonb(gone) FROM gone)",
            quote(&archive_of(model))
        ),
    };
    format!(
        "WITH old AS (
             SELECT {key} FROM models.{table} AS k
             WHERE {cutoff} < {now} - make_interval(days => $2::float8::integer){mine}{held}
             ORDER BY {cutoff} LIMIT $3 FOR UPDATE OF k SKIP LOCKED
         ), gone AS (
             DELETE FROM models.{table} AS t USING old WHERE t.id = old.id{same} RETURNING t.*
         ){archived}, counted AS (
             SELECT {whose} AS tenant, count(*) AS n FROM gone GROUP BY 1
         )
         SELECT coalesce(sum(n) FILTER (WHERE dataflow.tell($1, 'bulk_delete', jsonb_build_object('count', n), tenant)
                                          AND dataflow.tell_cascades($1, tenant)), 0)::bigint FROM counted"
    )
}

/// Why a row of `model`, called `row`, cannot be deleted: a row refers to it with `restrict`, or one that would go with
/// it is itself held. One such row would otherwise stop the whole batch, each time. `path` are the models on the way:
/// a circle of cascades is walked once.
fn held(model: &Model, row: &str, models: &[Arc<Model>], path: &[&str]) -> Vec<String> {
    let mut why = Vec::new();
    for other in models {
        for (name, field) in &other.fields {
            let Some(to) = field.references.as_ref().filter(|to| to.model == model.name) else {
                continue;
            };
            let refers = format!("r{}_{}", path.len(), why.len());
            let follows = match field.on_delete.unwrap_or(OnDelete::Restrict) {
                OnDelete::SetNull => continue,
                OnDelete::Cascade if path.contains(&other.name.as_str()) => continue,
                OnDelete::Cascade => {
                    let path: Vec<&str> = path.iter().copied().chain([other.name.as_str()]).collect();
                    match held(other, &refers, models, &path) {
                        none if none.is_empty() => continue,
                        why => format!(" AND ({})", why.join(" OR ")),
                    }
                }
                OnDelete::Restrict => String::new(),
            };
            let same = if model.config.multi_tenant {
                format!(" AND {refers}.tenant_id = {row}.tenant_id")
            } else {
                String::new()
            };
            why.push(format!(
                "EXISTS (SELECT 1 FROM models.{} AS {refers} WHERE {refers}.{} = {row}.{}{same}{follows})",
                quote(&other.table()),
                quote(name),
                quote(&to.field),
            ));
        }
    }
    why
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn model(name: &str, fields: Value) -> Arc<Model> {
        Arc::new(Model::define(name, fields.as_object().unwrap()).unwrap())
    }

    #[test]
    fn a_row_is_held_by_those_that_restrict_and_by_what_they_hold() {
        let by = |to: &str, follows: &str| json!({ "type": "int", "references": to, "on_delete": follows });
        let user = model("User", json!({ "code": "str" }));
        let models = [
            user.clone(),
            model(
                "Note",
                json!({ "by": by("User", "cascade"), "after": by("Note", "cascade") }),
            ),
            model("Mark", json!({ "note": by("Note", "restrict") })),
            model("Visit", json!({ "who": by("User", "set_null") })),
            model("Order", json!({ "of": { "type": "int", "references": "User" } })),
        ];
        assert_eq!(
            held(&user, "k", &models, &["User"]),
            [
                "EXISTS (SELECT 1 FROM models.\"notes\" AS r1_0 WHERE r1_0.\"by\" = k.\"id\" AND (EXISTS (SELECT 1 \
                 FROM models.\"marks\" AS r2_0 WHERE r2_0.\"note\" = r1_0.\"id\")))",
                "EXISTS (SELECT 1 FROM models.\"orders\" AS r1_1 WHERE r1_1.\"of\" = k.\"id\")",
            ]
        );
    }
}
