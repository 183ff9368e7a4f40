//! Revoked tokens and login attempts, in Redis. Everything expires by itself.

use std::time::Duration;

use redis::{
    RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// Attempts to log in that one name has in [`WINDOW_S`].
const MAX_ATTEMPTS: u64 = 10;
const WINDOW_S: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(1);

/// The sessions' store. It connects when asked, and again after every loss.
#[derive(Clone)]
pub(crate) struct Sessions(ConnectionManager);

impl Sessions {
    pub(crate) fn new(client: redis::Client) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        ConnectionManager::new_lazy_with_config(client, config).map(Self)
    }

    /// Whether the store answers.
    pub(crate) async fn check(&self) -> RedisResult<()> {
        redis::cmd("PING").query_async(&mut self.0.clone()).await
    }

    /// From now on the token named `jti` is refused; forgotten after `remaining_s`, when it is refused anyway.
    pub(crate) async fn revoke(&self, jti: &str, remaining_s: u64) -> RedisResult<()> {
        let key = revoked(jti);
        redis::cmd("SET")
            .arg(key)
            .arg(1)
            .arg("EX")
            .arg(remaining_s.max(1))
            .query_async(&mut self.0.clone())
            .await
    }

    pub(crate) async fn is_revoked(&self, jti: &str) -> RedisResult<bool> {
        redis::cmd("EXISTS")
            .arg(revoked(jti))
            .query_async(&mut self.0.clone())
            .await
    }

    /// Counts an attempt to log in, before it is looked at, so that many at once count too. The answer is how
    /// many seconds to wait where there were too many.
    pub(crate) async fn count_attempt(&self, username: &str) -> RedisResult<Option<u64>> {
        let key = attempts(username);
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("INCR").arg(&key);
        pipeline.cmd("EXPIRE").arg(&key).arg(WINDOW_S).arg("NX").ignore();
        pipeline.cmd("TTL").arg(&key);
        let (count, left_s): (u64, i64) = pipeline.query_async(&mut self.0.clone()).await?;
        Ok((count > MAX_ATTEMPTS).then(|| u64::try_from(left_s).unwrap_or(WINDOW_S).max(1)))
    }

    /// Whoever logs in has all attempts again.
    pub(crate) async fn forget_attempts(&self, username: &str) -> RedisResult<()> {
        redis::cmd("DEL")
            .arg(attempts(username))
            .query_async(&mut self.0.clone())
            .await
    }
}

fn revoked(jti: &str) -> String {
    format!("gateway:revoked:{jti}")
}

fn attempts(username: &str) -> String {
    format!("gateway:attempts:{username}")
}
