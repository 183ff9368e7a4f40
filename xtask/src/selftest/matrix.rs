//! What the selftest found: a row for each fixture, and what would get through if a gate were missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use super::scene::{Case, Fault, Scene};
use crate::catalogue::plural;
use crate::exit::Exit;
use crate::verdict::{Check, Gate, Outcome, Record};

/// One fixture: what must be found, what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub scene: String,
    pub fixture: String,
    /// The gates that must catch it; none for one that must pass, or that is refused before any gate.
    pub gates: BTreeSet<Gate>,
    /// `gate: check, outcome` of each fault, or `passes`.
    pub expected: String,
    /// The same of what was found, each with its reason.
    pub found: String,
    pub held: bool,
}

impl Row {
    /// The fixture held where its gates found exactly what they must, each for the reason that is meant.
    pub fn of_case(scene: &Scene, case: &Case, records: &[Record], early: Option<&str>) -> Self {
        let own = records
            .iter()
            .filter(|record| record.service == case.fixture.name);
        let mut found = Vec::new();
        let mut silent: BTreeSet<Gate> = scene.gates.iter().copied().collect();
        for record in own {
            silent.remove(&record.gate);
            let bad = record
                .checks
                .iter()
                .filter(|check| check.outcome != Outcome::Passed);
            found.extend(bad.map(|check| (record.gate, check)));
        }
        let meant = |(gate, check): &(Gate, &Check)| {
            case.also.contains(&check.name.as_str())
                || case.faults.iter().any(|fault| fits(fault, *gate, check))
        };
        let all_found = case
            .faults
            .iter()
            .all(|fault| found.iter().any(|(gate, check)| fits(fault, *gate, check)));
        let mut words: Vec<String> = found.iter().map(|(gate, check)| shown(*gate, check)).collect();
        words.extend(
            silent
                .iter()
                .map(|gate| format!("{}: it gave no verdict", gate.name())),
        );
        words.extend(early.map(str::to_owned));
        Row {
            scene: scene.name.to_owned(),
            fixture: case.fixture.name.clone(),
            gates: case.faults.iter().map(|fault| fault.gate).collect(),
            expected: expected(&case.faults),
            held: all_found && found.iter().all(meant) && silent.is_empty() && early.is_none(),
            found: if words.is_empty() {
                "passes".to_owned()
            } else {
                words.join("; ")
            },
        }
    }

    pub fn of_refusal(scene: &Scene, exit: Exit, found: String, held: bool) -> Self {
        Row {
            scene: scene.name.to_owned(),
            fixture: scene.name.to_owned(),
            gates: BTreeSet::new(),
            expected: format!("refused with exit {}", exit.code()),
            found,
            held,
        }
    }
}

fn fits(fault: &Fault, gate: Gate, check: &Check) -> bool {
    fault.gate == gate
        && fault.check == check.name
        && fault.outcome == check.outcome
        && check.detail.contains(fault.words)
}

fn expected(faults: &[Fault]) -> String {
    let word = |fault: &Fault| format!("{}: {}, {}", fault.gate.name(), fault.check, fault.outcome.word());
    match faults {
        [] => "passes".to_owned(),
        faults => faults.iter().map(word).collect::<Vec<_>>().join("; "),
    }
}

fn shown(gate: Gate, check: &Check) -> String {
    let detail = check.detail.lines().next().unwrap_or_default();
    format!(
        "{}: {}, {}: {detail}",
        gate.name(),
        check.name,
        check.outcome.word()
    )
}

/// The whole matrix.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Matrix {
    pub rows: Vec<Row>,
    /// Gate -> the fixtures that would get through without it.
    pub weakened: BTreeMap<Gate, Vec<String>>,
}

