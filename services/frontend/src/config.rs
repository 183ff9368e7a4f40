//! Settings of the page.

use std::time::Duration;

use kit::Settings;

/// What the page's server is told from outside.
#[derive(Debug)]
pub struct Config {
    /// `GATEWAY_URL`.
    pub gateway: Option<String>,
    /// `GATEWAY_TIMEOUT`: how long the gateway may take to say how everything is.
    pub gateway_timeout: Duration,
}

impl Config {
    /// Reads the settings; faults and absences stay with `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            gateway: settings.required_url("GATEWAY_URL"),
            gateway_timeout: settings.seconds("GATEWAY_TIMEOUT", 4),
        }
    }
}
