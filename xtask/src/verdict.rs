//! Verdicts: what a gate found about an image, with its evidence. Data only; no gate lives here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// What a check, a gate or a run came to. Ordered from best to worst as a table shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Passed,
    /// Not asked for in this run (`--service`, a command for one gate alone). Says why.
    Skipped,
    /// The gate could not look: never a pass.
    Undecided,
    Violated,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Skipped => "skipped",
            Outcome::Undecided => "undecided",
            Outcome::Violated => "violated",
        }
    }
}

/// The columns of the table, in the order in which an image goes through them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    Build,
    Lint,
    Scan,
    Budget,
    Boot,
    Network,
    /// Asked for by `cargo xtask faults` alone.
    Faults,
}

impl Gate {
    /// The gates of the main job.
    pub const ALL: [Gate; 6] = [
        Gate::Build,
        Gate::Lint,
        Gate::Scan,
        Gate::Budget,
        Gate::Boot,
        Gate::Network,
    ];

    /// Every column that a table can have.
    pub const COLUMNS: [Gate; 7] = [
        Gate::Build,
        Gate::Lint,
        Gate::Scan,
        Gate::Budget,
        Gate::Boot,
        Gate::Network,
        Gate::Faults,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Gate::Build => "build",
            Gate::Lint => "lint",
            Gate::Scan => "scan",
            Gate::Budget => "budget",
            Gate::Boot => "boot",
            Gate::Network => "network",
            Gate::Faults => "faults",
        }
    }
}

/// Where a verdict comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// Found in this run.
    Fresh,
    /// Found by an earlier run for the same digest and the same settings.
    Reused { run_id: String, age_s: u64 },
}

/// One thing that a gate looked at. `detail` is a lower-case fragment for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    pub name: String,
    pub outcome: Outcome,
    pub detail: String,
    /// What to do about it; on violated and undecided checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether policy lets a run end with 0 while this check is undecided (`--strict` never does).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerated: bool,
}

impl Check {
    pub fn passed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Check::new(name, Outcome::Passed, detail, None)
    }

    pub fn violated(name: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Check::new(name, Outcome::Violated, detail, Some(hint.into()))
    }

    pub fn undecided(name: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Check::new(name, Outcome::Undecided, detail, Some(hint.into()))
    }

    /// The same check, where the policy lets it stay undecided in a run that is not strict.
    pub fn tolerated(mut self) -> Self {
        self.tolerated = self.outcome == Outcome::Undecided;
        self
    }

    fn new(
        name: impl Into<String>,
        outcome: Outcome,
        detail: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        Check {
            name: name.into(),
            outcome,
            detail: detail.into(),
            hint,
            tolerated: false,
        }
    }
}

