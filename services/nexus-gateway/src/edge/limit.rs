//! The rate limit of one replica: leases of the shared count, and the headers that tell of it
//! (draft-ietf-httpapi-ratelimit-headers-10).

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use kit::Problem;

use crate::{
    domain::{
        client,
        limits::{Lease, Verdict, WINDOW},
    },
    routes::caller::Caller,
    store::Limits,
};

const SHARDS: usize = 16;
/// Callers whose leases a shard holds; beyond it, each call asks the shared count.
const MOST_IN_A_SHARD: usize = 1024;
/// After the shared count was lost, nobody else waits for it for so long.
const LOST_FOR: Duration = Duration::from_millis(300);

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Whose calls are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Tenant and name.
    User(Arc<str>, Arc<str>),
    /// Who is not known by name.
    Address(IpAddr),
}

impl Who {
    pub(super) fn user(caller: &Caller) -> Self {
        Self::User(caller.tenant.clone(), caller.user.clone())
    }

    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(client::site(address))
    }

    fn key(&self) -> String {
        match self {
            Self::User(tenant, user) => format!("user:{tenant}:{user}"),
            Self::Address(address) => format!("address:{address}"),
        }
    }
}

/// What this replica holds for one caller. One call at a time asks for more.
#[derive(Default)]
struct Held {
    lease: Mutex<Lease>,
    asking: tokio::sync::Mutex<()>,
}

impl Held {
    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Verdict> {
        self.lease().take(Instant::now())
    }
}

type Shard = Mutex<HashMap<Who, Arc<Held>>>;

/// The limit as one replica keeps it.
pub(crate) struct Limiter {
    counts: Limits,
    limit: u32,
    /// `RateLimit-Policy`, the same for all.
    policy: Option<HeaderValue>,
    /// Without the shared count nothing passes.
    strict: bool,
    hasher: RandomState,
    shards: [Shard; SHARDS],
    lost_at: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(crate) fn new(counts: Limits, limit: u32, strict: bool) -> Self {
        let policy = format!("\"default\";q={limit};w={}", WINDOW.as_secs());
        Self {
            counts,
            limit,
            policy: policy.try_into().ok(),
            strict,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            lost_at: Mutex::new(None),
        }
    }

    /// Counts a call. `None`: nobody counts.
    ///
    /// # Errors
    /// 503 `SESSION_STORE_UNAVAILABLE`: without the shared count nothing passes in production.
    pub(super) async fn check(&self, who: &Who) -> Result<Option<Verdict>, Problem> {
        match self.count(who).await {
            Ok(verdict) => Ok(Some(verdict)),
            Err(_) if !self.strict => Ok(None),
            Err(lost) => Err(Problem::unavailable(
                "SESSION_STORE_UNAVAILABLE",
                "the session store does not answer",
                lost,
            )),
        }
    }

    async fn count(&self, who: &Who) -> Result<Verdict, String> {
        let held = self.held(who);
        if let Some(verdict) = held.take() {
            return Ok(verdict);
        }
        let _asking = held.asking.lock().await;
        if let Some(verdict) = held.take() {
            return Ok(verdict);
        }
        if self.lost_at().is_some_and(|at| at.elapsed() < LOST_FOR) {
            return Err("it did not answer a moment ago".to_owned());
        }
        let answer = self.counts.lease(&who.key(), self.limit).await;
        let grant = answer.map_err(|error| {
            *self.lost_at() = Some(Instant::now());
            error.to_string()
        })?;
        held.lease().renew(grant, Instant::now());
        Ok(held.take().unwrap_or(Verdict::Refused(grant.wait)))
    }

    /// How long nothing of `who` passes, as far as it is known here.
    pub(super) fn spent(&self, who: &Who) -> Option<Duration> {
        let held = self.shard(who).get(who)?.clone();
        held.lease().refused(Instant::now())
    }

    fn lost_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, who: &Who) -> MutexGuard<'_, HashMap<Who, Arc<Held>>> {
        let shard = self.hasher.hash_one(who) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, who: &Who) -> Arc<Held> {
        let mut shard = self.shard(who);
        if let Some(held) = shard.get(who) {
            return held.clone();
        }
        let held = Arc::new(Held::default());
        if shard.len() >= MOST_IN_A_SHARD {
            let now = Instant::now();
            shard.retain(|_, held| Arc::strong_count(held) > 1 || !held.lease().is_over(now));
        }
        if shard.len() < MOST_IN_A_SHARD {
            shard.insert(who.clone(), held.clone());
        }
        held
    }

    /// 429 with the limit's headers.
    pub(super) fn refused(&self, wait: Duration, known: bool) -> Response {
        let mut response = problem(wait, known).into_response();
        self.tell(response.headers_mut(), Verdict::Refused(wait));
        response
    }

    /// `RateLimit-Policy`: the limit and its window; `RateLimit`: what is left of it, and when there is more.
    pub(super) fn tell(&self, headers: &mut HeaderMap, verdict: Verdict) {
        let (left, wait) = match verdict {
            Verdict::Pass { left, renewed } => (left, renewed),
            Verdict::Refused(wait) => (0, wait),
        };
        let state = format!("\"default\";r={left};t={}", whole_seconds(wait));
        let state = HeaderValue::from_maybe_shared(state.into_bytes()).ok();
        for (name, value) in [(RATE_LIMIT_POLICY, self.policy.clone()), (RATE_LIMIT, state)] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
    }
}

/// 429 with the seconds to wait, rounded up.
pub(super) fn problem(wait: Duration, known: bool) -> Problem {
    let by = if known { "user" } else { "address" };
    metrics::counter!("gateway_rate_limited_total", "by" => by).increment(1);
    let wait_s = whole_seconds(wait);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many calls")
        .field("retry_after_s", wait_s)
        .header(RETRY_AFTER, wait_s.to_string())
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
