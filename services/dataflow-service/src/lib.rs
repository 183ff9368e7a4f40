//! Models are registered at run time; each is a table, a handful of nodes and a REST resource. The routes are
//! in `routes`, what a model and its nodes accept in `domain`, the only SQL in `store`.

mod config;
mod domain;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod metrics;
mod routes;
mod start;
mod store;

pub use config::{AutoMigrate, Config};
pub use start::{assemble, assemble_with};
