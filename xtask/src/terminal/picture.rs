//! What a run looks like at a moment, put together from its events: every cell of the table, and what is under way.
//! Every face draws from this.

use std::collections::BTreeMap;

use super::clean;
use crate::event::{Event, Judged, Line, Progress};
use crate::gate::budget::mb;
use crate::verdict::{Gate, Outcome};

#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The rows; none before the plan is known.
    pub(super) services: Vec<String>,
    /// The columns.
    pub(super) gates: Vec<Gate>,
    cells: BTreeMap<(String, Gate), Cell>,
    /// The steps that are under way, the innermost last.
    steps: Vec<Begun>,
    progress: Option<Progress>,
}

#[derive(Debug)]
pub(super) enum Cell {
    /// A gate looks since then (milliseconds of the run).
    Begun {
        at_ms: u64,
    },
    Judged {
        judged: Judged,
        at_ms: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Begun {
    gate: Option<Gate>,
    step: String,
    at_ms: u64,
}

/// What the run is about right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// Stays the same for as long as this is under way, whatever image a gate is at.
    pub(super) key: String,
    /// The step's or the gate's.
    pub(super) name: String,
    /// On what, e.g. the images of a gate; empty where the name says it all.
    pub(super) on: String,
    pub(super) since_ms: u64,
    /// How far it is; empty where nobody knows.
    pub(super) progress: String,
    /// Done and total, where both are known.
    pub(super) share: Option<(u64, u64)>,
}

impl UnderWay {
    pub(super) fn words(&self) -> String {
        let parts = [&self.name, &self.on, &self.progress];
        let told = parts.into_iter().filter(|part| !part.is_empty());
        told.map(String::as_str).collect::<Vec<_>>().join(": ")
    }
}

impl Picture {
    pub(super) fn take(&mut self, line: &Line) {
        let at_ms = line.at_ms;
        match &line.event {
            Event::Planned { services, gates } => {
                self.services.clone_from(services);
                self.gates.clone_from(gates);
            }
            Event::StepStarted { step, gate } => {
                let (gate, step) = (*gate, step.clone());
                self.progress = None;
                self.steps.push(Begun { gate, step, at_ms });
            }
            Event::StepEnded { step, gate } => {
                self.progress = None;
                self.steps
                    .retain(|begun| (&begun.step, begun.gate) != (step, *gate));
            }
            Event::GateStarted { service, gate } => {
                self.cells.insert((service.clone(), *gate), Cell::Begun { at_ms });
            }
            Event::Judged(judged) => {
                self.progress = None;
                let (place, judged) = ((judged.service.clone(), judged.gate), judged.clone());
                self.cells.insert(place, Cell::Judged { judged, at_ms });
            }
            Event::Progress(progress) => self.progress = Some(progress.clone()),
            _ => {}
        }
    }

    pub(super) fn cell(&self, service: &str, gate: Gate) -> Option<&Cell> {
        self.cells.get(&(service.to_owned(), gate))
    }

    /// When a step that is under way began.
    pub(super) fn began(&self, step: &str, gate: Option<Gate>) -> Option<u64> {
        let begun = self
            .steps
            .iter()
            .find(|begun| begun.step == step && begun.gate == gate);
        begun.map(|begun| begun.at_ms)
    }

    /// The verdict on an image that a reader should see: the worst one, and of equals the last.
    pub(super) fn foremost(&self, service: &str) -> Option<&Judged> {
        let of = self.cells.iter().filter(|((name, _), _)| name == service);
        let judged = of.filter_map(|(_, cell)| match cell {
            Cell::Judged { judged, at_ms } if judged.outcome != Outcome::Skipped => Some((judged, *at_ms)),
            _ => None,
        });
        judged
            .max_by_key(|(judged, at_ms)| (judged.outcome, *at_ms))
            .map(|(judged, _)| judged)
    }

    /// The innermost step, or else the gate that looks, with the images it looks at.
    pub(super) fn under_way(&self) -> Option<UnderWay> {
        let begun = match self.steps.last() {
            Some(step) => UnderWay {
                key: key(&step.step, step.gate),
                name: step.gate.map_or(step.step.clone(), |gate| gate.name().to_owned()),
                on: step.gate.map(|_| step.step.clone()).unwrap_or_default(),
                since_ms: step.at_ms,
                progress: String::new(),
                share: None,
            },
            None => self.looking()?,
        };
        let progress = self.progress.as_ref();
        Some(UnderWay {
            progress: progress.map(words).unwrap_or_default(),
            share: progress.and_then(|progress| progress.done.zip(progress.total)),
            ..begun
        })
    }

