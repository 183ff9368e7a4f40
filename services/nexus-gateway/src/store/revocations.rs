//! Revoked tokens and logins. Redis tells all replicas and keeps them; each replica knows them by heart, so that no
//! request asks. A replica that cannot hear Redis knows nothing, and accepts no token until it has read all again.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use redis::{ErrorKind, RedisError, RedisResult, aio::ConnectionManager};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::domain::token::now_s;

/// A sorted set: entries by the second (since 1970) until which they count.
const KEY: &str = "gateway:revoked";
/// What is told here is `<until> <entry>`.
const CHANNEL: &str = "gateway:revoked:told";
/// How often Redis is asked whether it is still there, how long it may take, and for how long an answer is good.
const PING_EVERY: Duration = Duration::from_millis(800);
const PING_PATIENCE: Duration = Duration::from_millis(1200);
const GOOD_FOR: Duration = Duration::from_secs(3);
/// How long connecting and reading all may take.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// Entries told to Redis at once.
const BATCH: usize = 500;
/// Nothing is kept for longer (ten years), whatever another issuer wrote into its token: great numbers are no seconds
/// that everybody can read.
const LONGEST_S: u64 = 10 * 366 * 86_400;

/// Which tokens and logins are revoked; cheap to clone.
#[derive(Clone)]
pub(crate) struct Revocations(Arc<Inner>);

struct Inner {
    client: redis::Client,
    redis: ConnectionManager,
    /// Until when (in seconds since 1970) what is revoked.
    known: RwLock<Known>,
    /// Until when (in milliseconds since `begun`) what is known is all that there is.
    complete_until_ms: AtomicU64,
    begun: Instant,
    /// Held by who tells what Redis refused before.
    telling: Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// Entries that Redis has not taken yet.
    untold: HashMap<String, u64>,
    tokens: HashMap<String, u64>,
    families: HashMap<String, u64>,
}

impl Known {
    /// An entry as it is written and told; others are not ours.
    fn learn(&mut self, entry: &str, until_s: u64) {
        let (names, name) = match entry.split_once(':') {
            Some(("t", jti)) => (&mut self.tokens, jti),
            Some(("f", family)) => (&mut self.families, family),
            _ => return,
        };
        let until = names.entry(name.to_owned()).or_default();
        *until = until_s.max(*until);
    }

    fn entries(&self) -> Vec<(String, u64)> {
        let tokens = self
            .tokens
            .iter()
            .map(|(jti, until_s)| (Revoked::Token(jti), until_s));
        let families = self
            .families
            .iter()
            .map(|(family, until_s)| (Revoked::Family(family), until_s));
        tokens
            .chain(families)
            .map(|(what, until_s)| (what.entry(), *until_s))
            .collect()
    }
}

/// What can be revoked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Revoked<'a> {
    /// The token of this name.
    Token(&'a str),
    /// All tokens of one login.
    Family(&'a str),
}

impl Revoked<'_> {
    fn entry(self) -> String {
        match self {
            Self::Token(jti) => format!("t:{jti}"),
            Self::Family(family) => format!("f:{family}"),
        }
    }
}

impl Revocations {
    /// Listens in the background, for ever.
    pub(crate) fn start(client: redis::Client, redis: ConnectionManager) -> Self {
        let revocations = Self(Arc::new(Inner {
            client,
            redis,
            known: RwLock::default(),
            complete_until_ms: AtomicU64::new(0),
            begun: Instant::now(),
            telling: Mutex::default(),
        }));
        tokio::spawn(revocations.clone().listen());
        revocations
    }

    /// Whether the store answers, and all that it knows is known here.
    pub(crate) async fn check(&self) -> RedisResult<()> {
        let () = redis::cmd("PING").query_async(&mut self.0.redis.clone()).await?;
        self.is_revoked("", None).map(drop)
    }

