//! Settings of the gateway.

use std::{str::FromStr, time::Duration};

use kit::{Secret, Settings};
use sqlx::postgres::PgConnectOptions;

use crate::domain::{forwarding::Service, token::MIN_SECRET_BYTES};

/// Shorter passwords for the administrator are refused.
const MIN_ADMIN_PASSWORD_BYTES: usize = 12;

/// What the gateway is told from outside. What is absent is `None`, and named by readiness.
#[derive(Debug)]
pub struct Config {
    /// `DATABASE_URL`.
    pub database: Option<PgConnectOptions>,
    /// `REDIS_URL`.
    pub redis: Option<redis::Client>,
    /// `JWT_SECRET`, at least 32 bytes.
    pub jwt_secret: Option<Secret>,
    /// `JWT_ISSUER`.
    pub jwt_issuer: String,
    /// `JWT_AUDIENCE`.
    pub jwt_audience: String,
    /// `TOKEN_TTL`.
    pub token_ttl: Duration,
    /// `ADMIN_USERNAME` and `ADMIN_PASSWORD`: the first administrator, created when the name does not exist.
    pub admin: Option<Admin>,
    /// `UPSTREAM_TIMEOUT`: until a service's answer begins.
    pub upstream_timeout: Duration,
    /// `DATAFLOW_URL` `WORKFLOW_URL` `CLASSIFICATION_URL` `MCP_URL`, in the order of [`Service::ALL`].
    pub upstreams: [Option<String>; Service::ALL.len()],
}

/// The first administrator.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Name to log in with.
    pub username: String,
    /// Password to log in with.
    pub password: Secret,
}

impl Config {
    /// Reads the settings; faults and absences stay with `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            database: database(settings),
            redis: redis(settings),
            jwt_secret: jwt_secret(settings),
            jwt_issuer: settings.text("JWT_ISSUER").unwrap_or_else(|| "horme".to_owned()),
            jwt_audience: settings
                .text("JWT_AUDIENCE")
                .unwrap_or_else(|| "horme-api".to_owned()),
            token_ttl: settings.seconds("TOKEN_TTL", 3600),
            admin: admin(settings),
            upstream_timeout: settings.seconds("UPSTREAM_TIMEOUT", 25),
            upstreams: Service::ALL.map(|service| settings.required_url(url_setting(service))),
        }
    }
}

fn url_setting(service: Service) -> &'static str {
    match service {
        Service::Dataflow => "DATAFLOW_URL",
        Service::Workflow => "WORKFLOW_URL",
        Service::Classification => "CLASSIFICATION_URL",
        Service::Mcp => "MCP_URL",
    }
}

// The addresses of stores carry passwords, and so stay out of the faults.
fn database(settings: &mut Settings) -> Option<PgConnectOptions> {
    let url = settings.required_secret("DATABASE_URL")?;
    let scheme = url.reveal().starts_with("postgres://") || url.reveal().starts_with("postgresql://");
    let options = PgConnectOptions::from_str(url.reveal()).ok().filter(|_| scheme);
    if options.is_none() {
        settings.fault(
            "DATABASE_URL",
            "expected postgres://user:password@host:port/database",
        );
    }
    options
}

fn redis(settings: &mut Settings) -> Option<redis::Client> {
    let url = settings.required_secret("REDIS_URL")?;
    let client = redis::Client::open(url.reveal()).ok();
    if client.is_none() {
        settings.fault(
            "REDIS_URL",
            "expected redis://[user:password@]host:port[/database]",
        );
    }
    client
}

fn jwt_secret(settings: &mut Settings) -> Option<Secret> {
    let secret = settings.required_secret("JWT_SECRET")?;
    let bytes = secret.reveal().len();
    if bytes < MIN_SECRET_BYTES {
        settings.fault(
            "JWT_SECRET",
            format!("expected at least {MIN_SECRET_BYTES} bytes, got {bytes}"),
        );
        return None;
    }
    Some(secret)
}

/// Neither is needed once an administrator exists; one without the other is missing.
fn admin(settings: &mut Settings) -> Option<Admin> {
    let faults = settings.faults().len();
    let username = settings.text("ADMIN_USERNAME");
    let password = settings.text("ADMIN_PASSWORD");
    if settings.faults().len() > faults || (username.is_none() && password.is_none()) {
        return None;
    }
    let username = username.or_else(|| settings.required("ADMIN_USERNAME"))?;
    let password = password.or_else(|| settings.required("ADMIN_PASSWORD"))?;
    if !crate::domain::password::is_username(&username) {
        settings.fault(
            "ADMIN_USERNAME",
            "expected 1 to 64 letters, digits or _ . @ -, the first a letter or digit",
        );
        return None;
    }
    if password.len() < MIN_ADMIN_PASSWORD_BYTES {
        settings.fault(
            "ADMIN_PASSWORD",
            format!("expected at least {MIN_ADMIN_PASSWORD_BYTES} bytes"),
        );
        return None;
    }
    Some(Admin {
        username,
        password: Secret::new(password),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &'static [(&'static str, &'static str)]) -> (Config, Settings) {
        let lookup = move |name: &str| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1.to_owned())
        };
        let mut settings = Settings::from_lookup(lookup);
        (Config::read(&mut settings), settings)
    }

    #[test]
    fn nothing_set_is_missing_and_no_fault() {
        let (config, settings) = read(&[]);
        assert_eq!(settings.faults().len(), 0);
        let expected = [
            "DATABASE_URL",
            "REDIS_URL",
            "JWT_SECRET",
            "DATAFLOW_URL",
            "WORKFLOW_URL",
            "CLASSIFICATION_URL",
            "MCP_URL",
        ];
        assert_eq!(settings.missing(), expected);
        assert!(config.admin.is_none());
    }

    #[test]
    fn faults_are_told_at_once_and_without_the_secrets() {
        let (_, settings) = read(&[
            ("DATABASE_URL", "mysql://u:geheim@h/d"),
            ("REDIS_URL", "geheim"),
            ("JWT_SECRET", "geheim"),
            ("ADMIN_USERNAME", "ada"),
            ("ADMIN_PASSWORD", "geheim"),
            ("MCP_URL", "mcp:3000"),
        ]);
        let faults = settings.faults().join("\n");
        assert_eq!(settings.faults().len(), 5, "{faults}");
        assert!(!faults.contains("geheim"), "{faults}");
        assert!(
            faults.contains("JWT_SECRET: expected at least 32 bytes, got 6"),
            "{faults}"
        );
    }

    #[test]
    fn half_an_administrator_is_missing_the_other_half() {
        let (config, settings) = read(&[("ADMIN_USERNAME", "ada")]);
        assert!(config.admin.is_none());
        assert!(settings.missing().iter().any(|name| name == "ADMIN_PASSWORD"));
    }
}
