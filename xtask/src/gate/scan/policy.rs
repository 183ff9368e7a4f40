//! `docker/policy/scan.toml`: what fails the gate, and what a missing or old database means.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::exit::Failure;

/// `docker/policy/scan.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub database: DatabasePolicy,
    pub database_max_age_days: u32,
    pub fail_severities: Vec<String>,
    #[serde(default)]
    pub yanked: Availability,
    #[serde(default)]
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

const SEVERITIES: [&str; 5] = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"];

impl Policy {
    /// Reads the policy of the checkout.
    ///
    /// # Errors
    /// Exit 2 for an unreadable file, an unknown key or an unknown severity.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("docker/policy/scan.toml");
        let hint = "the keys are described in the file that is shipped";
        let wrong = |why: String| Failure::usage(format!("docker/policy/scan.toml: {why}"), hint);
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let policy: Policy =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        match policy
            .fail_severities
            .iter()
            .find(|severity| !SEVERITIES.contains(&severity.as_str()))
        {
            Some(unknown) => Err(wrong(format!(
                "fail_severities: '{unknown}' is none of {}",
                SEVERITIES.join(", ")
            ))
            .into()),
            None => Ok(policy),
        }
    }
}
