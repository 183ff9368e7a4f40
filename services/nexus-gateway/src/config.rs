//! Settings of the gateway.

mod channels;

use std::{str::FromStr, sync::Mutex, time::Duration};

use kit::{Secret, Settings};
use sqlx::postgres::PgConnectOptions;

pub use channels::{Sessions, Sockets};

use crate::{
    domain::{
        client::TrustedProxies,
        forwarding::Service,
        origins::Origins,
        password::{self, MIN_PASSWORD_BYTES},
        pem,
    },
    tokens::{Sources, check_secret},
};

/// Two weeks, and at most a year.
const REFRESH_TTL_S: u64 = 14 * 86_400;
const MAX_REFRESH_TTL_S: u64 = 366 * 86_400;
/// At most ten years.
const AUDIT_RETENTION_DAYS: u64 = 90;
const MAX_AUDIT_RETENTION_DAYS: u64 = 3660;

/// What the gateway is told from outside. What is absent is `None`, and named by readiness.
#[derive(Debug)]
pub struct Config {
    /// `DATABASE_URL`.
    pub database: Option<PgConnectOptions>,
    /// `REDIS_URL`.
    pub redis: Option<redis::Client>,
    /// `JWT_SECRET` (at least 32 bytes), `JWT_PUBLIC_KEY`, `JWKS_URL`: one of them is needed.
    pub jwt_keys: Sources,
    /// `JWT_ISSUER`.
    pub jwt_issuer: String,
    /// `JWT_AUDIENCE`.
    pub jwt_audience: String,
    /// `TOKEN_TTL`.
    pub token_ttl: Duration,
    /// `REFRESH_TTL`: how long a refresh token may lie unused.
    pub refresh_ttl: Duration,
    /// `AUDIT_RETENTION`: how long the audit log is kept.
    pub audit_retention: Duration,
    /// `ADMIN_USERNAME` and `ADMIN_PASSWORD`: the first administrator, created when the name does not exist.
    pub admin: Option<Admin>,
    /// `UPSTREAM_TIMEOUT`: until a service's answer begins.
    pub upstream_timeout: Duration,
    /// `DATAFLOW_URL` `WORKFLOW_URL` `CLASSIFICATION_URL` `MCP_URL`, in the order of [`Service::ALL`].
    pub upstreams: [Option<String>; Service::ALL.len()],
    /// Sessions.
    pub sessions: Sessions,
    /// `/ws`.
    pub sockets: Sockets,
    /// What every call passes first.
    pub edge: Edge,
}

/// The limits and rules of the gateway's edge.
#[derive(Debug, Clone)]
pub struct Edge {
    /// `NEXUS_ENV`: `production`, unless it says `development`.
    pub production: bool,
    /// `TRUSTED_PROXIES`: whose word about a client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// `CORS_ORIGINS`: from which pages a browser may call.
    pub origins: Origins,
    /// `RATE_LIMIT_RPM`: calls of one user, or of one address without a user, in a minute.
    pub rate_limit_rpm: u32,
    /// `BREAKER_OPEN`: how long a service that failed several times in a row is left alone.
    pub breaker_open: Duration,
    /// `BODY_IDLE_TIMEOUT`: how long a body that is passed on may stand still.
    pub body_idle_timeout: Duration,
    /// `BODY_LIMIT`, as `kit` reads it.
    pub body_limit_bytes: u64,
    /// `REQUEST_TIMEOUT`, as `kit` reads it.
    pub request_timeout: Duration,
    /// `UPSTREAM_TIMEOUT`.
    pub upstream_timeout: Duration,
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
        let token_ttl = settings.seconds("TOKEN_TTL", 3600);
        let upstream_timeout = settings.seconds("UPSTREAM_TIMEOUT", 25);
        Self {
            database: database(settings),
            redis: redis(settings),
            jwt_keys: jwt_keys(settings),
            jwt_issuer: settings.text("JWT_ISSUER").unwrap_or_else(|| "horme".to_owned()),
            jwt_audience: settings
                .text("JWT_AUDIENCE")
                .unwrap_or_else(|| "horme-api".to_owned()),
            token_ttl,
            refresh_ttl: refresh_ttl(settings, token_ttl),
            audit_retention: audit_retention(settings),
            admin: admin(settings),
            upstream_timeout,
            upstreams: Service::ALL.map(|service| settings.required_url(url_setting(service))),
            sessions: Sessions::read(settings),
            sockets: Sockets::read(settings),
            edge: edge(settings, upstream_timeout),
        }
    }
}

