//! What a workflow is, whether it can run, in which order, and with what. Pure: no HTTP, no database.

pub(crate) mod binding;
pub(crate) mod fingerprint;
pub(crate) mod graph;
pub(crate) mod path;
pub(crate) mod plan;
pub(crate) mod step;
pub(crate) mod suggest;
pub(crate) mod template;
