//! Models change here, and nowhere else: registered, migrated, rolled back, removed. Every change is planned and made
//! under one lock across all replicas, and outlives the request that asked for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use tokio::sync::oneshot;

use super::journal::{self, Migration};
use super::runner::{Session, locked};
use super::sql::Sql;
use super::{Store, connections::Guard, ddl, registry};
use crate::config::AutoMigrate;
use crate::domain::fault::{
    Fault, MIGRATION_ALTERED, MIGRATION_IMPOSSIBLE, MIGRATION_NOT_NEWEST, MIGRATION_OFF,
    MIGRATION_UNCONFIRMED,
};
use crate::domain::migration::{Change, diff};
use crate::domain::model::Model;
use crate::domain::plan::{Plan, Step};
use crate::domain::risk::{Risk, Rows};
use crate::error::{Error, Result};

/// A table with more rows is indexed while it is used.
const MANY: i64 = 10_000;
/// How long a request waits for its migration, less than `REQUEST_TIMEOUT`. A migration that has begun by then goes
/// on; another is not begun.
const PATIENCE: Duration = Duration::from_secs(25);

/// What is wanted of a model.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Be(Model),
    /// The model of this name goes, and its rows.
    Go(String),
    /// The migration of this version is taken back.
    Back(i64),
}

/// Who asks, and so what may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `POST /models`: as `AUTO_MIGRATE` says.
    Implied,
    /// `POST /migrations/apply` and such: what is safe.
    Asked,
    /// With `confirm: true`: everything.
    Confirmed,
}

/// What it came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The very same definition was there.
    Known(Arc<Model>),
    /// A model that is new.
    New(Arc<Model>, Migration),
    /// A model that changed.
    Changed(Arc<Model>, Migration),
    /// The model is gone.
    Gone(Migration),
    /// It takes long, and goes on.
    Running,
}

/// A plan with its steps, for showing.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) steps: Vec<Step>,
}

impl Store {
    /// Registers a model, or migrates it to a new definition where that may be done without asking.
    pub(crate) async fn register(&self, model: Model) -> Result<Outcome> {
        self.fulfil(Wish::Be(model), Consent::Implied).await
    }

    /// As `register`, on explicit demand.
    pub(crate) async fn migrate(&self, model: Model, consent: Consent) -> Result<Outcome> {
        self.fulfil(Wish::Be(model), consent).await
    }

    /// Takes the newest applied migration of its model back.
    pub(crate) async fn roll_back(&self, version: i64, consent: Consent) -> Result<Outcome> {
        self.fulfil(Wish::Back(version), consent).await
    }

    /// Removes a model and its rows.
    pub(crate) async fn remove(&self, name: &str, consent: Consent) -> Result<Outcome> {
        self.fulfil(Wish::Go(name.to_owned()), consent).await
    }

    /// What migrating to a definition would do; nothing is done.
    pub(crate) async fn plan(&self, model: Model) -> Result<Planned> {
        let mut connection = self.pool()?.acquire().await?;
        let before = current(&mut connection, &model).await?;
        self.planned(&mut connection, before, Some(model)).await
    }

    /// All migrations, the newest first; one model's only where it is named.
    pub(crate) async fn migrations(&self, model: Option<&str>) -> Result<Vec<Migration>> {
        journal::all(self.pool()?, model).await
    }

    /// In a task of its own: a caller who goes away must not stop a migration halfway.
    async fn fulfil(&self, wish: Wish, consent: Consent) -> Result<Outcome> {
        let store = self.clone();
        let (begin, mut begun) = oneshot::channel();
        let task = tokio::spawn(async move {
            let outcome = store.change(wish, consent, begin).await;
            if let Err(error) = &outcome {
                tracing::info!(%error, "no migration");
            }
            outcome
        });
        match tokio::time::timeout(PATIENCE, task).await {
            Err(_) if has_begun(&mut begun) => Ok(Outcome::Running),
            Err(_) => Err(locked()),
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(Error::Broken(error.to_string())),
        }
    }

