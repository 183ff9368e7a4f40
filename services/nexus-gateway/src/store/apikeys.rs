//! API keys, by hash. A key that was good a moment ago is remembered for as long as its removal may take to show.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use sqlx::PgPool;
use tokio::time::Instant;

use super::accounts::known;
use crate::domain::{apikey, roles::Role, secret, token::now_s};

/// Keys that one user may have.
pub(crate) const MOST_KEYS: i64 = 100;
/// How long a good key is not asked for again.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Keys that are remembered.
const MOST_REMEMBERED: usize = 4096;

/// Whom a key speaks for.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) id: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) role: Role,
    pub(crate) tenant: Arc<str>,
    /// Seconds since 1970; `u64::MAX` where it never expires.
    pub(crate) expires_at_s: u64,
}

/// A key as shown: never the key itself.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ApiKey {
    /// The key's public name: the part after `hk_`.
    pub(crate) id: String,
    /// What its owner calls it.
    pub(crate) name: String,
    /// RFC 3339, UTC.
    pub(crate) created_at: String,
    /// RFC 3339, UTC; absent where it never expires.
    pub(crate) expires_at: Option<String>,
    /// RFC 3339, UTC, to about a minute.
    pub(crate) last_used_at: Option<String>,
}

type Row = (String, String, String, Option<String>, Option<String>);
type Remembered = HashMap<[u8; 32], (Instant, Arc<Owner>)>;

/// The API keys' store.
#[derive(Debug, Clone)]
pub(crate) struct ApiKeys {
    pool: PgPool,
    remembered: Arc<Mutex<Remembered>>,
}

impl ApiKeys {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            remembered: Arc::default(),
        }
    }

    /// Whom the key of this id and hash speaks for; `None` where there is none, it is over, or its user is disabled.
    pub(crate) async fn owner_of(&self, id: &str, hash: [u8; 32]) -> sqlx::Result<Option<Arc<Owner>>> {
        if let Some(owner) = self.remembered(&hash) {
            return Ok(Some(owner).filter(|owner| now_s() < owner.expires_at_s));
        }
        let owner = self.find(id, &hash).await?.map(Arc::new);
        if let Some(owner) = &owner {
            self.remember(hash, owner.clone());
        }
        Ok(owner)
    }

    /// Whether the key was good a moment ago: then nobody is asked for it.
    pub(crate) fn is_remembered(&self, key: &str) -> bool {
        apikey::id(key).is_some() && self.remembered(&secret::hash(key)).is_some()
    }

    /// Its use is noted about once a minute.
    async fn find(&self, id: &str, hash: &[u8; 32]) -> sqlx::Result<Option<Owner>> {
        type Row = (String, String, String, Option<i64>);
        let select = "WITH used AS (
                 UPDATE gateway.api_keys SET last_used_at = now() WHERE id = $1 AND hash = $2
                 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute'))
             SELECT u.username, u.role, u.tenant, floor(extract(epoch FROM k.expires_at))::bigint
             FROM gateway.api_keys k JOIN gateway.users u USING (username)
             WHERE k.id = $1 AND k.hash = $2 AND NOT u.disabled
             AND (k.expires_at IS NULL OR k.expires_at > now())";
        let row: Option<Row> = sqlx::query_as(select)
            .bind(id)
            .bind(hash.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        let owner = row.map(|(user, role, tenant, expires_at_s)| {
            Ok(Owner {
                id: id.into(),
                user: user.into(),
                role: known(&role)?,
                tenant: tenant.into(),
                expires_at_s: expires_at_s.map_or(u64::MAX, |at_s| u64::try_from(at_s).unwrap_or(0)),
            })
        });
        owner.transpose()
    }

    /// A new key, as made by [`apikey::new`]; `None` where the user has too many, or is no user of ours.
    pub(crate) async fn create(
        &self,
        username: &str,
        name: &str,
        made: &apikey::New,
        ttl_s: Option<u64>,
    ) -> sqlx::Result<Option<ApiKey>> {
        let insert = "INSERT INTO gateway.api_keys (id, hash, name, username, expires_at)
             SELECT $1, $2, $3, username, now() + make_interval(secs => $5) FROM gateway.users
             WHERE username = $4
             AND (SELECT count(*) FROM gateway.api_keys WHERE username = $4) < $6
             RETURNING id, name, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
             to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), NULL::text";
        let row: Option<Row> = sqlx::query_as(insert)
            .bind(&made.id)
            .bind(secret::hash(&made.key).as_slice())
            .bind(name)
            .bind(username)
            .bind(ttl_s.map(|ttl_s| ttl_s as f64))
            .bind(MOST_KEYS)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(shown))
    }

    /// A user's keys, the oldest first.
    pub(crate) async fn list(&self, username: &str) -> sqlx::Result<Vec<ApiKey>> {
        let select = "SELECT id, name,
             to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
             to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
             to_char(last_used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             FROM gateway.api_keys k WHERE username = $1 ORDER BY k.created_at, id";
        let rows: Vec<Row> = sqlx::query_as(select)
            .bind(username)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Removes a key of a user: here at once, on other replicas within [`REMEMBERED`]. Whether there was one.
    pub(crate) async fn remove(&self, username: &str, id: &str) -> sqlx::Result<bool> {
        let removed = sqlx::query("DELETE FROM gateway.api_keys WHERE id = $1 AND username = $2")
            .bind(id)
            .bind(username)
            .execute(&self.pool)
            .await?;
        self.forget(|owner| &*owner.id == id);
        Ok(removed.rows_affected() > 0)
    }

    /// The keys of a user are asked for again.
    pub(crate) fn forget_user(&self, username: &str) {
        self.forget(|owner| &*owner.user == username);
    }

    fn forget(&self, whose: impl Fn(&Owner) -> bool) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, (_, owner)| !whose(owner));
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Arc<Owner>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, owner) = remembered.get(hash)?;
        (at.elapsed() < REMEMBERED).then(|| owner.clone())
    }

    fn remember(&self, hash: [u8; 32], owner: Arc<Owner>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(hash, (Instant::now(), owner));
        }
    }
}

fn shown((id, name, created_at, expires_at, last_used_at): Row) -> ApiKey {
    ApiKey {
        id,
        name,
        created_at,
        expires_at,
        last_used_at,
    }
}
