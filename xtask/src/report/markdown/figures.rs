//! Figures that the gates measured: boot times and memory, and where the time of the run went.

use std::fmt::Write;

use super::block::Block;
use super::escape;
use crate::gate::budget::mb;
use crate::history::Entry;
use crate::report::Report;
use crate::verdict::{Gate, Record};

/// How many steps the line about time names.
const STEPS: usize = 6;

/// First answers and memory, an image a row; nothing where no image was booted.
pub(super) fn boots(report: &Report) -> Option<Block> {
    let booted = report.records.iter().filter(|record| record.gate == Gate::Boot);
    let booted: Vec<&Record> = booted
        .filter(|record| record.figures.contains_key("first_answer_ms"))
        .collect();
    if booted.is_empty() {
        return None;
    }
    let mut text =
        "| image | first answer | 95th percentile | idle memory | loaded memory | stopped in |\n".to_owned();
    text.push_str("| --- | --: | --: | --: | --: | --: |\n");
    for record in booted {
        let figure = |name: &str| record.figures.get(name).and_then(serde_json::Value::as_u64);
        let ms = |name: &str| figure(name).map_or("unknown".to_owned(), |ms| format!("{ms} ms"));
        let memory = |name: &str| figure(name).map_or("unknown".to_owned(), mb);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            escape(&record.service),
            ms("first_answer_ms"),
            ms("first_answer_p95_ms"),
            memory("idle_memory_bytes"),
            memory("loaded_memory_bytes"),
            ms("stop_ms")
        );
    }
    Some(Block::folded("Boot times and memory", &text))
}

/// The longest steps in a line: `boot 21.5 s, network 17.2 s`.
pub(super) fn time(report: &Report) -> Option<String> {
    let mut steps: Vec<(String, u64)> = Entry::of(report).steps_ms.into_iter().collect();
    // What took no hundredth of the run is not where its time went.
    steps.retain(|(_, took_ms)| *took_ms > 0 && took_ms * 100 >= report.took_ms);
    steps.sort_by_key(|(_, took_ms)| std::cmp::Reverse(*took_ms));
    let longest = steps.iter().take(STEPS);
    let words: Vec<String> = longest
        .map(|(step, took_ms)| format!("{} {}", escape(step), seconds(*took_ms)))
        .collect();
    (!words.is_empty()).then(|| {
        format!(
            "Where {} went: {}.\n\n",
            seconds(report.took_ms),
            words.join(", ")
        )
    })
}

/// Each stretch of the run, by its beginning.
pub(super) fn timeline(report: &Report) -> Option<Block> {
    if report.timeline.is_empty() {
        return None;
    }
    let mut text = "| began | took | step | image |\n| --: | --: | --- | --- |\n".to_owned();
    for span in &report.timeline {
        let gate = span.gate.filter(|gate| gate.name() != span.step);
        let _ = writeln!(
            text,
            "| {} | {} | {}{} | {} |",
            seconds(span.started_ms),
            seconds(span.took_ms),
            gate.map_or(String::new(), |gate| format!("{}: ", gate.name())),
            escape(&span.step),
            escape(span.service.as_deref().unwrap_or_default())
        );
    }
    Some(Block::folded("The run, step by step", &text))
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Span;
    use crate::report::tests::sample;

    #[test]
    fn the_time_went_where_most_of_it_went() {
        let mut report = sample();
        assert_eq!(time(&report), None);
        let span = |step: &str, service: Option<&str>, started_ms, took_ms| Span {
            step: step.to_owned(),
            gate: service.map(|_| Gate::Boot),
            service: service.map(str::to_owned),
            started_ms,
            took_ms,
        };
        report.timeline = vec![
            span("planning", None, 0, 20),
            span("sweeping", None, 20, 2_000),
            span("boot", Some("a"), 2_020, 8_000),
            span("boot", Some("b"), 3_020, 8_000),
        ];
        assert_eq!(
            time(&report).unwrap(),
            "Where 12.3 s went: boot 9.0 s, sweeping 2.0 s.\n\n"
        );
        let steps = timeline(&report).unwrap().text;
        assert!(steps.contains("| 3.0 s | 8.0 s | boot | b |"), "{steps}");
    }
}
