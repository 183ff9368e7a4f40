//! The report in all its forms, on every path that a run can take: each form is there and is what it says it is.

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::checkout::{Checkout, Ended, Fixture, ended, repository, signal};
use crate::malformed::one;

fn text(checkout: &Checkout, file: &str) -> String {
    std::fs::read_to_string(checkout.path("reports/latest").join(file)).unwrap()
}

fn assert_valid(schema: &str, value: &Value) {
    let schema = std::fs::read_to_string(repository().join(schema)).unwrap();
    let mut schema: Value = serde_json::from_str(&schema).unwrap();
    if schema["definitions"]["run"].is_object() {
        // Its patterns for a language are no regular expressions.
        for part in ["run", "toolComponent"] {
            schema["definitions"][part]["properties"]["language"]["pattern"] = "".into();
        }
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|fault| fault.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:?} in {value}");
}

/// Asserts that the latest run left every form, each valid, and that all say how it ended. What JUnit counts as
/// errors, and the run of SARIF.
fn every_form(checkout: &Checkout, code: i32) -> (Vec<String>, Value) {
    let report = checkout.report();
    assert_eq!(report["exit_code"], code);
    assert_valid("reports/report.schema.json", &report);
    for line in text(checkout, "events.jsonl").lines() {
        assert_valid("reports/events.schema.json", &serde_json::from_str(line).unwrap());
    }
    let sarif: Value = serde_json::from_str(&text(checkout, "report.sarif")).unwrap();
    assert_valid("xtask/tests/schemas/sarif-2.1.0.json", &sarif);
    let run = sarif["runs"][0].clone();
    assert_eq!(run["invocations"][0]["exitCode"], code);
    assert!(text(checkout, "report.md").starts_with("# "));
    assert!(text(checkout, "report.html").starts_with("<!DOCTYPE html>"));
    let xml = text(checkout, "report.junit.xml");
    let document = roxmltree::Document::parse(&xml).unwrap();
    let errors = document.descendants().filter(|node| node.has_tag_name("error"));
    let errors = errors.map(|error| error.attribute("type").unwrap().to_owned());
    (errors.collect(), run)
}

#[test]
fn a_run_leaves_every_form_and_a_summary_of_its_job() {
    let checkout = one("forms-good");
    checkout.write("summary.md", "of an earlier step\n");
    let mut command = checkout.command(&["ci"]);
    command
        .env("GITHUB_STEP_SUMMARY", checkout.path("summary.md"))
        .env("GITHUB_SERVER_URL", "https://github.com")
        .env("GITHUB_REPOSITORY", "owner/name");
    let said = ended(command.output().unwrap());
    // The fixture's binary lists no crates: its scan alone is violated.
    assert_eq!(said.code, Some(1), "{}", said.said());
    let (errors, run) = every_form(&checkout, 1);
    assert_eq!(errors, Vec::<String>::new(), "{}", said.said());
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    assert_eq!(run["results"][0]["ruleId"], "scan/crates");
    assert_eq!(checkout.report()["repository"], "https://github.com/owner/name");
    let summary = std::fs::read_to_string(checkout.path("summary.md")).unwrap();
    assert!(
        summary.starts_with("of an earlier step\n\n# ci: violated\n"),
        "{summary}"
    );
    assert!(
        summary.contains("1. **violated** scan of forms-good"),
        "{summary}"
    );

    // The forms of a run that was are those that it wrote.
    for (format, file) in [
        ("markdown", "report.md"),
        ("junit", "report.junit.xml"),
        ("sarif", "report.sarif"),
    ] {
        let printed = checkout.run(&["report", "--format", format]);
        assert_eq!(
            printed.stdout.trim_end(),
            text(&checkout, file).trim_end(),
            "{format}"
        );
    }
    let short = checkout.run(&["report", "--short"]);
    assert!(short.stdout.contains("## What to do") && !short.stdout.contains("<details>"));
}

#[test]
fn a_summary_that_cannot_be_written_is_a_note_and_no_failure() {
    let checkout = one("forms-note");
    let mut command = checkout.command(&["lint"]);
    let said = ended(
        command
            .env("GITHUB_STEP_SUMMARY", "/nowhere/summary")
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(
        said.stdout
            .contains("cannot write the job's summary /nowhere/summary"),
        "{}",
        said.said()
    );
}

fn one_error(said: &Ended) {
    let errors = said.stderr.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{}", said.said());
    assert!(said.stderr.contains("hint: "), "{}", said.said());
}

#[test]
fn a_run_that_failed_in_set_up_leaves_every_form() {
    let checkout = one("forms-engine");
    let mut command = checkout.command(&["ci"]);
    let said = ended(
        command
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(3), "{}", said.said());
    one_error(&said);
    let (errors, run) = every_form(&checkout, 3);
    assert_eq!(errors, ["undecided"]);
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "error");
    assert!(text(&checkout, "report.md").contains("**The run ended early:** error: "));
}

