//! Workflows are registered, checked, kept in PostgreSQL and run. What a workflow is lives in `domain`, the running
//! in `runner` and `executions`, the only SQL in `store`, the calls to the data service in `runner`.

mod config;
mod domain;
mod executions;
mod routes;
mod runner;
mod state;
mod store;

pub use config::Config;

use axum::Router;
use kit::{Health, OnLoss};

use crate::state::Engine;
use crate::store::Store;

/// The service's routes, with its database watched in the background.
pub async fn assemble(config: Config, health: Health) -> Router {
    let store = Store::new(&config);
    match config.database {
        None => health.unconfigured("postgres", OnLoss::NotReady),
        Some(_) => {
            let watched = store.clone();
            health.watch("postgres", OnLoss::NotReady, move || {
                let store = watched.clone();
                async move { store.check().await }
            });
        }
    }
    routes::router(Engine::new(config, store))
}
