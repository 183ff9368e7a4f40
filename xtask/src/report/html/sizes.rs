//! Where each image's bytes are: stacked by layer and crate on one scale, against budget and baseline; the same in
//! numbers below.

mod parts;
mod stack;

use maud::{Markup, html};

use super::scale::{Scale, axis, grid, megabytes, region};
use super::words::section as framed;
use crate::catalogue::plural;
use crate::gate::budget::anatomy::Anatomy;
use crate::gate::budget::{growth::kb, mb};
use crate::report::Report;
use crate::verdict::{Gate, Origin, Outcome, Record, age};
use stack::{Kind, Part, named, stack};

pub(super) const STYLE: &str = include_str!("sizes.css");

/// An image whose size was measured.
struct Image<'a> {
    record: &'a Record,
    anatomy: Anatomy,
    budget_bytes: Option<u64>,
    /// What was accepted before, where anything was.
    baseline_bytes: Option<u64>,
}

impl<'a> Image<'a> {
    fn of(record: &'a Record) -> Option<Self> {
        let figure = |name: &str| record.figures.get(name)?.as_u64();
        Some(Image {
            record,
            anatomy: Anatomy::of_figures(&record.figures)?,
            budget_bytes: figure("budget_bytes"),
            baseline_bytes: figure("baseline_bytes"),
        })
    }

    fn over_bytes(&self) -> Option<u64> {
        let over = self.anatomy.unpacked_bytes.checked_sub(self.budget_bytes?)?;
        (over > 0).then_some(over)
    }

    fn growth(&self) -> Option<String> {
        let before = self.baseline_bytes?.max(1);
        let percent = (self.anatomy.unpacked_bytes as f64 / before as f64 - 1.0) * 100.0;
        Some(format!("{percent:+.1} %"))
    }

    /// The largest value that its row shows.
    fn extent(&self) -> u64 {
        let marks = [self.budget_bytes, self.baseline_bytes];
        let marks = marks.into_iter().flatten().max().unwrap_or_default();
        self.anatomy.unpacked_bytes.max(marks)
    }

    /// The baseline in words: a report of an earlier version judged the growth and did not tell what from.
    fn baseline(&self) -> String {
        let is_judged = self.record.checks.iter().any(|check| check.name == "growth");
        match self.baseline_bytes {
            Some(bytes) => mb(bytes),
            None if is_judged => "not told".to_owned(),
            None => "none".to_owned(),
        }
    }

    /// What is wrong with it in a word or two, with the class that it is shown in.
    fn wrong(&self) -> Option<(&'static str, String)> {
        match (self.over_bytes(), self.record.outcome) {
            (Some(over), _) => Some(("pic-wrong", format!("✗ over budget by {}", mb(over)))),
            (None, Outcome::Violated) => Some(("pic-wrong", "✗ violated".to_owned())),
            (None, Outcome::Undecided) => Some(("pic-unsure", "? undecided".to_owned())),
            (None, _) => None,
        }
    }
}

/// The section of all images whose size was judged; nothing where none was to be.
pub(super) fn section(report: &Report) -> Markup {
    let asked = |record: &&Record| record.gate == Gate::Budget && record.outcome != Outcome::Skipped;
    let records: Vec<&Record> = report.records.iter().filter(asked).collect();
    if records.is_empty() {
        return Markup::default();
    }
    let images: Vec<Image<'_>> = records.iter().copied().filter_map(Image::of).collect();
    let unmeasured: Vec<&Record> = records
        .into_iter()
        .filter(|record| Image::of(record).is_none())
        .collect();
    let body = html! {
        @for record in &unmeasured {
            p class="pic-unsure" { "? " (record.service) " was not measured: " (record.reason) }
        }
        (summary(&images, unmeasured.len()))
        @if !images.is_empty() {
            (picture(&images))
            (numbers(&images))
            (parts::folded(&images))
        }
    };
    framed("sizes", "Sizes", body)
}

