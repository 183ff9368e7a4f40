//! The one way in: logs users in, checks their tokens, and passes their calls on to the services with the
//! identity that the token proved. Users are kept in PostgreSQL, revocations and throttles in Redis.

pub mod cli;
pub mod config;
mod docs;
pub mod domain;
mod edge;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod openapi;
mod proxy;
mod routes;
mod state;
mod store;
mod surface;
pub mod tokens;
pub mod ws;

use axum::{Router, middleware::from_fn_with_state};
use kit::{Health, Routes};

pub use config::Config;
pub use state::App;

/// The routes of this service, with its background checks started.
pub async fn assemble(config: Config, health: Health) -> Routes {
    let edge = config.edge.clone();
    let app = App::start(config, health);
    let gate = edge::Gate::new(edge, app.clone());
    Routes::with_layer(router(app), move |all| {
        all.layer(from_fn_with_state(gate, edge::pass))
    })
}

/// The routes of this service over a given state.
pub fn router(app: App) -> Router {
    let (router, document) = openapi::with_document(routes::all());
    let document = openapi::rendered(&document);
    app.publish(document.to_string(), docs::page(&document));
    router.with_state(app)
}
