//! What `verify` answers: checks about the reference, and about each manifest in it; for a person and as one document.

use serde::Serialize;

use crate::exit::Exit;
use crate::terminal::{Paint, clean};
use crate::verdict::{Check, Outcome};

/// What was found out about one image.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// As it was asked for, in full.
    pub image: String,
    /// What was looked at; absent where there is nothing.
    pub digest: Option<String>,
    /// Whom the reader trusts.
    pub trusted: String,
    pub outcome: Outcome,
    pub exit_code: u8,
    /// About the reference.
    pub checks: Vec<Check>,
    /// About each manifest, the index first where there is one.
    pub parts: Vec<Part>,
}

/// One manifest.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    /// `index`, or the platform; absent where there is but one manifest.
    pub of: Option<String>,
    pub digest: String,
    pub checks: Vec<Check>,
}

impl Answer {
    pub(super) fn new(image: String, trusted: String) -> Self {
        Answer {
            image,
            digest: None,
            trusted,
            outcome: Outcome::Undecided,
            exit_code: Exit::Undecided.code(),
            checks: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub(super) fn check(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Adds it all up. Nothing of the kind that must be there is ever left out silently: no part is no pass.
    pub(super) fn judge(&mut self) -> Exit {
        let parts = self.parts.iter().flat_map(|part| &part.checks);
        let worst = self.checks.iter().chain(parts).map(|check| check.outcome).max();
        self.outcome = match worst {
            Some(Outcome::Passed) if self.parts.is_empty() => Outcome::Undecided,
            Some(worst) => worst,
            None => Outcome::Undecided,
        };
        let exit = match self.outcome {
            Outcome::Passed => Exit::Passed,
            Outcome::Violated => Exit::Violated,
            Outcome::Skipped | Outcome::Undecided => Exit::Undecided,
        };
        self.exit_code = exit.code();
        exit
    }

    /// For a person: a line a check, what to do under what is not well, and a last line that says it all.
    pub(super) fn shown(&self, paint: Paint) -> String {
        let mut lines = vec![self.image.clone()];
        lines.extend(self.digest.clone());
        lines.push(paint.faint(&format!("trusted: {}", self.trusted)));
        lines.push(String::new());
        lines.extend(self.checks.iter().flat_map(|check| shown(check, paint)));
        for part in &self.parts {
            let heading = part.of.as_ref().map(|of| format!("{of} {}", part.digest));
            lines.extend(heading.into_iter().flat_map(|heading| [String::new(), heading]));
            lines.extend(part.checks.iter().flat_map(|check| shown(check, paint)));
        }
        lines.push(String::new());
        lines.push(match self.outcome {
            Outcome::Passed => format!("verified: {}", self.image),
            Outcome::Violated => format!("NOT verified: {}", self.image),
            _ => format!("not decided: {}", self.image),
        });
        lines.join("\n")
    }
}

/// Words of a statement and of a registry are words from outside.
fn shown(check: &Check, paint: Paint) -> Vec<String> {
    let word = paint.verdict(&format!("{:<9}", check.outcome.word()), check.outcome);
    let mut lines = vec![format!("  {word}  {:<17}  {}", check.name, clean(&check.detail))];
    let hint = check.hint.as_deref().filter(|hint| !hint.is_empty());
    lines.extend(hint.map(|hint| format!("             hint: {}", clean(hint))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let mut answer = Answer::new("ghcr.io/acme/x:1.4.2".into(), "the key k.pub".into());
        answer.digest = Some("sha256:aa".into());
        answer.check(Check::passed("tag and digest", "1.4.2 points to sha256:aa"));
        for (of, digest) in [("index", "sha256:aa"), ("linux/amd64", "sha256:bb")] {
            answer.parts.push(Part {
                of: Some(of.into()),
                digest: digest.into(),
                checks: vec![Check::passed("signature", "by the key k.pub")],
            });
        }
        answer
    }

    #[test]
    fn what_holds_is_said_line_by_line() {
        let mut answer = answer();
        assert_eq!(answer.judge(), Exit::Passed);
        insta::assert_snapshot!(answer.shown(Paint(false)));
    }

    #[test]
    fn what_does_not_hold_has_its_remedy_and_decides() {
        let mut answer = answer();
        answer.parts[1].checks[0] =
            Check::violated("signature", "none\u{1b}[2J is attached", "do not use it");
        answer.check(Check::undecided("look", "no answer", "try again"));
        assert_eq!(answer.judge(), Exit::Violated);
        insta::assert_snapshot!(answer.shown(Paint(false)));
        answer.parts.clear();
        assert_eq!(answer.judge(), Exit::Undecided);
    }

    #[test]
    fn nothing_looked_at_is_no_pass() {
        let mut answer = answer();
        answer.parts.clear();
        assert_eq!(answer.judge(), Exit::Undecided);
        answer.checks.clear();
        assert_eq!(answer.judge(), Exit::Undecided);
    }
}