    /// `begin` is told when everything is settled but the running itself.
    async fn change(&self, wish: Wish, consent: Consent, begin: oneshot::Sender<()>) -> Result<Outcome> {
        let mut session = Session::begin(self).await?;
        session.finish_pending().await?;
        let (before, after, rolls_back) = resolve(&mut session.connection, &wish).await?;
        let name = before.as_ref().or(after.as_ref()).map(|model| model.name.clone());
        journal::verify(&mut *session.connection, &name.unwrap_or_default()).await?;
        if let (Some(known), Some(wanted)) = (&before, &after)
            && known == wanted
        {
            let known = self.keep(known.clone());
            session.end().await;
            return Ok(Outcome::Known(known));
        }
        let Planned { plan, steps } = self.planned(&mut session.connection, before, after).await?;
        self.permit(&plan, &steps, consent)?;
        let migration = Migration::new(&plan, steps, rolls_back)?;
        // Whoever asked has been told that another change is under way, or has gone.
        begin.send(()).map_err(|()| locked())?;
        let migration = session.run(migration).await?;
        session.end().await;
        tracing::info!(
            model = migration.model,
            version = migration.version,
            name = migration.name,
            "migrated"
        );
        Ok(match (plan.before, plan.after) {
            (_, None) => {
                self.forget(&migration.model);
                Outcome::Gone(migration)
            }
            (None, Some(model)) => Outcome::New(self.keep(model), migration),
            (Some(_), Some(model)) => Outcome::Changed(self.keep(model), migration),
        })
    }

    async fn planned(
        &self,
        connection: &mut PgConnection,
        before: Option<Model>,
        after: Option<Model>,
    ) -> Result<Planned> {
        let rows = match &before {
            Some(before) => facts(connection, before, after.as_ref()).await?,
            None => Rows::default(),
        };
        let plan = Plan::make(before, after, &rows)
            .map_err(|reasons| Error::conflict(MIGRATION_IMPOSSIBLE, reasons.join("; ")))?;
        let targets = targets(connection, [&plan.before, &plan.after]).await?;
        let place = ddl::Place {
            has_role: self.connections()?.guard() == Guard::Role,
            rows: &rows,
            targets: &targets,
        };
        let steps = ddl::steps(&plan, place);
        Ok(Planned { plan, steps })
    }

    fn permit(&self, plan: &Plan, steps: &[Step], consent: Consent) -> Result<()> {
        let (code, remedy) = match (consent, plan.risk()) {
            (Consent::Confirmed, _) | (Consent::Asked, Risk::Safe) => return Ok(()),
            (Consent::Implied, _) if self.0.auto_migrate == AutoMigrate::Off => (
                MIGRATION_OFF,
                "nothing is migrated by itself (AUTO_MIGRATE=false): apply it with POST /migrations/apply",
            ),
            (Consent::Implied, Risk::Safe) => {
                if self.0.auto_migrate == AutoMigrate::Warn {
                    tracing::warn!(model = plan.model(), plan = plan.name(), "migrated by itself");
                }
                return Ok(());
            }
            _ => (
                MIGRATION_UNCONFIRMED,
                "this is not done unasked: read the steps, then say \"confirm\": true to POST /migrations/apply, or \
                 ?confirm=true to a rollback or a removal",
            ),
        };
        let message = format!("{} needs a migration ({}); {remedy}", plan.model(), plan.name());
        Err(Error::Unmigrated(Fault::new(code, message), json!(steps)))
    }
}

/// Whether a migration has begun; if it has not, it will not.
fn has_begun(begun: &mut oneshot::Receiver<()>) -> bool {
    begun.close();
    begun.try_recv().is_ok()
}

