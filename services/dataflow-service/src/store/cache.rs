//! Answers kept in Redis. Losing it only slows: every failure here is a miss.
//!
//! A stale answer cannot come back. A key carries the model's version, which every write raises within its own
//! transaction, and a reader asks PostgreSQL for the version BEFORE it asks for the rows. What it keeps under
//! version v is therefore of v or later; and who finds v current afterwards, finds that nothing was committed
//! since. No step of that depends on Redis or on the writer still living.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{RedisError, RedisResult};
use serde_json::{Map, Value, json};
use sqlx::Row;

use super::Store;
use super::connections::RowConnection;
use crate::domain::cache_key::{self, CacheWish, Question};
use crate::error::{Error, Result};

/// A kept answer that takes longer is no gain.
const PATIENCE: Duration = Duration::from_millis(250);
/// Longer answers are not kept: Redis has 160 MB for all services.
const LARGEST: usize = 32 * 1024;
/// What one replica may bring to Redis at once; as much again comes in over `CACHE_TTL`, while it goes.
const MOST: f64 = (12 * 1024 * 1024) as f64;
/// What Redis needs for an answer besides its text.
const OVERHEAD: usize = 200;

/// Redis, and whether it answered last.
pub(super) struct Redis {
    connection: ConnectionManager,
    up: AtomicBool,
    budget: Mutex<Budget>,
}

/// What this replica may still keep. Whoever asks chooses what is kept, by questions and `cache_key`: all of them
/// together must not fill the Redis of all services, which refuses writes when it is full.
#[derive(Debug)]
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    /// Whether so many bytes may be kept; `whole` is the time in which all of it comes back.
    fn spend(&mut self, bytes: usize, now: Instant, whole: Duration) -> bool {
        let back = now.saturating_duration_since(self.at).as_secs_f64() / whole.as_secs_f64();
        (self.left, self.at) = ((self.left + back * MOST).min(MOST), now);
        let cost = bytes as f64;
        if self.left < cost {
            return false;
        }
        self.left -= cost;
        true
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("up", &self.up).finish()
    }
}

impl Redis {
    /// A connection that is made when it is first used.
    pub(super) fn new(client: redis::Client) -> Option<Self> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_lazy_with_config(client, config)
            .inspect_err(|error| tracing::error!(%error, "redis cannot be used"))
            .ok()?;
        Some(Redis {
            connection,
            up: AtomicBool::new(false),
            budget: Mutex::new(Budget {
                left: MOST,
                at: Instant::now(),
            }),
        })
    }
}

/// What was found under a question's key.
pub(super) struct Kept {
    /// `None` where nothing is to be kept.
    key: Option<String>,
    ttl_s: u64,
    pub(super) answer: Option<Map<String, Value>>,
}

impl Kept {
    /// `{key, hit, source, timestamp}`.
    pub(super) fn told(&self) -> Value {
        let hit = self.answer.is_some();
        let source = if hit { "cache" } else { "database" };
        let now = jiff::Timestamp::now().to_string();
        json!({ "key": self.key, "hit": hit, "source": source, "timestamp": now })
    }
}

impl Store {
    /// Whether Redis answers; it is used only while it does.
    pub(crate) async fn check_redis(&self) -> Result<()> {
        let redis = self.0.redis.as_ref().ok_or_else(unconfigured)?;
        let asked: RedisResult<()> = redis::cmd("PING")
            .query_async(&mut redis.connection.clone())
            .await;
        redis.up.store(asked.is_ok(), Ordering::Relaxed);
        asked.map_err(|error| Error::Broken(error.to_string()))
    }

    /// A connection, where Redis is there.
    pub(super) fn redis(&self) -> Result<ConnectionManager> {
        let redis = self.0.redis.as_ref().ok_or_else(unconfigured)?;
        if redis.up.load(Ordering::Relaxed) {
            Ok(redis.connection.clone())
        } else {
            Err(Error::Broken("redis is away".to_owned()))
        }
    }

