//! This service's settings.

use std::time::Duration;

use kit::Settings;
use sqlx::postgres::PgConnectOptions;

/// What the environment says.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`.
    pub database: Option<PgConnectOptions>,
    /// `DB_POOL_SIZE`: connections at most.
    pub pool_size: u32,
    /// `DB_ACQUIRE_TIMEOUT`: how long a request waits for a connection.
    pub acquire_timeout: Duration,
    /// `REDIS_URL`: where events go.
    pub redis: Option<redis::Client>,
    /// `DATAFLOW_URL`.
    pub dataflow_url: Option<String>,
    /// `UPSTREAM_TIMEOUT`: how long a call to another service may take.
    pub upstream_timeout: Duration,
    /// `MAX_RUNTIME`: how long a run may work. Shorter than `REQUEST_TIMEOUT` and than the patience of who calls (the
    /// gateway's `UPSTREAM_TIMEOUT`, the MCP server's `WORKFLOW_TIMEOUT`), so that who waits hears of it. The time in which a run only waits for signals does not count, unless its caller waits for the result.
    pub max_runtime: Duration,
    /// `LEASE_SECS`: how long after its process's end a run is given up by another one.
    pub lease: Duration,
}

impl Config {
    /// Reads the settings; faults stay in `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        let pool_size = settings.parsed("DB_POOL_SIZE", 8, "a number of connections from 1");
        if pool_size == 0 {
            settings.fault("DB_POOL_SIZE", "expected a number of connections from 1, got '0'");
        }
        Config {
            database: database(settings),
            pool_size,
            acquire_timeout: settings.seconds("DB_ACQUIRE_TIMEOUT", 2),
            redis: redis(settings),
            dataflow_url: settings.required_url("DATAFLOW_URL"),
            upstream_timeout: settings.seconds("UPSTREAM_TIMEOUT", 10),
            max_runtime: settings.seconds("MAX_RUNTIME", 20),
            lease: settings.seconds("LEASE_SECS", 10),
        }
    }
}

fn database(settings: &mut Settings) -> Option<PgConnectOptions> {
    let expected = "postgres://user:password@host:port/database";
    let options = settings.required_from_secret("DATABASE_URL", expected, |url| {
        // The parser takes every scheme.
        let scheme = url.starts_with("postgres");
        url.parse::<PgConnectOptions>().ok().filter(|_| scheme)
    });
    options.map(|options| options.application_name("workflow-engine"))
}

fn redis(settings: &mut Settings) -> Option<redis::Client> {
    settings.required_from_secret(
        "REDIS_URL",
        "redis://[user:password@]host:port[/database]",
        |url| redis::Client::open(url).ok(),
    )
}
