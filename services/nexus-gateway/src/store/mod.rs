//! What the gateway keeps: accounts, refresh tokens, API keys and the audit log in PostgreSQL, revocations and login
//! attempts in Redis.

mod accounts;
mod apikeys;
mod attempts;
mod audit;
pub(crate) mod events;
mod idempotency;
mod limits;
mod migrations;
pub(crate) mod redis;
mod refresh;
mod revocations;
mod sweep;

pub(crate) mod window;

use sqlx::{PgPool, Postgres, Transaction};

pub(crate) use accounts::{Account, Accounts, Change, User};
pub(crate) use apikeys::{ApiKey, ApiKeys, MOST_KEYS};
pub(crate) use attempts::Attempts;
pub(crate) use audit::{Audit, Entry, Query as AuditQuery, Recorded};
pub(crate) use idempotency::{Claim, Claimed, Idempotency, Kept, Owner};
pub(crate) use limits::Limits;
pub(crate) use refresh::{RefreshTokens, Rotation};
pub(crate) use revocations::{Revocations, Revoked};
pub(crate) use sweep::sweep;

/// A transaction, begun in a task of its own, which no caller who goes away can stop halfway: sqlx 0.9 gives a
/// connection whose `BEGIN` was given up back to the pool inside of that transaction, and what is written by it next is
/// never committed.
async fn transaction(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let connection = pool.acquire().await?;
    let begun = tokio::spawn(Transaction::begin(connection, None)).await;
    begun.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?
}
