//! What the services do, as tools of the Model Context Protocol over streamable HTTP at `/mcp`: revisions
//! with sessions (2025) and without (2026-07-28) on one path. It keeps no data of its own; sessions
//! are in Redis, where the gateway has them.

mod calls;
pub mod config;
mod server;
mod tools;

use axum::Router;
use axum::middleware::from_fn_with_state;
use kit::Health;

use crate::calls::Calls;
pub use config::Config;

/// The routes of this service.
pub async fn assemble(config: Config, health: Health) -> Router {
    let calls = Calls::default();
    Router::new()
        .nest_service("/mcp", server::transport(&config, &health, &calls))
        .layer(from_fn_with_state(calls, calls::count))
}
