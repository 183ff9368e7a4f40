//! What a workflow is, whether it can run, in which order, and with what. Pure: no HTTP, no database.

pub mod binding;
pub mod fingerprint;
pub mod graph;
pub mod path;
pub mod plan;
pub mod step;
pub mod suggest;
pub mod template;