fn edge(settings: &mut Settings, upstream_timeout: Duration) -> Edge {
    let production = match settings.text("NEXUS_ENV").as_deref() {
        None | Some("production") => true,
        Some("development") => false,
        Some(other) => {
            settings.fault(
                "NEXUS_ENV",
                format!("expected production or development, got '{other}'"),
            );
            true
        }
    };
    let origins = listed(settings, "CORS_ORIGINS", "an origin such as https://app.example");
    if production && origins == Origins::Any {
        settings.fault("CORS_ORIGINS", "'*' is for development; list the origins instead");
    }
    let rate_limit_rpm = settings.parsed("RATE_LIMIT_RPM", 100, "a number of calls from 1");
    if rate_limit_rpm == 0 {
        settings.fault("RATE_LIMIT_RPM", "expected a number of calls from 1, got '0'");
    }
    Edge {
        production,
        trusted_proxies: listed(settings, "TRUSTED_PROXIES", "a network such as 10.0.0.0/8"),
        origins,
        rate_limit_rpm,
        breaker_open: settings.seconds("BREAKER_OPEN", 60),
        body_idle_timeout: settings.seconds("BODY_IDLE_TIMEOUT", 60),
        body_limit_bytes: settings.body_limit_bytes() as u64,
        request_timeout: settings.request_timeout(),
        upstream_timeout,
    }
}

/// A list between commas, empty where it is not set; `expected` completes "expected ...".
fn listed<T: FromStr<Err = String> + Default>(settings: &mut Settings, name: &str, expected: &str) -> T {
    let Some(text) = settings.text(name) else {
        return T::default();
    };
    text.parse().unwrap_or_else(|wrong| {
        settings.fault(name, format!("expected {expected}, got '{wrong}'"));
        T::default()
    })
}

fn url_setting(service: Service) -> &'static str {
    match service {
        Service::Dataflow => "DATAFLOW_URL",
        Service::Workflow => "WORKFLOW_URL",
        Service::Classification => "CLASSIFICATION_URL",
        Service::Mcp => "MCP_URL",
    }
}

fn database(settings: &mut Settings) -> Option<PgConnectOptions> {
    let expected = "postgres://user:password@host:port/database";
    settings.required_from_secret("DATABASE_URL", expected, |url| {
        // The parser takes every scheme.
        let scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
        PgConnectOptions::from_str(url).ok().filter(|_| scheme)
    })
}

fn redis(settings: &mut Settings) -> Option<redis::Client> {
    settings.required_from_secret(
        "REDIS_URL",
        "redis://[user:password@]host:port[/database]",
        |url| redis::Client::open(url).ok(),
    )
}

/// The secret is only missed where no other key is named: without it nobody logs in, but tokens of others pass.
fn jwt_keys(settings: &mut Settings) -> Sources {
    let faults = settings.faults().len();
    let public_text = settings.text("JWT_PUBLIC_KEY");
    let public = public_text.as_deref().map(pem::public_keys).transpose();
    let public = public.unwrap_or_else(|fault| {
        settings.fault("JWT_PUBLIC_KEY", fault);
        None
    });
    let set_url = settings.text("JWKS_URL");
    let set_url = set_url.filter(|url| {
        let fits =
            (url.starts_with("http://") || url.starts_with("https://")) && !url.contains(char::is_whitespace);
        if !fits {
            settings.fault("JWKS_URL", "expected an address such as https://host/path");
        }
        fits
    });
    let others = public.is_some() || set_url.is_some() || settings.faults().len() > faults;
    let secret = match others {
        true => settings.text("JWT_SECRET").map(Secret::new),
        false => settings.required_secret("JWT_SECRET"),
    };
    let secret = secret.filter(|secret| match check_secret(secret.reveal()) {
        Ok(()) => true,
        Err(fault) => {
            settings.fault("JWT_SECRET", fault);
            false
        }
    });
    Sources {
        secret,
        secret_file: settings.text("JWT_SECRET_FILE").map(Into::into),
        public: public.unwrap_or_default(),
        public_file: settings.text("JWT_PUBLIC_KEY_FILE").map(Into::into),
        set_url,
        set_cooldown: settings.seconds("JWKS_COOLDOWN", 30),
        public_text: Mutex::new(public_text),
    }
}

