//! Models are registered at run time; each is a table, a handful of nodes and a REST resource. The routes are
//! in `routes`, what a model and its nodes accept in `domain`, the only SQL in `store`.

mod config;
mod domain;
mod error;
mod routes;
mod store;

pub use config::Config;

use axum::Router;
use kit::{Health, OnLoss};

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
    routes::router(store)
}