/// The definitions before and after, and what is rolled back.
async fn resolve(
    connection: &mut PgConnection,
    wish: &Wish,
) -> Result<(Option<Model>, Option<Model>, Option<i64>)> {
    match wish {
        Wish::Be(model) => Ok((current(connection, model).await?, Some(model.clone()), None)),
        Wish::Go(name) => match registry::one(&mut *connection, name).await? {
            Some(model) => Ok((Some(model), None, None)),
            None => Err(Error::model_unknown(name)),
        },
        Wish::Back(version) => {
            let migration = journal::one(&mut *connection, *version).await?;
            let migration = migration.ok_or_else(|| Error::migration_unknown(*version))?;
            let newest = journal::newest_applied(&mut *connection, &migration.model).await?;
            if newest != Some(*version) {
                let newest =
                    newest.map_or_else(|| "none is left".to_owned(), |newest| format!("it is {newest}"));
                let message = format!(
                    "only the newest applied migration of {} is rolled back; {newest}",
                    migration.model
                );
                return Err(Error::conflict(MIGRATION_NOT_NEWEST, message));
            }
            let (before, after) = (migration.model_before()?, migration.model_after()?);
            let now = registry::one(&mut *connection, &migration.model).await?;
            if now != after {
                let message = format!(
                    "{} is not what migration {version} left: its registration was edited",
                    migration.model
                );
                return Err(Error::conflict(MIGRATION_ALTERED, message));
            }
            Ok((now, before, Some(*version)))
        }
    }
}

/// The definition that a model has now; refused where its table is another model's.
async fn current(connection: &mut PgConnection, model: &Model) -> Result<Option<Model>> {
    let taken = "SELECT name FROM dataflow.model_registry WHERE table_name = $1 AND name <> $2";
    let taken = sqlx::query(taken)
        .bind(model.table())
        .bind(&model.name)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = taken {
        let other: String = row.try_get(0)?;
        let message = format!("the table of {} is that of another model, {other}", model.name);
        return Err(Error::model_exists(message));
    }
    registry::one(connection, &model.name).await
}

/// The models that the fields of these refer to, by name.
async fn targets(
    connection: &mut PgConnection,
    models: [&Option<Model>; 2],
) -> Result<BTreeMap<String, Model>> {
    let mut targets = BTreeMap::new();
    for model in models.into_iter().flatten() {
        for (name, field) in &model.fields {
            let Some(to) = &field.references else { continue };
            let target = match to.model == model.name {
                true => Some(model.clone()),
                false => registry::one(&mut *connection, &to.model).await?,
            };
            let fits = |target: &Model| target.config.multi_tenant <= model.config.multi_tenant;
            let why = match target.filter(|target| target.fields.contains_key(&to.field)) {
                Some(target) if fits(&target) => {
                    targets.insert(to.model.clone(), target);
                    continue;
                }
                Some(_) => "has tenants, and this model has none",
                None => "does not exist: register it first",
            };
            let message = format!("{name} refers to {}.{}, which {why}", to.model, to.field);
            return Err(Error::conflict(MIGRATION_IMPOSSIBLE, message));
        }
    }
    Ok(targets)
}

/// What the table holds, as far as the plan depends on it.
async fn facts(connection: &mut PgConnection, before: &Model, after: Option<&Model>) -> Result<Rows> {
    let some = Sql::new("SELECT count(*) FROM (SELECT 1 FROM ")
        .table(&before.table())
        .push(" LIMIT ")
        .count(MANY + 1)
        .push(") AS counted");
    let count: i64 = some.query().fetch_one(&mut *connection).await?.try_get(0)?;
    let mut rows = Rows {
        any: count > 0,
        many: count > MANY,
        ..Rows::default()
    };
    let changes = after.map(|after| diff(before, after));
    for change in changes.and_then(Result::ok).unwrap_or_default() {
        let Change::Require(name) = change else { continue };
        let null = Sql::new("SELECT EXISTS (SELECT 1 FROM ")
            .table(&before.table())
            .push(" WHERE ")
            .name(&name)
            .push(" IS NULL)");
        if null.query().fetch_one(&mut *connection).await?.try_get(0)? {
            rows.with_nulls.insert(name);
        }
    }
    Ok(rows)
}

impl Planned {
    /// `{from, to, steps, risk, additive}`.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "model": self.plan.model(), "name": self.plan.name(), "from": self.plan.before, "to": self.plan.after,
            "steps": self.steps, "risk": self.plan.risk(), "additive": self.plan.risk() == Risk::Safe,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_begun_when_patience_ends_never_does() {
        let (begin, mut begun) = oneshot::channel();
        assert!(!has_begun(&mut begun));
        assert!(begin.send(()).is_err());
        let (begin, mut begun) = oneshot::channel();
        assert!(begin.send(()).is_ok());
        assert!(has_begun(&mut begun));
    }
}
