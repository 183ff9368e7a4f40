//! Licences of the crates in a binary: `docker/policy/licences.toml` says which may be handed on with an image, and
//! which crate is let pass in spite of it. Crates of this checkout are ours and not asked about.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::catalogue::{Catalogue, Service, nearest};
use crate::exit::Failure;
use crate::graph::{Crate, Graph};
use crate::verdict::Check;

const FILE: &str = "docker/policy/licences.toml";
const NAME: &str = "licences";

/// The file, as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// SPDX identifiers, each with its exception where it has one (`Apache-2.0 WITH LLVM-exception`).
    allowed: Vec<String>,
    #[serde(default)]
    exception: Vec<Exception>,
}

/// One crate that is let pass.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// The crate's name, in every version.
    #[serde(rename = "crate")]
    name: String,
    /// The one licence more that it may have; of a crate that states none, what its files say.
    licence: String,
    /// Why it may.
    reason: String,
}

/// The policy of a checkout, ready to be applied.
#[derive(Debug, Clone, Default)]
pub struct Licences {
    allowed: Vec<Licensee>,
    exceptions: Vec<(Exception, Licensee)>,
    /// The exceptions that no crate of any image needs.
    unused: Vec<String>,
}

impl Licences {
    /// Reads the policy, and finds the exceptions that no image of the catalogue needs.
    ///
    /// # Errors
    /// Exit 2 for an unreadable file, an unknown key, a licence that SPDX does not know, an empty word.
    pub fn read(root: &Path, catalogue: &Catalogue) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(FILE)).map_err(|error| wrong(&error.to_string()))?;
        let mut licences = Self::parse(&text)?;
        let crates: BTreeSet<&String> = catalogue
            .services
            .iter()
            .flat_map(|service| &service.crates)
            .collect();
        licences.find_unused(&crates, &catalogue.graph);
        Ok(licences)
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string().trim()))?;
        let allowed = file.allowed.iter().map(|word| licensee("allowed", word));
        let exceptions = file.exception.into_iter().map(|exception| {
            let words = [&exception.name, &exception.reason];
            if words.iter().any(|word| word.trim().is_empty()) {
                return Err(wrong("exception: crate and reason must say something"));
            }
            let licence = licensee("exception.licence", &exception.licence)?;
            Ok((exception, licence))
        });
        Ok(Licences {
            allowed: allowed.collect::<Result<_>>()?,
            exceptions: exceptions.collect::<Result<_>>()?,
            unused: Vec::new(),
        })
    }

    fn find_unused(&mut self, crates: &BTreeSet<&String>, graph: &Graph) {
        let needs = |exception: &Exception| {
            let own = crates.iter().filter(|id| name_of(id) == exception.name);
            let mut entries = own.filter_map(|id| graph.get(id));
            entries.any(|entry| self.fault(entry, &[]).is_some() && self.excepted(&exception.name, entry))
        };
        let unused = self.exceptions.iter().filter(|(exception, _)| !needs(exception));
        let words = unused.map(|(exception, _)| format!("{} ({})", exception.name, exception.licence));
        self.unused = words.collect();
    }

    fn excepted(&self, name: &str, entry: &Crate) -> bool {
        let own = self
            .exceptions
            .iter()
            .filter(|(exception, _)| exception.name == name);
        let more: Vec<&Licensee> = own.map(|(_, licence)| licence).collect();
        // A crate that states no licence, or one that is no SPDX expression: a person has read its files.
        let unread = entry
            .licence
            .as_deref()
            .is_none_or(|text| Expression::parse_mode(text, ParseMode::LAX).is_err());
        !more.is_empty() && (unread || self.fault(entry, &more).is_none())
    }

    /// What is wrong with a crate's licence, where `more` may be used beside those that all may.
    fn fault(&self, entry: &Crate, more: &[&Licensee]) -> Option<String> {
        let Some(text) = &entry.licence else {
            return Some(match &entry.licence_file {
                Some(file) => format!("states no licence but a file, {file}"),
                None => "states no licence".to_owned(),
            });
        };
        // Old manifests write `MIT/Apache-2.0`.
        let expression = match Expression::parse_mode(text, ParseMode::LAX) {
            Ok(expression) => expression,
            Err(error) => {
                return Some(format!(
                    "states '{text}', which is no SPDX expression: {}",
                    error.reason
                ));
            }
        };
        let may = |licence: &spdx::LicenseReq| {
            let mut all = self.allowed.iter().chain(more.iter().copied());
            all.any(|licensee| licensee.satisfies(licence))
        };
        (!expression.evaluate(may)).then(|| format!("is licensed {text}"))
    }

    /// Judges the crates in one service's binary.
    pub fn judge(&self, service: &Service, graph: &Graph) -> Check {
        let others = service.crates.iter().filter_map(|id| Some((id, graph.get(id)?)));
        let others: Vec<(&String, &Crate)> = others.filter(|(_, entry)| !entry.own).collect();
        let faults = others.iter().filter_map(|(id, entry)| {
            let fault = self.fault(entry, &[])?;
            let path = graph.path_words(&service.name, &service.crates, id);
            (!self.excepted(name_of(id), entry)).then(|| format!("{id} {fault} ({path})"))
        });
        let faults: Vec<String> = faults.collect();
        if !faults.is_empty() {
            let hint =
                "replace the crate, or let it pass in docker/policy/licences.toml: crate, licence, reason";
            return Check::violated(NAME, faults.join("; "), hint);
        }
        if !self.unused.is_empty() {
            let detail = format!("an exception that no crate needs: {}", self.unused.join(", "));
            return Check::violated(NAME, detail, "take it out of docker/policy/licences.toml");
        }
        Check::passed(NAME, format!("all {} crates of others are allowed", others.len()))
    }
}

