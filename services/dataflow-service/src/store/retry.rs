//! Transactions that PostgreSQL ended so that another one could go on: done again, from their beginning.

use std::time::Duration;

use metrics::counter;
use uuid::Uuid;

use crate::error::Error;

/// Times that something is done again.
const MOST: u32 = 3;
/// The longest pause before the first repetition; doubled each time.
const PAUSE_MS: u64 = 20;

/// How often something was tried.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Whether to try again, after a pause of random length: those who collided must not meet again. Only for
    /// what is one statement or one transaction, since all of it was undone.
    pub(super) async fn again(&mut self, error: &Error) -> bool {
        if !collided(error) || self.0 >= MOST {
            return false;
        }
        let longest = u128::from(PAUSE_MS << self.0);
        let pause = Uuid::new_v4().as_u128() % longest + 1;
        self.0 += 1;
        counter!("dataflow_retries_total").increment(1);
        tokio::time::sleep(Duration::from_millis(u64::try_from(pause).unwrap_or(PAUSE_MS))).await;
        true
    }
}

impl Tries {
    /// Whether to try again without a pause, what stood in the way being mended.
    pub(super) fn at_once(&mut self) -> bool {
        self.0 += 1;
        self.0 <= MOST
    }
}

/// Serialisation failure or deadlock (PostgreSQL documentation, appendix A, class 40).
fn collided(error: &Error) -> bool {
    let Error::Database(error) = error else {
        return false;
    };
    let state = error.as_database_error().and_then(|told| told.code());
    matches!(state.as_deref(), Some("40001" | "40P01"))
}
