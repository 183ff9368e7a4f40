//! What a model is, what its nodes accept, and in which words they refuse. Pure: neither HTTP nor SQL.

pub(crate) mod fault;
pub(crate) mod field;
pub(crate) mod filter;
pub(crate) mod model;
pub(crate) mod naming;
pub(crate) mod node;
pub(crate) mod row;