#[test]
fn a_run_that_its_policy_refused_leaves_every_form_and_points_to_the_policy() {
    let checkout = one("forms-policy");
    checkout.write("docker/policy/scan.toml", "databse = \"required\"\n");
    let said = checkout.run(&["ci"]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    one_error(&said);
    let (errors, run) = every_form(&checkout, 2);
    assert_eq!(errors, ["wrong usage"]);
    let told = &run["invocations"][0]["toolExecutionNotifications"][0];
    let uri = &told["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(uri, "docker/policy/scan.toml", "{told}");
    assert!(text(&checkout, "report.md").starts_with("# ci: wrong usage\n"));
}

#[test]
fn reports_that_have_no_place_are_one_error() {
    let checkout = one("forms-place");
    checkout.write("reports", "a file");
    let said = checkout.run(&["ci"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    one_error(&said);
}

/// A boot gate on a service that never answers, once it is looked at.
fn booting(checkout: &Checkout) -> Child {
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let earlier = std::fs::read_link(checkout.path("reports/latest")).unwrap();
    let child = checkout.command(&["boot"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let begun = || {
        let latest = std::fs::read_link(checkout.path("reports/latest")).unwrap();
        let events = std::fs::read_to_string(checkout.path("reports").join(&latest).join("events.jsonl"));
        latest != earlier && events.is_ok_and(|events| events.contains("\"gate-started\""))
    };
    while !begun() {
        assert!(Instant::now() < deadline, "the boot gate never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

fn never_live(name: &str) -> Checkout {
    Checkout::new(vec![Fixture {
        mode: "never-live",
        ..Fixture::new(name)
    }])
}

#[test]
fn a_run_that_is_interrupted_leaves_every_form() {
    let checkout = never_live("forms-int");
    let child = booting(&checkout);
    signal(&child, "-INT");
    let said = ended(child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(130), "{}", said.said());
    let (errors, run) = every_form(&checkout, 130);
    assert!(errors.contains(&"interrupted".to_owned()), "{errors:?}");
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    assert_eq!(run["invocations"][0]["exitSignalName"], "SIGINT");
    assert!(text(&checkout, "report.md").starts_with("# boot: interrupted\n"));
}

#[test]
fn a_form_that_cannot_be_written_is_one_error_and_the_others_are_there() {
    let checkout = never_live("forms-part");
    let child = booting(&checkout);
    std::fs::create_dir(checkout.path("reports/latest/report.md")).unwrap();
    signal(&child, "-TERM");
    let said = ended(child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(143), "{}", said.said());
    one_error(&said);
    assert!(
        said.stderr.contains("error: cannot write report.md in "),
        "{}",
        said.stderr
    );
    assert_eq!(checkout.report()["exit_code"], 143);
    for file in ["report.html", "report.junit.xml", "report.sarif"] {
        assert!(!text(&checkout, file).is_empty());
    }
}

#[test]
fn a_run_whose_report_cannot_be_written_says_3_everywhere() {
    let checkout = one("forms-full");
    let child = booting(&checkout);
    std::fs::create_dir(checkout.path("reports/latest/report.md")).unwrap();
    let said = ended(child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(3), "{}", said.said());
    one_error(&said);
    assert!(said.stdout.contains("1 passed; exit 3 after "), "{}", said.stdout);
    let report = checkout.report();
    assert_eq!(report["exit_code"], 3);
    assert!(
        report["error"]
            .as_str()
            .unwrap()
            .contains("cannot write report.md"),
        "{report}"
    );
    let events = text(&checkout, "events.jsonl");
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"run-ended".into(), &3.into())
    );
}

#[test]
fn a_run_that_was_killed_is_told_from_one_that_goes_on() {
    let checkout = never_live("forms-kill");
    let mut child = booting(&checkout);
    let run_id = std::fs::read_link(checkout.path("reports/latest")).unwrap();
    let asked = |words: &str| {
        let said = checkout.run(&["report"]);
        assert_eq!(said.code, Some(3), "{}", said.said());
        one_error(&said);
        let told = format!("run {} (boot) {words}", run_id.display());
        assert!(said.stderr.contains(&told), "no '{told}' in {}", said.stderr);
        assert!(said.stderr.contains("boot of forms-kill"), "{}", said.stderr);
    };
    asked("is still under way after ");
    child.kill().unwrap();
    child.wait().unwrap();
    asked("was killed after ");
    assert_eq!(checkout.run(&["clean"]).code, Some(0));
}

#[test]
fn a_report_of_another_version_is_refused_with_what_to_read_instead() {
    let checkout = one("forms-version");
    assert_eq!(checkout.run(&["lint"]).code, Some(0));
    let mut report = checkout.report();
    report["version"] = 99.into();
    checkout.write("reports/latest/report.json", &report.to_string());
    let said = checkout.run(&["report"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    one_error(&said);
    assert!(
        said.stderr
            .contains("is of version 99; this pipeline reads version 1"),
        "{}",
        said.stderr
    );
    let unknown = checkout.run(&["report", "20200101-000000-abcd"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.said());
    one_error(&unknown);
}
