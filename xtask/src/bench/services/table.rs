//! The figures of `bench services` as Markdown. Pure.

use std::fmt::Write;

use super::Results;
use super::figures::{Aim, Figures, Measurement, Side};
use crate::bench::row::median;
use crate::report::escape;

/// A heading, what it was measured on, one table a load, and what was aimed at.
pub fn render(results: &Results) -> String {
    let mut text = String::from("# Services under load\n\n");
    for fact in &results.header.facts {
        let _ = writeln!(text, "- {}", escape(fact));
    }
    for measurement in &results.loads {
        load(&mut text, measurement);
    }
    if !results.idle.is_empty() {
        text.push_str("\n## Before any load\n");
        aims(&mut text, &results.idle);
    }
    text.push_str(
        "\nMedians of the samples; the sides take turns, and what is compared is compared round by round: the median \
         of the rounds, and the least and the most of them. Noisy: some rounds say otherwise. Alone: one request at a \
         time; the other figures: all connections at work, each with one request under way (so times grow with the \
         connections). MB: resident memory of all processes.\n",
    );
    text
}

fn load(text: &mut String, measurement: &Measurement) {
    let _ = writeln!(text, "\n## {}: {}\n", measurement.service, measurement.load);
    let _ = writeln!(
        text,
        "{} ({} connections)\n",
        escape(&measurement.about),
        measurement.connections
    );
    if let Some(why) = &measurement.failed {
        let _ = writeln!(text, "**failed:** {}", escape(why));
        return;
    }
    text.push_str("| side | a second | alone p50 ms | alone p99 ms | p50 ms | p99 ms | MB |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (side, figures) in &measurement.sides {
        row(text, *side, figures);
    }
    aims(text, &measurement.aims);
}

fn row(text: &mut String, side: Side, figures: &Figures) {
    let cell = |samples: &[f64], digits: usize| {
        median(samples).map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {} |",
        side.name(),
        cell(&figures.per_second, 0),
        cell(&figures.alone_p50_ms, 3),
        cell(&figures.alone_p99_ms, 3),
        cell(&figures.p50_ms, 2),
        cell(&figures.p99_ms, 2),
        cell(&figures.memory_mb, 1),
    );
    if let Some(opened) = median(&figures.opened_s) {
        let _ = writeln!(text, "| | all open after {opened:.2} s | | | | | |");
    }
    if figures.wrong > 0 {
        let first = figures.first_wrong.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "| | **{} answers were not as expected: {}** | | | | | |",
            figures.wrong,
            escape(first).replace('|', "\\|"),
        );
    }
}

fn aims(text: &mut String, aims: &[Aim]) {
    text.push('\n');
    for aim in aims {
        let word = match aim.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "**not known**",
        };
        let noisy = if aim.noisy { ", noisy" } else { "" };
        let got = got(aim);
        let unit = if aim.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", aim.unit)
        };
        let _ = writeln!(
            text,
            "- {}: {got}{unit}, aim {}{unit}: {word}{noisy}",
            escape(&aim.what),
            aim.aim
        );
    }
}

/// The median of the rounds, and how far they lie apart.
fn got(aim: &Aim) -> String {
    let least = aim.rounds.iter().copied().reduce(f64::min);
    let most = aim.rounds.iter().copied().reduce(f64::max);
    match (aim.got, least, most) {
        (Some(got), Some(least), Some(most)) if aim.rounds.len() > 1 => {
            format!("{} ({} to {})", figure(got), figure(least), figure(most))
        }
        (got, ..) => got.map_or("-".to_owned(), figure),
    }
}

fn figure(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Header;
    use super::super::figures::tests::measurement;
    use super::super::form::Aims;
    use super::*;

    #[test]
    fn loads_and_aims_are_told() {
        let mut met = measurement();
        met.judge(
            &Aims {
                added_p50_ms: Some(0.1),
                ..Aims::default()
            },
            None,
        );
        let opened = &mut met.sides.get_mut(&Side::Process).unwrap().opened_s;
        opened.extend([0.5, 0.7]);
        let figures = met.sides.get_mut(&Side::Nginx).unwrap();
        (figures.wrong, figures.first_wrong) = (3, Some("status 502: <x>".into()));
        let mut failed = measurement();
        failed.failed = Some("step 1 'log in': expected status 200, got 401".into());
        let results = Results {
            header: Header {
                version: 1,
                run_id: "20261122-041500-abcd".into(),
                started_at: jiff::Timestamp::UNIX_EPOCH,
                took_s: 1.0,
                facts: vec!["2 processors".into()],
            },
            loads: vec![met, failed],
            idle: vec![Aim::at_most("shop, process", 12.0, "MB", Some(8.2))],
        };
        insta::assert_snapshot!(render(&results));
    }
}
