//! Findings that are let pass for a time: `docker/policy/exceptions.toml`. Each has an owner, a reason and a day
//! on which it ends; one that has ended, or that no image needs any more, fails the gate.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use jiff::civil::Date;
use serde::Deserialize;

use crate::exit::Failure;
use crate::tool::trivy::Vulnerability;
use crate::verdict::Check;

/// One exception: one vulnerability in one package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// As the database names it, e.g. `CVE-2021-25900`.
    pub id: String,
    /// The crate's or package's name.
    pub package: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it does no harm here, or what is being done about it.
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`.
    pub expires: Date,
}

impl Exception {
    fn names(&self, found: &Vulnerability) -> bool {
        self.id == found.id && self.package == found.pkg_name
    }

    fn words(&self) -> String {
        format!("{} in {} (owner: {})", self.id, self.package, self.owner)
    }
}

/// All exceptions of a checkout, and which of them a finding of this run needed.
#[derive(Debug, Default)]
pub struct Exceptions {
    all: Vec<Exception>,
    used: Mutex<BTreeSet<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    exception: Vec<Exception>,
}

impl Exceptions {
    /// Reads the exceptions of the checkout; without a file there are none.
    ///
    /// # Errors
    /// Exit 2 for an unreadable file, an unknown or missing key, an empty word, a date that is none.
    pub fn read(root: &Path) -> Result<Self> {
        match std::fs::read_to_string(root.join("docker/policy/exceptions.toml")) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(&error.to_string())),
        }
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string().trim()))?;
        for exception in &file.exception {
            let words = [
                &exception.id,
                &exception.package,
                &exception.owner,
                &exception.reason,
            ];
            if words.iter().any(|word| word.trim().is_empty()) {
                return Err(wrong(&format!(
                    "{}: id, package, owner and reason must say something",
                    exception.words()
                )));
            }
        }
        Ok(Exceptions {
            all: file.exception,
            used: Mutex::default(),
        })
    }

    /// Whether a finding is let pass on this day; remembers that its exception is needed.
    pub fn lets_pass(&self, found: &Vulnerability, today: Date) -> bool {
        let Some(index) = self.all.iter().position(|exception| exception.names(found)) else {
            return false;
        };
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(index);
        self.all[index].expires >= today
    }

    /// Those that have ended.
    pub fn judge(&self, today: Date) -> Check {
        let ended = self.all.iter().filter(|exception| exception.expires < today);
        let ended: Vec<String> = ended
            .map(|exception| format!("{} ended on {}", exception.words(), exception.expires))
            .collect();
        if ended.is_empty() {
            return Check::passed("exceptions", format!("{}, none has ended", self.all.len()));
        }
        let hint = "mend the finding and take the exception out, or have its owner renew it with a reason \
                    (docker/policy/exceptions.toml)";
        Check::violated("expired exception", ended.join("; "), hint)
    }

    /// Those that hold and that no finding needed, once all images were looked at.
    pub fn unused(&self, today: Date) -> Option<Check> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = self
            .all
            .iter()
            .enumerate()
            .filter(|(index, exception)| !used.contains(index) && exception.expires >= today);
        let unused: Vec<String> = unused.map(|(_, exception)| exception.words()).collect();
        let hint = "take it out of docker/policy/exceptions.toml: what it let pass is not found any more";
        (!unused.is_empty()).then(|| Check::violated("unused exception", unused.join("; "), hint))
    }
}

fn wrong(why: &str) -> anyhow::Error {
    let hint = "each [[exception]] has id, package, owner, reason and expires (\"YYYY-MM-DD\")";
    Failure::usage(format!("docker/policy/exceptions.toml: {why}"), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    const GOOD: &str = "[[exception]]\nid = \"CVE-1\"\npackage = \"smallvec\"\nowner = \"ann\"\nreason = \"not reached\"\nexpires = \"2026-12-31\"\n";

    fn finding(id: &str, package: &str) -> Vulnerability {
        let text = serde_json::json!({"VulnerabilityID": id, "PkgName": package});
        serde_json::from_value(text).unwrap()
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_finding_passes_until_the_day_has_gone_and_for_its_own_package_alone() {
        let exceptions = Exceptions::parse(GOOD).unwrap();
        assert!(exceptions.lets_pass(&finding("CVE-1", "smallvec"), day("2026-12-31")));
        assert!(!exceptions.lets_pass(&finding("CVE-1", "smallvec"), day("2027-01-01")));
        assert!(!exceptions.lets_pass(&finding("CVE-1", "other"), day("2026-01-01")));
        assert!(!exceptions.lets_pass(&finding("CVE-2", "smallvec"), day("2026-01-01")));
    }

    #[test]
    fn one_that_has_ended_fails_even_where_nothing_is_found() {
        let exceptions = Exceptions::parse(GOOD).unwrap();
        assert_eq!(exceptions.judge(day("2026-12-31")).outcome, Outcome::Passed);
        let check = exceptions.judge(day("2027-01-01"));
        assert_eq!(check.outcome, Outcome::Violated);
        assert_eq!(check.detail, "CVE-1 in smallvec (owner: ann) ended on 2026-12-31");
    }

    #[test]
    fn one_that_nothing_needs_fails() {
        let exceptions = Exceptions::parse(GOOD).unwrap();
        assert_eq!(
            exceptions.unused(day("2026-01-01")).unwrap().name,
            "unused exception"
        );
        let ended = exceptions.unused(day("2027-01-01"));
        assert!(ended.is_none(), "one fault, told once");
        exceptions.lets_pass(&finding("CVE-1", "smallvec"), day("2026-01-01"));
        assert!(exceptions.unused(day("2026-01-01")).is_none());
    }

    #[test]
    fn a_faulty_file_is_named_with_what_is_wrong() {
        for (text, word) in [
            (GOOD.replace("2026-12-31", "soon"), "expires"),
            (GOOD.replace("owner = \"ann\"\n", ""), "owner"),
            (GOOD.replace("\"ann\"", "\" \""), "must say something"),
            (format!("{GOOD}until = 1\n"), "until"),
            ("[[exception".to_owned(), "exceptions.toml"),
        ] {
            let error = Exceptions::parse(&text).unwrap_err().to_string();
            assert!(
                error.contains("docker/policy/exceptions.toml: ") && error.contains(word),
                "{word}: {error}"
            );
        }
        assert!(Exceptions::parse("").unwrap().unused(day("2026-01-01")).is_none());
    }
}