impl Matrix {
    pub fn new(rows: Vec<Row>, gates: &[Gate]) -> Self {
        // A fixture that another gate catches too would not get through.
        let through = |gate: &Gate| {
            let alone = BTreeSet::from([*gate]);
            let lost = rows.iter().filter(|row| row.gates == alone);
            lost.map(|row| row.fixture.clone()).collect()
        };
        let weakened = gates.iter().map(|gate| (*gate, through(gate))).collect();
        Matrix { rows, weakened }
    }

    /// Every fixture held, and every gate has one that only it catches.
    pub fn held(&self) -> bool {
        self.rows.iter().all(|row| row.held) && self.weakened.values().all(|lost| !lost.is_empty())
    }

    /// The closing words.
    pub fn summary(&self) -> String {
        let failed = self.rows.iter().filter(|row| !row.held).count();
        let count = self.rows.len();
        let held = count - failed;
        format!("{count} fixture{}: {held} held, {failed} did not", plural(count))
    }

    /// For a reader of Markdown.
    pub fn markdown(&self) -> String {
        let mut text =
            "# Selftest\n\n| scene | fixture | must be | was | held |\n| --- | --- | --- | --- | --- |\n"
                .to_owned();
        for row in &self.rows {
            let held = if row.held { "yes" } else { "**no**" };
            let cells =
                [&row.scene, &row.fixture, &row.expected, &row.found].map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(text, "| {} | {held} |", cells.join(" | "));
        }
        text.push_str("\n| without the gate | these would get through |\n| --- | --- |\n");
        for (gate, lost) in &self.weakened {
            let _ = writeln!(text, "| {} | {} |", gate.name(), lost.join(", "));
        }
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::fixture::Fixture;

    const FAULT: Fault = Fault {
        gate: Gate::Boot,
        check: "live",
        outcome: Outcome::Violated,
        words: "ended with",
    };

    fn row(faults: Vec<Fault>, checks: Vec<Check>) -> Row {
        let case = Case {
            fixture: Fixture::new("x"),
            faults,
            also: vec!["hadolint"],
        };
        let records = [Record::from_checks("x", Gate::Boot, checks, "")];
        Row::of_case(&Scene::new("boots", &[Gate::Boot], vec![]), &case, &records, None)
    }

    #[test]
    fn a_fixture_holds_only_by_the_very_check_and_reason_that_are_meant() {
        let good = || Check::passed("non-root", "");
        let caught = || Check::violated("live", "ended with 9", "");
        assert!(row(vec![FAULT], vec![good(), caught()]).held);
        assert!(!row(vec![FAULT], vec![good()]).held, "let through");
        assert!(
            !row(vec![FAULT], vec![Check::violated("live", "no answer", "")]).held,
            "another reason"
        );
        assert!(!row(vec![FAULT], vec![Check::undecided("live", "ended with 9", "")]).held);
        let more = vec![caught(), Check::violated("non-root", "", "")];
        assert!(
            !row(vec![FAULT], more).held,
            "something else is wrong with it too"
        );
        assert!(!row(vec![], vec![caught()]).held, "a good one must pass");
        assert!(row(vec![], vec![good()]).held);
        let seen_by_another_tool = vec![caught(), Check::violated("hadolint", "DL1", "")];
        assert!(row(vec![FAULT], seen_by_another_tool).held);
    }

    #[test]
    fn a_gate_that_is_missing_is_told_by_what_gets_through() {
        let scene = Scene::new("boots", &[Gate::Boot], vec![]);
        let case = Case {
            fixture: Fixture::new("x"),
            faults: vec![FAULT],
            also: vec![],
        };
        let row = Row::of_case(&scene, &case, &[], None);
        assert!(
            !row.held && row.found.contains("boot: it gave no verdict"),
            "{}",
            row.found
        );
        let matrix = Matrix::new(vec![row], &[Gate::Boot, Gate::Lint]);
        assert_eq!(matrix.weakened[&Gate::Boot], ["x"]);
        assert!(!matrix.held(), "no fixture needs lint");
    }
}
