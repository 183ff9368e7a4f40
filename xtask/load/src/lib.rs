//! Closed-loop load: each connection sends its next request once the answer to its last one was read whole. So the
//! times are those that a caller meets at that many connections, and not those of a queue before them.

mod http;
mod socket;
mod template;

use std::time::Duration;

use hdrhistogram::Histogram;

pub use http::{Load, Request, run};
pub use hyper::{Method, StatusCode};
pub use socket::{Sockets, hold};
pub use template::Template;

/// Longer answers than this count as this long.
const LONGEST_US: u64 = 120_000_000;

/// What a load came to.
#[derive(Debug, Clone)]
pub struct Measured {
    /// How long it went on.
    pub took: Duration,
    /// Answers that were as expected.
    pub answered: u64,
    /// Answers that were not, and requests without any.
    pub wrong: u64,
    /// What the first of them was.
    pub first_wrong: Option<String>,
    /// The times of the expected answers, in microseconds.
    times: Histogram<u64>,
}

impl Measured {
    fn nothing() -> Self {
        Measured {
            took: Duration::ZERO,
            answered: 0,
            wrong: 0,
            first_wrong: None,
            times: times(),
        }
    }

    /// Expected answers a second.
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The time within which this share of the expected answers came, in milliseconds; `None` without any.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        (self.answered > 0).then(|| self.times.value_at_quantile(share) as f64 / 1000.0)
    }

    fn saw(&mut self, took: Duration) {
        self.answered += 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
        self.times.saturating_record(micros.max(1));
    }

    fn missed(&mut self, what: String) {
        self.wrong += 1;
        self.first_wrong.get_or_insert(what);
    }

    /// What several connections came to at the same time.
    fn together(parts: impl IntoIterator<Item = Measured>) -> Self {
        parts.into_iter().fold(Measured::nothing(), |mut all, part| {
            all.took = all.took.max(part.took);
            all.answered += part.answered;
            all.wrong += part.wrong;
            all.first_wrong = all.first_wrong.or(part.first_wrong);
            all.times += part.times;
            all
        })
    }
}

/// All of them at the same time; none outlives its caller.
async fn all(parts: impl IntoIterator<Item = impl Future<Output = Measured> + Send + 'static>) -> Measured {
    let mut running: tokio::task::JoinSet<Measured> = parts.into_iter().collect();
    let mut ended = Vec::new();
    while let Some(one) = running.join_next().await {
        ended.push(one.unwrap_or_else(|error| {
            let mut broken = Measured::nothing();
            broken.missed(format!("the load itself broke: {error}"));
            broken
        }));
    }
    Measured::together(ended)
}

/// From one microsecond to two minutes, to three digits.
fn times() -> Histogram<u64> {
    let bounded = Histogram::new_with_bounds(1, LONGEST_US, 3);
    bounded.unwrap_or_else(|_| unreachable!("the bounds are constants, and in order"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_all_connections() {
        let mut parts = [Measured::nothing(), Measured::nothing()];
        for (number, part) in parts.iter_mut().enumerate() {
            for ms in 1..=50 {
                part.saw(Duration::from_millis(ms + 50 * number as u64));
            }
            part.took = Duration::from_secs(2);
        }
        let all = Measured::together(parts);
        assert_eq!((all.answered, all.per_second()), (100, 50.0));
        let p99 = all.quantile_ms(0.99).unwrap();
        assert!((98.9..99.2).contains(&p99), "{p99}");
        assert_eq!(Measured::nothing().quantile_ms(0.5), None);
    }

    #[test]
    fn the_first_that_is_wrong_is_kept() {
        let mut measured = Measured::nothing();
        measured.missed("status 500".into());
        measured.missed("status 404".into());
        assert_eq!(
            (measured.wrong, measured.first_wrong.as_deref()),
            (2, Some("status 500"))
        );
    }
}
