//! The stream of events in Redis (`contract::events`). Losing it only delays what it tells.

use std::time::Duration;

use contract::events::{Event, FIELD, MOST, STREAM};
use redis::RedisResult;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

const PATIENCE: Duration = Duration::from_secs(1);

/// The stream. It connects when asked, and again after every loss.
#[derive(Clone)]
pub(crate) struct Stream(ConnectionManager);

impl Stream {
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

    /// Adds events, in their order.
    pub(crate) async fn send(&self, events: &[Event]) -> RedisResult<()> {
        let mut commands = redis::pipe();
        for event in events {
            let text = serde_json::to_string(event).map_err(std::io::Error::other)?;
            commands
                .cmd("XADD")
                .arg(STREAM)
                .arg("MAXLEN")
                .arg("~")
                .arg(MOST)
                .arg("*")
                .arg(FIELD)
                .arg(text)
                .ignore();
        }
        commands.query_async(&mut self.0.clone()).await
    }
}