    fn looking(&self) -> Option<UnderWay> {
        let looks = self
            .cells
            .iter()
            .filter_map(|((service, gate), cell)| match cell {
                Cell::Begun { at_ms } => Some((*gate, service.as_str(), *at_ms)),
                Cell::Judged { .. } => None,
            });
        let looks: Vec<_> = looks.collect();
        let gate = looks.iter().map(|(gate, ..)| *gate).max()?;
        let of = || looks.iter().filter(|(of, ..)| *of == gate);
        let names: Vec<&str> = of().map(|(_, service, _)| *service).collect();
        let all = names.len() == self.services.len() && names.len() > 2;
        Some(UnderWay {
            key: gate.name().to_owned(),
            name: gate.name().to_owned(),
            on: if all {
                format!("all {} images", names.len())
            } else {
                names.join(", ")
            },
            since_ms: of().map(|(_, _, at_ms)| *at_ms).min().unwrap_or_default(),
            progress: String::new(),
            share: None,
        })
    }
}

/// A step's [`UnderWay::key`].
pub(super) fn key(step: &str, gate: Option<Gate>) -> String {
    gate.map_or(step.to_owned(), |gate| format!("{}: {step}", gate.name()))
}

/// `45 of 219 crates, compiling serde`.
fn words(progress: &Progress) -> String {
    let unit = progress.unit.as_deref().unwrap_or_default();
    let amount = |count: u64| {
        if unit == "bytes" {
            mb(count)
        } else {
            count.to_string()
        }
    };
    let noun = match progress.total.or(progress.done) {
        _ if unit == "bytes" => String::new(),
        Some(1) => format!(" {}", unit.trim_end_matches('s')),
        _ => format!(" {unit}"),
    };
    let count = match (progress.done, progress.total) {
        (Some(done), Some(total)) => format!("{} of {}{noun}", amount(done), amount(total)),
        (Some(done), None) => format!("{}{noun}", amount(done)),
        _ => String::new(),
    };
    // A program's words.
    let text = clean(&progress.text);
    let parts = [count.trim_end(), text.as_str()];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::verdict::{Check, Record};

    pub(in crate::terminal) fn at(at_ms: u64, event: Event) -> Line {
        Line { at_ms, event }
    }

    pub(in crate::terminal) fn judged(service: &str, gate: Gate, outcome: Outcome, why: &str) -> Event {
        let check = match outcome {
            Outcome::Violated => Check::violated("check", why, "mend it"),
            Outcome::Undecided => Check::undecided("check", why, "look again"),
            _ => Check::passed("check", why),
        };
        if outcome == Outcome::Skipped {
            return Event::Judged(Judged::of(&Record::skipped(service, gate, why)));
        }
        Event::Judged(Judged::of(&Record::from_checks(service, gate, vec![check], why)))
    }

    pub(in crate::terminal) fn step(step: &str, gate: Option<Gate>) -> Event {
        let step = step.to_owned();
        Event::StepStarted { step, gate }
    }

    pub(in crate::terminal) fn begun(service: &str, gate: Gate) -> Event {
        let service = service.to_owned();
        Event::GateStarted { service, gate }
    }

    pub(in crate::terminal) fn crates(text: &str, done: u64, total: Option<u64>) -> Event {
        let (text, unit) = (text.to_owned(), Some("crates".to_owned()));
        let done = Some(done);
        Event::Progress(Progress {
            text,
            done,
            total,
            unit,
        })
    }

    #[test]
    fn one_is_no_plural() {
        let progress = |done, total| {
            let Event::Progress(progress) = crates("compiling a", done, total) else {
                unreachable!()
            };
            words(&progress)
        };
        assert_eq!(progress(1, None), "1 crate, compiling a");
        assert_eq!(progress(1, Some(9)), "1 of 9 crates, compiling a");
    }

    fn said(picture: &Picture) -> String {
        picture
            .under_way()
            .map(|under_way| under_way.words())
            .unwrap_or_default()
    }

    #[test]
    fn the_innermost_step_is_what_is_under_way() {
        let mut picture = Picture::default();
        assert_eq!(said(&picture), "");
        picture.take(&at(0, step("planning", None)));
        assert_eq!(said(&picture), "planning");
        picture.take(&at(1, begun("a", Gate::Network)));
        picture.take(&at(2, step("stories", Some(Gate::Network))));
        assert_eq!(said(&picture), "network: stories");
        let (step, gate) = ("stories".to_owned(), Some(Gate::Network));
        picture.take(&at(3, Event::StepEnded { step, gate }));
        picture.take(&at(
            3,
            Event::StepEnded {
                step: "planning".into(),
                gate: None,
            },
        ));
        assert_eq!(said(&picture), "network: a");
        picture.take(&at(4, judged("a", Gate::Network, Outcome::Passed, "well")));
        assert_eq!(said(&picture), "", "a verdict ends it");
    }

    #[test]
    fn progress_says_how_many_of_what() {
        let mut picture = Picture::default();
        picture.take(&at(0, begun("a", Gate::Build)));
        picture.take(&at(1, crates("compiling serde", 45, Some(219))));
        assert_eq!(said(&picture), "build: a: 45 of 219 crates, compiling serde");
        picture.take(&at(2, crates("compiling serde", 45, None)));
        assert_eq!(said(&picture), "build: a: 45 crates, compiling serde");
        let bytes = Progress {
            done: Some(12_300_000),
            total: Some(95_000_000),
            unit: Some("bytes".into()),
            ..Progress::default()
        };
        picture.take(&at(3, Event::Progress(bytes)));
        assert_eq!(said(&picture), "build: a: 12.30 MB of 95.00 MB");
    }

    #[test]
    fn the_worst_verdict_is_foremost_and_of_equals_the_last() {
        let mut picture = Picture::default();
        picture.take(&at(1, judged("a", Gate::Boot, Outcome::Passed, "booted")));
        picture.take(&at(2, judged("a", Gate::Lint, Outcome::Passed, "linted")));
        assert_eq!(picture.foremost("a").unwrap().reason, "linted");
        picture.take(&at(3, judged("a", Gate::Scan, Outcome::Undecided, "old")));
        picture.take(&at(4, judged("a", Gate::Budget, Outcome::Passed, "small")));
        assert_eq!(picture.foremost("a").unwrap().reason, "check: old");
        assert!(picture.foremost("b").is_none());
    }
}
