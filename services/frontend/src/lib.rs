//! A page that shows the health of the stack. Everything it needs is in the binary; it asks the gateway alone,
//! and loads without it.

mod assets;
pub mod config;
mod health;
mod page;

use axum::{Router, middleware::map_response, routing::get};
use kit::{Health, upstream::Upstream};

pub use config::Config;

/// The routes of this service.
pub async fn assemble(config: Config, _health: Health) -> Router {
    let gateway = Upstream::new("nexus-gateway", config.gateway, config.gateway_timeout);
    Router::new()
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset))
        .route("/api/health", get(health::ask))
        .with_state(gateway)
        .layer(map_response(page::harden))
}
