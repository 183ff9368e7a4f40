//! Refresh tokens: each is used once, and gives the next of its family. A family is one login. Whoever uses one twice
//! ends the family, for one of the two was a thief (RFC 9700 section 4.14.2).

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

use super::accounts::{User, user};
use crate::domain::{roles::Role, secret};

/// The refresh tokens' store.
#[derive(Debug, Clone)]
pub(crate) struct RefreshTokens(PgPool);

/// What using a refresh token led to.
#[derive(Debug)]
pub(crate) enum Rotation {
    /// The next one of the family was stored.
    Next {
        username: String,
        role: Role,
        tenant: String,
        family: String,
    },
    /// It was used before: the family is ended.
    Reused {
        username: String,
        tenant: String,
        family: String,
    },
    /// It is none, is over, is ended, or its user is disabled.
    Refused,
}

impl RefreshTokens {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// The first token of a family, for a user whose password was `password_hash` a moment ago: `None` where it is
    /// another one by now, or the user is disabled. The answer is the user as of this step: who is changed after it
    /// finds this family, and ends it. What is over of the same user goes.
    pub(crate) async fn begin(
        &self,
        username: &str,
        password_hash: &str,
        token: &str,
        family: &str,
        ttl_s: u64,
    ) -> sqlx::Result<Option<User>> {
        let mut transaction = super::transaction(&self.0).await?;
        let user = lock(&mut transaction, username).await?;
        let user = user.filter(|user| !user.disabled && user.password_hash == password_hash);
        let Some(user) = user else { return Ok(None) };
        forget(&mut transaction, username).await?;
        sqlx::query(
            "INSERT INTO gateway.refresh_tokens (hash, family, username, expires_at)
             VALUES ($1, $2, $3, now() + make_interval(secs => $4))",
        )
        .bind(secret::hash(token).as_slice())
        .bind(family)
        .bind(username)
        .bind(ttl_s as f64)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(user))
    }

    /// Uses `token` and stores `next` in its place. Of two that use it at once, on whichever replica, one is second.
    pub(crate) async fn rotate(&self, token: &str, next: &str, ttl_s: u64) -> sqlx::Result<Rotation> {
        let hash = secret::hash(token);
        let mut transaction = super::transaction(&self.0).await?;
        let owner = "SELECT username FROM gateway.refresh_tokens WHERE hash = $1";
        let owner: Option<String> = sqlx::query_scalar(owner)
            .bind(hash.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(username) = owner else {
            return Ok(Rotation::Refused);
        };
        let Some(user) = lock(&mut transaction, &username).await? else {
            return Ok(Rotation::Refused);
        };
        let state = "SELECT family, used_at IS NOT NULL, revoked OR expires_at <= now()
             FROM gateway.refresh_tokens WHERE hash = $1";
        let state: Option<(String, bool, bool)> = sqlx::query_as(state)
            .bind(hash.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some((family, used, over)) = state else {
            return Ok(Rotation::Refused);
        };
        let tenant = user.tenant;
        if used {
            sqlx::query("UPDATE gateway.refresh_tokens SET revoked = true WHERE family = $1")
                .bind(&family)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            return Ok(Rotation::Reused {
                username,
                tenant,
                family,
            });
        }
        if over || user.disabled {
            return Ok(Rotation::Refused);
        }
        forget(&mut transaction, &username).await?;
        sqlx::query(
            "WITH used AS (UPDATE gateway.refresh_tokens SET used_at = now() WHERE hash = $1)
             INSERT INTO gateway.refresh_tokens (hash, family, parent, username, expires_at)
             VALUES ($2, $3, $1, $4, now() + make_interval(secs => $5))",
        )
        .bind(hash.as_slice())
        .bind(secret::hash(next).as_slice())
        .bind(&family)
        .bind(&username)
        .bind(ttl_s as f64)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Rotation::Next {
            role: user.role,
            username,
            tenant,
            family,
        })
    }

    /// Ends one family of a user.
    pub(crate) async fn end(&self, username: &str, family: &str) -> sqlx::Result<()> {
        let mut transaction = super::transaction(&self.0).await?;
        lock(&mut transaction, username).await?;
        sqlx::query("UPDATE gateway.refresh_tokens SET revoked = true WHERE family = $1 AND username = $2")
            .bind(family)
            .bind(username)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// The family of a token of a user.
    pub(crate) async fn family_of(&self, username: &str, token: &str) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar("SELECT family FROM gateway.refresh_tokens WHERE hash = $1 AND username = $2")
            .bind(secret::hash(token).as_slice())
            .bind(username)
            .fetch_optional(&self.0)
            .await
    }

    /// Forgets what is over, of all users.
    pub(super) async fn sweep(&self) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM gateway.refresh_tokens WHERE expires_at < now()")
            .execute(&self.0)
            .await
            .map(drop)
    }
}

/// Ends all families of a user whose row is locked. The answer is which they were, with those that were ended before
/// but whose access tokens may still live: their revocation may have been lost on its way.
pub(super) async fn end_all(
    connection: &mut PgConnection,
    username: &str,
    token_ttl: Duration,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "WITH ended AS (
             UPDATE gateway.refresh_tokens SET revoked = true
             WHERE username = $1 AND (NOT revoked OR issued_at > now() - make_interval(secs => $2))
             RETURNING family)
         SELECT DISTINCT family FROM ended",
    )
    .bind(username)
    .bind(token_ttl.as_secs_f64())
    .fetch_all(connection)
    .await
}

/// What is over of a user goes; an access token never outlives the refresh token that came with it.
async fn forget(connection: &mut PgConnection, username: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM gateway.refresh_tokens WHERE username = $1 AND expires_at < now()")
        .bind(username)
        .execute(connection)
        .await
        .map(drop)
}

/// What changes the families of a user waits for each other: a token that is made while its family is being ended
/// would be missed otherwise.
async fn lock(connection: &mut PgConnection, username: &str) -> sqlx::Result<Option<User>> {
    type Row = (String, String, String, bool);
    let select = "SELECT password_hash, role, tenant, disabled FROM gateway.users
         WHERE username = $1 FOR NO KEY UPDATE";
    let row: Option<Row> = sqlx::query_as(select)
        .bind(username)
        .fetch_optional(connection)
        .await?;
    row.map(user).transpose()
}
