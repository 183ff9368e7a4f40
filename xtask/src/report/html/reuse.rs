//! What was not looked at anew: whose verdicts were reused, and how old they are. And which images all this is about.

use maud::{Markup, html};

use super::verdict::reused;
use super::words::{images, run, section as framed, table};
use crate::report::Report;
use crate::verdict::{Gate, Origin, Record, age};

pub(super) fn section(report: &Report) -> Markup {
    if report.records.is_empty() {
        return Markup::default();
    }
    let groups = groups(report);
    let rows = html! {
        @for (run_id, gate, records) in &groups {
            tr {
                th scope="row" { (run(report, run_id)) }
                td { (ages(records)) }
                td { (gate.name()) }
                td { (images(report, records)) }
            }
        }
    };
    let body = html! {
        @if groups.is_empty() { p { "Nothing: every verdict was found by this run." } }
        @else {
            p { "An earlier run found these for the same digest, settings, files and tools; this one did not look again. "
                "A run whose page was still beside this one, with its logs, is linked. "
                code { "--fresh" } " looks at everything anew." }
            (table("reused", "Verdicts of earlier runs", &["found by run", "ago", "gate", "images"], rows))
        }
    };
    framed("reused", "What was reused", body)
}

/// The reused verdicts by the run that found them and the gate, newest run first.
fn groups(report: &Report) -> Vec<(&str, Gate, Vec<&Record>)> {
    let mut groups: Vec<(&str, Gate, Vec<&Record>)> = Vec::new();
    for record in reused(report) {
        let Origin::Reused { run_id, .. } = &record.origin else {
            continue;
        };
        let known = groups
            .iter_mut()
            .find(|(run, gate, _)| run == run_id && *gate == record.gate);
        match known {
            Some((_, _, records)) => records.push(record),
            None => groups.push((run_id, record.gate, vec![record])),
        }
    }
    groups.sort_by(|one, other| (other.0, one.1).cmp(&(one.0, other.1)));
    groups
}

/// The ages of several verdicts: the oldest, where they differ.
fn ages(records: &[&Record]) -> String {
    let ages = records.iter().filter_map(|record| match record.origin {
        Origin::Reused { age_s, .. } => Some(age_s),
        Origin::Fresh => None,
    });
    age(ages.max().unwrap_or_default())
}

pub(super) fn digests(report: &Report) -> Markup {
    if report.digests.is_empty() {
        return Markup::default();
    }
    let rows = html! {
        @for (service, digest) in &report.digests {
            tr { th scope="row" { (service) } td { code { (digest) } } }
        }
    };
    let caption = "The digests that every gate judged";
    framed(
        "digests",
        "Images",
        table("digests", caption, &["image", "digest"], rows),
    )
}
