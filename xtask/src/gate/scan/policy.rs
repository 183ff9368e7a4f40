//! `docker/policy/scan.toml`: what fails the gate, and what a missing or old database means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::catalogue::nearest;
use crate::exit::Failure;
use crate::tool::trivy::{Severity, Status};

const FILE: &str = "docker/policy/scan.toml";

const KEYS: [&str; 8] = [
    "database",
    "database_max_age_days",
    "database_repository",
    "deadline_s",
    "disclosed",
    "fail",
    "fail_misconfigurations",
    "yanked",
];

/// `docker/policy/scan.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub database: DatabasePolicy,
    pub database_max_age_days: u32,
    /// Where set-up fetches the database from, `host/path:tag`; its makers' registry when absent.
    pub database_repository: Option<String>,
    /// How long a scan may take.
    pub deadline_s: u64,
    /// Which statuses fail, for every severity.
    fail: BTreeMap<Severity, BTreeSet<Status>>,
    fail_misconfigurations: BTreeSet<Severity>,
    pub yanked: Availability,
    pub disclosed: Disclosed,
}

/// What it means that nobody can say whether a crate was yanked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// Undecided, and a run that is not strict may still end with 0.
    #[default]
    WhenAvailable,
    Required,
}

/// What a finding does that was there already at the last release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disclosed {
    #[default]
    Fail,
    /// It is reported, and fails a strict run alone.
    Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabasePolicy {
    WhenAvailable,
    Required,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    database: DatabasePolicy,
    database_max_age_days: u32,
    database_repository: Option<String>,
    deadline_s: u64,
    fail: BTreeMap<String, Vec<String>>,
    fail_misconfigurations: Vec<String>,
    #[serde(default)]
    yanked: Availability,
    #[serde(default)]
    disclosed: Disclosed,
}

impl Policy {
    /// Reads the policy of the checkout.
    ///
    /// # Errors
    /// Exit 2 for an unreadable file, an unknown or missing key, an unknown severity or status.
    pub fn read(root: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(FILE));
        Self::parse(&text.map_err(|error| wrong(error.to_string()))?)
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(wrong(none_of("key", unknown, &KEYS)));
        }
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut fail = BTreeMap::new();
        for (severity, statuses) in &file.fail {
            fail.insert(severity_of("fail", severity)?, statuses_of(severity, statuses)?);
        }
        if let Some(silent) = Severity::ALL
            .into_iter()
            .find(|severity| !fail.contains_key(severity))
        {
            let silent = silent.word();
            return Err(wrong(format!(
                "fail.{silent} is missing: name the statuses that fail, [] for none"
            )));
        }
        let severities = file.fail_misconfigurations.iter();
        let fail_misconfigurations =
            severities.map(|severity| severity_of("fail_misconfigurations", severity));
        if let Some(repository) = &file.database_repository {
            a_repository(repository).map_err(|why| wrong(format!("database_repository: {why}")))?;
        }
        if file.deadline_s == 0 {
            return Err(wrong("deadline_s: a scan needs time".to_owned()));
        }
        Ok(Policy {
            database: file.database,
            database_max_age_days: file.database_max_age_days,
            database_repository: file.database_repository,
            deadline_s: file.deadline_s,
            fail,
            fail_misconfigurations: fail_misconfigurations.collect::<Result<_>>()?,
            yanked: file.yanked,
            disclosed: file.disclosed,
        })
    }

    /// Whether a vulnerability of this severity and status fails the gate.
    pub fn fails(&self, severity: Severity, status: Status) -> bool {
        self.fail
            .get(&severity)
            .is_some_and(|statuses| statuses.contains(&status))
    }

    /// Whether a misconfiguration of this severity fails the gate.
    pub fn fails_misconfigured(&self, severity: Severity) -> bool {
        self.fail_misconfigurations.contains(&severity)
    }
}

fn severity_of(key: &str, word: &str) -> Result<Severity> {
    let known = Severity::ALL.map(Severity::word);
    Severity::named(word).ok_or_else(|| wrong(format!("{key}: {}", none_of("severity", word, &known))))
}

