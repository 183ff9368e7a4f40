//! Boot times and memory of each image, with the runs before behind them.

use maud::{Markup, html};
use serde_json::Value;

use super::scale::region;
use super::words::section as framed;
use crate::history::{BEHIND, Entry};
use crate::report::Report;
use crate::trend::chart::{self, Chart, Line};
use crate::trend::{Metric, Series};
use crate::verdict::{Gate, Origin, Record, age};

pub(super) const STYLES: [&str; 2] = [chart::STYLE, include_str!("boots.css")];

/// What is drawn together.
const TIMES: [Metric; 2] = [Metric::FirstAnswer, Metric::ReadyAnswer];
const MEMORY: [Metric; 2] = [Metric::IdleMemory, Metric::LoadedMemory];

pub(super) fn section(report: &Report, history: &[Entry]) -> Markup {
    let boots = report.records.iter().filter(|record| record.gate == Gate::Boot);
    let mut boots: Vec<&Record> = boots
        .filter(|record| {
            TIMES
                .iter()
                .chain(&MEMORY)
                .any(|metric| figure(record, *metric).is_some())
        })
        .collect();
    if boots.is_empty() {
        return Markup::default();
    }
    boots.sort_by(|one, other| one.service.cmp(&other.service));
    let runs = behind(report, history);
    let body = html! {
        (table(&boots))
        @for record in &boots { (image(record, &runs)) }
        p class="soft" {
            "Drawn, where there are earlier ones, are up to " (BEHIND) " runs that measured the same image's service on the same kind of machine with the same base \
             images; the ring is what this report says. A verdict that was reused was not measured again. "
            code { "cargo xtask trend" } " shows all runs, and names what jumped."
        }
    };
    framed("boots", "Boot times and memory", body)
}

/// The runs before this one, and this one.
fn behind(report: &Report, history: &[Entry]) -> Vec<Entry> {
    let before = |run: &&Entry| run.at < report.started_at && run.run_id != report.run_id;
    let before: Vec<Entry> = history.iter().filter(before).cloned().collect();
    let mut runs = before[before.len().saturating_sub(BEHIND)..].to_vec();
    runs.push(Entry::of(report));
    runs
}

fn image(record: &Record, runs: &[Entry]) -> Markup {
    let pictures = [
        picture(record, runs, "Time to the first and to the ready answer", &TIMES),
        picture(record, runs, "Memory, idle and after the load", &MEMORY),
    ];
    if pictures.iter().all(|picture| picture.0.is_empty()) {
        return Markup::default();
    }
    html! {
        h3 { (record.service) }
        p class="since" { (measured(record)) }
        div class="charts" { @for picture in &pictures { (picture) } }
    }
}

fn measured(record: &Record) -> String {
    match &record.origin {
        Origin::Fresh => "measured by this run".to_owned(),
        Origin::Reused { run_id, age_s } => {
            format!(
                "reused: measured by run {run_id}, {} before this one",
                age(*age_s)
            )
        }
    }
}

fn picture(record: &Record, runs: &[Entry], title: &str, metrics: &[Metric]) -> Markup {
    let own = source(record, runs);
    let lines: Vec<Line> = metrics
        .iter()
        .filter_map(|metric| line(record, runs, *metric, own))
        .collect();
    let day =
        |run: Option<&Entry>| run.map_or_else(String::new, |run| run.at.strftime("%Y-%m-%d").to_string());
    // From the first run that is drawn on: a service may be younger than the history.
    let from = lines.iter().filter_map(|line| Some(line.points.first()?.0)).min();
    let from = from.unwrap_or_default();
    let moved = |line: Line<'static>| Line {
        points: line
            .points
            .into_iter()
            .map(|(run, value)| (run - from, value))
            .collect(),
        own: line.own.map(|own| own - from),
        ..line
    };
    // A single point is no line: the table says it.
    if lines.iter().all(|line| line.points.len() < 2) {
        return Markup::default();
    }
    chart::draw(&Chart {
        title,
        unit: metrics[0].unit(),
        least_span: metrics[0].least_span(),
        runs: runs.len() - from,
        ends: (day(runs.get(from)), day(runs.last())),
        lines: lines.into_iter().map(moved).collect(),
        jumps: Vec::new(),
    })
}

/// The place of the run that measured what this report says: the last one where the history no longer has it.
fn source(record: &Record, runs: &[Entry]) -> usize {
    let found = match &record.origin {
        Origin::Fresh => None,
        Origin::Reused { run_id, .. } => runs.iter().position(|run| run.run_id == *run_id),
    };
    found.unwrap_or(runs.len() - 1)
}

fn line(record: &Record, runs: &[Entry], metric: Metric, own: usize) -> Option<Line<'static>> {
    let value = figure(record, metric)? as f64;
    // Alike to the run that measured this: what came after it did not measure it again, or is not alike.
    let series = Series::of_image(&runs[..=own], metric, &record.service);
    let points = series.iter().flat_map(|series| &series.points);
    let mut points: Vec<(usize, f64)> = points.map(|point| (point.run, point.value as f64)).collect();
    points.retain(|(run, _)| *run != own);
    points.push((own, value));
    Some(Line {
        name: metric.words(),
        points,
        own: Some(own),
    })
}

