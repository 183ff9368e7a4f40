//! Exit codes, and the error that carries one. Every code is listed here and in the README; nothing else
//! decides how the process ends.

use std::fmt;
use std::io::ErrorKind;

/// How a run ends. Where several hold, the one that says more about the images wins: see [`Exit::worst`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// 0: everything passed, or what is undecided may be so by policy (and was printed).
    Passed,
    /// 1: a gate was violated or a build failed.
    Violated,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: something required could not be decided: engine, scanner, database or registry failures.
    Undecided,
    /// 130: interrupted from the keyboard (SIGINT).
    Interrupted,
    /// 143: told to end (SIGTERM).
    Terminated,
}

impl Exit {
    /// The process's exit status.
    pub fn code(self) -> u8 {
        match self {
            Exit::Passed => 0,
            Exit::Violated => 1,
            Exit::Usage => 2,
            Exit::Undecided => 3,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// Of two, the one the run ends with: an interruption over all, then 1 over 2 over 3 over 0.
    pub fn worst(self, other: Exit) -> Exit {
        let rank = |exit: Exit| match exit {
            Exit::Passed => 0,
            Exit::Undecided => 1,
            Exit::Usage => 2,
            Exit::Violated => 3,
            Exit::Interrupted => 4,
            Exit::Terminated => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// An expected failure: what went wrong (naming the culprit), and what to do about it.
#[derive(Debug, Clone)]
pub struct Failure {
    pub exit: Exit,
    pub what: String,
    pub hint: Option<String>,
}

impl Failure {
    /// Wrong usage or configuration (exit 2).
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure {
            exit: Exit::Usage,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    /// Something required could not be decided (exit 3).
    pub fn undecided(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure {
            exit: Exit::Undecided,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    /// A build failed or a gate was violated (exit 1).
    pub fn violated(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure {
            exit: Exit::Violated,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// How an error ends the process and what is printed of it: `error: ...`, then `hint: ...` on its own line.
/// Unexpected errors (no [`Failure`] in the chain) count as undecided: nothing was judged.
pub fn explain(error: &anyhow::Error) -> (Exit, String) {
    let failure = error.downcast_ref::<Failure>();
    let exit = failure.map_or(Exit::Undecided, |failure| failure.exit);
    let mut text = format!("error: {error:#}");
    for line in hint(error).iter().flat_map(|hint| hint.lines()) {
        text.push_str("\nhint: ");
        text.push_str(line);
    }
    (exit, text)
}

/// The remedy of an error. One that nobody expected has what its cause suggests.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.hint.clone();
    }
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    let remedy = match io.map(std::io::Error::kind) {
        Some(ErrorKind::NotFound) => "is the checkout whole? `git status` says what is missing",
        Some(ErrorKind::PermissionDenied) => "see who owns it: this user may not",
        Some(ErrorKind::StorageFull) => "free some space (`cargo xtask clean --reports`, `docker system df`)",
        Some(ErrorKind::ReadOnlyFilesystem) => "it lies on a read-only file system: work in another place",
        _ => {
            "run again with `-v`, which names every program that is started; logs lie in reports/latest/logs"
        }
    };
    Some(remedy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_wins_over_what_could_not_be_decided() {
        assert_eq!(Exit::Undecided.worst(Exit::Violated), Exit::Violated);
        assert_eq!(Exit::Violated.worst(Exit::Undecided), Exit::Violated);
        assert_eq!(Exit::Passed.worst(Exit::Undecided), Exit::Undecided);
        assert_eq!(Exit::Violated.worst(Exit::Interrupted), Exit::Interrupted);
    }

    #[test]
    fn a_failure_is_explained_with_its_hint_on_a_line_of_its_own() {
        let error = anyhow::Error::from(Failure::usage(
            "no service named 'gatway'",
            "did you mean 'gateway'?",
        ));
        let (exit, text) = explain(&error);
        assert_eq!(exit, Exit::Usage);
        assert_eq!(
            text,
            "error: no service named 'gatway'\nhint: did you mean 'gateway'?"
        );
    }

    #[test]
    fn an_error_that_nobody_expected_has_the_remedy_of_its_cause() {
        let full = std::io::Error::from(ErrorKind::StorageFull);
        let error = anyhow::Error::from(full).context("cannot write x");
        let (exit, text) = explain(&error);
        assert_eq!(exit, Exit::Undecided);
        assert!(text.starts_with("error: cannot write x: "), "{text}");
        assert!(text.contains("\nhint: free some space"), "{text}");
        let (_, text) = explain(&anyhow::anyhow!("odd"));
        assert!(
            text.starts_with("error: odd\nhint: run again with `-v`"),
            "{text}"
        );
    }
}
