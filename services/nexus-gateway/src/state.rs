//! What the routes share: stores, tokens and the services behind the gateway.

use std::{sync::Arc, time::Duration};

use kit::{Health, OnLoss, upstream::Upstream};
use serde_json::Value;
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};

use crate::{
    config::Config,
    domain::{forwarding::Service, token::Tokens},
    error::Error,
    store::{Sessions, Users},
};

/// Password hashes at once: each takes 19 MiB.
const MAX_HASHES: usize = 4;
/// How long a service may take to say how it is.
const HEALTH_PATIENCE: Duration = Duration::from_millis(1500);

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    health: Health,
    users: Option<Users>,
    sessions: Option<Sessions>,
    tokens: Option<Tokens>,
    upstreams: [Upstream; Service::ALL.len()],
    probes: [Upstream; Service::ALL.len()],
    upstream_timeout: Duration,
    hashing: Semaphore,
    board: Mutex<Option<(Instant, Value)>>,
}

impl App {
    /// Connects nothing yet: stores are asked in the background, for ever.
    pub fn start(config: Config, health: Health) -> Self {
        let users = config.database.map(|options| Users::new(options, config.admin));
        let sessions = config.redis.and_then(|client| match Sessions::new(client) {
            Ok(sessions) => Some(sessions),
            Err(error) => {
                tracing::error!(%error, "redis cannot be used");
                None
            }
        });
        watch(&health, users.clone(), sessions.clone());
        let ttl_s = config.token_ttl.as_secs();
        let tokens = config.jwt_secret.map(|secret| {
            Tokens::new(
                secret.reveal().as_bytes(),
                &config.jwt_issuer,
                &config.jwt_audience,
                ttl_s,
            )
        });
        let upstream = |limit: Duration| {
            let bases = config.upstreams.clone();
            Service::ALL.map(|service| Upstream::new(service.name(), bases[service as usize].clone(), limit))
        };
        Self(Arc::new(Inner {
            users,
            sessions,
            tokens,
            upstreams: upstream(config.upstream_timeout),
            probes: upstream(HEALTH_PATIENCE),
            upstream_timeout: config.upstream_timeout,
            hashing: Semaphore::new(MAX_HASHES),
            board: Mutex::new(None),
            health,
        }))
    }

    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    pub(crate) fn users(&self) -> Result<&Users, Error> {
        self.0.users.as_ref().ok_or(Error::NotConfigured("DATABASE_URL"))
    }

    pub(crate) fn sessions(&self) -> Result<&Sessions, Error> {
        self.0.sessions.as_ref().ok_or(Error::NotConfigured("REDIS_URL"))
    }

    pub(crate) fn tokens(&self) -> Result<&Tokens, Error> {
        self.0.tokens.as_ref().ok_or(Error::NotConfigured("JWT_SECRET"))
    }

    pub(crate) fn upstream(&self, service: Service) -> &Upstream {
        &self.0.upstreams[service as usize]
    }

    /// The same service, asked with little patience.
    pub(crate) fn probe(&self, service: Service) -> &Upstream {
        &self.0.probes[service as usize]
    }

    pub(crate) fn upstream_timeout(&self) -> Duration {
        self.0.upstream_timeout
    }

    pub(crate) fn hashing(&self) -> &Semaphore {
        &self.0.hashing
    }

    /// The last answer about all services, with its time.
    pub(crate) fn board(&self) -> &Mutex<Option<(Instant, Value)>> {
        &self.0.board
    }
}

fn watch(health: &Health, users: Option<Users>, sessions: Option<Sessions>) {
    match users {
        None => health.unconfigured("postgres", OnLoss::Degrade),
        Some(users) => health.watch("postgres", OnLoss::Degrade, move || {
            let users = users.clone();
            async move { users.check().await }
        }),
    }
    match sessions {
        None => health.unconfigured("redis", OnLoss::NotReady),
        Some(sessions) => health.watch("redis", OnLoss::NotReady, move || {
            let sessions = sessions.clone();
            async move { sessions.check().await }
        }),
    }
}