fn figure(record: &Record, metric: Metric) -> Option<u64> {
    record.figures.get(key(metric))?.as_u64()
}

/// The name of the boot gate's figure.
fn key(metric: Metric) -> &'static str {
    match metric {
        Metric::ReadyAnswer => "ready_answer_ms",
        Metric::IdleMemory => "idle_memory_bytes",
        Metric::LoadedMemory => "loaded_memory_bytes",
        _ => "first_answer_ms",
    }
}

/// All of it in numbers.
fn table(boots: &[&Record]) -> Markup {
    const COLUMNS: [&str; 7] = [
        "first answer",
        "95 %",
        "ready answer",
        "95 %",
        "stop",
        "idle memory",
        "loaded memory",
    ];
    let numbers = html! {
        table {
            caption { span { "Medians of the starts, and what 95 % of them keep" } }
            thead {
                tr {
                    th scope="col" { "image" }
                    @for column in COLUMNS { th scope="col" class="number" { (column) } }
                    th scope="col" { "measured" }
                }
            }
            tbody { @for record in boots { (row(record)) } }
        }
    };
    region("Boot times and memory in numbers", numbers)
}

fn row(record: &Record) -> Markup {
    let ms = |name: &str| shown(record, name, Metric::FirstAnswer);
    let mb = |name: &str| shown(record, name, Metric::IdleMemory);
    let cells = [
        ms("first_answer_ms"),
        ms("first_answer_p95_ms"),
        ms("ready_answer_ms"),
        ms("ready_answer_p95_ms"),
        ms("stop_ms"),
        mb("idle_memory_bytes"),
        mb("loaded_memory_bytes"),
    ];
    html! {
        tr {
            th scope="row" { (record.service) }
            @for cell in cells { td class="number" { (cell) } }
            td {
                @match &record.origin {
                    Origin::Fresh => "now",
                    Origin::Reused { run_id, .. } => { "by run " (run_id) }
                }
            }
        }
    }
}

fn shown(record: &Record, name: &str, like: Metric) -> String {
    let value = record.figures.get(name).and_then(Value::as_u64);
    value.map_or("unknown".to_owned(), |value| like.unit().shown(value as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::Check;

    fn booted(origin: Origin) -> Report {
        let mut report = sample();
        let check = vec![Check::passed("live", "256 ms")];
        let record = Record::from_checks("<b>gateway", Gate::Boot, check, "")
            .figure("first_answer_ms", 256)
            .figure("idle_memory_bytes", 1_400_000);
        report.services.push(record.service.clone());
        report.records.push(Record { origin, ..record });
        report.started_at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        report
    }

    fn earlier(report: &Report, count: usize) -> Vec<Entry> {
        let mut runs = crate::history::tests::runs(count);
        for run in &mut runs {
            let mut like = Entry::of(report);
            (like.run_id, like.at) = (run.run_id.clone(), run.at);
            *run = like;
        }
        runs
    }

    #[test]
    fn this_run_is_ringed_among_the_last_ones_that_are_alike() {
        let report = booted(Origin::Fresh);
        let mut runs = earlier(&report, 70);
        runs[69].machine = "8x-ffffffff".into();
        let drawn = section(&report, &runs).into_string();
        assert!(drawn.contains("&lt;b&gt;gateway") && !drawn.contains("<b>gateway"));
        assert!(drawn.contains("measured by this run"), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 2);
        assert!(
            drawn.contains("first answer: 50 runs, from 256 ms to 256 ms"),
            "{drawn}"
        );
        // What came later than the report is not behind it.
        runs.iter_mut()
            .for_each(|run| run.at = jiff::Timestamp::from_second(1_900_000_000).unwrap());
        let drawn = section(&report, &runs).into_string();
        assert!(
            drawn.contains("256 ms") && !drawn.contains("<svg"),
            "one point is no line: {drawn}"
        );
    }

    #[test]
    fn a_reused_verdict_is_ringed_where_it_was_measured() {
        let fresh = booted(Origin::Fresh);
        let runs = earlier(&fresh, 4);
        let origin = |run_id: &str| Origin::Reused {
            run_id: run_id.to_owned(),
            age_s: 7200,
        };
        let drawn = section(&booted(origin(&runs[1].run_id)), &runs).into_string();
        assert!(
            drawn.contains("reused: measured by run 20261121-000001-abcd, 2 h before"),
            "{drawn}"
        );
        assert!(drawn.contains("first answer: 2 runs"), "{drawn}");
        let gone = section(&booted(origin("gone")), &runs).into_string();
        assert!(
            gone.contains("measured by run gone") && gone.contains("<circle"),
            "{gone}"
        );
    }

    #[test]
    fn without_a_boot_there_is_no_section() {
        assert!(section(&sample(), &[]).into_string().is_empty());
    }
}
