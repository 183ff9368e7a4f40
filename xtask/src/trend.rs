//! `cargo xtask trend`: sizes, boot times, memory and durations over the runs of `reports/history.jsonl`, printed and
//! drawn; a jump is named with its commits. It judges nothing: whatever it finds, it ends with 0.

mod blame;
pub mod chart;
mod jump;
mod metric;
mod page;
mod series;
mod spark;
mod table;

use anyhow::Result;
use serde::Serialize;

use crate::cache::whole;
use crate::cli::{Format, TrendOptions};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::history::{self, Entry, Unreadable};
use crate::report::{complain, say};

pub use metric::Metric;
pub use series::Series;

/// Beside the reports, for it is of all runs.
const PAGE: &str = "reports/trend.html";

/// What a trend is told from.
pub struct Trend<'a> {
    pub runs: &'a [Entry],
    pub series: Vec<Series<'a>>,
    /// The latest first.
    pub jumps: Vec<blame::Named<'a>>,
    pub unreadable: &'a [Unreadable],
}

/// Prints the trend and writes its page.
///
/// # Errors
/// Exit 2: a service that no run measured. Exit 3: a history that cannot be read.
pub async fn run(context: &Context, options: &TrendOptions) -> Result<Exit> {
    let history = history::all(&context.root)?;
    let known = history.entries.len();
    let runs = &history.entries[known.saturating_sub(usize::from(options.last))..];
    refuse_unknown(runs, &options.services)?;
    let series = series::gather(runs, &metrics(options), &options.services);
    let trend = Trend {
        runs,
        jumps: blame::name(context, runs, &series).await,
        series,
        unreadable: &history.unreadable,
    };
    let drawn = draw(context, &trend);
    match options.format {
        Format::Json => say(&serde_json::to_string_pretty(&Answer::of(&trend, drawn))?),
        Format::Human => {
            let variable = |name: &str| std::env::var(name).ok();
            say(table::render(&trend, table::width(), spark::has_blocks(variable)).trim_end());
            if drawn {
                say(&format!("as a picture: {PAGE}"));
            }
        }
    }
    Ok(Exit::Passed)
}

fn metrics(options: &TrendOptions) -> Vec<Metric> {
    let asked = |metric: &Metric| match (options.metrics.is_empty(), options.services.is_empty()) {
        (false, _) => options.metrics.contains(metric),
        (true, all) => all || *metric != Metric::Duration,
    };
    Metric::ALL.into_iter().filter(asked).collect()
}

fn refuse_unknown(runs: &[Entry], names: &[String]) -> Result<()> {
    let known = series::services(runs);
    let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str())) else {
        return Ok(());
    };
    let hint = match known.len() {
        0 => "no run has measured anything yet: `cargo xtask ci` does".to_owned(),
        _ => {
            let known: Vec<String> = known.into_iter().map(printable).collect();
            format!("they measured {}; --last looks further back", known.join(", "))
        }
    };
    let what = format!(
        "none of the last {} runs measured a service named '{unknown}'",
        runs.len()
    );
    Err(Failure::usage(what, hint).into())
}

/// Whether there is a page now. Where it cannot be written, that is said and the rest goes on.
fn draw(context: &Context, trend: &Trend) -> bool {
    if trend.runs.is_empty() {
        return false;
    }
    let path = context.root.join(PAGE);
    let written = whole(&path, &context.run_id, page::render(trend).as_bytes());
    if let Err(error) = &written {
        complain(&format!(
            "no picture: {} cannot be written: {error}",
            path.display()
        ));
    }
    written.is_ok()
}

/// A text from the history or from git, for a terminal: what would steer it, or turn the order of what is read, is
/// replaced.
pub fn printable(text: &str) -> String {
    let steers = |sign: char| {
        sign.is_control()
            || matches!(sign, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let shown = text
        .chars()
        .map(|sign| if steers(sign) { '\u{fffd}' } else { sign });
    shown.collect()
}

/// The answer with `--format json`.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    runs: usize,
    from: Option<jiff::Timestamp>,
    to: Option<jiff::Timestamp>,
    series: Vec<Told<'a>>,
    jumps: Vec<ToldJump<'a>>,
    unreadable_lines: &'a [Unreadable],
    /// Relative to the checkout; absent where it could not be written.
    page: Option<&'static str>,
}

#[derive(Serialize)]
struct Told<'a> {
    metric: Metric,
    of: &'a str,
    unit: metric::Unit,
    points: Vec<ToldPoint<'a>>,
    first: f64,
    last: f64,
    min: f64,
    median: f64,
    max: f64,
    /// Runs that measured it under other conditions.
    left_out: usize,
}

#[derive(Serialize)]
struct ToldPoint<'a> {
    run_id: &'a str,
    at: jiff::Timestamp,
    commit: Option<&'a str>,
    dirty: bool,
    value: u64,
}

#[derive(Serialize)]
struct ToldJump<'a> {
    metric: Metric,
    of: &'a str,
    before: f64,
    after: f64,
    /// The first run after it.
    run_id: &'a str,
    #[serde(flatten)]
    place: &'a blame::Place,
}

impl<'a> Answer<'a> {
    fn of(trend: &'a Trend<'a>, drawn: bool) -> Self {
        let jumps = trend.jumps.iter().map(|jump| ToldJump {
            metric: trend.series[jump.series].metric,
            of: &trend.series[jump.series].of,
            before: jump.jump.before,
            after: jump.jump.after,
            run_id: &jump.run.run_id,
            place: &jump.place,
        });
        Answer {
            version: 1,
            runs: trend.runs.len(),
            from: trend.runs.first().map(|run| run.at),
            to: trend.runs.last().map(|run| run.at),
            series: trend.series.iter().map(Told::of).collect(),
            jumps: jumps.collect(),
            unreadable_lines: trend.unreadable,
            page: drawn.then_some(PAGE),
        }
    }
}

impl<'a> Told<'a> {
    fn of(series: &'a Series<'a>) -> Self {
        let numbers = series.numbers();
        let points = series.points.iter().map(|point| ToldPoint {
            run_id: &point.entry.run_id,
            at: point.entry.at,
            commit: point.entry.commit.as_ref().map(|commit| commit.id.as_str()),
            dirty: point.entry.commit.as_ref().is_some_and(|commit| commit.dirty),
            value: point.value,
        });
        Told {
            metric: series.metric,
            of: &series.of,
            unit: series.metric.unit(),
            points: points.collect(),
            first: numbers.first,
            last: numbers.last,
            min: numbers.min,
            median: numbers.median,
            max: numbers.max,
            left_out: series.elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_replaced() {
        assert_eq!(
            printable("a\u{1b}[31m\u{202e}b\n<é>"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}<é>"
        );
    }
}
