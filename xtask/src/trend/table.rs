//! A trend for a terminal: a line of numbers and a small picture for each series, then the jumps and what is left out.

use std::fmt::Write;

use console::{Alignment, Term, measure_text_width, pad_str};

use super::blame::Named;
use super::metric::{change, digits};
use super::series::Series;
use super::{Trend, printable, spark};
use crate::catalogue::plural;

/// Widths of the columns: two spaces and the name, each of five numbers, the number of runs.
const NAME: usize = 23;
const NUMBER: usize = 8;
const RUNS: usize = 5;

/// The least and the most columns of a small picture.
const PICTURE: (usize, usize) = (9, 50);

/// So many jumps, and broken lines, are named.
const NAMED: usize = 10;

/// Of the terminal; 80 where there is none.
pub fn width() -> usize {
    let size = Term::stdout().size_checked();
    size.map_or(80, |(_, columns)| usize::from(columns).max(80))
}

/// `blocks`: whether the terminal shows more than ASCII.
pub fn render(trend: &Trend, width: usize, blocks: bool) -> String {
    let mut text = match (trend.runs.first(), trend.runs.last()) {
        (Some(first), Some(last)) => {
            let (count, plural) = (trend.runs.len(), plural(trend.runs.len()));
            let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M");
            format!(
                "{count} run{plural}, {} to {} UTC\n",
                time(first.at),
                time(last.at)
            )
        }
        _ => "no run was recorded yet: `cargo xtask ci`, and every gate, adds one to reports/history.jsonl\n"
            .to_owned(),
    };
    if !trend.runs.is_empty() && trend.series.is_empty() {
        text.push_str("none of them measured anything of this: known verdicts are not measured again\n");
    }
    for group in trend.series.chunk_by(|one, other| one.metric == other.metric) {
        table(&mut text, group, width, blocks);
    }
    if !trend.series.is_empty() {
        jumps(&mut text, trend, width);
    }
    left_out(&mut text, trend, width);
    if blocks { text } else { text.replace('…', "~") }
}

/// The series of one metric, in one unit.
fn table(text: &mut String, group: &[Series], width: usize, blocks: bool) {
    let largest = group
        .iter()
        .map(|series| series.numbers().max)
        .fold(0.0, f64::max);
    let (unit, one) = group[0].metric.unit().scale(largest);
    let heading = format!("{}, {unit}", group[0].metric.words());
    let _ = write!(text, "\n{}", pad_str(&heading, NAME + 2, Alignment::Left, None));
    for column in ["first", "last", "min", "median", "max"] {
        let _ = write!(text, "{column:>NUMBER$}");
    }
    let _ = writeln!(text, "{:>RUNS$}", "runs");
    let picture = width.saturating_sub(2 + NAME + 5 * NUMBER + RUNS + 1);
    let picture = picture.clamp(PICTURE.0, PICTURE.1);
    for series in group {
        let name = printable(&series.of);
        let _ = write!(text, "  {}", pad_str(&name, NAME, Alignment::Left, Some("…")));
        let all = series.numbers();
        for value in [all.first, all.last, all.min, all.median, all.max] {
            let _ = write!(text, "{:>NUMBER$}", digits(unit, value / one));
        }
        let drawn = spark::draw(&series.values(), picture, series.metric.least_span(), blocks);
        let _ = writeln!(text, "{:>RUNS$} {drawn}", series.points.len());
    }
}

fn jumps(text: &mut String, trend: &Trend, width: usize) {
    if trend.jumps.is_empty() {
        let rule = "no jump: no size moved by 1 %, no time or memory by 10 % and four times its noise, which takes four \
                    alike runs before and after";
        let _ = write!(text, "\n{}", wrapped(rule, width, 0));
        return;
    }
    text.push_str("\njumps, the latest first\n");
    for (index, named) in trend.jumps.iter().take(NAMED).enumerate() {
        let series = &trend.series[named.series];
        let (unit, jump) = (series.metric.unit(), named.jump);
        let moved = format!(
            "  {:<8} {} of {}: {} to {}",
            change(jump.before, jump.after),
            series.metric.words(),
            printable(&series.of),
            unit.shown(jump.before),
            unit.shown(jump.after)
        );
        text.push_str(&wrapped(&moved, width, 11));
        // Said once for all that jumped together.
        let next = trend.jumps.get(index + 1).filter(|_| index + 1 < NAMED);
        if next.is_none_or(|next| place(next) != place(named)) {
            text.push_str(&wrapped(&format!("           {}", place(named)), width, 11));
        }
    }
    if trend.jumps.len() > NAMED {
        let _ = writeln!(text, "  and {} more: --format json", trend.jumps.len() - NAMED);
    }
}

