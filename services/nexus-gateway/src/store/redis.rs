//! The one connection to Redis that the gateway's stores share.

use std::time::Duration;

use redis::{
    RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

const PATIENCE: Duration = Duration::from_secs(1);

/// Connects when asked, and again after every loss.
pub(crate) fn connection(client: redis::Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    ConnectionManager::new_lazy_with_config(client, config)
}
