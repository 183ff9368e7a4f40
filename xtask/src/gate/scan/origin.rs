//! Where each finding comes from and how it came about: the crate's path from the service, the file and its layer,
//! the base image; introduced by a change of ours, or disclosed by the world. All findings, whatever fails.

use std::collections::BTreeSet;

use serde::Serialize;

use super::files::OddFile;
use super::layers::Layers;
use super::policy::Disclosed;
use super::remedy;
use super::since::{Cause, Since, cause};
use super::vulnerabilities::Fate;
use crate::catalogue::Service;
use crate::graph::Graph;
use crate::tool::trivy::{Report, Vulnerability};

/// One finding, as the report lists it. What does not apply is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Finding {
    /// `vulnerability`, `secret`, `misconfiguration`, `file`.
    pub kind: &'static str,
    pub id: String,
    pub severity: String,
    pub status: String,
    pub package: String,
    pub version: String,
    /// The versions without it.
    pub fixed: String,
    pub title: String,
    /// When it was published, and where it is described.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub published: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What policy makes of it: `fails`, `excepted`, `let pass`, `reported`; and why, where a statement says so.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub became: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `crate`, `base image`, `file <path> in layer <n>`, `configuration`.
    pub origin: String,
    /// A crate's path from the service, or a file's in the image.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introduced: Option<Cause>,
}

/// What is known of an image, to say where its findings come from.
pub struct Origins<'a> {
    pub service: &'a Service,
    pub graph: &'a Graph,
    pub layers: &'a Layers,
    pub since: Option<&'a Since>,
    /// The crates that the image had then.
    pub before: Option<BTreeSet<String>>,
    /// Whether it stood on the same base then, where that is known.
    pub same_base: Option<bool>,
    pub policy: Disclosed,
    pub strict: bool,
}

