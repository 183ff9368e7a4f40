//! What the routes share: stores, tokens and the services behind the gateway.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::body::Bytes;
use kit::{Health, OnLoss, health::InFlight, upstream::Upstream};
use redis::aio::ConnectionManager;
use serde_json::Value;
use sqlx::PgPool;
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};

use crate::{
    config::{self, Config},
    domain::{forwarding::Service, limits::WINDOW, token::Rules},
    edge::Limiter,
    error::Error,
    proxy::Proxy,
    store::{
        self, Accounts, ApiKeys, Attempts, Audit, Entry, Limits, RefreshTokens, Revocations, events::Events,
    },
    tokens::Tokens,
    ws::Hub,
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
    database: Option<Database>,
    redis: Option<ConnectionManager>,
    revocations: Option<Revocations>,
    attempts: Option<Attempts>,
    tokens: Option<Tokens>,
    refresh_ttl: Duration,
    probes: [Upstream; Service::ALL.len()],
    proxy: Proxy,
    limiter: Option<Limiter>,
    hashing: Arc<Semaphore>,
    board: Mutex<Option<(Instant, Value)>>,
    shared_sessions: Option<sessions::Store>,
    session_settings: config::Sessions,
    events: Option<Events>,
    sockets: Hub,
    /// The OpenAPI document and its page: the routes are made after what they share.
    documents: OnceLock<[Bytes; 2]>,
}

/// What is kept in PostgreSQL.
struct Database {
    accounts: Accounts,
    refresh_tokens: RefreshTokens,
    api_keys: ApiKeys,
    audit: Audit,
}

impl App {
    /// Connects nothing yet: stores are asked in the background, for ever.
    pub fn start(config: Config, health: Health) -> Self {
        let accounts = config
            .database
            .map(|options| Accounts::new(options, config.admin));
        let redis = config
            .redis
            .and_then(|client| match store::redis::connection(client.clone()) {
                Ok(redis) => Some((client, redis)),
                Err(error) => {
                    tracing::error!(%error, "redis cannot be used");
                    None
                }
            });
        let connection = redis.as_ref().map(|(_, connection)| connection.clone());
        let events = redis
            .clone()
            .map(|(client, connection)| Events::start(client, connection));
        let revocations = redis.map(|(client, connection)| Revocations::start(client, connection));
        watch(&health, accounts.clone(), revocations.clone());
        let limits = sessions::Limits {
            per_user: config.sessions.per_user,
        };
        let shared_sessions = connection
            .clone()
            .map(|redis| sessions::Store::over(redis, limits));
        let rules = Rules::new(
            &config.jwt_issuer,
            &config.jwt_audience,
            config.token_ttl.as_secs(),
        );
        let keys = Some(config.jwt_keys).filter(|keys| !keys.is_empty());
        let tokens = keys.map(|keys| Tokens::start(rules, keys, &health));
        if let Some(accounts) = &accounts {
            store::sweep(accounts.clone(), config.audit_retention);
        }
        let probes = Service::ALL.map(|service| {
            let base = config.upstreams[service as usize].clone();
            Upstream::new(service.name(), base, HEALTH_PATIENCE)
        });
        Self(Arc::new(Inner {
            database: accounts.map(|accounts| Database {
                refresh_tokens: RefreshTokens::new(accounts.pool().clone()),
                api_keys: ApiKeys::new(accounts.pool().clone()),
                audit: Audit::start(accounts.pool().clone()),
                accounts,
            }),
            events,
            revocations,
            attempts: connection.clone().map(Attempts::new),
            limiter: connection.clone().map(|redis| {
                let edge = &config.edge;
                Limiter::new(Limits::new(redis, WINDOW), edge.rate_limit_rpm, edge.production)
            }),
            redis: connection,
            refresh_ttl: config.refresh_ttl,
            tokens,
            probes,
            proxy: Proxy::new(
                &config.upstreams,
                config.upstream_timeout,
                &config.edge,
                health.clone(),
            ),
            hashing: Arc::new(Semaphore::new(MAX_HASHES)),
            board: Mutex::new(None),
            shared_sessions,
            session_settings: config.sessions,
            sockets: Hub::new(config.sockets),
            documents: OnceLock::new(),
            health,
        }))
    }

    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    fn stored(&self) -> Result<&Database, Error> {
        self.0
            .database
            .as_ref()
            .ok_or(Error::NotConfigured("DATABASE_URL"))
    }

    pub(crate) fn accounts(&self) -> Result<&Accounts, Error> {
        self.stored().map(|stored| &stored.accounts)
    }

