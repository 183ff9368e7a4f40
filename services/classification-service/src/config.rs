//! Settings of the classifier.

use std::time::Duration;

use kit::Settings;

/// What the classifier is told from outside.
#[derive(Debug)]
pub struct Config {
    /// `REDIS_URL`.
    pub redis: Option<redis::Client>,
    /// `CACHE_TTL`: how long an answer is kept.
    pub cache_ttl: Duration,
}

impl Config {
    /// Reads the settings; faults and absences stay with `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            redis: redis(settings),
            cache_ttl: settings.seconds("CACHE_TTL", 86_400),
        }
    }
}

fn redis(settings: &mut Settings) -> Option<redis::Client> {
    settings.required_from_secret(
        "REDIS_URL",
        "redis://[user:password@]host:port[/database]",
        |url| redis::Client::open(url).ok(),
    )
}
