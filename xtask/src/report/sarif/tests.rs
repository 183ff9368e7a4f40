//! What SARIF is to say of a report, and that it is SARIF.

use serde_json::{Value, json};

use super::*;
use crate::report::tests::sample;
use crate::verdict::{Check, Gate};

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"smallvec\"\nversion = \"0.6.13\"\n";

fn with_a_vulnerability() -> Report {
    let mut report = sample();
    let findings = json!([{ "id": "CVE-2021-25900", "severity": "CRITICAL", "package": "smallvec",
        "version": "0.6.13", "fixed": "0.6.14", "became": "fails", "path": "frontend -> smallvec" },
        { "id": "CVE-2021-25900", "severity": "CRITICAL", "package": "smallvec", "version": "0.6.12",
        "became": "let pass", "why": "not affected, says ann" },
        { "id": "CVE-1", "severity": "HIGH", "package": "time", "version": "0.1.0", "became": "reported" },
        { "id": "CVE-2", "severity": "HIGH", "package": "time", "version": "0.1.0", "became": "excepted" }]);
    let checks = vec![Check::violated(
        "root user",
        "docker/Dockerfile.frontend:42: USER root",
        "mend it",
    )];
    let record = Record::from_checks("frontend", Gate::Lint, checks, "").figure("findings", findings);
    let again = Record {
        service: "gateway".into(),
        ..record.clone()
    };
    report.records.extend([record, again]);
    report
}

fn results(report: &Report) -> Vec<Value> {
    let sarif = render(report, &Sources::of_lock(LOCK));
    sarif["runs"][0]["results"].as_array().unwrap().clone()
}

fn at(result: &Value) -> String {
    let place = &result["locations"][0]["physicalLocation"];
    let uri = place["artifactLocation"]["uri"].as_str().unwrap();
    format!("{uri}:{}", place["region"]["startLine"])
}

#[test]
fn findings_lie_at_the_lock_files_line_and_the_dockerfiles() {
    let results = results(&with_a_vulnerability());
    let of = |rule: &str| at(results.iter().find(|result| result["ruleId"] == rule).unwrap());
    assert_eq!(of("CVE-2021-25900"), "Cargo.lock:4");
    assert_eq!(of("lint/root-user"), "docker/Dockerfile.frontend:42");
    assert_eq!(of("budget/over-budget"), "docker/Dockerfile.frontend:1");
}

#[test]
fn what_two_images_share_is_one_result_that_names_both() {
    let results = results(&with_a_vulnerability());
    let lines = results
        .iter()
        .filter(|result| result["ruleId"] == "lint/root-user");
    assert_eq!(lines.count(), 1, "one line to be mended");
    let shared = results.iter().filter(|result| at(result) == "Cargo.lock:4");
    let shared: Vec<&Value> = shared.collect();
    assert_eq!(shared.len(), 1);
    let images = shared[0]["locations"][0]["logicalLocations"].as_array().unwrap();
    assert_eq!([&images[0]["name"], &images[1]["name"]], ["frontend", "gateway"]);
    let mut prints: Vec<String> = results
        .iter()
        .map(|result| result["partialFingerprints"]["horme/v1"].to_string())
        .collect();
    let all = prints.len();
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), all);
}

#[test]
fn what_policy_lets_pass_is_no_open_result_and_each_version_is_its_own() {
    let results = results(&with_a_vulnerability());
    let told = |result: &Value| {
        let why = result["suppressions"][0]["justification"]
            .as_str()
            .map(str::to_owned);
        (result["level"].as_str().unwrap().to_owned(), why)
    };
    let found = results
        .iter()
        .filter(|result| result["ruleId"].as_str().unwrap().starts_with("CVE-"));
    let mut told: Vec<_> = found.map(told).collect();
    told.sort();
    told.dedup();
    let excepted = "an exception in docker/policy/exceptions.toml";
    let expected = [
        ("error", None),
        ("error", Some(excepted)),
        ("error", Some("not affected, says ann")),
        ("warning", None),
    ];
    assert_eq!(
        told,
        expected.map(|(level, why)| (level.to_owned(), why.map(str::to_owned)))
    );
}

#[test]
fn what_fails_the_gate_is_an_error_however_mild_and_says_what_mends_it() {
    let found = json!([{ "id": "RUSTSEC-1", "severity": "UNKNOWN", "package": "time", "version": "1.0.0",
        "fixed": "1.0.1", "became": "fails" },
        { "id": "RUSTSEC-2", "severity": "LOW", "package": "time", "version": "1.0.0", "became": "fails" }]);
    let check = Check::violated(
        "vulnerabilities",
        "RUSTSEC-1 in time 1.0.0",
        "cargo update -p time",
    );
    let mut report = sample();
    report.records = vec![Record::from_checks("a", Gate::Scan, vec![check], "").figure("findings", found)];
    let results = results(&report);
    assert_eq!(results.len(), 2, "{results:?}");
    assert!(
        results.iter().all(|result| result["level"] == "error"),
        "{results:?}"
    );
    let text = |at: usize| results[at]["message"]["text"].as_str().unwrap();
    assert!(
        text(0).ends_with("; fixed in 1.0.1\nhint: cargo update -p time"),
        "{}",
        text(0)
    );
    assert!(!text(1).contains("hint"), "not its remedy: {}", text(1));
}

