//! Workflows are graphs of steps. The routes are in `routes`, what a definition means in `domain`, a run's
//! course in `run`, calls to other services in `upstream`, the only SQL in `store`.

mod config;
mod domain;
mod error;
mod routes;
mod run;
mod state;
mod store;
mod upstream;

pub use config::Config;

use axum::Router;
use kit::{Health, OnLoss};

use crate::state::AppState;

/// The service's routes, with its database watched in the background.
pub async fn assemble(config: Config, health: Health) -> Router {
    let state = AppState::new(&config);
    match config.database {
        None => health.unconfigured("postgres", OnLoss::NotReady),
        Some(_) => {
            let watched = state.store.clone();
            health.watch("postgres", OnLoss::NotReady, move || {
                let store = watched.clone();
                async move { store.check().await }
            });
        }
    }
    routes::router(state)
}
