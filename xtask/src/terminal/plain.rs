//! Plain lines, for a log: one an event, with the seconds since the run began.

use crate::event::{Event, Judged, Line};
use crate::verdict::Outcome;

/// The line of an event; `None` where it is worth none.
pub(super) fn line(line: &Line) -> Option<String> {
    let clock = format!("[{:>6.1}s]", line.at_ms as f64 / 1000.0);
    match &line.event {
        // What was left out is told once, as a note.
        Event::Judged(judged) if judged.outcome == Outcome::Skipped => None,
        Event::Judged(judged) => Some(format!("{clock} {}", verdict(judged))),
        Event::Note { text } => Some(format!("{clock} {text}")),
        _ => None,
    }
}

fn verdict(judged: &Judged) -> String {
    let seconds = judged.took_ms as f64 / 1000.0;
    let (service, gate, word) = (&judged.service, judged.gate.name(), &judged.word);
    let mut line = format!(
        "{gate:<8}{service:<24}{word:<10}{seconds:>6.1} s  {}",
        judged.reason
    );
    if let Some(hint) = &judged.hint {
        line.push_str(&format!("\n          hint: {hint}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Check, Gate, Record};

    #[test]
    fn a_line_names_gate_service_verdict_and_remedy() {
        let check = Check::violated("over budget", "17 MB", "make it smaller");
        let record = Record::from_checks("frontend", Gate::Budget, vec![check], "");
        let event = Event::Judged(Judged::of(&record));
        assert_eq!(
            line(&Line { at_ms: 1_500, event }).unwrap(),
            "[   1.5s] budget  frontend                violated     0.0 s  over budget: 17 MB\n          hint: make it smaller"
        );
    }
}