    pub(crate) fn refresh_tokens(&self) -> Result<&RefreshTokens, Error> {
        self.stored().map(|stored| &stored.refresh_tokens)
    }

    pub(crate) fn api_keys(&self) -> Result<&ApiKeys, Error> {
        self.stored().map(|stored| &stored.api_keys)
    }

    pub(crate) fn audit(&self) -> Result<&Audit, Error> {
        self.stored().map(|stored| &stored.audit)
    }

    /// Writes into the audit log, soon; without a database there is none.
    pub(crate) fn record(&self, entry: Entry) {
        if let Ok(audit) = self.audit() {
            audit.record(entry);
        }
    }

    /// The process does not end in order before what was recorded until now is written, or cannot be.
    pub(crate) fn settle(&self, under_way: Option<InFlight>) {
        if let (Ok(audit), Some(under_way)) = (self.audit(), under_way) {
            audit.settle(under_way);
        }
    }

    /// How long a refresh token may lie unused.
    pub(crate) fn refresh_ttl(&self) -> Duration {
        self.0.refresh_ttl
    }

    /// PostgreSQL. The gateway's tables are there once its readiness says so.
    pub(crate) fn database(&self) -> Result<&PgPool, Error> {
        self.accounts().map(Accounts::pool)
    }

    /// The connection to Redis, shared; clone it to use it.
    pub(crate) fn redis(&self) -> Result<&ConnectionManager, Error> {
        self.0.redis.as_ref().ok_or(Error::NotConfigured("REDIS_URL"))
    }

    pub(crate) fn revocations(&self) -> Result<&Revocations, Error> {
        self.0
            .revocations
            .as_ref()
            .ok_or(Error::NotConfigured("REDIS_URL"))
    }

    /// Sessions, which users see on every channel.
    pub(crate) fn shared_sessions(&self) -> Result<&sessions::Store, Error> {
        let sessions = self.0.shared_sessions.as_ref();
        sessions.ok_or(Error::NotConfigured("REDIS_URL"))
    }

    pub(crate) fn session_settings(&self) -> &config::Sessions {
        &self.0.session_settings
    }

    /// What happens to runs and rows.
    pub(crate) fn events(&self) -> Result<&Events, Error> {
        self.0.events.as_ref().ok_or(Error::NotConfigured("REDIS_URL"))
    }

    /// The connections of `/ws`.
    pub(crate) fn sockets(&self) -> &Hub {
        &self.0.sockets
    }

    pub(crate) fn attempts(&self) -> Result<&Attempts, Error> {
        self.0.attempts.as_ref().ok_or(Error::NotConfigured("REDIS_URL"))
    }

    pub(crate) fn tokens(&self) -> Result<&Tokens, Error> {
        self.0.tokens.as_ref().ok_or(Error::NotConfigured("JWT_SECRET"))
    }

    /// A service, asked with little patience how it is.
    pub(crate) fn probe(&self, service: Service) -> &Upstream {
        &self.0.probes[service as usize]
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    /// How often each caller may call; `None` without Redis.
    pub(crate) fn limiter(&self) -> Option<&Limiter> {
        self.0.limiter.as_ref()
    }

    pub(crate) fn hashing(&self) -> &Arc<Semaphore> {
        &self.0.hashing
    }

    /// Keeps the OpenAPI document and its page; the first ones stay.
    pub(crate) fn publish(&self, document: String, page: String) {
        let _ = self.0.documents.set([document.into(), page.into()]);
    }

    /// The OpenAPI document and its page, as they are sent.
    pub(crate) fn documents(&self) -> [Bytes; 2] {
        self.0.documents.get().cloned().unwrap_or_default()
    }

    /// The last answer about all services, with its time.
    pub(crate) fn board(&self) -> &Mutex<Option<(Instant, Value)>> {
        &self.0.board
    }
}

fn watch(health: &Health, accounts: Option<Accounts>, revocations: Option<Revocations>) {
    match accounts {
        None => health.unconfigured("postgres", OnLoss::Degrade),
        Some(accounts) => health.watch("postgres", OnLoss::Degrade, move || {
            let accounts = accounts.clone();
            async move { accounts.check().await }
        }),
    }
    match revocations {
        None => health.unconfigured("redis", OnLoss::NotReady),
        Some(revocations) => health.watch("redis", OnLoss::NotReady, move || {
            let revocations = revocations.clone();
            async move { revocations.check().await }
        }),
    }
}
