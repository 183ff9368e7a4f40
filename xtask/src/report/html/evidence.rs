//! Every check of every record: open where something is not well, folded where all passed.

use maud::{Markup, html};

use super::words::{anchor, bad, badge, file, lasted, run, section as framed};
use crate::report::Report;
use crate::report::words::counted;
use crate::verdict::{Check, Origin, Record, age};

pub(super) fn section(report: &Report) -> Markup {
    let gates = report.gates();
    if gates.is_empty() {
        return Markup::default();
    }
    let body = html! {
        @for gate in gates {
            h3 { (gate.name()) }
            @for record in report.records.iter().filter(|record| record.gate == gate) {
                (of_record(report, record))
            }
        }
    };
    framed("evidence", "Evidence, check by check", body)
}

fn of_record(report: &Report, record: &Record) -> Markup {
    let (open, fine): (Vec<_>, Vec<_>) = record.checks.iter().partition(|check| bad(check.outcome));
    html! {
        details class="record" open[bad(record.outcome)] {
            summary {
                (badge(record.word())) " " strong { (record.service) } " "
                span class="soft" { (record.reason.lines().next().unwrap_or_default()) }
            }
            div id=(anchor(report, record)) {
                (facts(report, record))
                (checks(&open))
                @if open.is_empty() { (checks(&fine)) }
                @else if !fine.is_empty() {
                    details { summary { (counted(fine.len(), "check")) " that passed" } (checks(&fine)) }
                }
            }
        }
    }
}

fn facts(report: &Report, record: &Record) -> Markup {
    html! {
        ul class="inline soft" {
            @match &record.origin {
                Origin::Fresh if record.took_ms > 0 => { li { "looked at in " (lasted(record.took_ms)) } }
                Origin::Fresh => {}
                Origin::Reused { run_id, age_s } => {
                    li { "reused: found " (age(*age_s)) " before by run " (run(report, run_id)) }
                }
            }
            @if let Some(digest) = &record.digest { li { "image " code { (digest) } } }
            @if let Some(log) = &record.log { li { "log: " (file(log, log)) } }
            @if record.checks.is_empty() { li { (record.reason) } }
        }
    }
}

fn checks(checks: &[&Check]) -> Markup {
    if checks.is_empty() {
        return Markup::default();
    }
    html! {
        ul class="checks" {
            @for check in checks {
                li {
                    (badge(check.outcome.word())) " " strong { (check.name) } " "
                    span class="lines" { (check.detail) }
                    @if let Some(hint) = &check.hint { p class="remedy" { strong { "Remedy: " } (hint) } }
                }
            }
        }
    }
}
