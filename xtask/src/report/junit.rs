//! The report as JUnit XML: a suite for each gate on an image, a case for each check. Undecided is an error, violated
//! a failure; what was left out, or may stay undecided by policy, is skipped with its reason. Written as the schemas
//! of Jenkins and Ant both have it.

mod xml;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};

use super::Report;
use crate::verdict::{Check, Outcome, Record};

/// Renders a report.
///
/// # Errors
/// Where the XML cannot be written.
pub fn render(report: &Report) -> Result<String> {
    let mut suites: Vec<Suite> = Vec::new();
    let mut records: Vec<&Record> = report.records.iter().collect();
    records.sort_by(|one, other| (&one.service, one.gate).cmp(&(&other.service, other.gate)));
    suites.extend(records.into_iter().map(|record| Suite::of(report, record)));
    suites.extend(early_end(report));
    let bytes = xml::write(&suites).context("cannot render JUnit")?;
    String::from_utf8(bytes).context("cannot render JUnit")
}

struct Suite {
    /// `frontend boot`.
    name: String,
    /// What it is grouped by.
    package: String,
    /// Of its cases.
    class: String,
    host: String,
    /// UTC, without a zone: the schemas allow none.
    at: String,
    took_ms: u64,
    properties: Vec<(&'static str, String)>,
    cases: Vec<Case>,
    out: String,
}

struct Case {
    name: String,
    took_ms: u64,
    result: Ended,
}

enum Ended {
    Passed,
    Skipped(String),
    /// `failure` or `error`, the word for it, its first line, all of it.
    Bad(&'static str, &'static str, String, String),
}

impl Suite {
    fn of(report: &Report, record: &Record) -> Self {
        let gate = record.gate.name();
        let mut properties = of_run(report);
        properties.push(("verdict", record.word().to_owned()));
        properties.extend(record.digest.clone().map(|digest| ("image.digest", digest)));
        properties.extend(record.log.clone().map(|log| ("log", log)));
        let mut spans = report.timeline.iter();
        let own = spans
            .find(|span| span.gate == Some(record.gate) && span.service.as_ref() == Some(&record.service));
        Suite {
            name: format!("{} {gate}", record.service),
            package: record.service.clone(),
            class: format!("{}.{gate}", record.service),
            host: host(report),
            at: moment(report, own.map_or(0, |span| span.started_ms)),
            took_ms: record.took_ms,
            properties,
            cases: cases(record, report.strict),
            out: evidence(record),
        }
    }

