//! Wire types that more than one service speaks: what goes over HTTP between them, and nothing else.
//! A type that only one service reads or writes belongs to that service.

pub mod dataflow;
pub mod events;
pub mod workflow;
