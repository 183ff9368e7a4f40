//! The verdict: a word, the exit code, and what they mean in a sentence.

use maud::{Markup, html};

use super::words::{counted, lasted, look};
use crate::report::Report;
use crate::verdict::{Outcome, Record};

/// The verdict in a word. What ended with 0 and left something open does not read as passed.
pub(super) fn word(report: &Report) -> &'static str {
    let judged = report
        .records
        .iter()
        .any(|record| record.outcome != Outcome::Skipped);
    match report.exit_code {
        0 if count(report, "undecided") > 0 => "passed, but for what is undecided",
        0 if judged => "passed",
        0 => "nothing was judged",
        1 => "violated",
        2 => "wrong usage",
        130 | 143 => "interrupted",
        _ => "undecided",
    }
}

pub(super) fn section(report: &Report) -> Markup {
    let word = word(report);
    let (class, sign) = look(word);
    let words = ["violated", "undecided", "passed", "reused", "skipped"];
    html! {
        header class={ "verdict " (class) } {
            h1 {
                span class="sign" aria-hidden="true" { (sign) }
                span { (word) }
            }
            p class="sentence" { (sentence(report)) }
            ul class="counts" {
                @for (word, count) in words.map(|word| (word, count(report, word))) {
                    @if count > 0 {
                        li class=(look(word).0) {
                            span aria-hidden="true" { (look(word).1) } " " strong { (count) } " " (word)
                        }
                    }
                }
            }
        }
    }
}

fn count(report: &Report, word: &str) -> usize {
    report
        .records
        .iter()
        .filter(|record| record.word() == word)
        .count()
}

fn sentence(report: &Report) -> Markup {
    let took = lasted(report.took_ms);
    html! {
        code { "cargo xtask " (report.command) }
        " ended with " strong { "exit code " (report.exit_code) } " after " (took) ": " (meaning(report))
    }
}

/// What the exit code says of the images, by the table in the README.
fn meaning(report: &Report) -> String {
    let of = |count: usize| {
        format!(
            "{count} of {} on {}",
            counted(report.records.len(), "verdict"),
            counted(report.services.len(), "image")
        )
    };
    let (violated, undecided) = (count(report, "violated"), count(report, "undecided"));
    match report.exit_code {
        130 | 143 => format!(
            "it was told to end before it had judged everything; {} {} in.",
            counted(report.records.len(), "verdict"),
            if report.records.len() == 1 { "was" } else { "were" }
        ),
        2 => "the command or a file it reads is wrong; the images are not to blame.".to_owned(),
        1 if violated > 0 => format!("{} violated.", of(violated)),
        1 => "a build or a test failed.".to_owned(),
        0 if undecided > 0 => {
            let all = report.records.iter().filter(|record| record.tolerated()).count();
            format!(
                "{} undecided. Policy lets {} stay so; with --strict the run would end with 3.",
                of(undecided),
                if all == 1 { "it" } else { "them" }
            )
        }
        0 if report.records.is_empty() => "nothing was judged.".to_owned(),
        0 => passed(report),
        _ if undecided > 0 => format!("{} undecided: nobody could look.", of(undecided)),
        _ => "something that is required could not be decided.".to_owned(),
    }
}

fn passed(report: &Report) -> String {
    let skipped = count(report, "skipped");
    let judged = report.records.len() - skipped;
    let left_out = match skipped {
        0 => String::new(),
        count => format!(", {count} left out"),
    };
    let reused = match count(report, "reused") {
        0 => "found now".to_owned(),
        reused if reused == judged => "all found by earlier runs of the same".to_owned(),
        reused => format!("{reused} of them found by earlier runs of the same"),
    };
    format!(
        "{} on {} passed, {reused}{left_out}.",
        counted(judged, "verdict"),
        counted(report.services.len(), "image")
    )
}

/// Verdicts that an earlier run found.
pub(super) fn reused(report: &Report) -> Vec<&Record> {
    report
        .records
        .iter()
        .filter(|record| record.word() == "reused")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn what_is_let_pass_does_not_read_as_passed() {
        let mut report = sample();
        report
            .records
            .retain(|record| record.outcome != Outcome::Violated);
        report.exit_code = 0;
        assert_eq!(word(&report), "passed, but for what is undecided");
        insta::assert_snapshot!(meaning(&report), @"1 of 3 verdicts on 2 images undecided. Policy lets it stay so; with --strict the run would end with 3.");
        report.records.retain(|record| record.outcome == Outcome::Passed);
        assert_eq!(word(&report), "passed");
        insta::assert_snapshot!(meaning(&report), @"1 verdict on 2 images passed, found now.");
        report.records.clear();
        assert_eq!(word(&report), "nothing was judged");
    }

    #[test]
    fn each_exit_code_has_its_word() {
        let mut report = sample();
        let mut word = |exit_code| {
            report.exit_code = exit_code;
            word(&report)
        };
        let words = [1, 2, 3, 130, 143].map(&mut word);
        assert_eq!(
            words,
            [
                "violated",
                "wrong usage",
                "undecided",
                "interrupted",
                "interrupted"
            ]
        );
    }
}
