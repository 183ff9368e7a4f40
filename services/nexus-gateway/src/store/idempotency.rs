//! Answers kept for their `Idempotency-Key`, in PostgreSQL: a claim while the call is made, then its answer.

use std::time::Duration;

use sqlx::{PgPool, Result};

/// How long an answer is kept.
const TTL_S: f64 = 3600.0;
/// Bytes of answers that are kept for one user.
const MOST_OF_USER: i64 = 64 << 20;

/// Whose key it is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) key: String,
    pub(crate) tenant: String,
    pub(crate) username: String,
}

/// A claim, known by its end in microseconds since 1970: who comes after that may have made another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim(i64);

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What a key leads to.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The call is ours to make.
    Ours(Claim),
    /// It was made.
    Kept(Kept),
    /// It is being made.
    InFlight,
    /// The key belongs to another call.
    Mismatch,
}

/// The kept answers.
#[derive(Clone)]
pub(crate) struct Idempotency(PgPool);

type Row = (Vec<u8>, String, Option<i32>, Option<String>, Option<Vec<u8>>);

impl Idempotency {
    pub(crate) fn new(pool: &PgPool) -> Self {
        Self(pool.clone())
    }

    /// Claims a key for a call that is over within `patience`; a claim whose time is up is anybody's.
    pub(crate) async fn claim(
        &self,
        owner: &Owner,
        fingerprint: &[u8],
        patience: Duration,
    ) -> Result<Claimed> {
        // Twice: what is in the way may expire between both questions.
        for _ in 0..2 {
            if let Some(claim) = self.insert(owner, fingerprint, patience).await? {
                return Ok(Claimed::Ours(claim));
            }
            if let Some(row) = self.find(owner).await? {
                return Ok(read(row, fingerprint));
            }
        }
        Ok(Claimed::InFlight)
    }

    async fn insert(&self, owner: &Owner, fingerprint: &[u8], patience: Duration) -> Result<Option<Claim>> {
        let row: Option<(i64,)> = sqlx::query_as(
            "INSERT INTO gateway.idempotency AS kept (key, tenant, username, fingerprint, state, expires_at)
             VALUES ($1, $2, $3, $4, 'claimed', clock_timestamp() + make_interval(secs => $5))
             ON CONFLICT (key, tenant, username) DO UPDATE
             SET fingerprint = excluded.fingerprint, state = 'claimed', expires_at = excluded.expires_at,
                 status = NULL, headers = NULL, body = NULL
             WHERE kept.expires_at <= clock_timestamp()
             RETURNING (extract(epoch FROM expires_at) * 1000000)::bigint",
        )
        .bind(&owner.key)
        .bind(&owner.tenant)
        .bind(&owner.username)
        .bind(fingerprint)
        .bind(patience.as_secs_f64())
        .fetch_optional(&self.0)
        .await?;
        Ok(row.map(|(end,)| Claim(end)))
    }

    async fn find(&self, owner: &Owner) -> Result<Option<Row>> {
        sqlx::query_as(
            "SELECT fingerprint, state, status, headers, body FROM gateway.idempotency
             WHERE key = $1 AND tenant = $2 AND username = $3 AND expires_at > clock_timestamp()",
        )
        .bind(&owner.key)
        .bind(&owner.tenant)
        .bind(&owner.username)
        .fetch_optional(&self.0)
        .await
    }

    /// Keeps the answer of a call, if the claim is still ours and the user's answers leave room for it. Whether it is
    /// kept.
    pub(crate) async fn keep(&self, owner: &Owner, claim: Claim, kept: &Kept) -> Result<bool> {
        let headers = serde_json::to_string(&kept.headers).unwrap_or_default();
        let done = sqlx::query(
            "UPDATE gateway.idempotency
             SET state = 'done', status = $5, headers = $6, body = $7,
                 expires_at = clock_timestamp() + make_interval(secs => $8)
             WHERE key = $1 AND tenant = $2 AND username = $3 AND state = 'claimed'
               AND (extract(epoch FROM expires_at) * 1000000)::bigint = $4
               AND (SELECT coalesce(sum(octet_length(body)), 0) FROM gateway.idempotency
                    WHERE tenant = $2 AND username = $3) + octet_length($7) <= $9",
        )
        .bind(&owner.key)
        .bind(&owner.tenant)
        .bind(&owner.username)
        .bind(claim.0)
        .bind(i32::from(kept.status))
        .bind(headers)
        .bind(&kept.body)
        .bind(TTL_S)
        .bind(MOST_OF_USER)
        .execute(&self.0)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives a claim back: the key is free for the next call.
    pub(crate) async fn release(&self, owner: &Owner, claim: Claim) -> Result<()> {
        sqlx::query(
            "DELETE FROM gateway.idempotency
             WHERE key = $1 AND tenant = $2 AND username = $3 AND state = 'claimed'
               AND (extract(epoch FROM expires_at) * 1000000)::bigint = $4",
        )
        .bind(&owner.key)
        .bind(&owner.tenant)
        .bind(&owner.username)
        .bind(claim.0)
        .execute(&self.0)
        .await?;
        Ok(())
    }

    /// Forgets what has expired.
    pub(crate) async fn sweep(&self) -> Result<()> {
        sqlx::query("DELETE FROM gateway.idempotency WHERE expires_at <= clock_timestamp()")
            .execute(&self.0)
            .await?;
        Ok(())
    }
}

fn read((known, state, status, headers, body): Row, fingerprint: &[u8]) -> Claimed {
    if known != fingerprint {
        return Claimed::Mismatch;
    }
    match (
        state.as_str(),
        status.and_then(|status| u16::try_from(status).ok()),
    ) {
        ("done", Some(status)) => Claimed::Kept(Kept {
            status,
            headers: headers
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            body: body.unwrap_or_default(),
        }),
        _ => Claimed::InFlight,
    }
}