/// At least as long as an access token lives: what is forgotten with a refresh token could not be revoked any more.
fn refresh_ttl(settings: &mut Settings, token_ttl: Duration) -> Duration {
    let ttl_s = settings.parsed("REFRESH_TTL", REFRESH_TTL_S, "seconds");
    let least_s = token_ttl.as_secs().max(1);
    if !(least_s..=MAX_REFRESH_TTL_S).contains(&ttl_s) {
        settings.fault(
            "REFRESH_TTL",
            format!("expected seconds from {least_s} (TOKEN_TTL) to {MAX_REFRESH_TTL_S}, got '{ttl_s}'"),
        );
    }
    Duration::from_secs(ttl_s)
}

fn audit_retention(settings: &mut Settings) -> Duration {
    let days = settings.parsed("AUDIT_RETENTION", AUDIT_RETENTION_DAYS, "days");
    if !(1..=MAX_AUDIT_RETENTION_DAYS).contains(&days) {
        settings.fault(
            "AUDIT_RETENTION",
            format!("expected days from 1 to {MAX_AUDIT_RETENTION_DAYS}, got '{days}'"),
        );
    }
    Duration::from_secs(days.saturating_mul(86_400))
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
    if !password::is_username(&username) {
        settings.fault(
            "ADMIN_USERNAME",
            "expected 1 to 64 letters, digits or _ . @ -, the first a letter or digit",
        );
        return None;
    }
    if password.len() < MIN_PASSWORD_BYTES {
        settings.fault(
            "ADMIN_PASSWORD",
            format!("expected at least {MIN_PASSWORD_BYTES} bytes"),
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
    fn the_edge_is_strict_unless_told_otherwise() {
        let (config, settings) = read(&[]);
        assert!(config.edge.production && settings.faults().is_empty());
        assert_eq!(
            (config.edge.rate_limit_rpm, config.edge.origins),
            (100, Origins::None)
        );
        let (config, settings) = read(&[("NEXUS_ENV", "development"), ("CORS_ORIGINS", "*")]);
        assert!(settings.faults().is_empty());
        assert_eq!(config.edge.origins, Origins::Any);
        let (_, settings) = read(&[
            ("NEXUS_ENV", "prod"),
            ("CORS_ORIGINS", "*"),
            ("TRUSTED_PROXIES", "10.0.0.0/8, proxy"),
            ("RATE_LIMIT_RPM", "0"),
        ]);
        let expected = [
            "NEXUS_ENV: expected production or development, got 'prod'",
            "CORS_ORIGINS: '*' is for development; list the origins instead",
            "RATE_LIMIT_RPM: expected a number of calls from 1, got '0'",
            "TRUSTED_PROXIES: expected a network such as 10.0.0.0/8, got 'proxy'",
        ];
        assert_eq!(settings.faults(), expected);
    }

    #[test]
    fn times_that_cannot_be_are_told() {
        let (config, settings) = read(&[("TOKEN_TTL", "60"), ("REFRESH_TTL", "60")]);
        assert!(settings.faults().is_empty());
        assert_eq!(config.audit_retention, Duration::from_secs(90 * 86_400));
        let (_, settings) = read(&[
            ("TOKEN_TTL", "61"),
            ("REFRESH_TTL", "60"),
            ("AUDIT_RETENTION", "0"),
        ]);
        let expected = [
            "REFRESH_TTL: expected seconds from 61 (TOKEN_TTL) to 31622400, got '60'",
            "AUDIT_RETENTION: expected days from 1 to 3660, got '0'",
        ];
        assert_eq!(settings.faults(), expected);
    }

    #[test]
    fn with_public_keys_the_secret_is_not_missed() {
        let (config, settings) = read(&[("JWKS_URL", "https://id.example.org/keys")]);
        assert!(!settings.missing().iter().any(|name| name == "JWT_SECRET"));
        assert!(config.jwt_keys.secret.is_none() && !config.jwt_keys.is_empty());
        let (_, settings) = read(&[("JWKS_URL", "id.example.org"), ("JWT_PUBLIC_KEY", "x")]);
        assert_eq!(settings.faults().len(), 2, "{:?}", settings.faults());
    }

    #[test]
    fn half_an_administrator_is_missing_the_other_half() {
        let (config, settings) = read(&[("ADMIN_USERNAME", "ada")]);
        assert!(config.admin.is_none());
        assert!(settings.missing().iter().any(|name| name == "ADMIN_PASSWORD"));
    }
}