/// Where a jump lies, and the run that saw it first.
pub fn place(named: &Named) -> String {
    format!(
        "{} (run\u{a0}{})",
        named.place.words,
        printable(&named.run.run_id)
    )
}

fn left_out(text: &mut String, trend: &Trend, width: usize) {
    let elsewhere = trend.series.iter().map(|series| series.elsewhere).max();
    if let Some(count) = elsewhere.filter(|count| *count > 0) {
        let said = format!(
            "up to {count} runs a line are left out: other base images, another machine, or another number of images \
             side by side than in the last run"
        );
        let _ = write!(text, "\n{}", wrapped(&said, width, 0));
    }
    if !trend.unreadable.is_empty() {
        let _ = write!(text, "\n{}", wrapped(&broken(trend), width, 0));
    }
}

/// Which lines of the history cannot be read, and why.
pub fn broken(trend: &Trend) -> String {
    let count = trend.unreadable.len();
    let mut said: Vec<String> = trend
        .unreadable
        .iter()
        .take(NAMED)
        .map(|line| format!("line {} ({})", line.line, printable(&line.why)))
        .collect();
    if count > NAMED {
        said.push(format!("and {} more", count - NAMED));
    }
    format!(
        "{count} line{} of reports/history.jsonl cannot be read: {}",
        plural(count),
        said.join(", ")
    )
}

/// Breaks a line between words, but for hard spaces; further lines are indented.
fn wrapped(line: &str, width: usize, indent: usize) -> String {
    let start = line.len() - line.trim_start().len();
    let (mut text, mut column) = (" ".repeat(start), start);
    let mut fresh = true;
    for word in line.trim_start().split(' ') {
        let length = measure_text_width(word);
        if !fresh && column + 1 + length > width {
            let _ = write!(text, "\n{}", " ".repeat(indent));
            (column, fresh) = (indent, true);
        }
        if !fresh {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        fresh = false;
    }
    text.push('\n');
    text.replace('\u{a0}', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Entry, Figures, Unreadable};
    use crate::trend::blame::Place;
    use crate::trend::jump::Jump;
    use crate::trend::{Metric, series};

    fn grown(services: &[&str]) -> Vec<Entry> {
        let mut runs = crate::history::tests::runs(12);
        for (number, run) in runs.iter_mut().enumerate() {
            for service in services {
                let figures = Figures {
                    unpacked_bytes: Some(if number < 9 { 9_722_368 } else { 10_890_000 }),
                    first_answer_ms: Some(250 + 3 * (number as u64 % 4)),
                    ..Figures::default()
                };
                run.images.insert((*service).to_owned(), figures);
            }
        }
        runs
    }

    fn of<'a>(runs: &'a [Entry], unreadable: &'a [Unreadable]) -> Trend<'a> {
        let series = series::gather(runs, &[Metric::Unpacked, Metric::FirstAnswer], &[]);
        let place = Place {
            good: None,
            bad: None,
            commits: None,
            words: "at 1a2b3c4 \"Bring a far too large dependency in, for one small function of it\"".into(),
        };
        let named = |(at, series): (usize, &Series<'a>)| {
            let jumps = series.jumps().into_iter();
            jumps
                .map(|jump: Jump| Named {
                    series: at,
                    jump,
                    run: &runs[jump.at],
                    place: place.clone(),
                })
                .collect::<Vec<_>>()
        };
        let jumps = series.iter().enumerate().flat_map(named).collect();
        Trend {
            runs,
            series,
            jumps,
            unreadable,
        }
    }

    #[test]
    fn a_table_with_its_jumps() {
        let runs = grown(&["gateway", "a-service-with-a-very-long-name"]);
        let broken = Unreadable {
            line: 7,
            why: "cut off".into(),
        };
        let text = render(&of(&runs, &[broken]), 80, true);
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn names_that_steer_stay_text_and_ascii_is_ascii() {
        let runs = grown(&["<b>\u{1b}[31m\u{202e}", "名前名前名前名前名前名前名前"]);
        let text = render(&of(&runs, &[]), 80, true);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
        let runs = grown(&["a-service-with-a-very-long-name"]);
        assert!(render(&of(&runs, &[]), 80, false).is_ascii());
    }

    #[test]
    fn without_runs_there_is_a_sentence() {
        let text = render(&of(&[], &[]), 80, true);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("no run was recorded yet"));
        let runs = crate::history::tests::runs(1);
        assert!(render(&of(&runs, &[]), 80, true).contains("none of them measured anything"));
    }
}
