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
    /// `DATAFLOW_URL`.
    pub dataflow_url: Option<String>,
    /// `UPSTREAM_TIMEOUT`: how long a call to another service may take.
    pub upstream_timeout: Duration,
    /// `MAX_RUNTIME`: how long a run may take. Shorter than `REQUEST_TIMEOUT`, so that who waits hears of it.
    pub max_runtime: Duration,
}

impl Config {
    /// Reads the settings; faults stay in `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        let url = settings.required_secret("DATABASE_URL");
        let database = url.and_then(|url| match url.reveal().parse::<PgConnectOptions>() {
            // The parser takes every scheme.
            Ok(options) if url.reveal().starts_with("postgres") => {
                Some(options.application_name("workflow-engine"))
            }
            _ => {
                // The parser's words may repeat the password.
                settings.fault(
                    "DATABASE_URL",
                    "expected postgres://user:password@host:port/database",
                );
                None
            }
        });
        let pool_size = settings.parsed("DB_POOL_SIZE", 8, "a number of connections from 1");
        if pool_size == 0 {
            settings.fault("DB_POOL_SIZE", "expected a number of connections from 1, got '0'");
        }
        Config {
            database,
            pool_size,
            acquire_timeout: settings.seconds("DB_ACQUIRE_TIMEOUT", 2),
            dataflow_url: settings.required_url("DATAFLOW_URL"),
            upstream_timeout: settings.seconds("UPSTREAM_TIMEOUT", 10),
            max_runtime: settings.seconds("MAX_RUNTIME", 25),
        }
    }
}
