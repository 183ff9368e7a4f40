//! How often one caller may call: permits are leased from the shared count in small batches, so that a call seldom
//! asks it. What a lease holds is counted at once, and is void when it is counted no more.

use std::time::{Duration, Instant};

/// The window of the limit.
pub const WINDOW: Duration = Duration::from_secs(60);
/// A lease is this part of the limit, and at least one permit. All replicas together never let through more than
/// the limit and a lease each in any window.
const LEASES_IN_A_LIMIT: u32 = 20;

/// The permits that one lease asks for.
#[must_use]
pub fn lease_size(limit: u32) -> u32 {
    (limit / LEASES_IN_A_LIMIT).max(1)
}

/// The shared count's answer to the question for permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Permits given, none where the limit is reached.
    pub permits: u32,
    /// Permits that are left for others.
    pub left: u32,
    /// How long they are good or, where nothing was given, until something can be.
    pub wait: Duration,
}

/// Whether a call may be made, and what its caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may; so many calls are left, and in this time there are new ones.
    Pass { left: u32, renewed: Duration },
    /// Not before this time has gone by.
    Refused(Duration),
}

/// What one replica holds for one caller.
#[derive(Debug, Default)]
pub struct Lease {
    permits: u32,
    left_elsewhere: u32,
    until: Option<Instant>,
    refused: bool,
}

impl Lease {
    /// Decides from what is held; `None`: the shared count must be asked.
    pub fn take(&mut self, now: Instant) -> Option<Verdict> {
        let renewed = self
            .until?
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())?;
        if self.refused {
            return Some(Verdict::Refused(renewed));
        }
        self.permits = self.permits.checked_sub(1)?;
        let left = self.permits.saturating_add(self.left_elsewhere);
        Some(Verdict::Pass { left, renewed })
    }

    /// How long nothing passes, where that is known without asking. Takes nothing.
    #[must_use]
    pub fn refused(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.checked_duration_since(now)?;
        (self.refused && !left.is_zero()).then_some(left)
    }

    /// Takes in an answer.
    pub fn renew(&mut self, grant: Grant, now: Instant) {
        *self = Self {
            permits: grant.permits,
            left_elsewhere: grant.left,
            until: Some(now + grant.wait),
            refused: grant.permits == 0,
        };
    }

    /// Whether nothing would be lost with it.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn grant(permits: u32, left: u32) -> Grant {
        Grant {
            permits,
            left,
            wait: MINUTE,
        }
    }

    #[test]
    fn a_lease_lasts_until_it_is_used_or_its_time_ends() {
        let now = Instant::now();
        let mut lease = Lease::default();
        assert_eq!(lease.take(now), None);
        lease.renew(grant(2, 10), now);
        assert_eq!(
            lease.take(now),
            Some(Verdict::Pass {
                left: 11,
                renewed: MINUTE
            })
        );
        assert_eq!(lease.take(now + MINUTE), None, "it is counted no more");
        assert_eq!(
            lease.take(now),
            Some(Verdict::Pass {
                left: 10,
                renewed: MINUTE
            })
        );
        assert_eq!(lease.take(now), None, "used up");
        assert!(lease.is_over(now + MINUTE) && !lease.is_over(now));
    }

    #[test]
    fn a_refusal_lasts_as_long_as_it_says() {
        let now = Instant::now();
        let mut lease = Lease::default();
        lease.renew(grant(0, 0), now);
        let later = now + Duration::from_secs(20);
        assert_eq!(lease.take(later), Some(Verdict::Refused(Duration::from_secs(40))));
        assert_eq!(lease.refused(later), Some(Duration::from_secs(40)));
        assert_eq!(lease.refused(now + MINUTE), None);
        lease.renew(grant(1, 0), now);
        assert_eq!(lease.refused(now), None);
        assert!(lease.take(now).is_some(), "asking took nothing");
        assert_eq!(lease.refused(now), None, "only the shared count refuses");
        lease.renew(grant(0, 0), now);
        assert_eq!(lease.take(now + MINUTE), None);
    }

    #[test]
    fn leases_are_a_small_part_of_the_limit() {
        assert_eq!([1, 19, 20, 100, 6000].map(lease_size), [1, 1, 1, 5, 300]);
    }
}
