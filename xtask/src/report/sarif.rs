//! The report as SARIF 2.1.0 (OASIS): a result for each check that is not well and for each vulnerability, at a
//! line of Cargo.lock or of a Dockerfile where it has one, else at the image's Dockerfile.

use std::path::Path;

use serde_json::{Value, json};

use super::Report;
use crate::verdict::{Check, Outcome, Record};

/// The files that results point into.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    lock: String,
}

impl Sources {
    pub fn read(root: &Path) -> Self {
        Sources {
            lock: std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default(),
        }
    }

    /// The line of a package in Cargo.lock, counted from 1.
    pub(super) fn line_of(&self, package: &str, version: &str) -> Option<usize> {
        let name = format!("name = \"{package}\"");
        let version = format!("version = \"{version}\"");
        let lines: Vec<&str> = self.lock.lines().collect();
        let at = lines
            .windows(2)
            .position(|two| two[0] == name && two[1] == version);
        at.map(|index| index + 1)
    }
}

/// Renders a report.
pub fn render(report: &Report, sources: &Sources) -> Value {
    let mut results = Vec::new();
    for record in &report.records {
        let bad = record
            .checks
            .iter()
            .filter(|check| check.outcome > Outcome::Skipped);
        results.extend(bad.map(|check| of_check(record, check)));
        let found = record.figures.get("findings").and_then(Value::as_array);
        results.extend(
            found
                .into_iter()
                .flatten()
                // What else a scan found (secrets, files) is told by its check.
                .filter(|found| found["kind"].as_str().is_none_or(|kind| kind == "vulnerability"))
                .map(|found| of_vulnerability(record, found, sources)),
        );
    }
    let mut rules: Vec<&Value> = results.iter().map(|result| &result["ruleId"]).collect();
    rules.sort_by_key(|rule| rule.to_string());
    rules.dedup();
    let rules: Vec<Value> = rules.into_iter().map(|id| json!({ "id": id })).collect();
    // A run that ended early has looked at less than it was asked to: no results are no clean bill.
    let told = report
        .error
        .iter()
        .map(|error| json!({ "level": "error", "message": { "text": error } }));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "horme", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "automationDetails": { "id": format!("horme/{}/{}", report.command, report.run_id) },
            "columnKind": "utf16CodeUnits",
            "invocations": [{
                "executionSuccessful": report.error.is_none() && report.exit_code <= 1,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": told.collect::<Vec<_>>(),
            }],
            "results": results,
        }],
    })
}

fn of_check(record: &Record, check: &Check) -> Value {
    let hint = check
        .hint
        .as_ref()
        .map(|hint| format!("\nhint: {hint}"))
        .unwrap_or_default();
    let undecided = check.outcome == Outcome::Undecided;
    json!({
        "ruleId": rule(record.gate.name(), &check.name),
        "level": if undecided { "warning" } else { "error" },
        "message": { "text": format!("{}: {}: {}{hint}", record.service, check.name, check.detail) },
        "locations": [at_dockerfile(record, &check.detail)],
        "suppressions": [],
        "partialFingerprints": { "horme/v1": format!("{}/{}/{}", record.gate.name(), record.service, check.name) },
    })
}

fn of_vulnerability(record: &Record, found: &Value, sources: &Sources) -> Value {
    let word = |key: &str| found[key].as_str().unwrap_or_default();
    let (package, version) = (word("package"), word("version"));
    // The path that pulls it in says more than the service alone.
    let path = Some(word("path")).filter(|path| path.starts_with(&record.service));
    let path = path.unwrap_or(&record.service);
    let line = sources.line_of(package, version);
    let location = line.map_or_else(
        || at_dockerfile(record, ""),
        |line| location("Cargo.lock", line, &record.service),
    );
    let level = match (word("severity"), word("became")) {
        ("CRITICAL" | "HIGH", "reported") => "warning",
        ("CRITICAL" | "HIGH", _) => "error",
        ("MEDIUM", _) => "warning",
        _ => "note",
    };
    // What policy lets pass is no open result.
    let suppression = |why: &str| json!([{ "kind": "external", "status": "accepted", "justification": why }]);
    let suppressions = match word("became") {
        "excepted" => suppression("an exception in docker/policy/exceptions.toml"),
        "let pass" => suppression(word("why")),
        _ => json!([]),
    };
    let fixed = match word("fixed") {
        "" => "no version fixes it yet".to_owned(),
        fixed => format!("fixed in {fixed}"),
    };
    json!({
        "ruleId": word("id"),
        "level": level,
        "message": { "text": format!("{} {} in {package} {version} ({path}); {fixed}", word("severity"), word("id")) },
        "locations": [location],
        "suppressions": suppressions,
        "partialFingerprints": { "horme/v1": format!("scan/{}/{}/{package}@{version}", record.service, word("id")) },
    })
}

