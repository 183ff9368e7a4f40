//! What a model is, what its nodes accept, and in which words they refuse. Pure: neither HTTP nor SQL.

pub(crate) mod bulk;
mod bulk_parameters;
mod bulk_schema;
pub(crate) mod cache_key;
pub(crate) mod call;
mod decimal;
pub(crate) mod fault;
pub(crate) mod field;
pub(crate) mod filter;
pub(crate) mod items;
pub(crate) mod job;
pub(crate) mod kind;
pub(crate) mod migration;
pub(crate) mod model;
pub(crate) mod naming;
pub(crate) mod node;
mod one_row;
pub(crate) mod parameters;
pub(crate) mod plan;
pub(crate) mod risk;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod upsert;
pub(crate) mod validation;
