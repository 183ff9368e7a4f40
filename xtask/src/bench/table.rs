//! The benchmark as Markdown. Pure.

use std::fmt::Write;

use super::Results;
use super::row::{Row, Side};
use crate::report::escape;

/// A heading, what it was measured on, and one line a row.
pub fn render(results: &Results) -> String {
    let mut text = String::from("# Benchmark\n\n");
    for fact in &results.header.facts {
        let _ = writeln!(text, "- {}", escape(fact));
    }
    text.push_str("\n| case | ours | s | compared with | s | ratio | target | note |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for row in &results.rows {
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text.push_str(
        "\nSeconds: the median, and in brackets every sample in the order in which it was taken.\n",
    );
    text
}

fn cells(row: &Row) -> [String; 8] {
    let theirs = row.theirs.as_ref();
    [
        row.name.clone(),
        row.ours.what.clone(),
        if row.failed.is_some() {
            "**failed**".to_owned()
        } else {
            seconds(&row.ours)
        },
        theirs.map_or("-".to_owned(), |side| side.what.clone()),
        theirs.map_or("-".to_owned(), seconds),
        row.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        row.target.clone(),
        note(row),
    ]
}

fn seconds(side: &Side) -> String {
    let Some(median) = side.median_s else {
        return "-".to_owned();
    };
    let samples: Vec<String> = side.samples_s.iter().map(|sample| figure(*sample)).collect();
    match samples.len() {
        1 => figure(median),
        _ => format!("{} ({})", figure(median), samples.join(", ")),
    }
}

/// Three digits that mean something: minutes need no milliseconds.
fn figure(seconds: f64) -> String {
    match seconds {
        0.0..10.0 => format!("{seconds:.3}"),
        10.0..100.0 => format!("{seconds:.1}"),
        _ => format!("{seconds:.0}"),
    }
}

fn note(row: &Row) -> String {
    let failed = row
        .failed
        .as_ref()
        .map(|why| format!("**failed:** {}", escape(why)));
    let parts = [failed.unwrap_or_default(), row.note.clone()];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("<br>")
}

#[cfg(test)]
mod tests {
    use super::super::Header;
    use super::super::row::Samples;
    use super::*;

    fn results() -> Results {
        let samples = |ours: &[f64], theirs: &[f64]| {
            Ok(Samples {
                ours: ours.to_vec(),
                theirs: theirs.to_vec(),
            })
        };
        let no_op = Row::new("no-op", "`ci`", "at most 1 s")
            .against("bake")
            .note("warm");
        let gates = Row::new("gates", "five gates", "at most 25 s");
        let cold = Row::new("cold", "joint bake", "0.4")
            .against("six builds")
            .note("once");
        Results {
            header: Header {
                version: 1,
                run_id: "20261121-101500-abcd".into(),
                started_at: jiff::Timestamp::UNIX_EPOCH,
                took_s: 1.0,
                facts: vec!["2 processors".into(), "engine 26.1.5".into()],
            },
            rows: vec![
                no_op.measured(samples(&[0.84, 0.8301, 0.9], &[1.7, 1.68, 1.72])),
                gates.measured(samples(&[23.456], &[])),
                cold.failed(&anyhow::anyhow!("`docker` ended with 1:\na | <b>")),
            ],
        }
    }

    #[test]
    fn a_table_with_a_ratio_an_absolute_figure_and_a_failure() {
        insta::assert_snapshot!(render(&results()), @r#"
        # Benchmark

        - 2 processors
        - engine 26.1.5

        | case | ours | s | compared with | s | ratio | target | note |
        | --- | --- | --- | --- | --- | --- | --- | --- |
        | no-op | `ci` | 0.840 (0.840, 0.830, 0.900) | bake | 1.700 (1.700, 1.680, 1.720) | 0.49 | at most 1 s | warm |
        | gates | five gates | 23.5 | - | - | - | at most 25 s |  |
        | cold | joint bake | **failed** | six builds | - | - | 0.4 | **failed:** \`docker\` ended with 1:<br>a \| &lt;b&gt;<br>once |

        Seconds: the median, and in brackets every sample in the order in which it was taken.
        "#);
    }
}
