//! What happens in a run, told as it happens: a line each of `events.jsonl` and of `--format json`. Data only; who
//! shows it is `terminal.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verdict::{Gate, Origin, Outcome, Record};

/// One line: an event, and when it happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The first one of a run.
    RunStarted {
        run_id: String,
        /// The subcommand.
        command: String,
        at: jiff::Timestamp,
    },
    /// The table of this run: a row for each service, a column for each gate.
    Planned { services: Vec<String>, gates: Vec<Gate> },
    /// A part of the run began, or of a gate that looks at the whole stack.
    StepStarted {
        step: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gate: Option<Gate>,
    },
    StepEnded {
        step: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gate: Option<Gate>,
    },
    /// How far the step that is under way has come. Many a second; kept nowhere.
    Progress(Progress),
    /// A gate begins to look at an image.
    GateStarted { service: String, gate: Gate },
    /// A verdict is in.
    Judged(Judged),
    /// Something that a reader should know.
    Note { text: String },
    /// A program was started. Told with `--verbose` alone; kept nowhere.
    ProgramStarted {
        /// As a person would type it, secrets masked.
        line: String,
    },
    ProgramEnded {
        line: String,
        /// Its exit status; `late`, `interrupted` or `not started` where it has none.
        ended: String,
        took_ms: u64,
    },
    /// What ended the run, or the command, before its end.
    Error {
        error: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        exit_code: u8,
    },
    /// The last one of a run.
    RunEnded {
        exit_code: u8,
        summary: String,
        /// The run's folder, relative to the checkout.
        folder: String,
    },
}

impl Event {
    /// What a program is told of an error.
    pub fn error(error: &anyhow::Error) -> Self {
        Event::Error {
            error: format!("{error:#}"),
            hint: crate::exit::hint(error),
            exit_code: crate::exit::explain(error).0.code(),
        }
    }

    /// Of use only while it happens: kept in no timeline and no file.
    pub fn is_detail(&self) -> bool {
        matches!(
            self,
            Event::Progress(_) | Event::ProgramStarted { .. } | Event::ProgramEnded { .. }
        )
    }
}

/// A line on standard output, for a program.
pub fn say(line: &Line) {
    if let Ok(text) = serde_json::to_string(line) {
        crate::report::say(&text);
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What is being worked on, e.g. `compiling serde`.
    pub text: String,
    /// How many of `unit` are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// How many there are, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// `crates`, `layers`, `bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A verdict without its evidence, which is in `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    pub service: String,
    pub gate: Gate,
    pub outcome: Outcome,
    /// The outcome for a table; `reused` where an earlier run passed it.
    pub word: String,
    /// A few words, and for a reused verdict since when.
    pub reason: String,
    pub origin: Origin,
    pub took_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl Judged {
    pub fn of(record: &Record) -> Self {
        Judged {
            service: record.service.clone(),
            gate: record.gate,
            outcome: record.outcome,
            word: record.word().to_owned(),
            reason: record.reason_with_origin(),
            origin: record.origin.clone(),
            took_ms: record.took_ms,
            hint: record.hint().map(str::to_owned),
            log: record.log.clone(),
        }
    }
}

/// A stretch of the run, for its timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The step's name; of a gate on an image, the gate's.
    pub step: String,
    /// The gate that this is, or is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// The image that the gate looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Milliseconds since the run began.
    pub started_ms: u64,
    pub took_ms: u64,
}

/// Where the time went, by beginning. What has not ended lasts until now; a verdict that came without a look (it was
/// known) takes no room.
pub fn timeline(lines: &[Line], now_ms: u64) -> Vec<Span> {
    let begun = lines.iter().enumerate().filter_map(|(at, line)| {
        let (step, gate, service) = match &line.event {
            Event::StepStarted { step, gate } => (step.clone(), *gate, None),
            Event::GateStarted { service, gate } => {
                (gate.name().to_owned(), Some(*gate), Some(service.clone()))
            }
            _ => return None,
        };
        let ended = lines[at..]
            .iter()
            .find(|line| ends(&line.event, &step, gate, &service));
        Some(Span {
            step,
            gate,
            service,
            started_ms: line.at_ms,
            took_ms: ended.map_or(now_ms, |line| line.at_ms).saturating_sub(line.at_ms),
        })
    });
    begun.collect()
}

fn ends(event: &Event, begun: &str, of: Option<Gate>, on: &Option<String>) -> bool {
    match event {
        Event::StepEnded { step, gate } => on.is_none() && step == begun && *gate == of,
        Event::Judged(judged) => on.as_ref() == Some(&judged.service) && of == Some(judged.gate),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_ms: u64, event: Event) -> Line {
        Line { at_ms, event }
    }

    fn judged(service: &str, gate: Gate) -> Event {
        Event::Judged(Judged::of(&Record::from_checks(service, gate, vec![], "")))
    }

    #[test]
    fn the_timeline_pairs_each_beginning_with_its_end() {
        let (service, gate) = ("a".to_owned(), Gate::Boot);
        let (step, of) = ("stories".to_owned(), Some(Gate::Network));
        let lines = [
            at(
                0,
                Event::StepStarted {
                    step: "plan".into(),
                    gate: None,
                },
            ),
            at(
                5,
                Event::StepEnded {
                    step: "plan".into(),
                    gate: None,
                },
            ),
            at(6, judged("a", Gate::Lint)),
            at(7, Event::GateStarted { service, gate }),
            at(8, judged("b", Gate::Boot)),
            at(9, judged("a", Gate::Boot)),
            at(10, Event::StepStarted { step, gate: of }),
        ];
        let spans = timeline(&lines, 30);
        let told: Vec<_> = spans
            .iter()
            .map(|span| (span.step.as_str(), span.started_ms, span.took_ms))
            .collect();
        assert_eq!(told, [("plan", 0, 5), ("boot", 7, 2), ("stories", 10, 20)]);
    }

    #[test]
    fn a_line_is_flat_and_read_back() {
        let line = at(12, judged("frontend", Gate::Scan));
        let text = serde_json::to_string(&line).unwrap();
        assert!(
            text.starts_with(r#"{"at_ms":12,"event":"judged","service":"frontend","gate":"scan""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}
