//! Every scene, by gate. A new check belongs here with a fixture that it must catch.

mod boot;
mod budget;
mod faults;
mod lint;
mod network;
mod scan;

use std::cell::Cell;

use super::fixture::Fixture;
use super::scene::{Case, Fault, Scene};
use crate::engine::RUN_LABEL;
use crate::verdict::{Gate, Outcome};

/// All of them; their images carry the run's id.
pub fn all(run_id: &str) -> Vec<Scene> {
    let made = Cell::new(0);
    let maker = Maker { run_id, made: &made };
    [
        lint::scenes(maker),
        scan::scenes(maker),
        budget::scenes(maker),
        boot::scenes(maker),
        network::scenes(maker),
        faults::scenes(maker),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes fixtures of one run.
#[derive(Debug, Clone, Copy)]
struct Maker<'a> {
    run_id: &'a str,
    /// How many fixtures it has made.
    made: &'a Cell<usize>,
}

impl Maker<'_> {
    /// A good fixture. Its image is swept with the run, and shares its name with no other scene's.
    fn good(self, name: &str) -> Fixture {
        let number = self.made.replace(self.made.get() + 1);
        let mut fixture = Fixture {
            image: format!("horme-selftest-{}-{number}-{name}", self.run_id),
            ..Fixture::new(name)
        };
        fixture.labels.push(format!("{RUN_LABEL}={}", self.run_id));
        fixture
    }

    /// One that behaves as `mode` says.
    fn that(self, mode: &'static str) -> Fixture {
        Fixture {
            mode,
            ..self.good(mode)
        }
    }

    /// One whose Dockerfile differs.
    fn edited(self, name: &str, edits: &[(&'static str, &str)]) -> Fixture {
        let edits = edits.iter().map(|(from, to)| (*from, (*to).to_owned())).collect();
        Fixture {
            edits,
            ..self.good(name)
        }
    }
}

/// Nothing may be found.
fn passes(fixture: Fixture) -> Case {
    caught_by(fixture, &[])
}

/// This must be found, and nothing else.
fn caught(fixture: Fixture, fault: Fault) -> Case {
    caught_by(fixture, &[fault])
}

/// All of these must be found, and nothing else.
fn caught_by(fixture: Fixture, faults: &[Fault]) -> Case {
    Case {
        fixture,
        faults: faults.to_vec(),
        also: Vec::new(),
    }
}

fn violated(gate: Gate, check: &'static str, words: &'static str) -> Fault {
    Fault {
        gate,
        check,
        outcome: Outcome::Violated,
        words,
    }
}

fn undecided(gate: Gate, check: &'static str, words: &'static str) -> Fault {
    Fault {
        outcome: Outcome::Undecided,
        ..violated(gate, check, words)
    }
}
