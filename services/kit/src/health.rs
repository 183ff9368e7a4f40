//! Liveness and readiness: what the process is, what each store's state is, what is missing. Stores are asked
//! in the background, for ever, with backoff; a request for `/ready` only reads what is known.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::ServiceInfo;

/// What losing a store does to readiness; as in the manifest's `on_loss`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLoss {
    /// Stays ready (200), and says `degraded`.
    Degrade,
    /// Turns not ready (503).
    NotReady,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Up,
    Down,
    Unconfigured,
}

#[derive(Debug, Clone, Serialize)]
struct Check {
    state: State,
    on_loss: OnLoss,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What the log was told.
    #[serde(skip)]
    fault: Option<String>,
}

/// The state of a service, shared by its routes and its background checks.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    info: ServiceInfo,
    missing: Vec<String>,
    draining: watch::Sender<bool>,
    /// Requests that have not got their answer's head; probes do not count.
    in_flight: watch::Sender<usize>,
    checks: Mutex<BTreeMap<&'static str, Check>>,
}

/// A request in flight, or other work that draining waits for.
#[derive(Debug)]
pub struct InFlight(Health);

impl Drop for InFlight {
    fn drop(&mut self) {
        let inner = &self.0.0;
        // Whoever waits for the last one does so after draining has begun; waking nobody takes its time, too.
        inner.in_flight.send_if_modified(|count| {
            *count -= 1;
            *count == 0 && *inner.draining.borrow()
        });
    }
}

/// `/ready`'s answer.
#[derive(Debug, Serialize)]
pub struct Readiness {
    status: &'static str,
    service: &'static str,
    missing: Vec<String>,
    checks: BTreeMap<&'static str, serde_json::Value>,
}

/// How often a store that answers is asked.
const EVERY: Duration = Duration::from_secs(2);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

impl Health {
    /// A service whose required settings `missing` are absent.
    pub fn new(info: ServiceInfo, missing: Vec<String>) -> Self {
        Health(Arc::new(Inner {
            info,
            missing,
            draining: watch::Sender::new(false),
            in_flight: watch::Sender::new(0),
            checks: Mutex::default(),
        }))
    }

    /// A store that is needed, but whose setting is absent.
    pub fn unconfigured(&self, store: &'static str, on_loss: OnLoss) {
        self.set(
            store,
            Check {
                state: State::Unconfigured,
                on_loss,
                detail: None,
                fault: None,
            },
        );
    }

