//! A circuit breaker: a service that failed several times in a row is left alone for a while, and then asked by
//! one call first.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// So many failures in a row open the breaker.
pub const MAX_FAILURES: u32 = 5;

/// One service's breaker.
#[derive(Debug)]
pub struct Breaker {
    open_for: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Calls pass; so many failed in a row.
    Closed(u32),
    /// No call passes until then; the next one after is the probe.
    Open(Instant),
    /// The probe is under way, and nothing else passes.
    Probing,
}

/// A breaker's state in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Calls pass.
    Closed,
    /// One call passes.
    HalfOpen,
    /// No call passes.
    Open,
}

/// A call that may be made. Its end is told by [`Admission::ended`]; dropped without, it counts for nothing.
#[derive(Debug)]
#[must_use]
pub struct Admission<'a> {
    breaker: &'a Breaker,
    probe: bool,
    told: bool,
}

impl Breaker {
    /// A closed breaker; once open it stays so for `open_for`.
    #[must_use]
    pub fn new(open_for: Duration) -> Self {
        Self {
            open_for,
            state: Mutex::new(State::Closed(0)),
        }
    }

    /// Whether a call may be made at `now`.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&self, now: Instant) -> Result<Admission<'_>, Duration> {
        let mut state = self.state();
        let probe = match *state {
            State::Closed(_) => false,
            State::Open(until) if now >= until => {
                *state = State::Probing;
                true
            }
            State::Open(until) => return Err(until - now),
            // Soon decided, one way or the other.
            State::Probing => return Err(Duration::from_secs(1)),
        };
        Ok(Admission {
            breaker: self,
            probe,
            told: false,
        })
    }

    /// How it stands at `now`.
    #[must_use]
    pub fn position(&self, now: Instant) -> Position {
        match *self.state() {
            State::Closed(_) => Position::Closed,
            State::Open(until) if now < until => Position::Open,
            State::Open(_) | State::Probing => Position::HalfOpen,
        }
    }

    fn note(&self, probe: bool, failed: bool, now: Instant) {
        let mut state = self.state();
        *state = match (*state, failed) {
            // A call from before it opened says nothing new.
            (State::Open(until), _) => State::Open(until),
            (State::Probing, _) if !probe => State::Probing,
            (_, false) => State::Closed(0),
            (State::Closed(failures), true) if failures + 1 < MAX_FAILURES => State::Closed(failures + 1),
            (_, true) => State::Open(now + self.open_for),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    /// The call has ended at `now`; the position is that after it.
    pub fn ended(mut self, failed: bool, now: Instant) -> Position {
        self.told = true;
        self.breaker.note(self.probe, failed, now);
        self.breaker.position(now)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        // The caller of the probe went away: the next call is the probe.
        if self.probe && !self.told {
            *self.breaker.state() = State::Open(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(MINUTE);
        for _ in 0..MAX_FAILURES {
            breaker.admit(now).unwrap().ended(true, now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_good_probe_closes_it() {
        let now = Instant::now();
        let breaker = opened(now);
        assert_eq!(breaker.admit(now).unwrap_err(), MINUTE);
        assert_eq!(breaker.position(now), Position::Open);
        let later = now + MINUTE;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err(), "one probe at a time");
        assert_eq!(probe.ended(false, later), Position::Closed);
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn a_failed_probe_opens_it_again_and_a_dropped_one_makes_room() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + MINUTE;
        assert_eq!(breaker.admit(later).unwrap().ended(true, later), Position::Open);
        assert_eq!(breaker.admit(later).unwrap_err(), MINUTE);
        let last = Instant::now() + 2 * MINUTE;
        drop(breaker.admit(last).unwrap());
        assert!(breaker.admit(last).is_ok());
    }

    #[test]
    fn a_success_between_keeps_it_closed_and_late_answers_do_not_close_it() {
        let now = Instant::now();
        let breaker = Breaker::new(MINUTE);
        for _ in 0..3 {
            for _ in 1..MAX_FAILURES {
                breaker.admit(now).unwrap().ended(true, now);
            }
            breaker.admit(now).unwrap().ended(false, now);
        }
        let late = breaker.admit(now).unwrap();
        for _ in 0..MAX_FAILURES {
            breaker.admit(now).unwrap().ended(true, now);
        }
        assert_eq!(late.ended(false, now), Position::Open);
    }
}
