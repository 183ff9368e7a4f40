//! What to do next: what is violated before what is undecided, and what has one reason and one remedy said once.

use maud::{Markup, html};

use super::verdict::reused;
use super::words::{anchor, badge, file, images, section as framed};
use crate::report::Report;
use crate::report::todo::{self, Todo};
use crate::report::words::counted;
use crate::verdict::{Origin, Outcome, Record, age};

const AGAIN: &str = "Run it again: what has no verdict below was not judged.";

/// One thing to do: the same check with the same remedy, whatever it saw of each image.
struct Step<'r> {
    todos: Vec<Todo<'r>>,
}

impl<'r> Step<'r> {
    fn first(&self) -> &Todo<'r> {
        &self.todos[0]
    }

    fn takes(&self, todo: &Todo) -> bool {
        let words = |todo: &Todo| (todo.outcome, todo.tolerated, todo.gates());
        let known = self.first();
        words(known) == words(todo) && (known.name, known.hint) == (todo.name, todo.hint)
    }

    /// A record of each image.
    fn records(&self) -> Vec<&'r Record> {
        let mut records: Vec<&Record> = Vec::new();
        for record in self.todos.iter().flat_map(|todo| &todo.records) {
            if records.iter().all(|known| known.service != record.service) {
                records.push(record);
            }
        }
        records
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
        @if !steps.is_empty() && report.error.is_none() && interrupted(report) { p { (AGAIN) } }
        @if let Some(bundle) = &report.bundle {
            p { "All that is needed to understand it elsewhere: " (file(&format!("{bundle}/INDEX.md"), &format!("{bundle}/INDEX.md"))) }
        }
    };
    framed("next", "What to do next", body)
}

fn steps(report: &Report) -> Vec<Step<'_>> {
    let mut steps: Vec<Step> = Vec::new();
    for todo in todo::all(report) {
        match steps.iter_mut().find(|step| step.takes(&todo)) {
            Some(step) => step.todos.push(todo),
            None => steps.push(Step { todos: vec![todo] }),
        }
    }
    steps
}

fn told(report: &Report, step: &Step) -> Markup {
    let first = step.first();
    let gates: Vec<&str> = first.gates().iter().map(|gate| gate.name()).collect();
    html! {
        p class="what" {
            (badge(first.outcome.word())) " "
            strong { (gates.join(", ")) @if let Some(name) = first.name { ": " (name) } }
            " — "
            @if step.todos.len() == 1 { (images(report, &step.records())) }
            @else { (counted(step.records().len(), "image")) }
        }
        @if step.todos.len() == 1 { p class="detail lines" { (first.detail) } }
        @else { (details(report, step)) }
        @if let Some(hint) = first.hint { (remedy(hint)) }
        @if first.tolerated {
            p class="soft" { "Let pass by policy: it does not fail this run, and would fail one with --strict." }
        }
    }
}

/// What was seen, where it differs from image to image.
fn details(report: &Report, step: &Step) -> Markup {
    html! {
        ul class="detail" {
            @for todo in &step.todos {
                @for record in &todo.records {
                    li { a href={ "#" (anchor(report, record)) } { (record.service) } ": " (todo.detail) }
                }
            }
        }
    }
}

fn remedy(hint: &str) -> Markup {
    html! { p class="remedy" { strong { "Remedy: " } (hint) } }
}

/// What ended the run, with the remedies that came with it.
fn early_end(report: &Report, error: &str) -> Markup {
    let hints: Vec<&str> = error
        .lines()
        .filter_map(|line| line.strip_prefix("hint: "))
        .collect();
    let said: Vec<&str> = error.lines().filter(|line| !line.starts_with("hint: ")).collect();
    html! {
        p class="what" { (badge(report.early_word())) " " strong { "The run ended early" } " — what has no verdict below was not judged" }
        p class="detail lines" { (said.join("\n")) }
        @for hint in hints { (remedy(hint)) }
        @for log in report.files.iter().filter(|file| error.contains(file.as_str())) {
            p { "Log: " (file(log, log)) }
        }
    }
}

fn interrupted(report: &Report) -> bool {
    report.word() == "interrupted"
}

fn nothing(report: &Report) -> Markup {
    let judged = report
        .records
        .iter()
        .any(|record| record.outcome == Outcome::Passed);
    let reused = reused(report);
    let oldest = reused.iter().filter_map(|record| match &record.origin {
        Origin::Reused { run_id, age_s } => Some((*age_s, run_id)),
        Origin::Fresh => None,
    });
    html! {
        p {
            @match report.exit_code {
                _ if interrupted(report) => { (AGAIN) }
                _ if judged => { "Nothing: every verdict that was asked for passed." }
                _ => { "Nothing was judged, so nothing is known." }
            }
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
    use crate::verdict::{Check, Gate};

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
            .map(|step| (step.first().name.unwrap(), step.records().len(), step.todos.len()))
            .collect();
        assert_eq!(told, [("over budget", 2, 2), ("vulnerabilities", 3, 1)]);
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
        assert!(first.contains("href=\"logs/build.log\""), "{first}");
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
        assert!(page.contains("every verdict that was asked for passed"), "{page}");
        assert!(page.contains("3 days before, by run 20261119-1"), "{page}");
        report.exit_code = 130;
        let page = section(&report).into_string();
        assert!(
            page.contains("Run it again") && !page.contains("every verdict"),
            "{page}"
        );
        let check = Check::undecided("vulnerabilities", "old", "newer").tolerated();
        let open = vec![Record::from_checks("a", Gate::Scan, vec![check], "")];
        report.records = open;
        assert!(section(&report).into_string().contains("Run it again"));
        (report.exit_code, report.records) = (0, Vec::new());
        assert!(section(&report).into_string().contains("Nothing was judged"));
    }
}
