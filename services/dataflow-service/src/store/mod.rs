//! The only SQL. Models are kept in memory and in a registry table; their rows in tables of a schema of their
//! own, so that no model can be laid over another service's table.

mod beside_use;
mod bulk;
mod bulk_sql;
mod cache;
mod connections;
mod ddl;
mod jobs;
mod journal;
mod migrations;
mod outbox;
mod registry;
mod retention;
mod retry;
mod rows;
mod runner;
mod schema;
mod scope;
mod sql;
mod statements;
mod table;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use crate::config::{AutoMigrate, Config};
use crate::domain::model::Model;
use crate::error::{Error, Result};
use connections::Connections;

pub(crate) use jobs::NewJob;
pub(crate) use journal::Migration;
pub(crate) use migrations::{Consent, Outcome};
#[cfg(any(fuzzing, test))]
pub(crate) use statements::all_bound;

/// Pause before the word of other replicas is asked for again.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// The database and the models in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: Option<Connections>,
    models: RwLock<BTreeMap<String, Arc<Model>>>,
    /// Whether the schema is there and the models were read since the database last came.
    prepared: AtomicBool,
    /// Whether this process has tried to make the role of row connections.
    role_tried: AtomicBool,
    /// What the registry was when the models were read.
    read_at: Mutex<registry::State>,
    /// Held by whoever changes tables in this process.
    changing: tokio::sync::Mutex<()>,
    auto_migrate: AutoMigrate,
    migration_lock_timeout: Duration,
    max_page: i64,
    redis: Option<cache::Redis>,
    cache_ttl: Duration,
    slow_query: Duration,
    /// Told after a write, for the relay of events.
    written: Notify,
    jobs: jobs::Pace,
}

impl Store {
    /// A store that connects when it is first asked.
    pub(crate) fn new(config: &Config) -> Self {
        let connections = config
            .database
            .clone()
            .map(|options| Connections::new(options, config));
        Store(Arc::new(Inner {
            connections,
            models: RwLock::default(),
            prepared: AtomicBool::new(false),
            role_tried: AtomicBool::new(false),
            read_at: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            auto_migrate: config.auto_migrate,
            migration_lock_timeout: config.migration_lock_timeout,
            max_page: config.max_page,
            redis: config.redis.clone().and_then(cache::Redis::new),
            cache_ttl: config.cache_ttl,
            slow_query: config.slow_query,
            written: Notify::new(),
            jobs: jobs::Pace::new(config),
        }))
    }

    /// Whether the database answers. When it comes, its schema is prepared and its models are read; so again
    /// when it has been away, since it may have come back empty. What another replica changed is read, and a migration
    /// whose process died is gone on with.
    pub(crate) async fn check(&self) -> Result<()> {
        let prepared = self.0.prepared.load(Ordering::Relaxed);
        let asked = async {
            if !prepared {
                registry::prepare(self).await?;
            }
            self.refresh(!prepared).await
        };
        let asked = asked.await;
        self.0.prepared.store(asked.is_ok(), Ordering::Relaxed);
        asked
    }

    /// # Errors
    /// The database was not prepared yet.
    pub(crate) fn prepared(&self) -> Result<()> {
        if self.0.prepared.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(Error::NotPrepared)
        }
    }

    /// Reads the models, if there are others than when they were last read.
    async fn refresh(&self, anyway: bool) -> Result<()> {
        let now = registry::state(self.pool()?).await?;
        if now.pending {
            self.resume();
        }
        let last = *self.0.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now == last && !anyway {
            return Ok(());
        }
        let models = registry::all(self.pool()?).await?;
        tracing::info!(models = models.len(), "models read");
        let models = models
            .into_iter()
            .map(|model| (model.name.clone(), Arc::new(model)));
        *self.0.models.write().unwrap_or_else(PoisonError::into_inner) = models.collect();
        *self.0.read_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    /// Goes on with migrations whose process died, unless somebody is at it.
    fn resume(&self) {
        let store = self.clone();
        tokio::spawn(async move {
            let resumed = async {
                if let Some(mut session) = runner::Session::try_begin(&store).await? {
                    session.finish_pending().await?;
                    session.end().await;
                }
                Ok::<(), Error>(())
            };
            if let Err(error) = resumed.await {
                tracing::error!(%error, "a migration that stopped halfway cannot be gone on with");
            }
        });
    }

    /// Reads models as soon as another replica tells that one changed. Without this word they are read within the
    /// pace of `check`.
    pub(crate) async fn follow(self) {
        loop {
            if let Err(error) = self.listen().await {
                tracing::debug!(%error, "nobody tells of changed models");
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn listen(&self) -> Result<()> {
        let mut listener = PgListener::connect_with(self.pool()?).await?;
        listener.listen(registry::CHANNEL).await?;
        loop {
            listener.recv().await?;
            self.refresh(false).await?;
        }
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

    /// The models in memory: every one that this replica knows.
    fn kept_models(&self) -> Vec<Arc<Model>> {
        let models = self.0.models.read().unwrap_or_else(PoisonError::into_inner);
        models.values().cloned().collect()
    }

    fn forget(&self, name: &str) {
        let mut models = self.0.models.write().unwrap_or_else(PoisonError::into_inner);
        models.remove(name);
    }

    fn connections(&self) -> Result<&Connections> {
        self.0.connections.as_ref().ok_or(Error::NoDatabase)
    }

    /// The service's own connections: never for rows on a caller's behalf.
    fn pool(&self) -> Result<&PgPool> {
        Ok(&self.connections()?.own)
    }
}