#[test]
fn a_result_lies_where_it_lay_in_whatever_order_the_images_were_judged() {
    let mut report = sample();
    let of = |service: &str| {
        let check = Check::undecided("vulnerabilities", "old", "newer");
        Record::from_checks(service, Gate::Scan, vec![check], "")
    };
    report.records = ["b", "a", "c"].map(of).to_vec();
    let before = results(&report);
    assert_eq!(at(&before[0]), "docker/Dockerfile.a:1");
    report.records.reverse();
    assert_eq!(results(&report), before);
}

#[test]
fn the_check_that_its_findings_tell_is_not_told_twice() {
    let mut report = with_a_vulnerability();
    let check = Check::violated("vulnerabilities", "1 fails: CVE-2021-25900", "cargo update");
    for record in &mut report.records {
        record.checks = vec![check.clone()];
    }
    let rules = |report: &Report| {
        results(report)
            .iter()
            .map(|result| result["ruleId"].to_string())
            .collect::<Vec<_>>()
    };
    let told = rules(&report);
    assert!(
        told.contains(&"\"scan/vulnerabilities\"".to_owned()),
        "it has no findings: {told:?}"
    );
    assert!(!told.contains(&"\"lint/vulnerabilities\"".to_owned()), "{told:?}");
}

#[test]
fn six_images_undecided_for_one_reason_are_one_result_and_violated_ones_six() {
    let mut report = sample();
    let of =
        |check: Check| move |service: &str| Record::from_checks(service, Gate::Scan, vec![check.clone()], "");
    let names = ["a", "b", "c", "d", "e", "f"];
    report.records = names
        .map(of(Check::undecided("vulnerabilities", "old", "newer")))
        .to_vec();
    assert_eq!(results(&report).len(), 1);
    assert_eq!(results(&report)[0]["level"], "warning");
    report.records = names
        .map(of(Check::violated("secrets", "a key", "remove it")))
        .to_vec();
    let places: Vec<String> = results(&report).iter().map(at).collect();
    assert_eq!(places.len(), 6);
    assert_eq!(places[5], "docker/Dockerfile.f:1");
}

#[test]
fn it_is_valid_by_the_standards_own_schema() {
    let schema = include_str!("../../../tests/schemas/sarif-2.1.0.json");
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    // Its patterns for a language are no regular expressions.
    for part in ["run", "toolComponent"] {
        schema["definitions"][part]["properties"]["language"]["pattern"] = json!("");
    }
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let mut early = with_a_vulnerability();
    early.error = Some("no engine".into());
    let mut plain = sample();
    (plain.commit, plain.repository, plain.exit_code) = (None, None, 130);
    for report in [sample(), with_a_vulnerability(), early, plain] {
        let sarif = render(&report, &Sources::default());
        let faults: Vec<String> = schema
            .iter_errors(&sarif)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        assert_rules(&sarif["runs"][0]);
    }
}

/// Each result has its rule, each rule its words, and a place in the checkout.
fn assert_rules(run: &Value) {
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        let rule = &rules[result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(!rule["help"]["text"].as_str().unwrap().is_empty());
        assert!(!at(result).starts_with('/'));
    }
}

#[test]
fn a_run_that_ended_early_is_no_successful_one() {
    let mut report = sample();
    report.error = Some("error: docker/Dockerfile.x:3: what is this\nhint: mend it".into());
    let invocation =
        |report: &Report| render(report, &Sources::default())["runs"][0]["invocations"][0].clone();
    let told = invocation(&report);
    assert_eq!(told["executionSuccessful"], false);
    let error = &told["toolExecutionNotifications"][0];
    assert_eq!(error["level"], "error");
    assert_eq!(at(error), "docker/Dockerfile.x:3");
    (report.error, report.exit_code) = (None, 143);
    assert_eq!(invocation(&report)["executionSuccessful"], false);
    assert_eq!(invocation(&report)["exitSignalName"], "SIGTERM");
}

#[test]
fn where_the_sources_are_kept_is_said_where_it_is_known() {
    let run = &render(&sample(), &Sources::default())["runs"][0];
    let provenance = &run["versionControlProvenance"][0];
    assert_eq!(provenance["repositoryUri"], "https://example.org/horme");
    assert_eq!(
        provenance["revisionId"],
        "0123456789abcdef0123456789abcdef01234567"
    );
    assert_eq!(plain("[a](javascript:x) {0}"), "\\[a\\](javascript:x) {0}");
    assert_eq!(plain("[a] b"), "[a] b");
}
