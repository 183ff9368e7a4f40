//! The table of faults: each store, troubled in each way.

use maud::{Markup, html};

use super::words::{section as framed, table};
use crate::gate::faults::table::{COLUMNS, Row};
use crate::report::Report;
use crate::verdict::{Gate, Outcome};

pub(super) fn section(report: &Report) -> Markup {
    let rows = report.fault_rows();
    if rows.is_empty() {
        return Markup::default();
    }
    let body = html! { @for row in &rows { (line(row, outcome(report, row))) } };
    let caption = "What happened under traffic while each store was troubled";
    framed("faults", "Faults", table("faults", caption, &COLUMNS, body))
}

/// The worst that any image's checks say of this store and fault, or what its figures say by themselves.
fn outcome(report: &Report, row: &Row) -> Outcome {
    let own = format!("{} {}: ", row.store, row.fault);
    let records = report.records.iter().filter(|record| record.gate == Gate::Faults);
    let checks = records.flat_map(|record| &record.checks);
    let own = checks.filter(|check| check.name.starts_with(&own));
    let worst = own.map(|check| check.outcome).max().unwrap_or(Outcome::Passed);
    let wrong = row.hung > 0 || row.wrong > 0 || row.lost > 0 || row.recovered_ms.is_none();
    if wrong { Outcome::Violated } else { worst }
}

fn line(row: &Row, outcome: Outcome) -> Markup {
    html! {
        tr class=[(outcome == Outcome::Violated).then_some("bad")] {
            @for (place, cell) in row.cells().iter().enumerate() {
                @if place == 0 { th scope="row" { (cell) (mark(outcome)) } }
                @else { td { (cell) } }
            }
        }
    }
}

fn mark(outcome: Outcome) -> Markup {
    match outcome {
        Outcome::Violated => html! { " " span class="violated" { "✗ not as expected" } },
        Outcome::Undecided => html! { " " span class="undecided" { "? undecided" } },
        _ => Markup::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::{Check, Record};
    use serde_json::json;

    #[test]
    fn a_row_is_marked_by_what_the_checks_say_of_it() {
        let row = |fault: &str| {
            json!({"store": "postgres", "fault": fault, "sent": 1, "hung": 0, "wrong": 0,
                "recovered_ms": 1, "acknowledged": 1, "lost": 0})
        };
        let checks = vec![
            Check::violated("postgres frozen: readiness", "never said so", "say so"),
            Check::undecided("postgres cut off: acknowledged orders", "1 not read back", "see"),
            Check::passed("postgres killed: readiness", "not ready"),
        ];
        let mut report = sample();
        let rows = json!([row("frozen"), row("cut off"), row("killed")]);
        report.records = vec![Record::from_checks("a", Gate::Faults, checks, "").figure("faults", rows)];
        let page = section(&report).into_string();
        let marks: Vec<(bool, bool)> = page
            .split("<tr")
            .skip(2)
            .map(|row| (row.contains("✗ not as expected"), row.contains("? undecided")))
            .collect();
        assert_eq!(marks, [(true, false), (false, true), (false, false)], "{page}");
    }
}
