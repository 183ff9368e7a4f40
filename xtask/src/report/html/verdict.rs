//! The verdict: a word, the exit code, and what they mean in a sentence.

use maud::{Markup, html};

use super::words::{lasted, look};
use crate::report::Report;
use crate::report::words::counted;
use crate::verdict::Record;

pub(super) fn section(report: &Report) -> Markup {
    let word = report.word();
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
        1 if violated > 0 => format!("{} {} violated.", of(violated), be(violated)),
        1 => "a build or a test failed.".to_owned(),
        0 if undecided > 0 => {
            let all = report.records.iter().filter(|record| record.tolerated()).count();
            format!(
                "{} {} undecided. Policy lets {} stay so; with --strict the run would end with 3.",
                of(undecided),
                be(undecided),
                if all == 1 { "it" } else { "them" }
            )
        }
        0 if !report.is_judged() => "nothing was judged.".to_owned(),
        0 => passed(report),
        _ if undecided > 0 => format!("{} {} undecided.", of(undecided), be(undecided)),
        _ => "something that is required could not be decided.".to_owned(),
    }
}

fn be(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
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
        reused if reused == judged => "all of them reused from earlier runs".to_owned(),
        reused => format!("{reused} of them reused from earlier runs"),
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
    use crate::verdict::Outcome;

    #[test]
    fn what_is_let_pass_does_not_read_as_passed() {
        let mut report = sample();
        report
            .records
            .retain(|record| record.outcome != Outcome::Violated);
        report.exit_code = 0;
        assert_eq!(report.word(), "passed, but for what is undecided");
        insta::assert_snapshot!(meaning(&report), @"1 of 3 verdicts on 2 images is undecided. Policy lets it stay so; with --strict the run would end with 3.");
        report.records.retain(|record| record.outcome == Outcome::Passed);
        assert_eq!(report.word(), "passed");
        insta::assert_snapshot!(meaning(&report), @"1 verdict on 2 images passed, found now.");
        report.records.clear();
        assert_eq!(report.word(), "nothing was judged");
    }
}
