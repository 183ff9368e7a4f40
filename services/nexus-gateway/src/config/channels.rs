//! Settings of sessions and of `/ws`.

use std::time::Duration;

use kit::Settings;
use sessions::Mode;

use crate::ws::origin::Origins;

/// Sessions that a user may have where nothing else is set.
const SESSIONS_PER_USER: u64 = 32;
/// Connections that a user may have at a replica where nothing else is set.
const SOCKETS_PER_USER: u32 = 32;

/// How long sessions live, and how many a user has.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// `SESSION_TTL`.
    pub ttl: Duration,
    /// `SESSION_MODE`: `sliding` or `fixed`.
    pub mode: Mode,
    /// `SESSION_MAX_PER_USER`.
    pub per_user: u64,
}

impl Sessions {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let mode = settings.text("SESSION_MODE");
        let mode = mode.map_or(Some(Mode::Sliding), |text| text.parse().ok());
        if mode.is_none() {
            settings.fault("SESSION_MODE", "expected sliding or fixed");
        }
        Self {
            ttl: settings.seconds("SESSION_TTL", 3600),
            mode: mode.unwrap_or(Mode::Sliding),
            per_user: at_least_one(settings, "SESSION_MAX_PER_USER", SESSIONS_PER_USER),
        }
    }
}

/// What `/ws` lets in, and how long it waits.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// `WS_ALLOWED_ORIGINS`, comma separated: `https://app.example.org`, `https://*.example.org`; `*` with
    /// `WS_ALLOW_ANY_ORIGIN=true` alone. None unless set: programs send no `Origin`, browsers always do.
    pub origins: Origins,
    /// `WS_MAX_PER_USER`, at one replica.
    pub per_user: u32,
    /// `WS_PING_INTERVAL`; whoever says nothing for another such time after a ping is dropped.
    pub ping_every: Duration,
}

impl Sockets {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let any = settings.parsed("WS_ALLOW_ANY_ORIGIN", false, "true or false");
        let listed = settings.text("WS_ALLOWED_ORIGINS").unwrap_or_default();
        let origins = Origins::parse(&listed, any).unwrap_or_else(|fault| {
            settings.fault("WS_ALLOWED_ORIGINS", fault);
            Origins::default()
        });
        let per_user = at_least_one(settings, "WS_MAX_PER_USER", u64::from(SOCKETS_PER_USER));
        Self {
            origins,
            per_user: u32::try_from(per_user).unwrap_or(u32::MAX),
            ping_every: settings.seconds("WS_PING_INTERVAL", 20),
        }
    }
}

fn at_least_one(settings: &mut Settings, name: &str, default: u64) -> u64 {
    let value = settings.parsed(name, default, "a number of at least 1");
    if value == 0 {
        settings.fault(name, "expected a number of at least 1, got '0'");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &'static [(&'static str, &'static str)]) -> Vec<String> {
        let lookup = move |name: &str| {
            let pair = pairs.iter().find(|pair| pair.0 == name);
            pair.map(|pair| pair.1.to_owned())
        };
        let mut settings = Settings::from_lookup(lookup);
        Sessions::read(&mut settings);
        Sockets::read(&mut settings);
        settings.faults().to_vec()
    }

    #[test]
    fn every_fault_is_told() {
        assert_eq!(read(&[]), Vec::<String>::new());
        let faults = read(&[
            ("SESSION_MODE", "rolling"),
            ("SESSION_MAX_PER_USER", "0"),
            ("WS_ALLOWED_ORIGINS", "https://a.example, *"),
            ("WS_MAX_PER_USER", "many"),
            ("WS_PING_INTERVAL", "0"),
        ]);
        assert_eq!(faults.len(), 5, "{faults:?}");
        assert!(
            faults.iter().any(|fault| fault.contains("WS_ALLOW_ANY_ORIGIN")),
            "{faults:?}"
        );
        assert_eq!(
            read(&[("WS_ALLOWED_ORIGINS", "*"), ("WS_ALLOW_ANY_ORIGIN", "true")]),
            Vec::<String>::new()
        );
    }
}
