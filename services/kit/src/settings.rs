//! Settings from the environment, or from a file named by `<NAME>_FILE`. Faults are collected, not thrown:
//! a service reports all of them at once. What is absent is noted, so that readiness can name it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where values come from: the environment, or a test.
type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// A reader of settings that remembers what was malformed and what was missing.
pub struct Settings {
    lookup: Lookup,
    faults: Vec<String>,
    missing: Vec<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("faults", &self.faults)
            .field("missing", &self.missing)
            .finish()
    }
}

impl Settings {
    /// Reads from the process's environment.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads from anything that knows names, for tests.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Settings {
            lookup: Box::new(lookup),
            faults: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// An optional setting. An empty value counts as absent.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let direct = (self.lookup)(name).filter(|value| !value.is_empty());
        let file = (self.lookup)(&format!("{name}_FILE")).filter(|path| !path.is_empty());
        match (direct, file) {
            (Some(_), Some(_)) => {
                self.fault(name, "set together with its _FILE; set one of them");
                None
            }
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => {
                    Some(text.trim_end_matches(['\n', '\r']).to_owned()).filter(|text| !text.is_empty())
                }
                Err(error) => {
                    self.fault(&format!("{name}_FILE"), format!("cannot read {path}: {error}"));
                    None
                }
            },
            (direct, None) => direct,
        }
    }

    /// A setting without which the service lives but is not ready.
    pub fn required(&mut self, name: &str) -> Option<String> {
        let faults = self.faults.len();
        let value = self.text(name);
        if value.is_none() && self.faults.len() == faults {
            self.missing.push(name.to_owned());
        }
        value
    }

    /// A secret without which the service lives but is not ready.
    pub fn required_secret(&mut self, name: &str) -> Option<Secret> {
        self.required(name).map(Secret)
    }

    /// A secret that `parse` makes something of; required. `expected` completes "expected ..."; what was got is not
    /// told.
    pub fn required_from_secret<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(self.required_secret(name)?.reveal());
        if value.is_none() {
            self.fault(name, format!("expected {expected}"));
        }
        value
    }

    /// An absolute `http://` address of another service, without a trailing slash; required.
    pub fn required_url(&mut self, name: &str) -> Option<String> {
        let value = self.required(name)?;
        let host = value
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'));
        match host.filter(|host| !host.is_empty() && !host.contains(char::is_whitespace)) {
            Some(host) => Some(format!("http://{host}")),
            None => {
                self.fault(
                    name,
                    format!("expected an address such as http://host:port, got '{value}'"),
                );
                None
            }
        }
    }

    /// A setting with a default. `expected` completes "expected ...".
    pub fn parsed<T: FromStr>(&mut self, name: &str, default: T, expected: &str) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.trim().parse() {
            Ok(value) => value,
            Err(_) => {
                self.fault(name, format!("expected {expected}, got '{text}'"));
                default
            }
        }
    }

    /// Whole seconds, written `30` or `30s`, at least 1.
    pub fn seconds(&mut self, name: &str, default: u64) -> Duration {
        let Some(text) = self.text(name) else {
            return Duration::from_secs(default);
        };
        match text.trim().trim_end_matches('s').parse::<u64>() {
            Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
            _ => {
                self.fault(name, format!("expected seconds from 1 to 86400, got '{text}'"));
                Duration::from_secs(default)
            }
        }
    }

    /// `REQUEST_TIMEOUT`, which every service has; also for a service that works with it.
    pub fn request_timeout(&mut self) -> Duration {
        self.seconds("REQUEST_TIMEOUT", 30)
    }

    /// `BODY_LIMIT`, which every service has; also for a service that works with it.
    pub fn body_limit_bytes(&mut self) -> usize {
        self.parsed("BODY_LIMIT", 10 * 1024 * 1024, "a number of bytes")
    }

    /// Notes that a setting is malformed; once, however many read it.
    pub fn fault(&mut self, name: &str, what: impl fmt::Display) {
        let fault = format!("{name}: {what}");
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Every malformed setting, a line each.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Every required setting that is absent.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }
}

/// More than descriptors that a process is given anywhere.
const MOST_CONNECTIONS: usize = 1 << 20;

/// The settings that every service has.
#[derive(Debug, Clone)]
pub struct Common {
    /// The address or name to listen on.
    pub host: String,
    pub port: u16,
    pub drain_timeout: Duration,
    pub request_timeout: Duration,
    pub body_limit_bytes: usize,
    /// How many connections may be open at a time.
    pub max_connections: usize,
    pub log_level: String,
}