/// A gate's verdict on one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The service's package name.
    pub service: String,
    pub gate: Gate,
    pub outcome: Outcome,
    /// A few words for the table: what was measured, or the first thing that is wrong.
    pub reason: String,
    pub origin: Origin,
    /// The earlier run that saw what this verdict of now was judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_by: Option<String>,
    /// The digest that was looked at, where the gate looks at an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    pub checks: Vec<Check>,
    /// Figures for the report, named with their unit last (`boot_ms`, `unpacked_bytes`).
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub figures: serde_json::Map<String, serde_json::Value>,
    pub took_ms: u64,
    /// The step's log, relative to the run's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl Record {
    /// A verdict from its checks: the worst of them, and in the table the words of the first such check, or
    /// `reason` when all passed. No checks at all is undecided: nothing was looked at.
    pub fn from_checks(service: &str, gate: Gate, checks: Vec<Check>, reason: impl Into<String>) -> Self {
        let outcome = checks
            .iter()
            .map(|check| check.outcome)
            .max()
            .unwrap_or(Outcome::Undecided);
        let reason = match outcome {
            Outcome::Passed | Outcome::Skipped => reason.into(),
            worse => checks
                .iter()
                .find(|check| check.outcome == worse)
                .map_or("nothing was looked at".to_owned(), |check| {
                    format!("{}: {}", check.name, check.detail)
                }),
        };
        Record {
            service: service.to_owned(),
            gate,
            outcome,
            reason,
            origin: Origin::Fresh,
            seen_by: None,
            digest: None,
            checks,
            figures: serde_json::Map::new(),
            took_ms: 0,
            log: None,
        }
    }

    /// Not asked for; `reason` says by whom.
    pub fn skipped(service: &str, gate: Gate, reason: impl Into<String>) -> Self {
        let mut record = Record::from_checks(service, gate, Vec::new(), "");
        record.outcome = Outcome::Skipped;
        record.reason = reason.into();
        record
    }

    /// The gate could not look.
    pub fn undecided(service: &str, gate: Gate, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Record::from_checks(
            service,
            gate,
            vec![Check::undecided(gate.name(), detail, hint)],
            "",
        )
    }

    /// The word for a table: a verdict that an earlier run found says so.
    pub fn word(&self) -> &'static str {
        match (&self.origin, self.outcome) {
            (Origin::Reused { .. }, Outcome::Passed) => "reused",
            (_, outcome) => outcome.word(),
        }
    }

    /// The few words for the table, and for a reused verdict since when.
    pub fn reason_with_origin(&self) -> String {
        let reason = self.reason.lines().next().unwrap_or_default();
        match &self.origin {
            Origin::Fresh => reason.to_owned(),
            Origin::Reused { run_id, age_s } => format!("{reason} ({} ago, run {run_id})", age(*age_s)),
        }
    }

    /// A verdict that was judged now, by evidence of an earlier run. What is undecided was decided now and
    /// counts as fresh: it only says where the rest comes from.
    pub fn by_evidence_of(mut self, origin: Origin) -> Self {
        match (&origin, self.outcome) {
            (Origin::Reused { run_id, .. }, Outcome::Undecided) => {
                let passed = self
                    .checks
                    .iter_mut()
                    .filter(|check| check.outcome == Outcome::Passed);
                passed.for_each(|check| check.detail.push_str(&format!(" (found by run {run_id})")));
                self.seen_by = Some(run_id.clone());
            }
            _ => self.origin = origin,
        }
        self
    }

    /// The remedy of what decided.
    pub fn hint(&self) -> Option<&str> {
        if !matches!(self.outcome, Outcome::Violated | Outcome::Undecided) {
            return None;
        }
        let bad = self.checks.iter().filter(|check| check.outcome == self.outcome);
        bad.filter_map(|check| check.hint.as_deref()).next()
    }

    pub fn figure(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }

    /// Every check that is undecided may be so by policy.
    pub fn tolerated(&self) -> bool {
        let mut undecided = self
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Undecided)
            .peekable();
        undecided.peek().is_some() && undecided.all(|check| check.tolerated)
    }
}

/// An age in its largest unit: `40 s`, `3 min`, `5 h`, `2 days`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", seconds.div_ceil(60)),
        5_400..129_600 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// Whether a verdict keeps a run from ending with 0.
pub fn is_bad(record: &Record, strict: bool) -> bool {
    exit_of(std::slice::from_ref(record), strict) != Exit::Passed
}

/// How a run with these verdicts ends. `strict` lets nothing stay undecided.
pub fn exit_of(records: &[Record], strict: bool) -> Exit {
    records.iter().fold(Exit::Passed, |exit, record| {
        exit.worst(match record.outcome {
            Outcome::Passed | Outcome::Skipped => Exit::Passed,
            Outcome::Violated => Exit::Violated,
            Outcome::Undecided if !strict && record.tolerated() => Exit::Passed,
            Outcome::Undecided => Exit::Undecided,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(checks: Vec<Check>) -> Record {
        Record::from_checks("gateway", Gate::Scan, checks, "all well")
    }

    #[test]
    fn a_gate_that_looked_at_nothing_has_not_passed() {
        assert_eq!(record(vec![]).outcome, Outcome::Undecided);
        assert_eq!(exit_of(&[record(vec![])], false), Exit::Undecided);
    }

    #[test]
    fn the_worst_check_decides_and_gives_the_words() {
        let record = record(vec![
            Check::passed("crates", "57 seen"),
            Check::undecided("vulnerabilities", "no database", "pass --vuln-db"),
            Check::violated("secrets", "a key in layer 1", "remove it"),
        ]);
        assert_eq!(record.outcome, Outcome::Violated);
        assert_eq!(record.reason, "secrets: a key in layer 1");
        assert_eq!(exit_of(&[record], false), Exit::Violated);
    }

    #[test]
    fn what_policy_tolerates_ends_with_0_but_never_under_strict() {
        let tolerated = record(vec![
            Check::undecided("vulnerabilities", "no database", "x").tolerated(),
        ]);
        assert_eq!(tolerated.outcome, Outcome::Undecided);
        assert_eq!(exit_of(std::slice::from_ref(&tolerated), false), Exit::Passed);
        assert_eq!(exit_of(&[tolerated], true), Exit::Undecided);
    }

    #[test]
    fn one_untolerated_check_is_enough() {
        let mixed = record(vec![
            Check::undecided("vulnerabilities", "no database", "x").tolerated(),
            Check::undecided("crates", "no report", "x"),
        ]);
        assert_eq!(exit_of(&[mixed], false), Exit::Undecided);
    }
}
