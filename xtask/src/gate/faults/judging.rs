//! What a fault's effects are judged to be: readiness while it lasts, recovery, and what became of requests.

use super::traffic::{Lost, Source, Traffics};
use super::trouble::{Noticed, Trouble};
use crate::catalogue::{OnLoss, Service};
use crate::stack::NOTICE;
use crate::verdict::Check;

impl Trouble<'_> {
    pub(super) fn readiness(&self, service: &Service, noticed: &Noticed) -> Check {
        let name = self.name("readiness");
        let effect = match service
            .on_loss
            .get(self.store)
            .copied()
            .unwrap_or(OnLoss::NotReady)
        {
            OnLoss::NotReady => "not ready",
            OnLoss::Degrade => "ready, degraded",
        };
        match (&noticed.wrong, noticed.after) {
            (Some(why), _) => Check::violated(
                name,
                format!("should be {effect} within {} s: {why}", NOTICE.as_secs()),
                "ask the store in the background with a timeout, and make on_loss in its Cargo.toml true",
            ),
            (None, Some(after)) => {
                Check::passed(name, format!("{effect} after {:.1} s", after.as_secs_f64()))
            }
            (None, None) => Check::passed(name, "slow is not lost: any state may be said"),
        }
    }

    pub(super) fn liveness(&self, unlive: Option<String>, times: usize) -> Check {
        let name = self.name("liveness");
        match unlive {
            Some(why) => Check::violated(
                name,
                format!("no longer live: {why}"),
                "liveness is about the process alone",
            ),
            None => Check::passed(name, format!("live each of {times} times that it was asked")),
        }
    }

    pub(super) fn recovery(&self, why_not: Option<String>, same_process: bool) -> Check {
        let name = self.name("recovery");
        match why_not {
            Some(why) => Check::violated(
                name,
                why,
                "reconnect with backoff, for ever; give up dead connections",
            ),
            None if !same_process => Check::violated(name, "by a restart", "recover inside the process"),
            None => Check::passed(name, "ready again without a restart"),
        }
    }

    /// What became of the requests of one source.
    pub(super) fn answers(&self, source: &Source, traffics: &Traffics, lost: &Lost) -> Vec<Check> {
        let (title, limit) = (
            &source.title,
            self.stack.request_timeout(&source.service).as_secs(),
        );
        let name = self.name(&format!("answers to {title}"));
        let slowest = traffics.slowest.as_secs_f64();
        let answers = match (traffics.hung.first(), traffics.wrong.first()) {
            (Some(hung), _) => Check::violated(
                name,
                format!("{} of {} hung: {hung}", traffics.hung.len(), traffics.sent),
                format!(
                    "every request must be answered or refused within {limit} s: give each call a timeout"
                ),
            ),
            (None, Some(wrong)) => Check::violated(
                name,
                format!("{} of {} wrong: {wrong}", traffics.wrong.len(), traffics.sent),
                "what cannot be done now is refused with 503, never answered otherwise",
            ),
            (None, None) => Check::passed(
                name,
                format!("{} sent, the slowest took {slowest:.1} s", traffics.sent),
            ),
        };
        let mut checks = vec![answers];
        if source.reads_back() {
            let name = self.name(&format!("acknowledged {title}"));
            checks.push(kept(name, traffics.acknowledged(), lost));
        }
        checks
    }
}

/// What became of that which was acknowledged.
fn kept(name: String, acknowledged: usize, lost: &Lost) -> Check {
    match lost {
        Lost {
            first: Some(first),
            count,
            ..
        } => Check::violated(
            name,
            format!("{count} of {acknowledged} lost: {first}"),
            "acknowledge only what the store has confirmed",
        ),
        Lost { unasked: 0, .. } => Check::passed(name, format!("{acknowledged} acknowledged, none lost")),
        Lost { unasked, .. } => Check::undecided(
            name,
            format!("{unasked} of {acknowledged} could not be read back: no request for them is answered"),
            "recovery says why, or the service's log",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn what_nobody_answers_about_is_neither_kept_nor_lost() {
        let outcome = |count, unasked| {
            let first = (count > 0).then(|| "request 1: status 404".to_owned());
            let lost = Lost {
                count,
                first,
                unasked,
            };
            kept("x".into(), 9, &lost).outcome
        };
        assert_eq!(outcome(0, 0), Outcome::Passed);
        assert_eq!(outcome(0, 3), Outcome::Undecided);
        assert_eq!(outcome(1, 0), Outcome::Violated);
        assert_eq!(outcome(1, 3), Outcome::Violated);
    }
}