    /// Asks for the version, then for the answer of that version. The rows must be asked for afterwards.
    pub(super) async fn look_up(
        &self,
        rows: &mut RowConnection,
        question: Question<'_>,
        wish: &CacheWish,
    ) -> Result<Kept> {
        let mut kept = Kept {
            key: None,
            ttl_s: wish
                .ttl_s
                .map_or(self.longest_ttl(), |ttl_s| ttl_s.clamp(1, self.longest_ttl())),
            answer: None,
        };
        let Ok(mut redis) = self.redis() else {
            return Ok(kept);
        };
        if !wish.enabled {
            return Ok(kept);
        }
        let row = sqlx::query("SELECT dataflow.version_of($1, $2)")
            .bind(question.model)
            .bind(question.tenant)
            .fetch_one(&mut **rows)
            .await?;
        let key = cache_key::key(question, wish, row.try_get(0)?);
        let found: RedisResult<Option<String>> = redis::cmd("GET").arg(&key).query_async(&mut redis).await;
        kept.answer = match found {
            Ok(text) => text.and_then(|text| serde_json::from_str(&text).ok()),
            Err(error) => {
                self.redis_failed(&error);
                None
            }
        };
        let outcome = if kept.answer.is_some() { "hit" } else { "miss" };
        counter!("dataflow_cache_total", "operation" => question.operation, "outcome" => outcome)
            .increment(1);
        kept.key = Some(key);
        Ok(kept)
    }

    /// Keeps an answer, in the background.
    pub(super) fn keep_answer(&self, kept: &Kept, answer: &Map<String, Value>) {
        let (Some(key), Ok(mut redis)) = (kept.key.clone(), self.redis()) else {
            return;
        };
        let Some(text) = serde_json::to_string(answer)
            .ok()
            .filter(|text| text.len() <= LARGEST)
        else {
            return;
        };
        if !self.affords(key.len() + text.len()) {
            counter!("dataflow_cache_unkept_total").increment(1);
            return;
        }
        let (store, ttl_s) = (self.clone(), kept.ttl_s);
        tokio::spawn(async move {
            let mut command = redis::cmd("SET");
            command.arg(key).arg(text).arg("EX").arg(ttl_s);
            let done: RedisResult<()> = command.query_async(&mut redis).await;
            if let Err(error) = done {
                store.redis_failed(&error);
            }
        });
    }

    fn affords(&self, bytes: usize) -> bool {
        let Some(redis) = &self.0.redis else {
            return false;
        };
        let mut budget = redis.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = Duration::from_secs(self.longest_ttl());
        budget.spend(bytes + OVERHEAD, Instant::now(), whole)
    }

    fn longest_ttl(&self) -> u64 {
        self.0.cache_ttl.as_secs().max(1)
    }

    /// A Redis that is not reached is left alone until the next check finds it. One that answers with an error is
    /// there: what it does not take of one caller is nobody else's loss.
    pub(super) fn redis_failed(&self, error: &RedisError) {
        tracing::debug!(%error, "redis did not do it");
        if let Some(redis) = self.0.redis.as_ref().filter(|_| is_away(error)) {
            redis.up.store(false, Ordering::Relaxed);
        }
    }
}

fn is_away(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
}

fn unconfigured() -> Error {
    Error::Broken("REDIS_URL is not set".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_paid_for_and_comes_back_with_time() {
        let (begin, whole) = (Instant::now(), Duration::from_secs(60));
        let mut budget = Budget {
            left: MOST,
            at: begin,
        };
        let half = (MOST / 2.0) as usize;
        assert!(budget.spend(half, begin, whole) && budget.spend(half, begin, whole));
        assert!(!budget.spend(LARGEST, begin, whole), "nothing is left");
        assert!(budget.spend(half, begin + whole / 2, whole));
        assert!(!budget.spend(half, begin + whole / 2, whole));
        let later = begin + whole * 10;
        assert!(budget.spend(half, later, whole) && budget.spend(half, later, whole));
        assert!(
            !budget.spend(half, later, whole),
            "no more than the whole is saved up"
        );
    }

    #[test]
    fn a_redis_that_refuses_is_not_away() {
        let refused = RedisError::from((redis::ErrorKind::InvalidClientConfig, "invalid expire time"));
        assert!(!is_away(&refused));
        assert!(is_away(&RedisError::from(std::io::Error::other("gone"))));
    }
}
