//! This service's settings.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use contract::dataflow::Definition;
use kit::Settings;
use sqlx::ConnectOptions;
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
    /// `REDIS_URL`: kept answers, and the stream of events.
    pub redis: Option<redis::Client>,
    /// `CACHE_TTL`: how long an answer is kept at most.
    pub cache_ttl: Duration,
    /// `SLOW_QUERY_MS`: calls that take longer are named in the log.
    pub slow_query: Duration,
    /// `JOB_LEASE`: after which another replica takes over a job whose worker is silent.
    pub job_lease: Duration,
    /// `JOB_ATTEMPTS`: how often a job is tried before it is dead.
    pub job_attempts: i32,
    /// `RETENTION_INTERVAL`: how often the models' retention is run.
    pub retention_interval: Duration,
    /// `AUTO_MIGRATE`: whether a model's new definition is applied where that is harmless.
    pub auto_migrate: AutoMigrate,
    /// `MODELS_DIR`: the definitions of its files, `*.json`, registered at start.
    pub models: Vec<Definition>,
    /// `MAX_PAGE`: rows at most in one answer.
    pub max_page: i64,
}

/// What `POST /models` does with a definition that needs a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoMigrate {
    /// `true`: what is safe is applied.
    On,
    /// `false`: nothing is; `POST /migrations/apply` does it.
    Off,
    /// `warn`: as `true`, and the log says so.
    Warn,
}

impl FromStr for AutoMigrate {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "true" => Ok(AutoMigrate::On),
            "false" => Ok(AutoMigrate::Off),
            "warn" => Ok(AutoMigrate::Warn),
            _ => Err(()),
        }
    }
}

impl Config {
    /// Reads the settings; faults stay in `settings`.
    pub fn read(settings: &mut Settings) -> Self {
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
            database: database(settings),
            pool_size,
            acquire_timeout: settings.seconds("DB_ACQUIRE_TIMEOUT", 2),
            statement_timeout: settings.seconds("STATEMENT_TIMEOUT", 10),
            migration_lock_timeout: settings.seconds("MIGRATION_LOCK_TIMEOUT", 30),
            redis: redis(settings),
            cache_ttl: settings.seconds("CACHE_TTL", 60),
            slow_query: Duration::from_millis(settings.parsed("SLOW_QUERY_MS", 500, "milliseconds")),
            job_lease: settings.seconds("JOB_LEASE", 30),
            job_attempts: attempts(settings),
            retention_interval: settings.seconds("RETENTION_INTERVAL", 3600),
            auto_migrate: settings.parsed("AUTO_MIGRATE", AutoMigrate::On, "true, false or warn"),
            models: models(settings),
            max_page,
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
    options.map(|options| {
        options
            .application_name("dataflow-service")
            .disable_statement_logging()
    })
}

fn redis(settings: &mut Settings) -> Option<redis::Client> {
    settings.required_from_secret(
        "REDIS_URL",
        "redis://[user:password@]host:port[/database]",
        |url| redis::Client::open(url).ok(),
    )
}

fn attempts(settings: &mut Settings) -> i32 {
    let attempts = settings.parsed("JOB_ATTEMPTS", 5, "a number of attempts from 1 to 100");
    if !(1..=100).contains(&attempts) {
        settings.fault(
            "JOB_ATTEMPTS",
            format!("expected a number of attempts from 1 to 100, got '{attempts}'"),
        );
    }
    attempts
}

/// The definitions in `MODELS_DIR`, by the files' names.
fn models(settings: &mut Settings) -> Vec<Definition> {
    let Some(directory) = settings.text("MODELS_DIR") else {
        return Vec::new();
    };
    let files = std::fs::read_dir(&directory).map(|entries| {
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        paths.sort();
        paths
    });
    let files = files.unwrap_or_else(|error| {
        settings.fault("MODELS_DIR", format!("cannot read {directory}: {error}"));
        Vec::new()
    });
    files
        .iter()
        .filter_map(|path| match definition(path) {
            Ok(definition) => Some(definition),
            Err(why) => {
                settings.fault("MODELS_DIR", format!("{}: {why}", path.display()));
                None
            }
        })
        .collect()
}

fn definition(path: &Path) -> Result<Definition, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("no definition of a model: {error}"))
}
