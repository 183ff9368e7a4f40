//! The table of faults: each store, troubled in each way.

use maud::{Markup, html};

use super::words::{section as framed, table};
use crate::gate::faults::table::{COLUMNS, Row};
use crate::report::Report;

pub(super) fn section(report: &Report) -> Markup {
    let told = report
        .records
        .iter()
        .find_map(|record| record.figures.get("faults"));
    let rows = told.and_then(|rows| serde_json::from_value::<Vec<Row>>(rows.clone()).ok());
    let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
        return Markup::default();
    };
    let body = html! { @for row in &rows { (line(row)) } };
    let caption = "What happened under traffic while each store was troubled";
    framed("faults", "Faults", table("faults", caption, &COLUMNS, body))
}

fn line(row: &Row) -> Markup {
    let wrong = row.hung > 0 || row.wrong > 0 || row.lost > 0 || row.recovered_ms.is_none();
    html! {
        tr class=[wrong.then_some("bad")] {
            @for (place, cell) in row.cells().iter().enumerate() {
                @if place == 0 { th scope="row" { (cell) @if wrong { " " span class="violated" { "✗ not as expected" } } } }
                @else { td { (cell) } }
            }
        }
    }
}
