//! The table image × gate: a word, a few more, and a way to the evidence.

use maud::{Markup, html};

use super::words::{anchor, badge, section as framed, table};
use crate::report::Report;
use crate::verdict::{Origin, Record, age};

/// How much of a reason is shown, in characters; all of it is in the evidence.
const REASON: usize = 64;

pub(super) fn section(report: &Report) -> Markup {
    let gates = report.gates();
    if gates.is_empty() {
        return Markup::default();
    }
    let mut columns = vec!["image"];
    columns.extend(gates.iter().map(|gate| gate.name()));
    let rows = html! {
        @for service in &report.services {
            tr {
                th scope="row" { (service) }
                @for gate in &gates { td { (cell(report, report.record(service, *gate))) } }
            }
        }
    };
    let caption = "What each gate says of each image; every word leads to its evidence";
    framed("verdicts", "Verdicts", table("verdicts", caption, &columns, rows))
}

fn cell(report: &Report, record: Option<&Record>) -> Markup {
    let Some(record) = record else {
        return badge("not run");
    };
    html! {
        a class="cell" href={ "#" (anchor(report, record)) } { (badge(record.word())) }
        span class="reason" {
            (few_words(record))
            @if let Origin::Reused { age_s, .. } = &record.origin { ", " (age(*age_s)) " ago" }
        }
    }
}

fn few_words(record: &Record) -> String {
    let reason = record.reason.lines().next().unwrap_or_default();
    match reason.chars().count() {
        0..=REASON => reason.to_owned(),
        _ => reason.chars().take(REASON - 1).chain(['…']).collect(),
    }
}
