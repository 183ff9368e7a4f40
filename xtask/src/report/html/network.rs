//! Who reaches whom, as a picture that is a table: rows ask, columns answer; what is wrong is said first.

mod ways_out;

use maud::{Markup, PreEscaped, html};

use super::scale::region;
use super::words::section as framed;
use crate::catalogue::plural;
use crate::gate::network::matrix::{Pair, Way, find};
use crate::report::Report;
use crate::verdict::{Gate, Origin, Outcome, Record, age};

pub(super) const STYLE: &str = include_str!("network.css");

/// A pair that nobody knows about, drawn like [`Way::shape`].
const UNDECIDED: &str = concat!(
    r#"<circle cx="10" cy="10" r="8" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="3 2"/>"#,
    r#"<text class="off" x="10" y="14.5">?</text>"#
);

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell<'a> {
    Asked(&'a Pair),
    /// A member and itself.
    Itself,
    NotAsked,
    /// Its verdict is undecided, and nothing was told.
    Undecided,
}

impl Cell<'_> {
    fn words(self) -> &'static str {
        match self {
            Cell::Asked(pair) => pair.way().words(),
            Cell::Itself => "itself",
            Cell::NotAsked => "not asked",
            Cell::Undecided => "undecided",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Cell::Asked(pair) => pair.way().class(),
            Cell::Itself => "itself",
            Cell::NotAsked => "not-asked",
            Cell::Undecided => "unsure",
        }
    }

    fn shape(self) -> Option<&'static str> {
        match self {
            Cell::Asked(pair) => Some(pair.way().shape()),
            Cell::Undecided => Some(UNDECIDED),
            Cell::Itself | Cell::NotAsked => None,
        }
    }
}

/// All that was found, and who was to be judged.
struct Found<'a> {
    pairs: &'a [Pair],
    records: Vec<&'a Record>,
    /// Services first, then stores and the edge.
    members: Vec<&'a str>,
}

impl<'a> Found<'a> {
    fn of(report: &'a Report, pairs: &'a [Pair]) -> Self {
        let ends = pairs
            .iter()
            .flat_map(|pair| [pair.from.as_str(), pair.to.as_str()]);
        let mut members: Vec<&str> = ends.collect();
        let is_service = |name: &str| report.services.iter().any(|service| service == name);
        members.sort_by_key(|name| (!is_service(name), *name));
        members.dedup();
        let records = report
            .records
            .iter()
            .filter(|record| record.gate == Gate::Network);
        Found {
            pairs,
            records: records
                .filter(|record| record.outcome != Outcome::Skipped)
                .collect(),
            members,
        }
    }

    fn cell(&self, from: &str, to: &str) -> Cell<'a> {
        match find(self.pairs, from, to) {
            Some(pair) => Cell::Asked(pair),
            None if from == to => Cell::Itself,
            None if self.undecided().next().is_some() => Cell::Undecided,
            None => Cell::NotAsked,
        }
    }

    fn undecided(&self) -> impl Iterator<Item = &'a Record> {
        let records = self.records.iter().copied();
        records.filter(|record| record.outcome == Outcome::Undecided)
    }

    fn pairs_of(&self, way: Way) -> impl Iterator<Item = &'a Pair> {
        self.pairs.iter().filter(move |pair| pair.way() == way)
    }
}