fn name_of(id: &str) -> &str {
    id.split(' ').next().unwrap_or_default()
}

fn licensee(key: &str, word: &str) -> Result<Licensee> {
    Licensee::parse(word).map_err(|error| {
        let known: Vec<&str> = spdx::identifiers::LICENSES
            .iter()
            .map(|licence| licence.name)
            .collect();
        let near = nearest(word, &known).map(|near| format!("; did you mean '{near}'?"));
        let near = near.unwrap_or_default();
        wrong(&format!(
            "{key}: '{word}' is no SPDX licence ({}){near}",
            error.reason
        ))
    })
}

fn wrong(why: &str) -> anyhow::Error {
    let hint = "allowed = [SPDX identifiers]; each [[exception]] has crate, licence and reason";
    Failure::usage(format!("{FILE}: {why}"), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::service;
    use crate::graph::tests::{graph, with_licence};
    use crate::verdict::Outcome;

    const ALLOWED: &str = "allowed = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]\n";
    const EXCEPTION: &str =
        "[[exception]]\ncrate = \"odd\"\nlicence = \"MPL-2.0\"\nreason = \"not changed by us\"\n";

    fn judged(policy: &str, licence: Option<&str>, file: Option<&str>) -> Check {
        let graph = graph(&[
            ("frontend 0.1.0", "^1", "axum 1.0.0"),
            ("axum 1.0.0", "^1", "odd 1.2.0"),
        ]);
        let graph = with_licence(graph, "odd 1.2.0", licence, file);
        let service = service("frontend", &["frontend 0.1.0", "axum 1.0.0", "odd 1.2.0"]);
        let mut licences = Licences::parse(policy).unwrap();
        licences.find_unused(&service.crates.iter().collect(), &graph);
        licences.judge(&service, &graph)
    }

    #[test]
    fn expressions_are_evaluated_against_the_list() {
        for fits in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "(MIT OR MPL-2.0) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            let check = judged(ALLOWED, Some(fits), None);
            assert_eq!(check.outcome, Outcome::Passed, "{fits}: {}", check.detail);
        }
        for (licence, words) in [
            (
                "GPL-3.0-only",
                "odd 1.2.0 is licensed GPL-3.0-only (frontend -> axum 1.0.0 -> odd)",
            ),
            ("MIT AND MPL-2.0", "odd 1.2.0 is licensed MIT AND MPL-2.0 ("),
            ("MIT WITH Classpath-exception-2.0", "is licensed MIT WITH"),
            (
                "Do What You Like",
                "states 'Do What You Like', which is no SPDX expression",
            ),
        ] {
            let check = judged(ALLOWED, Some(licence), None);
            assert_eq!(check.outcome, Outcome::Violated, "{licence}");
            assert!(check.detail.contains(words), "{}", check.detail);
        }
    }

    #[test]
    fn a_crate_that_states_none_is_named() {
        assert!(
            judged(ALLOWED, None, None)
                .detail
                .contains("odd 1.2.0 states no licence (")
        );
        assert!(
            judged(ALLOWED, None, Some("COPYING"))
                .detail
                .contains("states no licence but a file, COPYING")
        );
    }

    #[test]
    fn an_exception_is_for_its_crate_and_licence_and_has_to_be_needed() {
        let policy = format!("{ALLOWED}{EXCEPTION}");
        for licence in [Some("MPL-2.0"), Some("MPL-2.0 AND MIT"), Some("Custom"), None] {
            assert_eq!(
                judged(&policy, licence, None).outcome,
                Outcome::Passed,
                "{licence:?}"
            );
        }
        assert!(
            judged(&policy, Some("GPL-3.0-only"), None)
                .detail
                .contains("is licensed GPL-3.0-only")
        );
        let unused = judged(&policy, Some("MIT"), None);
        assert_eq!(unused.outcome, Outcome::Violated);
        assert_eq!(unused.detail, "an exception that no crate needs: odd (MPL-2.0)");
        let other = policy.replace("\"odd\"", "\"gone\"");
        assert!(
            judged(&other, Some("MIT"), None)
                .detail
                .contains("gone (MPL-2.0)")
        );
    }

    #[test]
    fn our_own_crates_need_no_licence() {
        let graph = with_licence(
            graph(&[("frontend 0.1.0", "*", "kit 0.1.0")]),
            "kit 0.1.0",
            None,
            None,
        );
        let service = service("frontend", &["frontend 0.1.0", "kit 0.1.0"]);
        let check = Licences::parse(ALLOWED).unwrap().judge(&service, &graph);
        assert_eq!(check.detail, "all 0 crates of others are allowed");
    }

    #[test]
    fn a_faulty_policy_is_named_with_what_is_wrong() {
        for (text, word) in [
            ("allowed = [\"MITT\"]", "did you mean 'MIT'?"),
            ("allowed = [\"MIT\"]\ndenied = []", "denied"),
            ("", "allowed"),
            (
                &format!("{ALLOWED}{}", EXCEPTION.replace("MPL-2.0", "MPL")),
                "exception.licence: 'MPL'",
            ),
            (
                &format!("{ALLOWED}{}", EXCEPTION.replace("not changed by us", " ")),
                "must say something",
            ),
        ] {
            let error = Licences::parse(text).unwrap_err().to_string();
            assert!(error.contains(FILE) && error.contains(word), "{word}: {error}");
        }
    }

    /// One list of what is allowed, for the images and for the sources.
    #[test]
    fn the_policy_that_is_shipped_allows_what_cargo_deny_does() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &str| -> toml::Table {
            std::fs::read_to_string(root.join(path)).unwrap().parse().unwrap()
        };
        assert_eq!(read(FILE)["allowed"], read(".deny.toml")["licenses"]["allow"]);
    }
}