/// What the picture shows, in a sentence; what is over its budget first.
fn summary(images: &[Image<'_>], unmeasured: usize) -> Markup {
    let over: Vec<&Image<'_>> = images
        .iter()
        .filter(|image| image.over_bytes().is_some())
        .collect();
    let count = images.len();
    let otherwise = images
        .iter()
        .filter(|image| image.over_bytes().is_none())
        .filter_map(|image| Some((image.record, image.wrong()?)));
    html! {
        @if !over.is_empty() {
            p class="pic-wrong" {
                "✗ " (over.len()) " of " (count) " image" (plural(count)) " over budget: "
                @for (place, image) in over.iter().enumerate() {
                    @if place > 0 { ", " }
                    (image.record.service) " by " (mb(image.over_bytes().unwrap_or_default()))
                }
            }
        } @else if count > 0 {
            p {
                @match (count, unmeasured) {
                    (1, 0) => { "The image is" }
                    (_, 0) => { "All " (count) " images are" }
                    (1, _) => { "1 of " (count + unmeasured) " images was measured and is" }
                    _ => { (count) " of " (count + unmeasured) " images were measured and are" }
                }
                " within budget, "
                (mb(images.iter().map(|image| image.anatomy.unpacked_bytes).sum())) " unpacked and "
                (mb(images.iter().map(|image| image.anatomy.compressed_bytes).sum())) " compressed"
                @if count > 1 { " together" }
                "."
            }
        }
        @for (record, (class, wrong)) in otherwise {
            p class=(class) { (wrong) ": " (record.service) ", " (record.reason.lines().next().unwrap_or_default()) }
        }
    }
}

fn picture(images: &[Image<'_>]) -> Markup {
    let scale = Scale::around(images.iter().map(Image::extent));
    let ticks = scale.byte_ticks();
    let named = named(images.iter().map(|image| &image.anatomy));
    let stacks: Vec<Vec<Part>> = images.iter().map(|image| stack(&image.anatomy, &named)).collect();
    html! {
        (key(&stacks, &named))
        div class="pic" {
            ul {
                @for (image, parts) in images.iter().zip(&stacks) {
                    li class="row" {
                        (words(image))
                        (track(image, parts, scale, &ticks))
                    }
                }
            }
            (axis(scale, &ticks, label))
        }
    }
}

/// At a tick: the unit stands at the last one alone, where there is room for it.
fn label(bytes: u64, is_last: bool) -> String {
    let text = megabytes(bytes);
    match text.split_once(' ') {
        Some((number, _)) if !is_last => number.to_owned(),
        _ => text,
    }
}

/// What the colours and marks mean; only what there is.
fn key(stacks: &[Vec<Part>], named: &[String]) -> Markup {
    let is_there = |kind: Kind| stacks.iter().flatten().any(|part| part.kind == kind);
    let crates = named
        .iter()
        .enumerate()
        .map(|(place, name)| (Kind::Crate(place), name.as_str()));
    let others = [
        (Kind::Crates, "other crates"),
        (Kind::NoSymbol, "in the binary, no symbol"),
        (Kind::NotRust, "not Rust, and files beside the binary"),
    ];
    let entries = std::iter::once((Kind::Base, "base layers"))
        .chain(crates)
        .chain(others);
    html! {
        ul class="key" aria-label="Colours and marks" {
            @for (kind, name) in entries.filter(|(kind, _)| is_there(*kind)) {
                li { i class={ "swatch " (kind.class()) } {} (name) }
            }
            li { i class="swatch packed" {} "compressed" }
            li { i class="swatch limit" {} "budget" }
            li { i class="swatch before" {} "baseline" }
        }
    }
}

fn words(image: &Image<'_>) -> Markup {
    let anatomy = &image.anatomy;
    html! {
        p class="what" {
            strong { (image.record.service) } " "
            @if let Some((class, wrong)) = image.wrong() { span class=(class) { (wrong) } ", " }
            (mb(anatomy.unpacked_bytes))
            @if let Some(budget) = image.budget_bytes { " of " (mb(budget)) }
            ", " (mb(anatomy.compressed_bytes)) " compressed"
            @if let (Some(before), Some(growth)) = (image.baseline_bytes, image.growth()) {
                ", " (growth) " since the baseline of " (mb(before))
            }
            @if anatomy.wasted_bytes > 0 { ", " (kb(anatomy.wasted_bytes)) " kB wasted" }
            @if let Origin::Reused { age_s, .. } = &image.record.origin {
                span class="since" { " (reused, " (age(*age_s)) " ago)" }
            }
        }
    }
}

fn track(image: &Image<'_>, parts: &[Part], scale: Scale, ticks: &[u64]) -> Markup {
    let anatomy = &image.anatomy;
    let over = image.over_bytes().map(|_| "over");
    html! {
        div class={ "track " (over.unwrap_or_default()) } aria-hidden="true" {
            (grid(scale, ticks))
            div class="stack" style={ "width:" (scale.at(anatomy.unpacked_bytes)) } {
                @for part in parts {
                    div class={ "part " (part.kind.class()) } style={ "flex:" (part.size_bytes) " 1 0" }
                        title={ (part.name) ": " (kb(part.size_bytes)) " kB" } { span { (part.label) } }
                }
            }
            div class="packed" style={ "width:" (scale.at(anatomy.compressed_bytes)) }
                title={ "compressed: " (mb(anatomy.compressed_bytes)) } {}
            @if let (Some(budget), Some(over)) = (image.budget_bytes, image.over_bytes()) {
                div class="excess" title={ "over budget by " (mb(over)) }
                    style={ "left:" (scale.at(budget)) ";width:" (scale.at(over)) } {}
            }
            @if let Some(before) = image.baseline_bytes {
                i class="mark before" style={ "left:" (scale.at(before)) } title={ "baseline: " (mb(before)) } {}
            }
            @if let Some(budget) = image.budget_bytes {
                i class="mark limit" style={ "left:" (scale.at(budget)) } title={ "budget: " (mb(budget)) } {}
            }
        }
    }
}

fn numbers(images: &[Image<'_>]) -> Markup {
    let columns = ["unpacked", "budget", "baseline", "growth", "compressed", "wasted"];
    region(
        "Sizes in numbers",
        html! {
            table {
                caption { "Sizes in numbers" }
                thead {
                    tr {
                        th scope="col" { "image" }
                        @for column in columns { th scope="col" class="number" { (column) } }
                        th scope="col" { "verdict" }
                    }
                }
                tbody { @for image in images { (line(image)) } }
            }
        },
    )
}

fn line(image: &Image<'_>) -> Markup {
    let anatomy = &image.anatomy;
    html! {
        tr {
            th scope="row" { (image.record.service) }
            td class="number" { (mb(anatomy.unpacked_bytes)) }
            td class="number" { (image.budget_bytes.map_or_else(String::new, mb)) }
            td class="number" { (image.baseline()) }
            td class="number" { (image.growth().unwrap_or_else(|| "not known".to_owned())) }
            td class="number" { (mb(anatomy.compressed_bytes)) }
            td class="number" { (kb(anatomy.wasted_bytes)) " kB" }
            td { (image.wrong().map_or_else(|| image.record.word().to_owned(), |(_, wrong)| wrong)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::stack::tests::anatomy;
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::Check;

    fn report(unpacked: &[(&str, u64)], baseline_bytes: Option<u64>) -> Report {
        let mut report = sample();
        report.records = unpacked
            .iter()
            .map(|(service, bytes)| {
                let check = Check::passed("unpacked", "well");
                let mut record = Record::from_checks(service, Gate::Budget, vec![check], "well");
                record.figures = serde_json::to_value(anatomy(*bytes))
                    .unwrap()
                    .as_object()
                    .cloned()
                    .unwrap();
                let record = record.figure("budget_bytes", 2_000_000);
                match baseline_bytes {
                    Some(bytes) => record.figure("baseline_bytes", bytes),
                    None => record,
                }
            })
            .collect();
        report
    }

    #[test]
    fn what_is_over_its_budget_is_said_in_words_and_shown() {
        let page = section(&report(&[("small", 0), ("large", 1_000_000)], None)).into_string();
        assert!(
            page.contains("✗ 1 of 2 images over budget: large by 0.41 MB"),
            "{page}"
        );
        assert_eq!(page.matches("track over").count(), 1);
        // The scale ends at 2.41 MB and a little: the budget lies at 2 of it, the rest is over.
        assert!(
            page.contains(
                "class=\"excess\" title=\"over budget by 0.41 MB\" style=\"left:81.360%;width:16.679%\""
            ),
            "{page}"
        );
        assert!(!page.contains("mark before"), "no baseline, no mark");
    }

    #[test]
    fn the_baseline_is_a_mark_and_a_growth() {
        let page = section(&report(&[("small", 0)], Some(1_280_000))).into_string();
        assert!(page.contains("+10.2 % since the baseline of 1.28 MB"), "{page}");
        assert!(page.contains("title=\"baseline: 1.28 MB\""), "{page}");
        assert!(
            page.contains("The image is within budget, 1.41 MB unpacked and 0.50 MB compressed."),
            "{page}"
        );
    }

    #[test]
    fn not_all_are_within_budget_where_one_was_not_measured() {
        let mut report = report(&[("small", 0), ("other", 0)], None);
        report.records.push(Record::undecided(
            "c",
            Gate::Budget,
            "the engine is gone",
            "start it",
        ));
        let page = section(&report).into_string();
        let told = page.find("2 of 3 images were measured and are within budget");
        assert!(told.is_some() && page.find("c was not measured") < told, "{page}");
        assert!(!page.contains("All 2"), "{page}");
    }

    #[test]
    fn what_was_not_measured_is_said_and_what_was_not_asked_for_is_not() {
        let mut report = sample();
        report.records = vec![
            Record::undecided("a<b", Gate::Budget, "the engine is gone", "start it"),
            Record::skipped("c", Gate::Budget, "left out"),
        ];
        let page = section(&report).into_string();
        assert!(
            page.contains("? a&lt;b was not measured: budget: the engine is gone"),
            "{page}"
        );
        assert!(
            !page.contains("within budget") && !page.contains("class=\"pic\""),
            "{page}"
        );
        report.records.remove(0);
        assert_eq!(section(&report).into_string(), "");
    }
}
