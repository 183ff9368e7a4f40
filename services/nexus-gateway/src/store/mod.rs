//! What the gateway keeps: users in PostgreSQL, revocations and login attempts in Redis.

mod sessions;
mod users;

pub(crate) use sessions::Sessions;
pub(crate) use users::{User, Users};