impl Origins<'_> {
    fn crate_id(&self, found: &Vulnerability) -> Option<String> {
        let id = format!("{} {}", found.pkg_name, found.installed_version);
        let known = self.service.crates.contains(&id) || found.pkg_identifier.purl.starts_with("pkg:cargo/");
        known.then_some(id)
    }

    /// What holds it where no crate does: a crate's binary says nothing of the base.
    fn in_base(&self, found: &Vulnerability) -> bool {
        self.layers.is_base(self.layers.number(&found.layer.diff_id))
    }

    fn cause(&self, found: &Vulnerability) -> Cause {
        match (self.crate_id(found), self.since) {
            (Some(id), _) => cause(self.before.as_ref(), &id),
            (None, Some(_)) if self.in_base(found) => match self.same_base {
                Some(true) => Cause::Disclosed,
                Some(false) => Cause::Introduced,
                None => Cause::Unknown,
            },
            (None, Some(_)) => Cause::Introduced,
            (None, None) => Cause::Unknown,
        }
    }

    /// `crate` and its path, `base image` and what holds it, and so on.
    fn place(&self, found: &Vulnerability) -> (String, String) {
        if let Some(id) = self.crate_id(found) {
            let path = self
                .graph
                .path_words(&self.service.name, &self.service.crates, &id);
            return ("crate".to_owned(), path);
        }
        if self.in_base(found) {
            return ("base image".to_owned(), found.pkg_path.clone());
        }
        let number = self.layers.number(&found.layer.diff_id);
        (self.layers.words(&found.pkg_path, number), found.pkg_path.clone())
    }

    /// Where a vulnerability comes from and since when, for a verdict: `frontend -> smallvec; introduced since v1.0.0`.
    pub fn words(&self, found: &Vulnerability) -> String {
        let place = self.words_of_place(found);
        let name = self.since.map_or("", |since| since.name.as_str());
        match self.cause(found) {
            Cause::Introduced => format!("{place}; introduced since {name}"),
            Cause::Disclosed => format!("{place}; disclosed since {name}"),
            Cause::Unknown if self.since.is_some() => {
                format!("{place}; nobody knows which base {name} stood on")
            }
            Cause::Unknown => format!("{place}; no release to compare with"),
        }
    }

    /// Where it comes from alone: `frontend -> smallvec`, `base image`.
    pub fn words_of_place(&self, found: &Vulnerability) -> String {
        match self.place(found) {
            (origin, path) if origin == "crate" => path,
            (origin, _) => origin,
        }
    }

    /// What mends it.
    pub fn remedy(&self, found: &Vulnerability) -> String {
        match self.crate_id(found) {
            Some(id) => remedy::of_crate(self.graph, &id, &found.fixed_version),
            None if found.fixed_version.is_empty() => remedy::without_mending(&found.pkg_name),
            None if self.in_base(found) => {
                format!(
                    "take a base image with {} {} (docker/bases/pins.toml)",
                    found.pkg_name, found.fixed_version
                )
            }
            None => format!(
                "bring {} {} into the image instead",
                found.pkg_name, found.fixed_version
            ),
        }
    }

    /// Whether policy reports it without failing the gate.
    pub fn lets_pass(&self, found: &Vulnerability) -> bool {
        self.policy == Disclosed::Report && !self.strict && self.cause(found) == Cause::Disclosed
    }

    /// Everything that was found, those below any threshold too.
    pub fn findings(
        &self,
        found: &[(&Vulnerability, Fate)],
        report: &Report,
        odd: &[OddFile],
    ) -> Vec<Finding> {
        let vulnerabilities = found.iter().map(|(found, fate)| self.vulnerability(found, fate));
        let mut findings: Vec<Finding> = vulnerabilities.collect();
        for result in &report.results {
            findings.extend(result.secrets.iter().map(|found| {
                let number = self.layers.number(&found.layer.diff_id);
                Finding {
                    id: found.rule_id.clone(),
                    severity: found.severity.word().to_owned(),
                    title: found.title.clone(),
                    ..self.file("secret", &result.target, number)
                }
            }));
            let failed = result
                .misconfigurations
                .iter()
                .filter(|found| found.status != "PASS");
            findings.extend(failed.map(|found| Finding {
                kind: "misconfiguration",
                id: found.id.clone(),
                severity: found.severity.word().to_owned(),
                title: found.title.clone(),
                origin: "configuration".to_owned(),
                ..Finding::default()
            }));
        }
        findings.extend(odd.iter().map(|odd| Finding {
            title: odd.why.clone(),
            ..self.file("file", &odd.path, Some(odd.layer))
        }));
        findings
    }

    fn vulnerability(&self, found: &Vulnerability, fate: &Fate) -> Finding {
        let (became, why) = fate.words();
        let (origin, path) = self.place(found);
        Finding {
            kind: "vulnerability",
            id: found.id.clone(),
            severity: found.severity.word().to_owned(),
            status: found.status().word().to_owned(),
            package: found.pkg_name.clone(),
            version: found.installed_version.clone(),
            fixed: found.fixed_version.clone(),
            title: found.title.clone(),
            origin,
            path,
            introduced: Some(self.cause(found)),
            published: found.published_date.clone(),
            url: found.primary_url.clone(),
            became,
            why: why.map(str::to_owned),
        }
    }

    fn file(&self, kind: &'static str, path: &str, number: Option<usize>) -> Finding {
        let origin = match self.layers.is_base(number) {
            true => "base image".to_owned(),
            false => self.layers.words(path, number),
        };
        Finding {
            kind,
            origin,
            path: path.to_owned(),
            ..Finding::default()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalogue::tests::service;
    use crate::gate::scan::layers;
    use crate::gate::scan::since;
    use crate::graph::tests::graph;
    use crate::tool::trivy;

    const REPORT: &str = r#"{"SchemaVersion":2,"Results":[
        {"Target":"frontend","Class":"lang-pkgs","Type":"rustbinary","Vulnerabilities":[{"VulnerabilityID":"CVE-2021-25900",
         "PkgName":"smallvec","InstalledVersion":"0.6.13","FixedVersion":"0.6.14, 1.6.1","Status":"fixed","Severity":"CRITICAL","Title":"overflow",
         "Layer":{"DiffID":"sha256:b"}}]},
        {"Target":"debian","Class":"os-pkgs","Type":"debian","Vulnerabilities":[{"VulnerabilityID":"CVE-2","PkgName":"tzdata",
         "InstalledVersion":"2024a","FixedVersion":"","Status":"affected","Severity":"LOW","Layer":{"DiffID":"sha256:a"}}]},
        {"Target":"/creds","Class":"secret","Secrets":[{"RuleID":"aws","Severity":"CRITICAL","Title":"AWS key","Layer":{"DiffID":"sha256:b"}}]},
        {"Target":"x","Class":"config","Misconfigurations":[{"ID":"DS-0002","Severity":"HIGH","Status":"FAIL","Title":"root user"}]}]}"#;

    fn with<T>(
        before: Option<&[&str]>,
        policy: Disclosed,
        strict: bool,
        look: impl Fn(&Origins, &Report) -> T,
    ) -> T {
        let report = trivy::parse(REPORT).unwrap();
        origins(before, policy, strict, |origins| look(origins, &report))
    }

    /// Looks at `frontend -> axum -> smallvec`, with these crates before; nothing to compare with where there are none.
    pub(crate) fn origins<T>(
        before: Option<&[&str]>,
        policy: Disclosed,
        strict: bool,
        look: impl Fn(&Origins) -> T,
    ) -> T {
        let graph = graph(&[
            ("frontend 0.1.0", "^1", "axum 1.0.0"),
            ("axum 1.0.0", "^0.6", "smallvec 0.6.13"),
        ]);
        let (layers, since) = (layers::tests::sample(), since::tests::sample());
        let origins = Origins {
            service: &service("frontend", &["frontend 0.1.0", "axum 1.0.0", "smallvec 0.6.13"]),
            graph: &graph,
            layers: &layers,
            since: before.map(|_| &since),
            before: before.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
            same_base: Some(true),
            policy,
            strict,
        };
        look(&origins)
    }

    #[test]
    fn every_finding_says_where_it_comes_from_and_how_it_came_about() {
        let odd = OddFile {
            path: "/su".into(),
            why: "runs as its owner".into(),
            layer: 1,
        };
        let all = |before: Option<&[&str]>| {
            with(before, Disclosed::Fail, false, |origins, report| {
                let found: Vec<_> = report
                    .vulnerabilities()
                    .map(|found| (found, Fate::Fails))
                    .collect();
                origins.findings(&found, report, std::slice::from_ref(&odd))
            })
        };
        let findings = all(Some(&["frontend 0.1.0"]));
        let told: Vec<_> = findings
            .iter()
            .map(|found| {
                (
                    found.kind,
                    found.origin.as_str(),
                    found.path.as_str(),
                    found.introduced,
                )
            })
            .collect();
        let expected = [
            (
                "vulnerability",
                "crate",
                "frontend -> axum 1.0.0 -> smallvec",
                Some(Cause::Introduced),
            ),
            ("vulnerability", "base image", "", Some(Cause::Disclosed)),
            ("secret", "file /creds in layer 2", "/creds", None),
            ("misconfiguration", "configuration", "", None),
            ("file", "base image", "/su", None),
        ];
        assert_eq!(told, expected);
        assert_eq!(
            (findings[0].status.as_str(), findings[1].status.as_str()),
            ("fixed", "affected")
        );
        assert_eq!(
            all(Some(&["smallvec 0.6.13"]))[0].introduced,
            Some(Cause::Disclosed)
        );
        assert_eq!(all(None)[0].introduced, Some(Cause::Unknown));
    }

    #[test]
    fn a_verdict_names_path_cause_and_remedy() {
        let told = |before: Option<&[&str]>| {
            with(before, Disclosed::Fail, false, |origins, report| {
                let found = &report.results[0].vulnerabilities[0];
                (origins.words(found), origins.remedy(found))
            })
        };
        let (words, remedy) = told(Some(&[]));
        assert_eq!(
            words,
            "frontend -> axum 1.0.0 -> smallvec; introduced since v1.0.0"
        );
        assert_eq!(remedy, "cargo update -p smallvec@0.6.13 --precise 0.6.14");
        assert!(
            told(Some(&["smallvec 0.6.13"]))
                .0
                .ends_with("; disclosed since v1.0.0")
        );
        assert!(told(None).0.ends_with("; no release to compare with"));
    }

    #[test]
    fn a_base_that_is_not_known_is_not_taken_for_the_same() {
        let told = |same_base| {
            with(Some(&[]), Disclosed::Report, false, |origins, report| {
                let origins = Origins {
                    same_base,
                    before: origins.before.clone(),
                    ..*origins
                };
                let found = &report.results[1].vulnerabilities[0];
                (origins.words(found), origins.lets_pass(found))
            })
        };
        let words = |words: &str| format!("base image; {words}");
        assert_eq!(told(Some(true)), (words("disclosed since v1.0.0"), true));
        assert_eq!(told(Some(false)), (words("introduced since v1.0.0"), false));
        assert_eq!(
            told(None),
            (words("nobody knows which base v1.0.0 stood on"), false)
        );
    }

    #[test]
    fn only_what_was_disclosed_may_pass_and_only_where_policy_reports_it() {
        let was: Option<&[&str]> = Some(&["smallvec 0.6.13"]);
        for (before, policy, strict, passes) in [
            (was, Disclosed::Report, false, true),
            (was, Disclosed::Report, true, false),
            (was, Disclosed::Fail, false, false),
            (Some(&[][..]), Disclosed::Report, false, false),
            (None, Disclosed::Report, false, false),
        ] {
            let lets_pass =
                |origins: &Origins, report: &Report| origins.lets_pass(&report.results[0].vulnerabilities[0]);
            assert_eq!(
                with(before, policy, strict, lets_pass),
                passes,
                "{before:?} {policy:?} {strict}"
            );
        }
    }
}
