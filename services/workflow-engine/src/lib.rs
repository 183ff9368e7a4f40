//! Workflows are graphs of steps. The routes are in `routes`, what a definition means in `domain`, a run's
//! course in `run`, calls to other services in `upstream`, the only SQL and Redis in `store`, and what carries
//! events from one to the other in `relay`.

mod config;
mod domain;
mod error;
mod relay;
mod routes;
mod run;
mod state;
mod store;
mod upstream;

pub use config::Config;

use axum::Router;
use kit::{Health, OnLoss};

use crate::state::AppState;
use crate::store::Stream;

/// The service's routes, with its stores watched and its runs kept in the background.
pub async fn assemble(config: Config, health: Health) -> Router {
    let state = AppState::new(&config, &health);
    match config.database {
        None => health.unconfigured("postgres", OnLoss::NotReady),
        Some(_) => {
            let watched = state.store.clone();
            health.watch("postgres", OnLoss::NotReady, move || {
                let store = watched.clone();
                async move { store.check().await }
            });
            let AppState {
                store, bell, runs, ..
            } = state.clone();
            tokio::spawn(bell.clone().ring(store.clone()));
            tokio::spawn(runs.clone().watch(store.clone(), bell));
            tokio::spawn(runs.renew(store.clone()));
            tokio::spawn(relay::trim(store));
        }
    }
    match config.redis.and_then(|client| Stream::new(client).ok()) {
        None => health.unconfigured("redis", OnLoss::Degrade),
        Some(stream) => {
            let watched = stream.clone();
            health.watch("redis", OnLoss::Degrade, move || {
                let stream = watched.clone();
                async move { stream.check().await }
            });
            tokio::spawn(relay::send(state.store.clone(), stream));
        }
    }
    routes::router(state)
}