/// The line of a Dockerfile that the words name (`docker/Dockerfile.x:12`), else the head of the service's own.
fn at_dockerfile(record: &Record, words: &str) -> Value {
    let own = format!("docker/Dockerfile.{}", record.service);
    let named = words.split_whitespace().find_map(|word| {
        let (path, line) = word.trim_end_matches([':', ',', ';']).rsplit_once(':')?;
        path.starts_with("docker/Dockerfile.").then_some(())?;
        Some((path.to_owned(), line.parse().ok()?))
    });
    let (path, line) = named.unwrap_or((own, 1));
    location(&path, line, &record.service)
}

fn location(path: &str, line: usize, service: &str) -> Value {
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": path, "uriBaseId": "%SRCROOT%" },
            "region": { "startLine": line },
        },
        "logicalLocations": [{ "name": service, "kind": "module" }],
    })
}

fn rule(gate: &str, check: &str) -> String {
    let slug: String = check
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("{gate}/{}", slug.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::Gate;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"smallvec\"\nversion = \"0.6.13\"\n";

    fn with_a_vulnerability() -> Report {
        let mut report = sample();
        let findings = json!([{ "id": "CVE-2021-25900", "severity": "CRITICAL", "package": "smallvec",
            "version": "0.6.13", "fixed": "0.6.14", "became": "fails" },
            { "id": "CVE-2021-25900", "severity": "CRITICAL", "package": "smallvec", "version": "0.6.12",
            "became": "let pass", "why": "not affected, says ann" },
            { "id": "CVE-1", "severity": "HIGH", "package": "time", "version": "0.1.0", "became": "reported" },
            { "id": "CVE-2", "severity": "HIGH", "package": "time", "version": "0.1.0", "became": "excepted" }]);
        let checks = vec![Check::violated(
            "root user",
            "docker/Dockerfile.frontend:42: USER root",
            "mend it",
        )];
        report
            .records
            .push(Record::from_checks("frontend", Gate::Lint, checks, "").figure("findings", findings));
        report
    }

    #[test]
    fn findings_lie_at_the_lock_files_line_and_the_dockerfiles() {
        let sources = Sources {
            lock: LOCK.to_owned(),
        };
        let sarif = render(&with_a_vulnerability(), &sources);
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let at = |rule: &str| {
            let result = results.iter().find(|result| result["ruleId"] == rule).unwrap();
            let place = &result["locations"][0]["physicalLocation"];
            format!(
                "{}:{}",
                place["artifactLocation"]["uri"].as_str().unwrap(),
                place["region"]["startLine"]
            )
        };
        assert_eq!(at("CVE-2021-25900"), "Cargo.lock:4");
        assert_eq!(at("lint/root-user"), "docker/Dockerfile.frontend:42");
        assert_eq!(at("budget/over-budget"), "docker/Dockerfile.frontend:1");
    }

    #[test]
    fn what_policy_lets_pass_is_no_open_result_and_each_version_is_its_own() {
        let sarif = render(&with_a_vulnerability(), &Sources::default());
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let found = results
            .iter()
            .filter(|result| result["ruleId"].as_str().is_some_and(|id| id.starts_with("CVE-")));
        let told: Vec<_> = found
            .map(|result| {
                let why = result["suppressions"][0]["justification"].as_str();
                let print = result["partialFingerprints"]["horme/v1"].as_str().unwrap();
                (result["level"].as_str().unwrap(), why, print)
            })
            .collect();
        let excepted = "an exception in docker/policy/exceptions.toml";
        let expected = [
            ("error", None, "scan/frontend/CVE-2021-25900/smallvec@0.6.13"),
            (
                "error",
                Some("not affected, says ann"),
                "scan/frontend/CVE-2021-25900/smallvec@0.6.12",
            ),
            ("warning", None, "scan/frontend/CVE-1/time@0.1.0"),
            ("error", Some(excepted), "scan/frontend/CVE-2/time@0.1.0"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn it_is_valid_by_the_standards_own_schema() {
        let schema = include_str!("../../tests/schemas/sarif-2.1.0.json");
        let mut schema: Value = serde_json::from_str(schema).unwrap();
        // Its patterns for a language are no regular expressions.
        for part in ["run", "toolComponent"] {
            schema["definitions"][part]["properties"]["language"]["pattern"] = json!("");
        }
        let schema = jsonschema::validator_for(&schema).unwrap();
        let mut early = with_a_vulnerability();
        early.error = Some("no engine".into());
        for report in [sample(), with_a_vulnerability(), early] {
            let sarif = render(&report, &Sources::default());
            let faults: Vec<String> = schema
                .iter_errors(&sarif)
                .map(|fault| fault.to_string())
                .collect();
            assert!(faults.is_empty(), "{faults:?}");
        }
    }

    #[test]
    fn a_run_that_ended_early_is_no_successful_one() {
        let mut report = sample();
        report.error = Some("no engine".into());
        let run = &render(&report, &Sources::default())["runs"][0];
        assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    }
}
