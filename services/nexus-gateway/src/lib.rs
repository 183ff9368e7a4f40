//! The one way in: logs users in, checks their tokens, and passes their calls on to the services with the
//! identity that the token proved. Users are kept in PostgreSQL, revocations and throttles in Redis.

pub mod config;
pub mod domain;
mod error;
mod routes;
mod state;
mod store;

use axum::Router;
use kit::Health;

pub use config::Config;
pub use state::App;

/// The routes of this service, with its background checks started.
pub async fn assemble(config: Config, health: Health) -> Router {
    router(App::start(config, health))
}

/// The routes of this service over a given state.
pub fn router(app: App) -> Router {
    routes::all().with_state(app)
}