    fn count(&self, is: fn(&Ended) -> bool) -> String {
        let count = self.cases.iter().filter(|case| is(&case.result)).count();
        count.to_string()
    }
}

fn of_run(report: &Report) -> Vec<(&'static str, String)> {
    let mut properties = vec![
        ("run.id", report.run_id.clone()),
        ("run.command", report.command.clone()),
    ];
    if let Some(commit) = &report.commit {
        properties.push(("commit", commit.id.clone()));
        properties.push(("commit.branch", commit.branch.clone()));
        properties.push(("commit.dirty", commit.dirty.to_string()));
    }
    properties
}

fn host(report: &Report) -> String {
    report.host.clone().unwrap_or_else(|| "localhost".to_owned())
}

fn moment(report: &Report, after_ms: u64) -> String {
    let after = SignedDuration::from_millis(i64::try_from(after_ms).unwrap_or_default());
    let at: Timestamp = report.started_at.checked_add(after).unwrap_or(report.started_at);
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// A case for each check; for a verdict without any, one for the gate. Checks are not timed apart: the time of all of
/// them has passed with the last one.
fn cases(record: &Record, strict: bool) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for check in &record.checks {
        let same = record.checks.iter().take(cases.len());
        let name = match same.filter(|other| other.name == check.name).count() {
            0 => check.name.clone(),
            earlier => format!("{} ({})", check.name, earlier + 1),
        };
        cases.push(Case {
            name,
            took_ms: 0,
            result: of_check(check, strict),
        });
    }
    let bad = |case: &Case| matches!(case.result, Ended::Bad(..));
    let told = match record.outcome {
        Outcome::Passed => !cases.is_empty(),
        Outcome::Skipped => false,
        Outcome::Undecided | Outcome::Violated => cases.iter().any(bad) || record.tolerated(),
    };
    if !told {
        cases.push(Case {
            name: record.gate.name().to_owned(),
            took_ms: 0,
            result: of(record.outcome, &record.reason, None),
        });
    }
    if let Some(last) = cases.last_mut() {
        last.took_ms = record.took_ms;
    }
    cases
}

fn of_check(check: &Check, strict: bool) -> Ended {
    if check.outcome == Outcome::Undecided && check.tolerated && !strict {
        return Ended::Skipped(format!("undecided, let pass by policy: {}", check.detail));
    }
    of(check.outcome, &check.detail, check.hint.as_deref())
}

fn of(outcome: Outcome, detail: &str, hint: Option<&str>) -> Ended {
    let kind = match outcome {
        Outcome::Passed => return Ended::Passed,
        Outcome::Skipped => return Ended::Skipped(detail.to_owned()),
        Outcome::Undecided => "error",
        Outcome::Violated => "failure",
    };
    let all = match hint {
        Some(hint) => format!("{detail}\nhint: {hint}"),
        None => detail.to_owned(),
    };
    Ended::Bad(kind, outcome.word(), detail.to_owned(), all)
}

/// The verdict and where its log is, then every check, a line each.
fn evidence(record: &Record) -> String {
    let mut lines = vec![format!("{}: {}", record.word(), record.reason_with_origin())];
    lines.extend(record.log.iter().map(|log| format!("log: {log}")));
    let checks = record.checks.iter();
    lines.extend(checks.map(|check| format!("{} {}: {}", check.outcome.word(), check.name, check.detail)));
    lines.join("\n")
}

/// What ended the run before its gates could is a suite of its own: it must not read as "no tests".
fn early_end(report: &Report) -> Option<Suite> {
    let interrupted = matches!(report.exit_code, 130 | 143);
    let error = match &report.error {
        Some(error) => error.clone(),
        None if interrupted => "the run was interrupted".to_owned(),
        None => return None,
    };
    let word = report.early_word();
    let first = error.lines().next().unwrap_or_default().to_owned();
    let case = Case {
        name: report.command.clone(),
        took_ms: report.took_ms,
        result: Ended::Bad("error", word, first, error),
    };
    Some(Suite {
        name: "run".to_owned(),
        package: "run".to_owned(),
        class: "run".to_owned(),
        host: host(report),
        at: moment(report, 0),
        took_ms: report.took_ms,
        properties: of_run(report),
        cases: vec![case],
        out: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn each_check_is_a_case_and_nothing_undecided_reads_as_passed() {
        insta::assert_snapshot!(render(&sample()).unwrap());
    }

    fn words_of(xml: &str, element: &str) -> Vec<String> {
        let document = Document::parse(xml).unwrap();
        let found = document.descendants().filter(|node| node.has_tag_name(element));
        found
            .map(|node| {
                format!(
                    "{}: {}",
                    node.attribute("type").unwrap_or("-"),
                    node.attribute("message").unwrap()
                )
            })
            .collect()
    }

    #[test]
    fn undecided_is_an_error_where_policy_does_not_let_it_pass() {
        let mut report = sample();
        report.strict = true;
        assert_eq!(
            words_of(&render(&report).unwrap(), "error"),
            ["undecided: no database"]
        );
    }

    #[test]
    fn an_early_end_and_an_interruption_are_errors_of_their_own() {
        let mut report = sample();
        report.records.clear();
        report.exit_code = 3;
        report.error = Some("error: no engine\nhint: set one up".into());
        let xml = render(&report).unwrap();
        assert_eq!(words_of(&xml, "error"), ["undecided: error: no engine"]);
        assert!(xml.contains("hint: set one up"), "{xml}");
        (report.error, report.exit_code) = (None, 130);
        let xml = render(&report).unwrap();
        assert_eq!(words_of(&xml, "error"), ["interrupted: the run was interrupted"]);
    }

    #[test]
    fn a_verdict_without_checks_and_checks_of_one_name_are_cases_too() {
        let mut report = sample();
        report.records[0].checks.clear();
        let twice = report.records[1].checks[0].clone();
        report.records[1].checks.push(twice);
        let xml = render(&report).unwrap();
        let document = Document::parse(&xml).unwrap();
        let cases = document
            .descendants()
            .filter(|node| node.has_tag_name("testcase"));
        let names: Vec<&str> = cases.filter_map(|case| case.attribute("name")).collect();
        assert_eq!(
            names,
            [
                "build",
                "vulnerabilities",
                "over budget",
                "over budget (2)",
                "build"
            ]
        );
    }

    fn children<'a>(node: Node<'a, 'a>) -> Vec<&'a str> {
        let elements = node.children().filter(Node::is_element);
        elements.map(|child| child.tag_name().name()).collect()
    }

    /// What the schemas of Ant and of Jenkins ask for, element by element.
    #[test]
    fn elements_and_attributes_are_those_of_the_schemas() {
        let mut early = sample();
        early.error = Some("error: x".into());
        for report in [sample(), early] {
            let xml = render(&report).unwrap();
            let document = Document::parse(&xml).unwrap();
            let root = document.root_element();
            assert_eq!(
                (root.tag_name().name(), root.attributes().count()),
                ("testsuites", 0)
            );
            for (id, suite) in root.children().filter(Node::is_element).enumerate() {
                assert_suite(id, suite);
            }
        }
    }

    fn assert_suite(id: usize, suite: Node) {
        let named: Vec<&str> = suite.attributes().map(|attribute| attribute.name()).collect();
        let asked = [
            "name",
            "package",
            "id",
            "timestamp",
            "hostname",
            "tests",
            "failures",
            "errors",
            "skipped",
            "time",
        ];
        assert_eq!(named, asked);
        let at = suite.attribute("timestamp").unwrap();
        assert!(
            at.len() == 19 && at.parse::<jiff::civil::DateTime>().is_ok(),
            "{at}"
        );
        assert_eq!(suite.attribute("id"), Some(id.to_string().as_str()));
        let all = suite.descendants().filter(Node::is_element);
        let all: Vec<Node> = all.collect();
        let count = |name: &str| {
            all.iter()
                .filter(|node| node.has_tag_name(name))
                .count()
                .to_string()
        };
        for (attribute, element) in [
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ] {
            assert_eq!(
                suite.attribute(attribute),
                Some(count(element).as_str()),
                "{attribute}"
            );
        }
        let mut order = children(suite);
        order.dedup();
        assert_eq!(order, ["properties", "testcase", "system-out", "system-err"]);
        for case in all.iter().filter(|node| node.has_tag_name("testcase")) {
            let named: Vec<&str> = case.attributes().map(|attribute| attribute.name()).collect();
            assert_eq!(named, ["name", "classname", "time"]);
            let inner = children(*case);
            assert!(
                inner.len() <= 1
                    && inner
                        .iter()
                        .all(|name| ["failure", "error", "skipped"].contains(name))
            );
        }
    }
}
