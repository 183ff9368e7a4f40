//! The gates' verdicts on a digest, as an in-toto test result (v0.1): what passed under which policies, and beyond
//! that format, for each gate, what it measured, which run found it, and when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Release;
use crate::proof::{Proof, ProvenImage};
use crate::verdict::{Origin, Outcome, Record};

/// The predicate. Readers of the format alone find in it what they know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdicts {
    /// `PASSED`, `WARNED` (something was not looked at) or `FAILED`.
    pub result: String,
    /// The policies.
    pub configuration: Vec<Policy>,
    /// The page of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `scan/vulnerabilities`.
    pub passed_tests: Vec<String>,
    pub warned_tests: Vec<String>,
    pub failed_tests: Vec<String>,
    /// The first release that published them.
    pub release: String,
    pub commit: String,
    pub platform: String,
    /// What looked: engine, scanner, database.
    #[serde(default)]
    pub environment: Vec<String>,
    /// The run that gathered them, and when it began.
    pub run: String,
    pub run_at: jiff::Timestamp,
    pub gates: Vec<GateVerdict>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub digest: BTreeMap<String, String>,
}

/// One gate's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateVerdict {
    pub gate: String,
    pub outcome: Outcome,
    pub reason: String,
    /// The run that found it, and when (a verdict that was reused is older than the run that gathered it).
    pub found_by: String,
    pub found_at: jiff::Timestamp,
    pub figures: Map<String, Value>,
}

pub(super) fn predicate(release: &Release, proof: &Proof, image: &ProvenImage) -> Value {
    let names = |wanted: &[Outcome]| -> Vec<String> {
        let checks = image.records.iter().flat_map(|record| {
            let named = move |check: &str| format!("{}/{check}", record.gate.name());
            record
                .checks
                .iter()
                .map(move |check| (named(&check.name), check.outcome))
        });
        checks
            .filter(|(_, outcome)| wanted.contains(outcome))
            .map(|(name, _)| name)
            .collect()
    };
    let policies = proof.policies.iter().map(|(path, sha256)| Policy {
        name: path.clone(),
        digest: BTreeMap::from([("sha256".to_owned(), sha256.clone())]),
    });
    json!(Verdicts {
        result: result(&image.records).to_owned(),
        configuration: policies.collect(),
        url: proof.job.as_ref().map(|job| job.page.clone()),
        passed_tests: names(&[Outcome::Passed]),
        warned_tests: names(&[Outcome::Skipped]),
        failed_tests: names(&[Outcome::Violated, Outcome::Undecided]),
        release: release.version.to_owned(),
        commit: release.commit.to_owned(),
        platform: proof.platform.clone(),
        environment: proof.environment.clone(),
        run: proof.run_id.clone(),
        run_at: proof.started_at,
        gates: image.records.iter().map(|record| gate(proof, record)).collect(),
    })
}

/// The worst of them. What is undecided is no warning: nobody knows.
fn result(records: &[Record]) -> &'static str {
    match records.iter().map(|record| record.outcome).max() {
        Some(Outcome::Passed) => "PASSED",
        Some(Outcome::Skipped) => "WARNED",
        Some(Outcome::Violated | Outcome::Undecided) | None => "FAILED",
    }
}

fn gate(proof: &Proof, record: &Record) -> GateVerdict {
    let found_by = match &record.origin {
        Origin::Fresh => &proof.run_id,
        Origin::Reused { run_id, .. } => run_id,
    };
    GateVerdict {
        gate: record.gate.name().to_owned(),
        outcome: record.outcome,
        reason: record.reason.clone(),
        found_by: found_by.clone(),
        found_at: proof.found_at(record),
        figures: figures(record),
    }
}

/// Single figures, and what the scanner found: a later look can be compared with it. Lists of files, sizes by crate
/// and the like are for the run's report.
fn figures(record: &Record) -> Map<String, Value> {
    let kept = |(name, value): &(&String, &Value)| {
        *name == "findings" || !(value.is_array() || value.is_object() || value.is_null())
    };
    let figures = record.figures.iter().filter(kept);
    figures
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::testing;
    use crate::verdict::{Check, Gate};

    #[test]
    fn it_says_what_each_gate_found_and_when() {
        let proof = testing::proof();
        let predicate = predicate(&testing::release(), &proof, &proof.images[0]);
        insta::assert_json_snapshot!(predicate);
        let read: Verdicts = serde_json::from_value(predicate.clone()).unwrap();
        assert_eq!(json!(read), predicate, "what is written is read back whole");
    }

    #[test]
    fn one_that_did_not_pass_is_never_a_pass() {
        let mut proof = testing::proof();
        let mut result = |checks: Vec<Check>| {
            proof.images[0].records[0] = Record::from_checks("frontend", Gate::Build, checks, "");
            let said = predicate(&testing::release(), &proof, &proof.images[0]);
            (said["result"].clone(), said["failedTests"].to_string())
        };
        let undecided = Check::undecided("x", "nobody looked", "look").tolerated();
        assert_eq!(
            result(vec![undecided]),
            ("FAILED".into(), r#"["build/x"]"#.into())
        );
        assert_eq!(result(vec![]).0, "FAILED");
        proof.images[0].records.clear();
        let said = predicate(&testing::release(), &proof, &proof.images[0]);
        assert_eq!(said["result"], "FAILED", "no gate at all");
    }
}
