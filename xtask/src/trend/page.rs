//! A trend as one self-contained HTML page: the jumps, a chart of each service, and every number in a table.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::blame::Named;
use super::chart::{self, Chart, Line, Mark};
use super::metric::{Metric, change, digits};
use super::series::Series;
use super::{Trend, printable, table};
use crate::catalogue::plural;
use crate::history::Entry;

/// The colours are those of a run's page.
const STYLES: [&str; 3] = [
    include_str!("../report/html/style.css"),
    chart::STYLE,
    include_str!("page.css"),
];

/// What is drawn together: place, heading and figures.
const GROUPS: [(&str, &str, &[Metric]); 4] = [
    ("sizes", "Sizes", &[Metric::Unpacked, Metric::Compressed]),
    ("boots", "Boot times", &[Metric::FirstAnswer, Metric::ReadyAnswer]),
    ("memory", "Memory", &[Metric::IdleMemory, Metric::LoadedMemory]),
    ("durations", "Durations", &[Metric::Duration]),
];

pub fn render(trend: &Trend) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Trend of " (trend.runs.len()) " runs" }
                @for style in STYLES { style { (PreEscaped(style)) } }
            }
            body {
                header {
                    h1 { "Trend" }
                    p { (summary(trend.runs)) }
                }
                main {
                    (jumps(trend))
                    @for (place, heading, metrics) in GROUPS { (group(trend, place, heading, metrics)) }
                    @if !trend.unreadable.is_empty() { p { (table::broken(trend)) } }
                }
            }
        }
    };
    page.into_string()
}

fn summary(runs: &[Entry]) -> String {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        return "No run was recorded yet.".to_owned();
    };
    let (count, plural) = (runs.len(), plural(runs.len()));
    let (from, to) = (
        first.at.strftime("%Y-%m-%d %H:%M"),
        last.at.strftime("%Y-%m-%d %H:%M"),
    );
    format!(
        "{count} run{plural}, {from} to {to} UTC. Compared are runs with the same base images, and times on the same kind of machine."
    )
}

fn jumps(trend: &Trend) -> Markup {
    html! {
        section id="jumps" aria-labelledby="jumps-title" {
            h2 id="jumps-title" { "Jumps" }
            @if trend.jumps.is_empty() {
                p { "None: no size moved by 1 %, no time or memory by 10 % and four times its noise." }
            } @else {
                ul class="jumps" { @for named in &trend.jumps { (jump(trend, named)) } }
            }
        }
    }
}

fn jump(trend: &Trend, named: &Named) -> Markup {
    let series = &trend.series[named.series];
    let unit = series.metric.unit();
    html! {
        li {
            strong { (change(named.jump.before, named.jump.after)) " " (series.metric.words()) }
            " of " (printable(&series.of)) ": "
            (unit.shown(named.jump.before)) " to " (unit.shown(named.jump.after))
            span class="place" { (table::place(named)) }
        }
    }
}

fn group(trend: &Trend, place: &str, heading: &str, metrics: &[Metric]) -> Markup {
    let own = trend.series.iter().enumerate();
    let own: Vec<(usize, &Series)> = own
        .filter(|(_, series)| metrics.contains(&series.metric))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for (_, series) in &own {
        if !names.contains(&series.of.as_str()) {
            names.push(&series.of);
        }
    }
    html! {
        @if !own.is_empty() {
            section id=(place) aria-labelledby={ (place) "-title" } {
                h2 id={ (place) "-title" } { (heading) }
                div class="charts" { @for name in names { (picture(trend, &own, name)) } }
                (numbers(heading, &own))
                details {
                    summary { "Every run" }
                    (values(heading, &own))
                }
            }
        }
    }
}

/// One chart with all figures of a service.
fn picture(trend: &Trend, own: &[(usize, &Series)], name: &str) -> Markup {
    let own: Vec<&(usize, &Series)> = own.iter().filter(|(_, series)| series.of == name).collect();
    let title = printable(name);
    let lines = own.iter().map(|(_, series)| Line {
        name: series.metric.words(),
        points: series
            .points
            .iter()
            .map(|point| (point.run, point.value as f64))
            .collect(),
        own: None,
    });
    let marks = trend.jumps.iter().filter_map(|named| {
        let (_, series) = own.iter().find(|(place, _)| *place == named.series)?;
        let sign = change(named.jump.before, named.jump.after);
        Some(Mark {
            run: series.points[named.jump.at].run,
            words: format!("{sign} {} {}", series.metric.words(), table::place(named)),
            sign,
        })
    });
    let day =
        |run: Option<&Entry>| run.map_or_else(String::new, |run| run.at.strftime("%Y-%m-%d").to_string());
    chart::draw(&Chart {
        title: &title,
        unit: own[0].1.metric.unit(),
        least_span: own[0].1.metric.least_span(),
        runs: trend.runs.len(),
        ends: (day(trend.runs.first()), day(trend.runs.last())),
        lines: lines.collect(),
        jumps: once_a_place(marks.collect()),
    })
}

