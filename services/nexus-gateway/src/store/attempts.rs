//! Attempts to log in, counted in Redis for all replicas. Every count expires by itself.

use std::net::IpAddr;

use redis::{RedisResult, aio::ConnectionManager};

use crate::domain::client;

/// Attempts to log in that one name, and one client, have in [`WINDOW_S`]. Many may share a client's address.
const MOST_OF_NAME: u64 = 10;
const MOST_OF_CLIENT: u64 = 100;
const WINDOW_S: u64 = 300;

/// How often whom tried to log in.
#[derive(Clone)]
pub(crate) struct Attempts(ConnectionManager);

impl Attempts {
    pub(crate) fn new(redis: ConnectionManager) -> Self {
        Self(redis)
    }

    /// Counts an attempt to log in, before it is looked at, so that many at once count too. The answer is how
    /// many seconds to wait where there were too many.
    pub(crate) async fn count(&self, username: &str, client: Option<IpAddr>) -> RedisResult<Option<u64>> {
        let mut wait_s = self.one_more(&of_name(username), MOST_OF_NAME).await?;
        if let Some(client) = client {
            let of_client = self.one_more(&of_client(client), MOST_OF_CLIENT).await?;
            wait_s = wait_s.max(of_client);
        }
        Ok(wait_s)
    }

    async fn one_more(&self, key: &str, most: u64) -> RedisResult<Option<u64>> {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("INCR").arg(key);
        pipeline.cmd("EXPIRE").arg(key).arg(WINDOW_S).arg("NX").ignore();
        pipeline.cmd("TTL").arg(key);
        let (count, left_s): (u64, i64) = pipeline.query_async(&mut self.0.clone()).await?;
        Ok((count > most).then(|| u64::try_from(left_s).unwrap_or(WINDOW_S).max(1)))
    }

    /// Whoever logs in has all attempts of the name again; those of the client stay counted.
    pub(crate) async fn forget(&self, username: &str) -> RedisResult<()> {
        redis::cmd("DEL")
            .arg(of_name(username))
            .query_async(&mut self.0.clone())
            .await
    }
}

fn of_name(username: &str) -> String {
    format!("gateway:attempts:{username}")
}

fn of_client(client: IpAddr) -> String {
    format!("gateway:attempts-from:{}", client::site(client))
}