/// The section of the network; nothing where it was not to be judged.
pub(super) fn section(report: &Report) -> Markup {
    let pairs = report.pairs();
    let found = Found::of(report, &pairs);
    if found.records.is_empty() {
        return Markup::default();
    }
    let body = html! {
        (wrong(&found))
        @for record in found.undecided() {
            p class="pic-unsure" { "? " (record.service) " is undecided: " (first_line(&record.reason)) }
        }
        @if pairs.is_empty() {
            p { "No pair of members was asked, so there is no matrix." }
        } @else {
            p { (summary(&found)) }
            (region("Who can reach whom", matrix(&found)))
            (key(&found))
            (declared(&found))
        }
        (ways_out::table(&found.records))
    };
    framed("network", "Network", body)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// By name every pair that is not as declared.
fn wrong(found: &Found<'_>) -> Markup {
    html! {
        @for way in Way::ALL.into_iter().filter(|way| way.is_wrong()) {
            @for pair in found.pairs_of(way) {
                p class="pic-wrong" {
                    "✗ " (pair.from) " to " (pair.to) ": " (way.words())
                    @if let (Way::Undeclared, Some(open)) = (way, pair.open.first()) { ", by " (open) }
                }
            }
        }
    }
}

fn summary(found: &Found<'_>) -> String {
    let count = |way| found.pairs_of(way).count();
    let (pairs, members) = (found.pairs.len(), found.members.len());
    let mut text = format!(
        "{pairs} ordered pair{} of {members} members: {} declared and open, {} refused",
        plural(pairs),
        count(Way::Open),
        count(Way::Refused)
    );
    match count(Way::Closed) + count(Way::Undeclared) {
        0 => text.push_str(", none wrong."),
        wrong => text.push_str(&format!(", {wrong} wrong.")),
    }
    let reused = found.records.iter().find_map(|record| match &record.origin {
        Origin::Reused { run_id, age_s } => Some(format!(" As run {run_id} found it {} ago.", age(*age_s))),
        Origin::Fresh => None,
    });
    text + &reused.unwrap_or_default()
}

fn matrix(found: &Found<'_>) -> Markup {
    html! {
        (signs())
        table class="matrix" {
            caption { "Rows ask, columns answer" }
            thead {
                tr {
                    td {}
                    @for to in &found.members { th scope="col" title=(to) { span { (to) } } }
                }
            }
            tbody {
                @for from in &found.members {
                    tr {
                        th scope="row" { (from) }
                        @for to in &found.members { (drawn(found.cell(from, to), from, to)) }
                    }
                }
            }
        }
    }
}

/// Every sign, drawn once and shown wherever it is used.
fn signs() -> Markup {
    let ways = Way::ALL.map(|way| (name(way.words()), way.shape()));
    html! {
        svg width="0" height="0" class="signs" aria-hidden="true" focusable="false" {
            @for (id, shape) in ways.into_iter().chain([(name("undecided"), UNDECIDED)]) {
                symbol id=(id) viewBox="0 0 20 20" { (PreEscaped(shape)) }
            }
        }
    }
}

/// The sign's name in the page.
fn name(words: &str) -> String {
    format!("way-{}", words.replace(", ", "-").replace(' ', "-"))
}

fn drawn(cell: Cell<'_>, from: &str, to: &str) -> Markup {
    let words = cell.words();
    html! {
        td class=(cell.class()) title={ (from) " to " (to) ": " (words) } {
            @if cell.shape().is_some() { (sign(words)) }
            span class="unseen" { (words) }
        }
    }
}

fn sign(words: &str) -> Markup {
    html! { svg class="way" aria-hidden="true" focusable="false" { use href={ "#" (name(words)) } {} } }
}

fn key(found: &Found<'_>) -> Markup {
    let ways = Way::ALL.map(|way| (way.class(), way.words()));
    let undecided = found.undecided().next().map(|_| ("unsure", "undecided"));
    html! {
        ul class="key" aria-label="Signs" {
            @for (class, words) in ways.into_iter().chain(undecided) {
                li class=(class) { (sign(words)) span { (words) } }
            }
            li { i class="swatch blank" {} "not asked" }
        }
    }
}

/// The picture in words: whom each member may call.
fn declared(found: &Found<'_>) -> Markup {
    let calls = |from: &str| {
        let declared = found
            .pairs
            .iter()
            .filter(|pair| pair.declared && pair.from == from);
        declared
            .map(|pair| pair.to.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    html! {
        details {
            summary { "Declared edges" }
            ul {
                @for from in &found.members {
                    @let to = calls(from);
                    @if !to.is_empty() { li { (from) " to " (to) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::Check;

    fn pair(from: &str, to: &str, declared: bool, open: &[&str]) -> Pair {
        Pair {
            from: from.into(),
            to: to.into(),
            declared,
            open: open.iter().map(|target| (*target).to_owned()).collect(),
            tried: 3,
        }
    }

    fn report(check: Check, pairs: &[Pair]) -> Report {
        let mut report = sample();
        report.services = vec!["b".into()];
        let record = Record::from_checks("b", Gate::Network, vec![check], "well");
        report.records = vec![match pairs {
            [] => record,
            pairs => record.figure("pairs", serde_json::to_value(pairs).unwrap()),
        }];
        report
    }

    fn mixed() -> Vec<Pair> {
        vec![
            pair("b", "a", true, &["tcp://own.a:1"]),
            pair("a", "b", false, &["tcp://10.0.0.2:1"]),
            pair("b", "<c>", true, &[]),
        ]
    }

    #[test]
    fn what_is_wrong_is_said_by_name_before_the_picture() {
        let page = section(&report(Check::violated("edge", "closed", "open it"), &mixed())).into_string();
        let (said, picture) = page.split_once("<table").unwrap();
        assert!(
            said.contains("✗ b to &lt;c&gt;: declared, but closed</p>"),
            "{page}"
        );
        assert!(
            said.contains("✗ a to b: open, but undeclared, by tcp://10.0.0.2:1</p>"),
            "{page}"
        );
        assert!(
            said.contains("3 ordered pairs of 3 members: 1 declared and open, 0 refused, 2 wrong."),
            "{page}"
        );
        assert!(picture.contains("<li>b to a, &lt;c&gt;</li>"), "{page}");
    }

    #[test]
    fn services_come_first_and_each_cell_has_its_words() {
        let pairs = mixed();
        let report = report(Check::passed("edge", "well"), &pairs);
        let found = Found::of(&report, &pairs);
        assert_eq!(found.members, ["b", "<c>", "a"]);
        assert_eq!(found.cell("b", "b"), Cell::Itself);
        assert_eq!(found.cell("a", "<c>"), Cell::NotAsked);
        let page = section(&report).into_string();
        assert!(
            page.contains("<span class=\"unseen\">declared and open</span>"),
            "{page}"
        );
        assert_eq!(page.matches("class=\"not-asked\"").count(), 3);
        // Every sign that is used is drawn once.
        for part in page.split("href=\"#").skip(1) {
            let id = part.split('"').next().unwrap();
            assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
        }
    }

    #[test]
    fn what_nobody_told_is_undecided_where_the_verdict_is() {
        let pairs = mixed();
        let report = report(
            Check::undecided("stack", "the engine hangs", "restart it"),
            &pairs,
        );
        assert_eq!(Found::of(&report, &pairs).cell("a", "<c>"), Cell::Undecided);
        let none = self::report(Check::undecided("stack", "the engine hangs", "restart it"), &[]);
        let page = section(&none).into_string();
        assert!(
            page.contains("? b is undecided: stack: the engine hangs"),
            "{page}"
        );
        assert!(
            page.contains("there is no matrix") && !page.contains("<table"),
            "{page}"
        );
    }

    #[test]
    fn a_network_that_was_not_asked_for_has_no_section() {
        let mut report = sample();
        report.records = vec![Record::skipped("a", Gate::Network, "left out")];
        assert_eq!(section(&report).into_string(), "");
    }
}
