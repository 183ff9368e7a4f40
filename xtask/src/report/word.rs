//! A run in a word, the same in every form of the report.

use super::Report;
use crate::verdict::Outcome;

impl Report {
    /// What it came to. What ended with 0 and left something open does not read as passed.
    pub fn word(&self) -> &'static str {
        let is_any = |outcome| self.records.iter().any(|record| record.outcome == outcome);
        match self.exit_code {
            0 if is_any(Outcome::Undecided) => "passed, but for what is undecided",
            0 if self.is_judged() => "passed",
            0 => "nothing was judged",
            1 => "violated",
            2 => "wrong usage",
            130 | 143 => "interrupted",
            _ => "undecided",
        }
    }

    /// What the early end of a run came to: violated only where no verdict is that already.
    pub fn early_word(&self) -> &'static str {
        let is_violated = self
            .records
            .iter()
            .any(|record| record.outcome == Outcome::Violated);
        match self.exit_code {
            0 => "undecided",
            1 if is_violated => "undecided",
            _ => self.word(),
        }
    }

    /// Anything was looked at.
    pub fn is_judged(&self) -> bool {
        self.records
            .iter()
            .any(|record| record.outcome != Outcome::Skipped)
    }
}

#[cfg(test)]
mod tests {
    use crate::report::tests::sample;
    use crate::verdict::{Gate, Record};

    #[test]
    fn each_exit_code_has_its_word() {
        let mut report = sample();
        let mut word = |exit_code| {
            report.exit_code = exit_code;
            report.word()
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

    #[test]
    fn what_was_left_out_is_not_judged_in_any_form() {
        let mut report = sample();
        report.exit_code = 0;
        report.records = vec![Record::skipped("a", Gate::Boot, "left out")];
        assert_eq!(report.word(), "nothing was judged");
        assert!(crate::report::markdown(&report).starts_with("# ci: nothing was judged\n"));
        assert!(!crate::report::markdown(&report).contains("Nothing to do"));
        assert!(crate::report::html(&report, &[]).contains("nothing was judged"));
    }
}
