//! How often a run is signalled and asked, in Redis: an exact sliding window that all replicas share.

use redis::{RedisResult, Script, aio::ConnectionManager};

/// Signals and queries of one run within the window.
const MOST: u32 = 100;
const WINDOW_MS: u64 = 60_000;

/// Times are Redis' own, so that replicas agree. A refused call does not count. Answers 0, or the milliseconds
/// until the oldest one leaves the window.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, most = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) >= most then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.max(1, oldest[2] + window - now)
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], window)
return 0";

/// Takes one of a run's calls: `None`, or how long to wait, in seconds.
pub(crate) async fn take(
    mut redis: ConnectionManager,
    tenant: &str,
    execution: &str,
) -> RedisResult<Option<u64>> {
    let wait_ms: u64 = Script::new(TAKE)
        .key(format!("gateway:calls:{tenant}:{execution}"))
        .arg(WINDOW_MS)
        .arg(MOST)
        .arg(uuid::Uuid::new_v4().to_string())
        .invoke_async(&mut redis)
        .await?;
    Ok((wait_ms > 0).then(|| wait_ms.div_ceil(1000)))
}