    /// From now on refused, here at once and by other replicas as soon as they hear of it; forgotten after
    /// `until_s` (seconds since 1970), when it is refused anyway.
    ///
    /// # Errors
    /// Redis does not answer, or refuses. It is refused here all the same, and told again until Redis takes it.
    pub(crate) async fn revoke(&self, what: &[Revoked<'_>], until_s: u64) -> RedisResult<()> {
        let until_s = readable(until_s);
        let entries: Vec<(String, u64)> = what.iter().map(|what| (what.entry(), until_s)).collect();
        {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            for (entry, until_s) in &entries {
                known.learn(entry, *until_s);
                known.untold.insert(entry.clone(), *until_s);
            }
        }
        // Told to the end, even where who revokes goes away.
        let telling = self.clone();
        let told = tokio::spawn(async move { telling.tell_all(&entries).await });
        told.await
            .unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "the telling ended early"))))
    }

    async fn tell_all(&self, entries: &[(String, u64)]) -> RedisResult<()> {
        for batch in entries.chunks(BATCH) {
            tell(&mut self.0.redis.clone(), batch).await?;
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            for (entry, until_s) in batch {
                if known.untold.get(entry) == Some(until_s) {
                    known.untold.remove(entry);
                }
            }
        }
        Ok(())
    }

    /// Tells again what Redis has not taken, one such round at a time.
    fn tell_again(&self) {
        let untold: Vec<(String, u64)> = {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            known
                .untold
                .iter()
                .map(|(entry, until_s)| (entry.clone(), *until_s))
                .collect()
        };
        if untold.is_empty() {
            return;
        }
        let telling = self.clone();
        tokio::spawn(async move {
            let Ok(_alone) = telling.0.telling.try_lock() else {
                return;
            };
            if let Err(error) = telling.tell_all(&untold).await {
                tracing::warn!(%error, entries = untold.len(), "revocations are not told to other replicas yet");
            }
        });
    }

    /// Whether the token, or the login that it came from, is revoked. Asks nobody.
    ///
    /// # Errors
    /// Redis was not heard of lately: nobody can tell.
    pub(crate) fn is_revoked(&self, jti: &str, family: Option<&str>) -> RedisResult<bool> {
        if self.now_ms() >= self.0.complete_until_ms.load(Ordering::Acquire) {
            return Err(RedisError::from((ErrorKind::Io, "revocations are not known")));
        }
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let family = family.is_some_and(|family| known.families.contains_key(family));
        Ok(family || known.tokens.contains_key(jti))
    }

    fn learn(&self, entry: &str, until_s: u64) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.learn(entry, readable(until_s));
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn listen(self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let begun = Instant::now();
            let error = match self.follow().await {
                Ok(()) => "the connection ended".to_owned(),
                Err(error) => error.to_string(),
            };
            self.0.complete_until_ms.store(0, Ordering::Release);
            tracing::debug!(error, "revocations are not known");
            // A connection that held for a while was good: the next try is soon.
            backoff = match begun.elapsed() > PATIENCE {
                true => FIRST_BACKOFF,
                false => (backoff * 2).min(LONGEST_BACKOFF),
            };
            tokio::time::sleep(backoff).await;
        }
    }

    /// Subscribes, then reads all, so that nothing falls between; then hears what is told until Redis is silent.
    async fn follow(&self) -> RedisResult<()> {
        let late = |_| RedisError::from((ErrorKind::Io, "no answer in time"));
        let (mut sink, mut told) = timeout(PATIENCE, async {
            let mut listening = self.0.client.get_async_pubsub().await?;
            listening.subscribe(CHANNEL).await?;
            Ok::<_, RedisError>(listening.split())
        })
        .await
        .map_err(late)??;
        let asked_ms = self.now_ms();
        timeout(PATIENCE, self.read_all()).await.map_err(late)??;
        self.complete_since(asked_ms);
        let mut pings = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                message = told.next() => match message {
                    Some(message) => self.hear(&message.get_payload::<String>()?),
                    None => return Ok(()),
                },
                _ = pings.tick() => {
                    let asked_ms = self.now_ms();
                    let pong = timeout(PING_PATIENCE, sink.ping::<redis::Value>());
                    pong.await.map_err(late)??;
                    self.complete_since(asked_ms);
                    self.forget();
                    self.tell_again();
                }
            }
        }
    }

    /// What Redis knows joins what is known here, and the reverse: a Redis that lost its data is told again.
    async fn read_all(&self) -> RedisResult<()> {
        let mut redis = self.0.redis.clone();
        let own = self
            .0
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .entries();
        for batch in own.chunks(BATCH) {
            tell(&mut redis, batch).await?;
        }
        let mut all = redis::cmd("ZRANGEBYSCORE");
        all.arg(KEY).arg(now_s()).arg("+inf").arg("WITHSCORES");
        // As Redis writes its scores: a great one is `9.2e+18`.
        let entries: Vec<(String, f64)> = all.query_async(&mut redis).await?;
        for (entry, until_s) in entries {
            self.learn(&entry, until_s as u64);
        }
        Ok(())
    }

    fn hear(&self, told: &str) {
        let Some((until_s, entry)) = told.split_once(' ') else {
            return;
        };
        if let Ok(until_s) = until_s.parse() {
            self.learn(entry, until_s);
        }
    }

    fn complete_since(&self, asked_ms: u64) {
        let good_ms = u64::try_from(GOOD_FOR.as_millis()).unwrap_or(0);
        self.0
            .complete_until_ms
            .store(asked_ms + good_ms, Ordering::Release);
    }

    fn forget(&self) {
        let now = now_s();
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tokens.retain(|_, until_s| now <= *until_s);
        known.families.retain(|_, until_s| now <= *until_s);
        known.untold.retain(|_, until_s| now <= *until_s);
    }
}

/// A second that every replica can read.
fn readable(until_s: u64) -> u64 {
    until_s.min(now_s() + LONGEST_S)
}

/// Written and told in one step; what is over goes.
async fn tell(redis: &mut ConnectionManager, entries: &[(String, u64)]) -> RedisResult<()> {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for (entry, until_s) in entries {
        // GT: an entry never counts shorter than it did.
        pipeline
            .cmd("ZADD")
            .arg(KEY)
            .arg("GT")
            .arg(until_s)
            .arg(entry)
            .ignore();
        pipeline
            .cmd("PUBLISH")
            .arg(CHANNEL)
            .arg(format!("{until_s} {entry}"))
            .ignore();
    }
    let over = format!("({}", now_s());
    pipeline
        .cmd("ZREMRANGEBYSCORE")
        .arg(KEY)
        .arg("-inf")
        .arg(over)
        .ignore();
    pipeline.query_async(redis).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dated_for_ever_is_kept_for_seconds_that_all_can_read() {
        let soon = now_s() + 900;
        assert_eq!(readable(soon), soon);
        for far in [i64::MAX as u64, u64::MAX] {
            assert!((LONGEST_S..1 << 53).contains(&readable(far)), "{far}");
        }
    }
}
