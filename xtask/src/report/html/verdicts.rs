//! The table image × gate: a word, a few more, and a way to the evidence.

use maud::{Markup, html};

use super::words::{Card, anchor, badge, cards, section as framed};
use crate::report::Report;
use crate::report::words::cut_at_word;
use crate::verdict::{Origin, Record, age};

/// How much of a reason is shown, in characters; all of it is in the evidence.
const REASON: usize = 80;

pub(super) fn section(report: &Report) -> Markup {
    let gates = report.gates();
    if gates.is_empty() {
        return Markup::default();
    }
    let mut columns = vec!["image"];
    columns.extend(gates.iter().map(|gate| gate.name()));
    let row = |service: &String| {
        let records = gates.iter().map(|gate| report.record(service, *gate));
        Card {
            bad: false,
            head: html! { (service) },
            cells: records.map(|record| cell(report, record)).collect(),
        }
    };
    let rows: Vec<Card> = report.services.iter().map(row).collect();
    let caption = "What each gate says of each image; every word leads to its evidence";
    framed(
        "verdicts",
        "Verdicts",
        cards("verdicts", caption, &columns, &rows),
    )
}

fn cell(report: &Report, record: Option<&Record>) -> Markup {
    let Some(record) = record else {
        return badge("not run");
    };
    html! {
        a class="cell" href={ "#" (anchor(report, record)) } { (badge(record.word())) }
        span class="reason" {
            (cut_at_word(record.reason.lines().next().unwrap_or_default(), REASON))
            @if let Origin::Reused { age_s, .. } = &record.origin { ", " (age(*age_s)) " ago" }
        }
    }
}