/// Where both lines jump, the first is marked: they would be written over each other.
fn once_a_place(mut marks: Vec<Mark>) -> Vec<Mark> {
    let mut taken = BTreeSet::new();
    marks.retain(|mark| taken.insert(mark.run));
    marks
}

fn numbers(heading: &str, own: &[(usize, &Series)]) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label={ (heading) " in numbers" } {
            table {
                caption { span { (heading) " in numbers" } }
                thead {
                    tr {
                        @for column in ["of", "figure"] { th scope="col" { (column) } }
                        @for column in ["first", "last", "least", "median", "most", "runs", "left out"] {
                            th scope="col" class="number" { (column) }
                        }
                    }
                }
                tbody { @for (_, series) in own { (row(series)) } }
            }
        }
    }
}

fn row(series: &Series) -> Markup {
    let all = series.numbers();
    let unit = series.metric.unit();
    html! {
        tr {
            th scope="row" { (printable(&series.of)) }
            td { (series.metric.words()) }
            @for value in [all.first, all.last, all.min, all.median, all.max] {
                td class="number" { (unit.shown(value)) }
            }
            td class="number" { (series.points.len()) }
            td class="number" { (series.elsewhere) }
        }
    }
}

/// What each run measured, the latest first.
fn values(heading: &str, own: &[(usize, &Series)]) -> Markup {
    let mut rows: BTreeMap<usize, (&Entry, Vec<Option<u64>>)> = BTreeMap::new();
    for (column, (_, series)) in own.iter().enumerate() {
        for point in &series.points {
            let row = rows
                .entry(point.run)
                .or_insert_with(|| (point.entry, vec![None; own.len()]));
            row.1[column] = Some(point.value);
        }
    }
    html! {
        div class="scroll runs" tabindex="0" role="region" aria-label={ (heading) " of every run" } {
            table {
                caption { span { (heading) " of every run, the latest first" } }
                thead {
                    tr {
                        th scope="col" { "run" }
                        th scope="col" { "commit" }
                        @for (_, series) in own { (column(series)) }
                    }
                }
                tbody {
                    @for (entry, values) in rows.values().rev() {
                        tr {
                            th scope="row" { (printable(&entry.run_id)) }
                            td { (commit(entry)) }
                            @for (value, (_, series)) in values.iter().zip(own) { (cell(series, *value)) }
                        }
                    }
                }
            }
        }
    }
}

fn column(series: &Series) -> Markup {
    let (unit, _) = series.metric.unit().scale(series.numbers().max);
    html! { th scope="col" class="number" { (printable(&series.of)) br; (series.metric.words()) ", " (unit) } }
}

fn cell(series: &Series, value: Option<u64>) -> Markup {
    let (unit, one) = series.metric.unit().scale(series.numbers().max);
    html! { td class="number" { @if let Some(value) = value { (digits(unit, value as f64 / one)) } } }
}

fn commit(entry: &Entry) -> String {
    let Some(commit) = &entry.commit else {
        return "unknown".to_owned();
    };
    let short: String = commit.id.chars().take(7).collect();
    let dirty = if commit.dirty { ", dirty" } else { "" };
    format!("{}{dirty}", printable(&short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Figures, Unreadable};
    use crate::trend::series;

    #[test]
    fn what_comes_from_the_history_stays_text() {
        let hostile = "<script>alert(1)</script>\"'&\u{202e}";
        let mut runs = crate::history::tests::runs(3);
        for (number, run) in runs.iter_mut().enumerate() {
            run.run_id = format!("{hostile}{number}");
            run.command = hostile.to_owned();
            let commit = run.commit.as_mut().unwrap();
            (commit.id, commit.branch) = (hostile.to_owned(), hostile.to_owned());
            let figures = Figures {
                unpacked_bytes: Some(u64::MAX * (number as u64 % 2)),
                idle_memory_bytes: Some(0),
                ..Figures::default()
            };
            run.images.insert(hostile.to_owned(), figures);
        }
        let unreadable = [Unreadable {
            line: 1,
            why: hostile.to_owned(),
        }];
        let trend = Trend {
            runs: &runs,
            series: series::gather(&runs, &Metric::ALL, &[]),
            jumps: Vec::new(),
            unreadable: &unreadable,
        };
        let page = render(&trend);
        assert!(!page.contains("<script") && !page.contains('\u{202e}'));
        assert!(!page.contains("NaN") && !page.contains("inf,"));
        assert_eq!(page.matches("<figure").count(), 3, "sizes, memory, durations");
        assert_eq!(
            page.matches("<section").count(),
            page.matches("</section>").count()
        );
    }
}