    /// Asks a store for ever, in the background. `ask` is given 3 s; its error goes to the log, a plain word to
    /// the answer.
    pub fn watch<F, Fut, E>(&self, store: &'static str, on_loss: OnLoss, ask: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send,
    {
        self.set(
            store,
            Check {
                state: State::Down,
                on_loss,
                detail: Some("not asked yet".to_owned()),
                fault: None,
            },
        );
        let health = self.clone();
        tokio::spawn(async move {
            let mut backoff = FIRST_BACKOFF;
            loop {
                let answer = tokio::time::timeout(PATIENCE, ask()).await;
                let error = match answer {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
                };
                health.note(store, on_loss, error.as_deref());
                let pause = if error.is_some() { backoff } else { EVERY };
                backoff = if error.is_some() {
                    (backoff * 2).min(LONGEST_BACKOFF)
                } else {
                    FIRST_BACKOFF
                };
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Whether the store answered when it was last asked.
    pub fn is_up(&self, store: &str) -> bool {
        self.checks()
            .get(store)
            .is_some_and(|check| check.state == State::Up)
    }

    fn note(&self, store: &'static str, on_loss: OnLoss, error: Option<&str>) {
        let was_up = self.is_up(store);
        let is_news = self.is_news(store, error);
        match error {
            None if !was_up => info!(store, "store is up"),
            Some(error) if was_up => warn!(store, error, "store is lost"),
            Some(error) if is_news => warn!(store, error, "store is down"),
            Some(error) => tracing::debug!(store, error, "store is still down"),
            None => {}
        }
        let state = if error.is_some() { State::Down } else { State::Up };
        self.set(
            store,
            Check {
                state,
                on_loss,
                detail: error.map(|_| "does not answer".to_owned()),
                fault: error.map(str::to_owned),
            },
        );
    }

    /// Whether the log has not been told yet: a store that never was up has a reason, too, and it may change.
    fn is_news(&self, store: &str, error: Option<&str>) -> bool {
        let checks = self.checks();
        let told = checks.get(store).and_then(|check| check.fault.as_deref());
        told != error
    }

    fn set(&self, store: &'static str, check: Check) {
        self.checks().insert(store, check);
    }

    fn checks(&self) -> MutexGuard<'_, BTreeMap<&'static str, Check>> {
        self.0.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on not ready: the process was told to end.
    pub(crate) fn drain(&self) {
        self.0.draining.send_replace(true);
    }

    /// Ends when the process is told to end: what would outlast any drain, such as an event stream, ends with it.
    pub async fn draining(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Counts a request, or other work, until the value is dropped. `None` while draining: no new work.
    pub fn enter(&self) -> Option<InFlight> {
        if *self.0.draining.borrow() {
            return None;
        }
        self.0.in_flight.send_if_modified(|count| {
            *count += 1;
            false
        });
        Some(InFlight(self.clone()))
    }

    /// Ends when no request is in flight.
    pub(crate) async fn idle(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = self.0.in_flight.subscribe().wait_for(|count| *count == 0).await;
    }

    pub(crate) fn info(&self) -> ServiceInfo {
        self.0.info
    }

    /// Status and body of `/ready`.
    pub fn readiness(&self) -> (StatusCode, Json<Readiness>) {
        let checks = self.checks().clone();
        let lost = |effect| {
            checks
                .values()
                .any(|check| check.state != State::Up && check.on_loss == effect)
        };
        let (code, status) = if *self.0.draining.borrow() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if !self.0.missing.is_empty() || lost(OnLoss::NotReady) {
            (StatusCode::SERVICE_UNAVAILABLE, "not-ready")
        } else if lost(OnLoss::Degrade) {
            (StatusCode::OK, "degraded")
        } else {
            (StatusCode::OK, "ready")
        };
        let checks = checks
            .into_iter()
            .map(|(store, check)| (store, serde_json::json!(check)))
            .collect();
        let body = Readiness {
            status,
            service: self.0.info.name,
            missing: self.0.missing.clone(),
            checks,
        };
        (code, Json(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(missing: &[&str]) -> Health {
        let info = ServiceInfo {
            name: "x",
            version: "1",
            revision: "r",
            about: "",
            port: 1,
        };
        Health::new(info, missing.iter().map(|name| (*name).to_owned()).collect())
    }

    fn status(health: &Health) -> (u16, &'static str) {
        let (code, Json(body)) = health.readiness();
        (code.as_u16(), body.status)
    }

    #[test]
    fn readiness_follows_what_each_loss_means() {
        let health = health(&[]);
        assert_eq!(status(&health), (200, "ready"));
        health.unconfigured("cache", OnLoss::Degrade);
        assert_eq!(status(&health), (200, "degraded"));
        health.unconfigured("database", OnLoss::NotReady);
        assert_eq!(status(&health), (503, "not-ready"));
        health.note("database", OnLoss::NotReady, None);
        assert_eq!(status(&health), (200, "degraded"));
        health.drain();
        assert_eq!(status(&health), (503, "draining"));
    }

    #[test]
    fn a_store_that_never_was_up_is_news_once_for_each_reason() {
        let health = health(&[]);
        for (fault, is_news) in [
            ("refused", true),
            ("refused", false),
            ("no such user", true),
            ("refused", true),
        ] {
            assert_eq!(health.is_news("database", Some(fault)), is_news, "{fault}");
            health.note("database", OnLoss::NotReady, Some(fault));
        }
        health.note("database", OnLoss::NotReady, None);
        assert!(health.is_news("database", Some("refused")));
    }

    #[test]
    fn a_missing_setting_is_not_ready_and_is_named() {
        let health = health(&["JWT_SECRET"]);
        assert_eq!(status(&health), (503, "not-ready"));
        assert_eq!(health.readiness().1.0.missing, ["JWT_SECRET"]);
    }
}
