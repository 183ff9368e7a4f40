//! What is counted of the calls to each service: how they ended, how long they took to their answer's head, and how
//! its breaker stands. The counters are looked up once, not for each call.

use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::domain::breaker::Position;

/// How a call to a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer below 400.
    Ok,
    /// 4xx.
    ClientError,
    /// 5xx but those that say the service is not there; or a run of the caller's that failed by itself.
    ServerError,
    /// 502, 503, 504.
    Unavailable,
    /// No connection.
    Unreachable,
    /// A connection that ended without an answer, or with one that is none.
    Broken,
    /// No answer in time.
    Timeout,
    /// The breaker was open.
    Refused,
    /// The caller's own body broke it off.
    Aborted,
}

const OUTCOMES: [(Outcome, &str); 9] = [
    (Outcome::Ok, "ok"),
    (Outcome::ClientError, "client_error"),
    (Outcome::ServerError, "server_error"),
    (Outcome::Unavailable, "unavailable"),
    (Outcome::Unreachable, "unreachable"),
    (Outcome::Broken, "broken"),
    (Outcome::Timeout, "timeout"),
    (Outcome::Refused, "refused"),
    (Outcome::Aborted, "aborted"),
];

impl Outcome {
    /// `run_failed`: the service says that it is well, and tells of a run's failure.
    pub(super) fn of(status: StatusCode, run_failed: bool) -> Self {
        match status.as_u16() {
            0..400 => Self::Ok,
            400..500 => Self::ClientError,
            502..=504 if !run_failed => Self::Unavailable,
            _ => Self::ServerError,
        }
    }

    /// Whether it brings the breaker nearer to opening.
    pub(super) fn counts_as_failure(self) -> bool {
        matches!(
            self,
            Self::Unavailable | Self::Unreachable | Self::Broken | Self::Timeout
        )
    }
}

/// One service's counters.
pub(super) struct Tally {
    ended: [Counter; OUTCOMES.len()],
    took: Histogram,
    breaker: Gauge,
}

impl Tally {
    pub(super) fn new(upstream: &'static str) -> Self {
        let ended = OUTCOMES.map(|(_, outcome)| {
            counter!("gateway_upstream_requests_total", "upstream" => upstream, "outcome" => outcome)
        });
        let breaker = gauge!("gateway_upstream_breaker_open", "upstream" => upstream);
        breaker.set(0.0);
        Self {
            ended,
            took: histogram!("gateway_upstream_duration_seconds", "upstream" => upstream),
            breaker,
        }
    }

    pub(super) fn count(&self, outcome: Outcome, took: Duration) {
        self.ended[outcome as usize].increment(1);
        if outcome != Outcome::Refused {
            self.took.record(took.as_secs_f64());
        }
    }

    /// 0 closed, 0.5 half-open, 1 open.
    pub(super) fn position(&self, position: Position) {
        self.breaker.set(match position {
            Position::Closed => 0.0,
            Position::HalfOpen => 0.5,
            Position::Open => 1.0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_failed_says_nothing_against_the_engine() {
        for status in [502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(Outcome::of(status, false).counts_as_failure());
            assert!(!Outcome::of(status, true).counts_as_failure());
        }
        assert_eq!(Outcome::of(StatusCode::OK, true), Outcome::Ok);
    }

    #[test]
    fn each_outcome_has_its_own_counter() {
        for (index, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
