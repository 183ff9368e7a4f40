//! Sessions of users in Redis: one user's state, seen alike from HTTP, WebSocket, command line and MCP, and
//! from every replica. Every write is one script in Redis, so that none is lost between two writers; what has
//! expired or ended is gone with all its keys, and no late write brings it back.

mod clock;
mod error;
mod script;
mod session;
mod store;

pub use error::Error;
pub use session::{Channel, Entry, Mode, New, Owner, Patch, Session, Status};
pub use store::{Limits, Store};

/// Text of all that a session holds, names included: services.md section 1.2, "metadata".
pub const MAX_DATA_BYTES: usize = 64 * 1024;
/// Names that one write may give, change or take away: while a script runs, Redis does nothing else.
pub const MAX_NAMES: usize = 1024;
/// Entries of a session's history; older ones are forgotten.
pub const MAX_HISTORY: usize = 1000;
