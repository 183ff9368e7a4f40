//! What to do next: what is violated before what is undecided, and what has one reason and one remedy said once.

use maud::{Markup, html};

use super::verdict::reused;
use super::words::{anchor, bad, badge, file, images, section as framed};
use crate::report::Report;
use crate::verdict::{Check, Gate, Origin, Outcome, Record, age};

/// One thing to do, for all images that it is about.
struct Step<'r> {
    gate: Gate,
    check: &'r Check,
    found: Vec<(&'r Record, &'r Check)>,
}

impl<'r> Step<'r> {
    fn joins(&self, record: &Record, check: &Check) -> bool {
        let known = self.check;
        self.gate == record.gate
            && (known.outcome, known.tolerated) == (check.outcome, check.tolerated)
            && (&known.name, &known.hint) == (&check.name, &check.hint)
    }

    /// What comes first is to be done first.
    fn rank(&self) -> (bool, bool) {
        (self.check.outcome != Outcome::Violated, self.check.tolerated)
    }

    fn records(&self) -> Vec<&'r Record> {
        let mut records: Vec<&Record> = self.found.iter().map(|(record, _)| *record).collect();
        records.dedup_by_key(|record| &record.service);
        records
    }

    /// All say the same.
    fn one_detail(&self) -> bool {
        self.found
            .iter()
            .all(|(_, check)| check.detail == self.check.detail)
    }
}

pub(super) fn section(report: &Report) -> Markup {
    let steps = steps(report);
    let body = html! {
        @if steps.is_empty() && report.error.is_none() { (nothing(report)) }
        @else {
            ol class="steps" {
                @if let Some(error) = &report.error { li { (early_end(report, error)) } }
                @for step in &steps { li { (told(report, step)) } }
            }
        }
    };
    framed("next", "What to do next", body)
}

fn steps(report: &Report) -> Vec<Step<'_>> {
    let mut steps: Vec<Step> = Vec::new();
    for record in &report.records {
        for check in record.checks.iter().filter(|check| bad(check.outcome)) {
            match steps.iter_mut().find(|step| step.joins(record, check)) {
                Some(step) => step.found.push((record, check)),
                None => steps.push(Step {
                    gate: record.gate,
                    check,
                    found: vec![(record, check)],
                }),
            }
        }
    }
    steps.sort_by_key(Step::rank);
    steps
}

fn told(report: &Report, step: &Step) -> Markup {
    let check = step.check;
    html! {
        p class="what" {
            (badge(check.outcome.word())) " "
            strong { (step.gate.name()) ": " (check.name) } " — " (images(report, &step.records()))
        }
        @if step.one_detail() { p class="detail" { (check.detail) } }
        @else {
            ul class="detail" {
                @for (record, check) in &step.found {
                    li { a href={ "#" (anchor(report, record)) } { (record.service) } ": " (check.detail) }
                }
            }
        }
        @if let Some(hint) = &check.hint { (remedy(hint)) }
        @if check.tolerated && !report.strict {
            p class="soft" { "Let pass by policy: it does not fail this run, and would fail one with --strict." }
        }
    }
}

fn remedy(hint: &str) -> Markup {
    html! { p class="remedy" { strong { "Remedy: " } (hint) } }
}

/// What ended the run, with the remedies that came with it.
fn early_end(report: &Report, error: &str) -> Markup {
    let word = if report.exit_code >= 130 {
        "interrupted"
    } else {
        "undecided"
    };
    let word = if report.exit_code == 2 {
        "wrong usage"
    } else {
        word
    };
    let hints: Vec<&str> = error
        .lines()
        .filter_map(|line| line.strip_prefix("hint: "))
        .collect();
    let said: Vec<&str> = error.lines().filter(|line| !line.starts_with("hint: ")).collect();
    html! {
        p class="what" { (badge(word)) " " strong { "The run ended early" } " — what has no verdict below was not judged" }
        p class="detail lines" { (said.join("\n")) }
        @for hint in hints { (remedy(hint)) }
        @for log in report.files.iter().filter(|file| error.contains(file.as_str())) {
            p { "Log: " (file(log)) }
        }
    }
}

fn nothing(report: &Report) -> Markup {
    let reused = reused(report);
    let oldest = reused.iter().filter_map(|record| match &record.origin {
        Origin::Reused { run_id, age_s } => Some((*age_s, run_id)),
        Origin::Fresh => None,
    });
    html! {
        p {
            @if report.records.is_empty() { "Nothing was judged, so there is nothing to do and nothing is known." }
            @else { "Nothing: every verdict passed." }
            @if let Some((seconds, run_id)) = oldest.max() {
                " " a href="#reused" { (reused.len()) " of them are reused" }
                "; the oldest was found " (age(seconds)) " before, by run " (run_id) "."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn one_reason_for_many_images_is_said_once_and_violations_come_first() {
        let mut report = sample();
        report.services = ["a", "b", "c"].map(str::to_owned).to_vec();
        let undecided = || vec![Check::undecided("vulnerabilities", "no database", "bring one").tolerated()];
        report.records = ["a", "b", "c"]
            .map(|service| Record::from_checks(service, Gate::Scan, undecided(), ""))
            .to_vec();
        for (service, size) in [("a", "17 MB"), ("b", "18 MB")] {
            let check = Check::violated("over budget", size, "make it smaller");
            report
                .records
                .push(Record::from_checks(service, Gate::Budget, vec![check], ""));
        }
        let steps = steps(&report);
        let told: Vec<_> = steps
            .iter()
            .map(|step| (step.check.name.as_str(), step.found.len(), step.one_detail()))
            .collect();
        assert_eq!(told, [("over budget", 2, false), ("vulnerabilities", 3, true)]);
        let page = section(&report).into_string();
        assert_eq!(page.matches("no database").count(), 1, "{page}");
        assert!(
            page.contains("all 3 images") && page.contains(": 18 MB"),
            "{page}"
        );
    }

    #[test]
    fn an_early_end_comes_first_with_its_remedies_and_its_log() {
        let mut report = sample();
        report.error =
            Some("error: the build failed, see logs/build.log\nhint: mend it\nhint: or wait".into());
        let page = section(&report).into_string();
        let first = page.split("</li>").next().unwrap();
        assert!(first.contains("The run ended early"), "{first}");
        assert_eq!(first.matches("Remedy: ").count(), 2, "{first}");
        assert!(first.contains("href=\"./logs/build.log\""), "{first}");
    }

    #[test]
    fn where_all_passed_what_is_reused_is_said() {
        let mut report = sample();
        report.records.retain(|record| record.outcome == Outcome::Passed);
        report.records[0].origin = Origin::Reused {
            run_id: "20261119-1".into(),
            age_s: 200_000,
        };
        let page = section(&report).into_string();
        assert!(page.contains("every verdict passed"), "{page}");
        assert!(page.contains("3 days before, by run 20261119-1"), "{page}");
    }
}
