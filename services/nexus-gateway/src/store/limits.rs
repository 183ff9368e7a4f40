//! The shared count of calls, in Redis: for each caller the leases of the last minute, changed by one script at a time.

use std::time::Duration;

use redis::{RedisResult, Script, aio::ConnectionManager};

use crate::domain::limits::{Grant, lease_size};

/// A sorted set a caller: a lease is scored by its time, and its name ends in its permits. There are twenty to forty
/// at most, so that adding them up is quick. The clock is Redis's, so that replicas need not agree.
const TAKE: &str = r"
local limit, want, length = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - length)
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local used = 0
for i = 1, #leases, 2 do used = used + tonumber(string.match(leases[i], '%d+$')) end
local given = math.max(0, math.min(want, limit - used))
if given == 0 then return { 0, 0, tonumber(leases[2]) + length - now } end
redis.call('ZADD', KEYS[1], now, time[1] .. '.' .. time[2] .. '.' .. #leases .. ':' .. given)
redis.call('PEXPIRE', KEYS[1], length)
return { given, limit - used - given, length }
";

/// The shared count.
#[derive(Clone)]
pub(crate) struct Limits {
    redis: ConnectionManager,
    take: Script,
    window: Duration,
}

impl Limits {
    /// Counts in any `window`.
    pub(crate) fn new(redis: ConnectionManager, window: Duration) -> Self {
        Self {
            redis,
            take: Script::new(TAKE),
            window,
        }
    }

    /// Leases permits of `limit` a window for whom `key` names.
    pub(crate) async fn lease(&self, key: &str, limit: u32) -> RedisResult<Grant> {
        let mut call = self.take.prepare_invoke();
        call.key(format!("gateway:rate:{key}"))
            .arg(limit)
            .arg(lease_size(limit))
            .arg(self.window.as_millis().to_string());
        let (permits, left, wait_ms) = call.invoke_async(&mut self.redis.clone()).await?;
        Ok(Grant {
            permits,
            left,
            wait: Duration::from_millis(wait_ms),
        })
    }
}
