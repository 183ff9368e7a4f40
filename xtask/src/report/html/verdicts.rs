//! The table image × gate: a word, a few more, and a way to the evidence.

use maud::{Markup, html};

use super::words::{anchor, badge, section as framed};
use crate::report::Report;
use crate::report::words::cut;
use crate::verdict::{Gate, Origin, Record, age};

/// How much of a reason is shown, in characters; all of it is in the evidence.
const REASON: usize = 64;

pub(super) fn section(report: &Report) -> Markup {
    let gates = report.gates();
    if gates.is_empty() {
        return Markup::default();
    }
    // The roles are those of a table already; a phone shows it as cards, and would lose them.
    let body = html! {
        div class="scroll" role="region" tabindex="0" aria-labelledby="verdicts-caption" {
            table role="table" {
                caption id="verdicts-caption" {
                    span { "What each gate says of each image; every word leads to its evidence" }
                }
                thead role="rowgroup" {
                    tr role="row" {
                        th role="columnheader" scope="col" { "image" }
                        @for gate in &gates { th role="columnheader" scope="col" { (gate.name()) } }
                    }
                }
                tbody role="rowgroup" { @for service in &report.services { (row(report, &gates, service)) } }
            }
        }
    };
    framed("verdicts", "Verdicts", body)
}

fn row(report: &Report, gates: &[Gate], service: &str) -> Markup {
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (service) }
            @for gate in gates {
                td role="cell" {
                    span class="gate" aria-hidden="true" { (gate.name()) }
                    (cell(report, report.record(service, *gate)))
                }
            }
        }
    }
}

fn cell(report: &Report, record: Option<&Record>) -> Markup {
    let Some(record) = record else {
        return badge("not run");
    };
    html! {
        a class="cell" href={ "#" (anchor(report, record)) } { (badge(record.word())) }
        span class="reason" {
            (cut(record.reason.lines().next().unwrap_or_default(), REASON))
            @if let Origin::Reused { age_s, .. } = &record.origin { ", " (age(*age_s)) " ago" }
        }
    }
}