impl Common {
    /// `HOST` `PORT` `DRAIN_TIMEOUT` `REQUEST_TIMEOUT` `BODY_LIMIT` `MAX_CONNECTIONS` `LOG_LEVEL`.
    pub fn read(settings: &mut Settings, default_port: u16) -> Self {
        let port = settings.parsed("PORT", default_port, "a port from 1 to 65535");
        if port == 0 {
            settings.fault("PORT", "expected a port from 1 to 65535, got '0'");
        }
        let log_level = settings.text("LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
        if !["error", "warn", "info", "debug", "trace"].contains(&log_level.as_str()) {
            settings.fault(
                "LOG_LEVEL",
                format!("expected error, warn, info, debug or trace, got '{log_level}'"),
            );
        }
        let max_connections = settings.parsed("MAX_CONNECTIONS", 4096, "a number of connections");
        if !(1..=MOST_CONNECTIONS).contains(&max_connections) {
            let fault = format!("expected a number from 1 to {MOST_CONNECTIONS}, got '{max_connections}'");
            settings.fault("MAX_CONNECTIONS", fault);
        }
        Common {
            host: settings.text("HOST").unwrap_or_else(|| "0.0.0.0".to_owned()),
            port,
            drain_timeout: settings.seconds("DRAIN_TIMEOUT", 30),
            request_timeout: settings.request_timeout(),
            body_limit_bytes: settings.body_limit_bytes(),
            max_connections,
            log_level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &'static [(&'static str, &'static str)]) -> Settings {
        Settings::from_lookup(move |name| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1.to_owned())
        })
    }

    #[test]
    fn every_fault_is_kept() {
        let mut settings = settings(&[("PORT", "x"), ("DRAIN_TIMEOUT", "soon"), ("LOG_LEVEL", "loud")]);
        Common::read(&mut settings, 8000);
        assert_eq!(settings.faults().len(), 3, "{:?}", settings.faults());
        assert_eq!(
            settings.faults()[0],
            "PORT: expected a port from 1 to 65535, got 'x'"
        );
    }

    #[test]
    fn what_two_read_is_told_once() {
        let mut settings = settings(&[("BODY_LIMIT", "much"), ("REQUEST_TIMEOUT", "0")]);
        Common::read(&mut settings, 8000);
        settings.request_timeout();
        settings.body_limit_bytes();
        assert_eq!(settings.faults().len(), 2, "{:?}", settings.faults());
    }

    #[test]
    fn a_secret_that_is_malformed_is_not_told() {
        let mut settings = settings(&[("A_URL", "store://geheim"), ("B_URL", "geheim")]);
        let mut read = |name| {
            settings.required_from_secret(name, "store://host", |url| {
                url.strip_prefix("store://").map(str::len)
            })
        };
        assert_eq!(
            (read("A_URL"), read("B_URL"), read("C_URL")),
            (Some(6), None, None)
        );
        assert_eq!(settings.faults(), ["B_URL: expected store://host"]);
        assert_eq!(settings.missing(), ["C_URL"]);
    }

    #[test]
    fn what_is_absent_is_missing_and_not_a_fault() {
        let mut settings = settings(&[("EMPTY", "")]);
        assert_eq!(settings.required("DATABASE_URL"), None);
        assert_eq!(settings.required("EMPTY"), None);
        assert_eq!(
            (settings.missing(), settings.faults().len()),
            (&["DATABASE_URL".into(), "EMPTY".into()][..], 0)
        );
    }

    #[test]
    fn a_file_is_read_and_an_unreadable_one_is_a_fault() {
        let path = std::env::temp_dir().join(format!("kit-setting-{}", std::process::id()));
        std::fs::write(&path, "geheim\n").unwrap();
        let named = path.display().to_string();
        let mut settings = Settings::from_lookup(move |name| (name == "KEY_FILE").then(|| named.clone()));
        let secret = settings.required_secret("KEY").unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            (secret.reveal(), format!("{secret:?}").as_str()),
            ("geheim", "***")
        );
        assert_eq!(settings.required("KEY"), None);
        assert!(
            settings.faults()[0].starts_with("KEY_FILE: cannot read"),
            "{:?}",
            settings.faults()
        );
    }

    #[test]
    fn an_address_is_checked() {
        let mut settings = settings(&[("GOOD_URL", "http://own.data:8001/"), ("BAD_URL", "data:8001")]);
        assert_eq!(
            settings.required_url("GOOD_URL").as_deref(),
            Some("http://own.data:8001")
        );
        assert_eq!(settings.required_url("BAD_URL"), None);
        assert_eq!(settings.faults().len(), 1);
    }
}
