//! What is said at the end of a run: once for all who share it, with remedy and log, in a terminal's width.

use super::*;
use crate::report::tests::sample;
use crate::verdict::{Check, Gate, Record};

/// Told without colours.
fn told(report: &Report, logs: Option<&Path>, width: Option<usize>) -> String {
    let (sources, paint) = (Sources::default(), Paint(false));
    let telling = Telling {
        logs,
        sources,
        width,
        paint,
    };
    telling.text(report)
}

fn old(service: &str) -> Record {
    let check = Check::undecided(
        "vulnerabilities",
        "the database is 92 days old",
        "bring a newer one",
    );
    Record::from_checks(service, Gate::Scan, vec![check.tolerated()], "")
}

#[test]
fn the_summary_counts_and_says_where_the_report_lies() {
    insta::assert_snapshot!(sample().summary(), @"1 passed, 1 violated, 1 undecided, 1 skipped; exit 1 after 12.3 s; reports/20261121-101500-abcd");
}

#[test]
fn findings_name_service_gate_reason_and_remedy() {
    insta::assert_snapshot!(told(&sample(), None, None), @r"
    frontend budget violated: over budget: 17.00 MB unpacked | 1.00 MB over
      hint: make it smaller
    frontend scan undecided: vulnerabilities: no database
      hint: pass --vuln-db
    ");
}

#[test]
fn what_images_share_is_said_once_with_all_their_names_and_fits_the_terminal() {
    let mut report = sample();
    let names = [
        "classification-service",
        "dataflow-service",
        "frontend",
        "mcp-server",
    ];
    report.records = names.map(old).to_vec();
    for gate in [Gate::Budget, Gate::Boot] {
        for name in ["frontend", "mcp-server"] {
            report.records.push(Record::undecided(
                name,
                gate,
                "there is no image to look at",
                "see the build",
            ));
        }
    }
    insta::assert_snapshot!(told(&report, None, Some(60)), @r"
    budget, boot undecided on 2 images: there is no image to
      look at
      images: frontend, mcp-server
      hint: see the build
    scan undecided on 4 images: vulnerabilities: the database
      is 92 days old
      images: classification-service, dataflow-service,
        frontend, mcp-server
      hint: bring a newer one
    ");
}

#[test]
fn what_policy_lets_pass_is_said_in_the_last_line() {
    let mut report = sample();
    report
        .records
        .retain(|record| record.outcome != Outcome::Violated);
    report.exit_code = 0;
    assert!(
        report
            .summary()
            .contains("undecided is let pass by docker/policy/scan.toml")
    );
}

#[test]
fn a_failure_shows_the_last_lines_of_its_log_and_what_is_let_pass_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let said: String = (0..40)
        .map(|line| format!("line {line} \u{1b}[31mred\u{1b}[0m\u{7}\r\n"))
        .collect();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(
        folder.path().join("logs/x.log"),
        said + "\n# exit status: 1 after 1.0 s\n",
    )
    .unwrap();
    let mut report = sample();
    report.records[1].log = Some("logs/x.log".into());
    report.records[2].log = Some("logs/x.log".into());
    report.records.truncate(3);
    insta::assert_snapshot!(told(&report, Some(folder.path()), None), @r"
    frontend budget violated: over budget: 17.00 MB unpacked | 1.00 MB over
      hint: make it smaller
      the last lines of reports/20261121-101500-abcd/logs/x.log:
      | line 34 red
      | line 35 red
      | line 36 red
      | line 37 red
      | line 38 red
      | line 39 red
    frontend scan undecided: vulnerabilities: no database
      hint: pass --vuln-db
    ");
}

#[test]
fn a_line_of_json_is_read_as_words_and_any_other_as_it_is() {
    let line = r#"{"timestamp":"2026-11-21T18:29:02Z","level":"ERROR","message":"no store","port":5432}"#;
    assert_eq!(readable(line), "ERROR no store port=5432");
    for other in ["{half", "[1]", "{\"a\":1}", "plain words"] {
        assert_eq!(readable(other), other);
    }
}

#[test]
fn where_the_words_name_a_line_no_log_is_shown() {
    let check = Check::violated("root user", "docker/Dockerfile.frontend:42: USER root", "mend it");
    let mut report = sample();
    report.records = vec![Record::from_checks("frontend", Gate::Lint, vec![check], "")];
    report.records[0].log = Some("logs/lint-frontend.log".into());
    assert_eq!(todo::all(&report)[0].log(&Sources::default()), None);
}

#[test]
fn a_build_that_failed_is_told_by_its_own_words_and_not_by_the_end_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(
        folder.path().join("logs/build.log"),
        "an excerpt of the Dockerfile\n",
    )
    .unwrap();
    let said =
        "error[E0425]: cannot find value `x`\n --> services/a/src/main.rs:3:5\nerror: could not compile";
    let check = Check::violated("build", said, "see logs/build.log");
    let mut report = sample();
    report.records = vec![Record::from_checks("a", Gate::Build, vec![check], "")];
    report.records[0].log = Some("logs/build.log".into());
    insta::assert_snapshot!(told(&report, Some(folder.path()), None), @r"
    a build violated: error[E0425]: cannot find value `x`
      hint: see logs/build.log
      |  --> services/a/src/main.rs:3:5
      | error: could not compile
    ");
}

#[test]
fn a_log_that_is_not_there_is_left_out() {
    assert!(tail(Path::new("/nowhere.log")).is_empty());
}

#[test]
fn an_annotation_says_which_images_and_where() {
    let mut report = sample();
    let check = Check::violated("root user", "docker/Dockerfile.frontend:42: USER root", "mend it");
    report.records = vec![
        Record::from_checks("frontend", Gate::Lint, vec![check], ""),
        old("a"),
        old("b"),
    ];
    report.records.push(Record::undecided(
        "c",
        Gate::Boot,
        "the engine is gone",
        "start it",
    ));
    report.error = Some("error: interrupted".into());
    let lines: Vec<String> = report
        .annotations(&Sources::default())
        .iter()
        .map(Annotation::line)
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    ::error file=docker/Dockerfile.frontend,line=42,title=lint violated%3A frontend::root user: docker/Dockerfile.frontend:42: USER root%0Ahint: mend it
    ::error title=boot undecided%3A c::the engine is gone%0Ahint: start it
    ::warning title=scan undecided%3A a%2C b::vulnerabilities: the database is 92 days old%0Ahint: bring a newer one
    ::error title=ci ended early::error: interrupted
    ");
}
