//! The service put together: its routes, and what goes on in the background.

use std::sync::Arc;

use axum::Router;
use contract::dataflow::Definition;
use kit::{Health, OnLoss};

use crate::config::Config;
use crate::routes::{self, defined};
use crate::store::Store;

/// The service's routes, with its database watched in the background.
pub async fn assemble(config: Config, health: Health) -> Router {
    assemble_with(Vec::new(), config, health).await
}

/// As `assemble`, with models that are part of the program: `vec![Product::definition()]` of structs that derive
/// `dataflow_macros::Model`. They and those of `MODELS_DIR` are registered as by `POST /models`, at every start;
/// until they are, the service is not ready.
pub async fn assemble_with(models: Vec<Definition>, config: Config, health: Health) -> Router {
    let store = Store::new(&config);
    watch_redis(&store, config.redis.is_some(), &health);
    if config.database.is_none() {
        health.unconfigured("postgres", OnLoss::NotReady);
        return routes::router(store);
    }
    let watched = store.clone();
    health.watch("postgres", OnLoss::NotReady, move || {
        let store = watched.clone();
        async move { store.check().await }
    });
    tokio::spawn(store.clone().follow());
    store.start_relay(&health);
    store.start_jobs();
    let models: Arc<[Definition]> = models.into_iter().chain(config.models).collect();
    if !models.is_empty() {
        watch_models(&store, models, &health);
    }
    routes::router(store)
}

fn watch_redis(store: &Store, configured: bool, health: &Health) {
    if !configured {
        return health.unconfigured("redis", OnLoss::Degrade);
    }
    let store = store.clone();
    health.watch("redis", OnLoss::Degrade, move || {
        let store = store.clone();
        async move { store.check_redis().await }
    });
}

fn watch_models(store: &Store, models: Arc<[Definition]>, health: &Health) {
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let store = store.clone();
    health.watch("models", OnLoss::NotReady, move || {
        let (store, models, done) = (store.clone(), models.clone(), done.clone());
        async move {
            use std::sync::atomic::Ordering::Relaxed;
            if !done.load(Relaxed) {
                register(&store, &models).await?;
                done.store(true, Relaxed);
            }
            Ok::<(), crate::error::Error>(())
        }
    });
}

async fn register(store: &Store, models: &[Definition]) -> crate::error::Result<()> {
    store.prepared()?;
    for definition in models {
        let registered = match defined(definition) {
            Ok(model) => store.register(model).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = registered {
            tracing::error!(model = definition.name, %error, "a model of this service cannot be registered");
            return Err(error);
        }
    }
    Ok(())
}
