//! Where the time of the run went: its steps and gates on one scale, images side by side, and what nothing tells of;
//! the same in numbers below.

mod bands;

use maud::{Markup, html};

use super::scale::{Scale, axis, grid, moment, region};
use super::words::{lasted, section as framed};
use crate::report::Report;
use crate::verdict::Gate;
use bands::{Band, Bar, Stretch, bands, gaps, length};

pub(super) const STYLE: &str = include_str!("timeline.css");

/// How many of the longest looks are named.
const LONGEST: usize = 4;
/// What is shorter than this share of the run (%) is not to be seen.
const SEEN_PERCENT: f64 = 0.3;
/// A time of more characters needs a wider bar to be written in.
const SHORT: usize = 7;

pub(super) fn section(report: &Report) -> Markup {
    if report.timeline.is_empty() {
        return Markup::default();
    }
    let end = report
        .timeline
        .iter()
        .map(|span| span.started_ms.saturating_add(span.took_ms));
    // A report of an earlier part of the run may be younger than its last span.
    let total_ms = match report.took_ms {
        0 => end.max().unwrap_or_default(),
        took_ms => took_ms,
    };
    let bands = bands(&report.timeline, total_ms);
    let other = gaps(&bands, total_ms);
    let body = html! {
        p { (summary(report, &bands, &other, total_ms)) }
        (picture(&bands, &other, total_ms))
        (numbers(&bands))
    };
    framed("timeline", "Timeline", body)
}

/// The total, what it is made of, and what took longest.
fn summary(report: &Report, bands: &[Band], other: &[Stretch], total_ms: u64) -> String {
    let total = lasted(total_ms);
    if !bands.iter().any(|band| band.gate.is_some()) {
        let is_known = |word: &str| matches!(word, "reused" | "skipped");
        let all_known = report.records.iter().all(|record| is_known(record.word()));
        return match (report.records.is_empty(), all_known) {
            (false, true) => format!("Every verdict was known: nothing was looked at anew in these {total}."),
            _ => format!("{total} in all; no gate came to look at anything."),
        };
    }
    let mut shares: Vec<(&str, u64)> = bands
        .iter()
        .filter(|band| !band.is_part)
        .map(|band| (band.name.as_str(), band.took_ms()))
        .collect();
    shares.push(("other", length(other)));
    shares.sort_by_key(|(_, took_ms)| std::cmp::Reverse(*took_ms));
    // What does not show in the picture is not worth a word.
    shares.retain(|(_, took_ms)| *took_ms > total_ms / 200);
    let shares = shares
        .iter()
        .map(|(name, took_ms)| format!("{name} {}", lasted(*took_ms)));
    let mut text = format!("{total} in all: {}.", shares.collect::<Vec<_>>().join(", "));
    let longest = longest(bands);
    if !longest.is_empty() {
        text.push_str(&format!(" The longest: {}.", longest.join(", ")));
    }
    text
}

/// The longest looks at one image or parts of a gate, in words.
fn longest(bands: &[Band]) -> Vec<String> {
    let has_parts = |gate: Option<Gate>| bands.iter().any(|band| band.is_part && band.gate == gate);
    let mut looks: Vec<(u64, String)> = Vec::new();
    for band in bands.iter().filter(|band| band.gate.is_some()) {
        for bar in band.lanes.iter().flatten() {
            match band.is_part {
                true => looks.push((bar.took_ms(), band.name.clone())),
                // Its parts say more.
                false if has_parts(band.gate) => {}
                false => looks.push((bar.took_ms(), format!("{} of {}", band.name, bar.name))),
            }
        }
    }
    looks.sort_by_key(|(took_ms, _)| std::cmp::Reverse(*took_ms));
    let named = looks.into_iter().take(LONGEST);
    named
        .map(|(took_ms, name)| format!("{name} {}", lasted(took_ms)))
        .collect()
}

fn picture(bands: &[Band], other: &[Stretch], total_ms: u64) -> Markup {
    let scale = Scale::to(total_ms);
    let ticks = scale.time_ticks();
    html! {
        div class="pic" {
            div class="row whole" {
                p class="what" { strong { "the run" } " " span { (lasted(total_ms)) } }
                div class="track" aria-hidden="true" { (whole(bands, other, scale)) }
            }
            @for band in bands {
                div class={ "row" @if band.is_part { " inner" } } {
                    p class="what" { (band.name) " " span { (lasted(band.took_ms())) } }
                    div class="track" aria-hidden="true" {
                        (grid(scale, &ticks))
                        @for lane in &band.lanes { div class="lane" { @for bar in lane { (drawn(band, bar, scale)) } } }
                    }
                }
            }
            div class="row" {
                p class="what" {}
                (axis(scale, &ticks, |ms, _| moment(ms)))
            }
        }
    }
}

/// The whole run in one lane: what was under way, and what nothing tells of. What is too small
/// to be seen is left out.
fn whole(bands: &[Band], other: &[Stretch], scale: Scale) -> Markup {
    let named = bands.iter().filter(|band| !band.is_part).flat_map(|band| {
        let stretches = joined(band.covered(), scale).into_iter();
        stretches.map(|at| (class(band.gate), band.name.as_str(), at))
    });
    let other = other.iter().map(|at| ("striped", "other", *at));
    let is_seen = |at: Stretch| scale.percent(at.1 - at.0) >= SEEN_PERCENT;
    html! {
        div class="lane" {
            @for (class, name, at) in named.chain(other).filter(|(_, _, at)| is_seen(*at)) {
                (stretch(class, name, at, scale))
            }
        }
    }
}

