//! The report as JUnit XML: a suite for each image, a case for each gate. Undecided is an error, violated a
//! failure; what was left out, or may stay undecided by policy, is skipped with its reason.

use std::time::Duration;

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report as Suites, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use crate::verdict::{Outcome, Record};

/// Renders a report.
///
/// # Errors
/// Where the XML cannot be written.
pub fn render(report: &Report) -> Result<String> {
    let mut suites = Suites::new(format!("horme {}", report.command));
    for service in &report.services {
        let mut suite = TestSuite::new(service.as_str());
        let own = report.records.iter().filter(|record| record.service == *service);
        suite.add_test_cases(own.map(|record| case(record, report.strict)));
        suites.add_test_suite(suite);
    }
    if let Some(error) = &report.error {
        suites.add_test_suite(early_end(report, error));
    }
    suites.to_string().context("cannot render JUnit")
}

fn case(record: &Record, strict: bool) -> TestCase {
    let status = match record.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped => skipped(&record.reason),
        Outcome::Undecided if !strict && record.tolerated() => skipped(&record.reason),
        Outcome::Undecided => bad(NonSuccessKind::Error, record),
        Outcome::Violated => bad(NonSuccessKind::Failure, record),
    };
    let mut case = TestCase::new(record.gate.name(), status);
    case.set_classname(record.service.as_str());
    case.set_time(Duration::from_millis(record.took_ms));
    case.set_system_out(evidence(record));
    case
}

fn skipped(reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(reason);
    status
}

fn bad(kind: NonSuccessKind, record: &Record) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_message(record.reason.as_str())
        .set_type(record.outcome.word());
    let bad = record
        .checks
        .iter()
        .filter(|check| check.outcome == record.outcome);
    let lines = bad.map(|check| match &check.hint {
        Some(hint) => format!("{}: {}\n  hint: {hint}", check.name, check.detail),
        None => format!("{}: {}", check.name, check.detail),
    });
    status.set_description(lines.collect::<Vec<_>>().join("\n"));
    status
}

/// Every check, a line each.
fn evidence(record: &Record) -> String {
    let lines = record
        .checks
        .iter()
        .map(|check| format!("{} {}: {}", check.outcome.word(), check.name, check.detail));
    let origin = record.reason_with_origin();
    std::iter::once(format!("{}: {origin}", record.word()))
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What ended the run before its gates could is a suite of its own: it must not read as "no tests".
fn early_end(report: &Report, error: &str) -> TestSuite {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(error.lines().next().unwrap_or_default());
    status.set_description(error);
    let mut suite = TestSuite::new("run");
    suite.add_test_case(TestCase::new(report.command.as_str(), status));
    suite
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn each_gate_is_a_case_and_nothing_undecided_reads_as_passed() {
        insta::assert_snapshot!(render(&sample()).unwrap());
    }

    #[test]
    fn undecided_is_an_error_where_policy_does_not_let_it_pass() {
        let mut report = sample();
        report.strict = true;
        assert!(
            render(&report)
                .unwrap()
                .contains("<error message=\"vulnerabilities: no database\"")
        );
    }

    #[test]
    fn an_early_end_is_an_error_and_names_are_no_markup() {
        let mut report = sample();
        report.error = Some("no engine <answers> & \u{1b}[31mred\u{1b}[0m\u{0}".into());
        report.services = vec!["a\"<b>".into()];
        let xml = render(&report).unwrap();
        assert!(xml.contains("no engine &lt;answers&gt; &amp; red"), "{xml}");
        assert!(xml.contains("a&quot;&lt;b&gt;"), "{xml}");
        assert!(!xml.contains('\u{0}'));
    }
}
