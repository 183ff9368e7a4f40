//! What a workflow's definition means: its graph, its steps, and how values go from one to the next. Pure:
//! neither HTTP nor SQL.

pub(crate) mod binding;
pub(crate) mod graph;
pub(crate) mod inputs;
pub(crate) mod step;
pub(crate) mod suggest;
pub(crate) mod template;
pub(crate) mod workflow;