/// Stretches with nothing between them that could be seen are one.
fn joined(stretches: Vec<Stretch>, scale: Scale) -> Vec<Stretch> {
    let mut joined: Vec<Stretch> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if scale.percent(from - last.1) < SEEN_PERCENT => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn drawn(band: &Band, bar: &Bar, scale: Scale) -> Markup {
    // A row of its own has its name beside it.
    let name = if band.name == bar.name { "" } else { &bar.name };
    stretch(class(band.gate), name, bar.at, scale)
}

fn stretch(class: &str, name: &str, at: Stretch, scale: Scale) -> Markup {
    let (from, took_ms) = (at.0, at.1 - at.0);
    let took = lasted(took_ms);
    let told = format!("{name} {took}, from {}", lasted(from));
    html! {
        div class={ "part " (class) } title=(told.trim_start())
            style={ "left:" (scale.at(from)) ";width:" (scale.at(took_ms)) } {
            @if !name.is_empty() { span class="name" { (name) } }
            span class={ "time" @if took.len() > SHORT { " long" } } { (took) }
        }
    }
}

/// Each gate has a colour of its own, the steps of the run share one.
fn class(gate: Option<Gate>) -> &'static str {
    match gate {
        Some(Gate::Build) => "s1",
        Some(Gate::Lint) => "s2",
        Some(Gate::Scan) => "s3",
        Some(Gate::Budget) => "s4",
        Some(Gate::Boot) => "s5",
        Some(Gate::Network) => "s6",
        Some(Gate::Faults) => "s7",
        None => "s8",
    }
}

fn numbers(bands: &[Band]) -> Markup {
    html! {
        details {
            summary { "The same in numbers" }
            (region("Where the time went, in numbers", html! {
                table {
                    caption { "Steps and gates by beginning" }
                    thead {
                        tr {
                            th scope="col" { "step" }
                            th scope="col" { "image" }
                            th scope="col" class="number" { "began" }
                            th scope="col" class="number" { "took" }
                        }
                    }
                    tbody { @for band in bands { @for bar in band.by_beginning() { (line(band, bar)) } } }
                }
            }))
        }
    }
}

fn line(band: &Band, bar: &Bar) -> Markup {
    html! {
        tr {
            td {
                @if let (true, Some(gate)) = (band.is_part, band.gate) { (gate.name()) ": " }
                (band.name)
            }
            td { @if band.name == bar.name { "all" } @else { (bar.name) } }
            td class="number" { (lasted(bar.at.0)) }
            td class="number" { (lasted(bar.took_ms())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bands::tests::span;
    use super::*;
    use crate::event::Span;
    use crate::report::tests::sample;
    use crate::verdict::{Check, Origin, Record};

    fn report(timeline: Vec<Span>, took_ms: u64) -> Report {
        let mut report = sample();
        report.timeline = timeline;
        report.took_ms = took_ms;
        report
    }

    fn said(report: &Report) -> String {
        let page = section(report).into_string();
        let begin = page.find("<p>").unwrap();
        page[begin + 3..begin + page[begin..].find("</p>").unwrap()].to_owned()
    }

    #[test]
    fn the_total_and_what_took_longest_are_said() {
        let boot = |service, at| span("boot", Some(Gate::Boot), Some(service), at);
        let report = report(
            vec![
                span("planning", None, None, (0, 700)),
                boot("a", (1_000, 8_500)),
                boot("b", (1_000, 8_000)),
                span("network", Some(Gate::Network), Some("a"), (8_500, 20_000)),
                span("losing redis", Some(Gate::Network), None, (9_000, 12_500)),
            ],
            20_000,
        );
        assert_eq!(
            said(&report),
            "20.0 s in all: network 11.5 s, boot 7.5 s, planning 700 ms, other 300 ms. The longest: boot of a 7.5 s, \
             boot of b 7.0 s, losing redis 3.5 s."
        );
    }

    #[test]
    fn a_run_that_knew_everything_says_so() {
        let mut report = report(vec![span("planning", None, None, (0, 120))], 312);
        assert_eq!(said(&report), "312 ms in all; no gate came to look at anything.");
        let known = Record::from_checks("a", Gate::Boot, vec![Check::passed("alive", "well")], "well");
        report.records = vec![known.by_evidence_of(Origin::Reused {
            run_id: "r".into(),
            age_s: 5,
        })];
        assert_eq!(
            said(&report),
            "Every verdict was known: nothing was looked at anew in these 312 ms."
        );
    }

    #[test]
    fn a_gate_is_one_stretch_of_the_run_where_its_looks_follow_each_other() {
        let scale = Scale::to(10_000);
        let stretches = vec![(0, 1_000), (1_001, 2_000), (5_000, 6_000)];
        assert_eq!(joined(stretches, scale), [(0, 2_000), (5_000, 6_000)]);
    }

    #[test]
    fn without_spans_there_is_no_section() {
        assert_eq!(section(&report(Vec::new(), 5)).into_string(), "");
    }

    #[test]
    fn names_stay_text_and_bars_stay_within_the_run() {
        let name = "<b>&\"x";
        let mut late = span("lint", Some(Gate::Lint), Some(name), (5, 6));
        late.took_ms = u64::MAX;
        let page = section(&report(vec![late], 10)).into_string();
        assert!(!page.contains("<b>"), "{page}");
        assert!(
            page.contains(
                "title=\"&lt;b&gt;&amp;&quot;x 5 ms, from 5 ms\" style=\"left:50.000%;width:50.000%\""
            ),
            "{page}"
        );
    }
}
