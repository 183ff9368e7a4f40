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
    /// `STATEMENT_TIMEOUT`: after which PostgreSQL cancels a statement.
    pub statement_timeout: Duration,
    /// `MIGRATION_LOCK_TIMEOUT`: how long a change of tables waits for another one.
    pub migration_lock_timeout: Duration,
    /// `MAX_PAGE`: rows at most in one answer.
    pub max_page: i64,
}

impl Config {
    /// Reads the settings; faults stay in `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        let url = settings.required_secret("DATABASE_URL");
        let database = url.and_then(|url| match url.reveal().parse::<PgConnectOptions>() {
            // The parser takes every scheme.
            Ok(options) if url.reveal().starts_with("postgres") => {
                Some(options.application_name("dataflow-service"))
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
        let max_page = settings.parsed("MAX_PAGE", 1000, "a number of rows from 1");
        if max_page < 1 {
            settings.fault(
                "MAX_PAGE",
                format!("expected a number of rows from 1, got '{max_page}'"),
            );
        }
        Config {
            database,
            pool_size,
            acquire_timeout: settings.seconds("DB_ACQUIRE_TIMEOUT", 2),
            statement_timeout: settings.seconds("STATEMENT_TIMEOUT", 10),
            migration_lock_timeout: settings.seconds("MIGRATION_LOCK_TIMEOUT", 30),
            max_page,
        }
    }
}
