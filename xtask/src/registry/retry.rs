//! Asking again: what passes is tried a few times, longer and longer apart; what does not is told at once. The
//! decision is pure; the one loop carries it out.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use anyhow::Result;

use crate::context::{Context, Deadline};
use crate::exit::Failure;

/// How often one thing is asked at most.
pub const TRIES: u32 = 5;
/// Before the second try; each further wait is three times as long: some ten seconds in all.
const FIRST: Duration = Duration::from_millis(250);
/// A registry that wants to be left alone for longer is not waited for.
pub const LONGEST: Duration = Duration::from_secs(60);
/// A wait that a person would wonder about is told.
const TOLD: Duration = Duration::from_secs(2);

/// Why a try came to nothing.
#[derive(Debug)]
pub enum Fault {
    /// May go well the next time; `wait` is what the registry asked for (`Retry-After`).
    Passing { what: String, wait: Option<Duration> },
    /// Will not.
    Final(anyhow::Error),
}

impl Fault {
    pub fn passing(what: impl Into<String>) -> Self {
        Fault::Passing {
            what: what.into(),
            wait: None,
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Fault::Final(failure.into())
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Fault::Final(error)
    }
}

/// How long one thing may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The wait before the second try.
    pub first: Duration,
    /// A single try.
    pub one: Duration,
    /// All tries and the waits between them.
    pub all: Duration,
}

impl Limits {
    /// Of something that moves so many bytes: no line is slower than 128 KiB a second for long.
    pub fn moving(bytes: u64) -> Self {
        let one = Duration::from_secs(30 + bytes / (128 << 10));
        Limits {
            first: FIRST,
            one,
            all: one * 2 + Duration::from_secs(60),
        }
    }
}

/// What follows a try that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    After(Duration),
    /// It wants more time than it is given.
    TooLong(Duration),
    Enough,
}

/// After `tried` tries. `jitter` lies between 0 and 1, so that many who wait do not come back at once.
fn next(tried: u32, first: Duration, asked: Option<Duration>, jitter: f64) -> Next {
    match asked {
        _ if tried >= TRIES => Next::Enough,
        Some(asked) if asked > LONGEST => Next::TooLong(asked),
        // Not before the time that was asked for.
        Some(asked) => Next::After(asked + first.mul_f64(jitter)),
        None => Next::After((first * 3_u32.pow(tried - 1)).mul_f64(0.75 + jitter / 2.0)),
    }
}

/// A number between 0 and 1 that nobody foresees.
fn jitter() -> f64 {
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3). One in the past asks for nothing.
pub fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Tries until it goes well, will not, or has been tried enough. `what` names what is asked, for a reader.
///
/// # Errors
/// The final fault; exit 3 where it was tried enough, took too long or was interrupted.
pub async fn again<T, F, Fut>(context: &Context, what: &str, limits: Limits, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Fault>>,
{
    let deadline = Deadline::within(limits.all);
    let mut tried = 0;
    loop {
        let time = limits.one.min(deadline.left());
        let fault = tokio::select! {
            () = context.cancel.cancelled() => return Err(interrupted(what)),
            outcome = tokio::time::timeout(time, attempt()) => match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::passing(format!("no answer within {} s", time.as_secs())),
            },
        };
        tried += 1;
        let (why, asked) = match fault {
            Fault::Final(error) => return Err(error),
            Fault::Passing { what, wait } => (what, wait),
        };
        let wait = match next(tried, limits.first, asked, jitter()) {
            Next::After(wait) if wait < deadline.left() => wait,
            Next::TooLong(asked) => return Err(left_alone(what, &why, asked)),
            _ => return Err(gave_up(what, &why, tried)),
        };
        if wait >= TOLD {
            let seconds = wait.as_secs_f64();
            context
                .board
                .note(&format!("{what}: {why}; asked again in {seconds:.0} s"));
        }
        tokio::select! {
            () = context.cancel.cancelled() => return Err(interrupted(what)),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn interrupted(what: &str) -> anyhow::Error {
    Failure::undecided(format!("{what}: interrupted"), "run again").into()
}

fn left_alone(what: &str, why: &str, asked: Duration) -> anyhow::Error {
    let text = format!("{what}: {why}: the registry asks to wait {} s", asked.as_secs());
    let hint = format!(
        "run again after that time; {} s are waited for at most",
        LONGEST.as_secs()
    );
    Failure::undecided(text, hint).into()
}

fn gave_up(what: &str, why: &str, tried: u32) -> anyhow::Error {
    let times = if tried == 1 { "once" } else { "times" };
    let count = if tried == 1 {
        String::new()
    } else {
        format!("{tried} ")
    };
    Failure::undecided(
        format!("{what}: {why} (tried {count}{times})"),
        "run again when the registry answers; its status page may say more",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let waits: Vec<u128> = (1..TRIES)
            .map(|tried| match next(tried, FIRST, None, 0.5) {
                Next::After(wait) => wait.as_millis(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [250, 750, 2250, 6750]);
        assert_eq!(next(TRIES, FIRST, None, 0.5), Next::Enough);
        assert_eq!(next(TRIES, FIRST, Some(Duration::ZERO), 0.5), Next::Enough);
    }

    #[test]
    fn what_a_registry_asks_for_is_kept_to_or_refused() {
        let asked = Duration::from_secs(7);
        assert_eq!(next(1, FIRST, Some(asked), 0.0), Next::After(asked));
        let Next::After(wait) = next(1, FIRST, Some(asked), 1.0) else {
            panic!("waits");
        };
        assert!(wait >= asked, "never sooner");
        let long = LONGEST + Duration::from_secs(1);
        assert_eq!(next(1, FIRST, Some(long), 0.0), Next::TooLong(long));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sat, 21 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                retry_after(value, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[tokio::test]
    async fn what_passes_is_tried_five_times_and_what_does_not_once() {
        let context = Context::new(std::env::temp_dir(), crate::cli::RunOptions::default());
        let limits = Limits {
            first: Duration::from_millis(1),
            ..Limits::moving(0)
        };
        let count = std::cell::Cell::new(0);
        let refused = again(&context, "h/r", limits, || async {
            count.set(count.get() + 1);
            Err::<(), _>(Fault::passing("503"))
        });
        let (_, text) = crate::exit::explain(&refused.await.unwrap_err());
        assert!(text.starts_with("error: h/r: 503 (tried 5 times)\n"), "{text}");
        assert_eq!(count.get(), 5);

        let refused = again(&context, "h/r", limits, || async {
            count.set(count.get() + 1);
            Err::<(), _>(Fault::from(Failure::usage("no", "do")))
        });
        assert_eq!(refused.await.unwrap_err().to_string(), "no");
        assert_eq!(count.get(), 6);
        let well = again(&context, "h/r", limits, || async {
            count.set(count.get() + 1);
            (count.get() > 7).then_some(8).ok_or(Fault::passing("reset"))
        });
        assert_eq!(well.await.unwrap(), 8);
    }

    #[tokio::test]
    async fn an_interruption_ends_a_wait() {
        let context = Context::new(std::env::temp_dir(), crate::cli::RunOptions::default());
        context.cancel.cancel();
        let never = again(
            &context,
            "h/r",
            Limits::moving(0),
            std::future::pending::<Result<(), Fault>>,
        );
        assert_eq!(never.await.unwrap_err().to_string(), "h/r: interrupted");
    }
}
