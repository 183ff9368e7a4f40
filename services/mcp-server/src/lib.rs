//! What the services do, as tools of the Model Context Protocol over streamable HTTP at `/mcp`: revisions
//! with sessions (2025) and without (2026-07-28) on one path. It keeps no data of its own.

pub mod config;
mod server;
mod tools;

use axum::Router;
use kit::Health;

pub use config::Config;

/// The routes of this service.
pub async fn assemble(config: Config, health: Health) -> Router {
    Router::new().nest_service("/mcp", server::transport(&config, &health))
}
