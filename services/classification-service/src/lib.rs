//! Classifies product texts into an eight-digit code hierarchy, and abstains where it is unsure. The code set
//! that ships is a small demonstration set of our own. Redis keeps answers; without it they are worked out.

mod cache;
pub mod config;
pub mod domain;
mod routes;
mod state;

use axum::Router;
use kit::Health;

pub use config::Config;
pub use state::App;

/// The routes of this service, with its background checks started.
pub async fn assemble(config: Config, health: Health) -> Router {
    router(App::start(config, &health))
}

/// The routes of this service over a given state.
pub fn router(app: App) -> Router {
    routes::all().with_state(app)
}
