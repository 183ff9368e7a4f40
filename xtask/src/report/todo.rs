//! What to do next: everything that is not well, each thing once, however many images and gates it concerns.

use serde_json::Value;

use super::Report;
use crate::verdict::{Check, Gate, Outcome, Record};

/// What is wrong, or could not be looked at, for one and the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Todo<'r> {
    pub outcome: Outcome,
    /// The check; of a gate that could not look at all, nothing.
    pub name: Option<&'r str>,
    pub detail: &'r str,
    pub hint: Option<&'r str>,
    /// Policy lets this run end with 0 all the same.
    pub tolerated: bool,
    /// The verdicts that say so, by gate and image.
    pub records: Vec<&'r Record>,
}

impl<'r> Todo<'r> {
    fn new(record: &'r Record, check: &'r Check, strict: bool) -> Self {
        Todo {
            outcome: check.outcome,
            name: Some(check.name.as_str()).filter(|name| *name != record.gate.name()),
            detail: &check.detail,
            hint: check.hint.as_deref(),
            tolerated: check.tolerated && !strict,
            records: vec![record],
        }
    }

    /// A verdict that is not well and has no check that says why.
    fn without_check(record: &'r Record) -> Self {
        Todo {
            outcome: record.outcome,
            name: None,
            detail: &record.reason,
            hint: None,
            tolerated: false,
            records: vec![record],
        }
    }

    /// Whether both ask for the same: of the same gate, unless no check of it could look.
    fn is_as(&self, other: &Self) -> bool {
        let words = |todo: &Self| (todo.outcome, todo.tolerated);
        (words(self), self.name, self.detail, self.hint)
            == (words(other), other.name, other.detail, other.hint)
            && (self.name.is_none() || self.gates() == other.gates())
    }

    /// The gates, in the order of the table.
    pub fn gates(&self) -> Vec<Gate> {
        let mut gates: Vec<Gate> = self.records.iter().map(|record| record.gate).collect();
        gates.sort();
        gates.dedup();
        gates
    }

    /// The images, by name.
    pub fn services(&self) -> Vec<&'r str> {
        sorted(self.records.iter().map(|record| record.service.as_str()))
    }

    /// The logs, relative to the run's folder.
    pub fn logs(&self) -> Vec<&'r str> {
        sorted(self.records.iter().filter_map(|record| record.log.as_deref()))
    }

    pub fn concerns(&self, record: &Record) -> bool {
        self.records
            .iter()
            .any(|own| (&own.service, own.gate) == (&record.service, record.gate))
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Everything that is not well: what is violated first, then what is undecided, last what policy lets pass.
pub fn all(report: &Report) -> Vec<Todo<'_>> {
    let mut todos: Vec<Todo> = Vec::new();
    for record in in_order(report) {
        for todo in of_record(record, report.strict) {
            match todos.iter_mut().find(|known| known.is_as(&todo)) {
                Some(known) => known.records.push(record),
                None => todos.push(todo),
            }
        }
    }
    todos.sort_by_key(|todo| (todo.outcome != Outcome::Violated, todo.tolerated));
    todos
}

/// The verdicts by gate and image: a report has them as they ended, which is another order in each run.
pub fn in_order(report: &Report) -> Vec<&Record> {
    let mut records: Vec<&Record> = report.records.iter().collect();
    records.sort_by_key(|record| (record.gate, &record.service));
    records
}

/// What mends a finding that fails a gate, where the check that fails by it is about this very one.
pub fn remedy<'r>(record: &'r Record, finding: &Value) -> Option<&'r str> {
    let word = |key: &str| finding[key].as_str().filter(|word| !word.is_empty());
    let (id, package) = (word("id")?, word("package")?);
    let is_its_own = |check: &&Check| {
        let names = |word: &str| check.detail.contains(word);
        check.outcome == Outcome::Violated && names(id) && names(package)
    };
    let check = record.checks.iter().find(is_its_own)?;
    check.hint.as_deref().filter(|_| finding["became"] == "fails")
}

fn of_record(record: &Record, strict: bool) -> Vec<Todo<'_>> {
    let bad = |outcome: Outcome| outcome > Outcome::Skipped;
    let checks = record.checks.iter().filter(|check| bad(check.outcome));
    let todos: Vec<Todo> = checks.map(|check| Todo::new(record, check, strict)).collect();
    if todos.is_empty() && bad(record.outcome) {
        return vec![Todo::without_check(record)];
    }
    todos
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn undecided(service: &str, detail: &str) -> Record {
        let check = Check::undecided("vulnerabilities", detail, "pass --vuln-db");
        Record::from_checks(service, Gate::Scan, vec![check], "")
    }

    #[test]
    fn one_reason_is_said_once_for_all_images() {
        let mut report = sample();
        report.records = vec![
            undecided("b", "old"),
            undecided("a", "old"),
            undecided("c", "none"),
        ];
        let told: Vec<_> = all(&report)
            .iter()
            .map(|todo| (todo.detail, todo.services()))
            .collect();
        assert_eq!(told, [("old", vec!["a", "b"]), ("none", vec!["c"])]);
    }

    #[test]
    fn what_no_gate_could_look_at_is_said_once_for_all_gates() {
        let mut report = sample();
        let unbuilt = |gate| Record::undecided("a", gate, "there is no image to look at", "see the build");
        report.records = vec![unbuilt(Gate::Network), unbuilt(Gate::Boot)];
        let todos = all(&report);
        assert_eq!(todos.len(), 1);
        assert_eq!(todos[0].gates(), [Gate::Boot, Gate::Network]);
    }

    #[test]
    fn violated_comes_first_and_what_policy_lets_pass_last() {
        let report = sample();
        let told: Vec<_> = all(&report)
            .iter()
            .map(|todo| (todo.outcome, todo.tolerated))
            .collect();
        assert_eq!(told, [(Outcome::Violated, false), (Outcome::Undecided, true)]);
        let strict = Report {
            strict: true,
            ..report
        };
        assert!(all(&strict).iter().all(|todo| !todo.tolerated));
    }

    #[test]
    fn a_verdict_without_any_check_is_no_verdict_that_is_well() {
        let mut report = sample();
        report.records = vec![Record::from_checks("a", Gate::Lint, vec![], "")];
        assert_eq!(all(&report)[0].detail, "nothing was looked at");
    }
}
