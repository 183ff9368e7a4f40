//! What every service shares: settings, telemetry, health, metrics, serving and draining, the self-probe,
//! problem responses and the upstream client. Nothing here knows a service or a store by name.
//!
//! A service's `main` is one call:
//! ```no_run
//! # struct Config;
//! # fn read(_: &mut kit::Settings) -> Config { Config }
//! # async fn assemble(_: Config, _: kit::Health) -> axum::Router { axum::Router::new() }
//! fn main() -> std::process::ExitCode {
//!     kit::main(kit::service_info!(8000), read, assemble)
//! }
//! ```

mod body;
mod connections;
mod extract;
pub mod health;
mod identity;
mod info;
mod launch;
mod log;
mod metrics;
mod patient;
mod probe;
mod problem;
mod routes;
mod serve;
mod settings;
mod telemetry;
pub mod upstream;

pub use body::Body;
pub use extract::{Path, Query};
pub use health::{Health, OnLoss};
pub use identity::{Identity, is_tenant};
pub use info::ServiceInfo;
pub use launch::main;
pub use problem::{Problem, Result};
pub use routes::Routes;
pub use serve::with_common_routes;
pub use settings::{Secret, Settings};
pub use telemetry::{RequestIds, carrying_ids, current_ids, is_probe, with_ids};
