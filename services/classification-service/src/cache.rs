//! Answers kept in Redis. Losing it only slows: every failure here is a miss.

use std::time::Duration;

use redis::{
    RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Working out an answer takes about a millisecond; waiting longer for a kept one is no gain.
const PATIENCE: Duration = Duration::from_millis(250);

/// The kept answers.
#[derive(Clone)]
pub(crate) struct Cache {
    connection: ConnectionManager,
    ttl_s: u64,
}

impl Cache {
    pub(crate) fn new(client: redis::Client, ttl: Duration) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_lazy_with_config(client, config)?;
        Ok(Self {
            connection,
            ttl_s: ttl.as_secs(),
        })
    }

    /// Whether the store answers.
    pub(crate) async fn check(&self) -> RedisResult<()> {
        redis::cmd("PING").query_async(&mut self.connection.clone()).await
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Value> {
        let kept: RedisResult<Option<String>> = redis::cmd("GET")
            .arg(key)
            .query_async(&mut self.connection.clone())
            .await;
        match kept {
            Ok(text) => serde_json::from_str(&text?).ok(),
            Err(error) => {
                tracing::debug!(%error, "cache cannot be read");
                None
            }
        }
    }

    pub(crate) async fn put(&self, key: &str, value: &Value) {
        let text = value.to_string();
        let mut command = redis::cmd("SET");
        command.arg(key).arg(text).arg("EX").arg(self.ttl_s);
        let kept: RedisResult<()> = command.query_async(&mut self.connection.clone()).await;
        if let Err(error) = kept {
            tracing::debug!(%error, "cache cannot be written");
        }
    }
}

/// The key of an answer. Method and code set are part of it, so that no stale answer outlives either.
pub(crate) fn key(model: &str, code_set: &str, question: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(question.as_bytes());
    digest
        .iter()
        .fold(format!("classification:{model}:{code_set}:"), |mut key, byte| {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
            key
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_method_set_and_question() {
        let keys = [
            key("m", "s", "q"),
            key("n", "s", "q"),
            key("m", "t", "q"),
            key("m", "s", "r"),
        ];
        for (number, one) in keys.iter().enumerate() {
            assert!(keys[number + 1..].iter().all(|other| one != other));
        }
        assert!(
            keys[0].starts_with("classification:m:s:") && keys[0].len() == "classification:m:s:".len() + 64
        );
    }
}