fn statuses_of(severity: &str, words: &[String]) -> Result<BTreeSet<Status>> {
    let known = Status::ALL.map(Status::word);
    let status = |word: &String| {
        Status::named(word)
            .ok_or_else(|| wrong(format!("fail.{severity}: {}", none_of("status", word, &known))))
    };
    words.iter().map(status).collect()
}

fn none_of(kind: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("unknown {kind} '{word}', did you mean '{near}'?"),
        None => format!("unknown {kind} '{word}', none of {}", known.join(", ")),
    }
}

/// Whether a text names a registry's repository: a host, a path, perhaps a tag. It becomes an argument.
pub fn a_repository(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/@".contains(c);
    let host = text.split('/').next().unwrap_or_default();
    let is_host = host.contains(['.', ':']) || host == "localhost";
    if is_host && !host.starts_with(['-', '.', ':']) && text.chars().all(plain) && text.len() > host.len() + 1
    {
        return Ok(());
    }
    Err(format!(
        "'{text}' is no repository, such as registry.example.org/mirror/trivy-db:2"
    ))
}

fn wrong(why: String) -> anyhow::Error {
    let hint = "the keys are described in the file that is shipped";
    Failure::usage(format!("{FILE}: {}", why.trim()), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../../docker/policy/scan.toml");

    #[test]
    fn the_shipped_policy_fails_what_can_be_mended_and_reports_the_rest() {
        let policy = Policy::parse(SHIPPED).unwrap();
        for severity in [Severity::Critical, Severity::High] {
            assert!(policy.fails(severity, Status::Fixed));
            assert!(policy.fails(severity, Status::FixDeferred));
            assert!(!policy.fails(severity, Status::Affected));
        }
        assert!(
            policy.fails(Severity::Unknown, Status::Fixed),
            "nobody has rated it"
        );
        assert!(!policy.fails(Severity::Unknown, Status::Affected));
        assert!(!policy.fails(Severity::Low, Status::Fixed));
    }

    #[test]
    fn a_faulty_policy_is_named_with_key_and_remedy() {
        for (from, to, said) in [
            (
                "deadline_s",
                "databse = 1\ndeadline_s",
                "unknown key 'databse', did you mean 'database'?",
            ),
            (
                "CRITICAL =",
                "CRITICL =",
                "fail: unknown severity 'CRITICL', did you mean 'CRITICAL'?",
            ),
            (
                "\"fix_deferred\"",
                "\"fix_defered\"",
                "unknown status 'fix_defered', did you mean 'fix_deferred'?",
            ),
            ("UNKNOWN  =", "# UNKNOWN =", "fail.UNKNOWN is missing"),
            (
                "max_age_days = 7",
                "max_age_days = \"seven\"",
                "database_max_age_days",
            ),
            (
                "database_max_age_days = 7",
                "",
                "missing field `database_max_age_days`",
            ),
            ("deadline_s = 120", "deadline_s = 0", "deadline_s"),
            (
                "fail_misconfigurations = [\"CRITICAL\"",
                "fail_misconfigurations = [\"worst\"",
                "unknown severity 'worst', none of CRITICAL",
            ),
            (
                "deadline_s",
                "database_repository = \"--insecure x\"\ndeadline_s",
                "is no repository",
            ),
        ] {
            let text = SHIPPED.replacen(from, to, 1);
            assert_ne!(text, SHIPPED, "{from}");
            let (exit, error) = crate::exit::explain(&Policy::parse(&text).unwrap_err());
            assert_eq!(exit, crate::exit::Exit::Usage);
            assert!(
                error.contains("docker/policy/scan.toml: ") && error.contains(said),
                "{said}: {error}"
            );
        }
    }

    #[test]
    fn a_repository_has_a_host_and_a_path() {
        for good in [
            "registry.example.org/mirror/trivy-db:2",
            "localhost:5000/trivy-db",
            "localhost/x",
        ] {
            assert_eq!(a_repository(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-x.y/z",
            "trivy-db",
            "example.org",
            "example.org/",
            "a.b/c d",
            "a.b/$(x)",
        ] {
            assert!(a_repository(bad).is_err(), "{bad}");
        }
    }
}
