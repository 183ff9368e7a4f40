//! The only SQL. Models are kept in memory and in a registry table; their rows in tables of a schema of their
//! own, so that no model can be laid over another service's table.

mod ddl;
mod registry;
mod rows;
mod sql;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::config::Config;
use crate::domain::model::Model;
use crate::error::{Error, Result};

pub(crate) use registry::Registration;

/// Every statement gets a plan of its own; the same text is planned once a connection.
const STATEMENTS_KEPT: usize = 200;

/// The database and the models in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Option<PgPool>,
    models: RwLock<BTreeMap<String, Arc<Model>>>,
    /// Whether the schema is there and the models were read since the database last came.
    prepared: AtomicBool,
    migration_lock_timeout: Duration,
    max_page: i64,
}

impl Store {
    /// A store that connects when it is first asked.
    pub(crate) fn new(config: &Config) -> Self {
        let pool = config.database.clone().map(|options| {
            let options = options.statement_cache_capacity(STATEMENTS_KEPT).options([(
                "statement_timeout",
                config.statement_timeout.as_millis().to_string(),
            )]);
            PgPoolOptions::new()
                .max_connections(config.pool_size)
                .acquire_timeout(config.acquire_timeout)
                .connect_lazy_with(options)
        });
        Store(Arc::new(Inner {
            pool,
            models: RwLock::default(),
            prepared: AtomicBool::new(false),
            migration_lock_timeout: config.migration_lock_timeout,
            max_page: config.max_page,
        }))
    }

    /// Whether the database answers. When it comes, its schema is prepared and its models are read; so again
    /// when it has been away, since it may have come back empty.
    pub(crate) async fn check(&self) -> Result<()> {
        let asked = if self.0.prepared.load(Ordering::Relaxed) {
            self.ping().await
        } else {
            self.prepare().await
        };
        self.0.prepared.store(asked.is_ok(), Ordering::Relaxed);
        asked
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.pool()?).await?;
        Ok(())
    }

    async fn prepare(&self) -> Result<()> {
        registry::prepare(self).await?;
        let models = registry::all(self.pool()?).await?;
        tracing::info!(models = models.len(), "models restored");
        let models = models
            .into_iter()
            .map(|model| (model.name.clone(), Arc::new(model)));
        *self.0.models.write().unwrap_or_else(PoisonError::into_inner) = models.collect();
        Ok(())
    }

    /// Rows at most in one answer.
    pub(crate) fn max_page(&self) -> i64 {
        self.0.max_page
    }

    /// A model by its name; one that another replica has registered is found too.
    pub(crate) async fn model(&self, name: &str) -> Result<Arc<Model>> {
        match self.find(name).await? {
            Some(model) => Ok(model),
            None => Err(Error::model_unknown(name)),
        }
    }

    /// As `model`, where its absence is no error.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Arc<Model>>> {
        let kept = self
            .0
            .models
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if kept.is_some() {
            return Ok(kept);
        }
        Ok(registry::one(self.pool()?, name)
            .await?
            .map(|model| self.keep(model)))
    }

    /// All models, by name.
    pub(crate) async fn all(&self) -> Result<Vec<Model>> {
        registry::all(self.pool()?).await
    }

    fn keep(&self, model: Model) -> Arc<Model> {
        let model = Arc::new(model);
        let mut models = self.0.models.write().unwrap_or_else(PoisonError::into_inner);
        models.insert(model.name.clone(), model.clone());
        model
    }

    fn pool(&self) -> Result<&PgPool> {
        self.0.pool.as_ref().ok_or(Error::NoDatabase)
    }
}
