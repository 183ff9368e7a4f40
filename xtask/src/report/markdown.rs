//! The report as Markdown: for a pull request, a job's summary, or a terminal pager.

use std::fmt::Write;

use serde_json::Value;

use super::{Report, bytes};
use crate::gate::network::matrix;
use crate::verdict::{Outcome, Record};

/// Renders a report. Words from outside are escaped, so that they cannot become markup.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# {}: {}\n", title(report), escape(&report.command));
    let _ = writeln!(text, "{}\n", escape(&report.summary()));
    if let Some(error) = &report.error {
        let _ = writeln!(text, "**The run ended early:** {}\n", escape(error));
    }
    if let Some(bundle) = &report.bundle {
        let _ = writeln!(
            text,
            "What failed, with logs and all: [`{bundle}/INDEX.md`]({bundle}/INDEX.md)\n"
        );
    }
    for note in &report.notes {
        let _ = writeln!(text, "{}\n", escape(note));
    }
    table(report, &mut text);
    findings(report, &mut text);
    found(report, &mut text);
    bytes::render(report, &mut text);
    benchmark(report, &mut text);
    if !report.pairs().is_empty() {
        let _ = writeln!(
            text,
            "## Who reaches whom\n\n{}",
            matrix::markdown(&report.pairs())
        );
    }
    if let Some(faults) = report.faults() {
        let _ = writeln!(text, "## Faults\n\n{faults}");
    }
    digests(report, &mut text);
    if !report.bases.is_empty() {
        let _ = writeln!(text, "Base and store images: {}", escape(&report.bases));
    }
    for fact in &report.environment {
        let _ = writeln!(text, "- {}", escape(fact));
    }
    text
}

fn title(report: &Report) -> &'static str {
    match report.exit_code {
        0 => "passed",
        1 => "violated",
        130 | 143 => "interrupted",
        _ => "undecided",
    }
}

fn table(report: &Report, text: &mut String) {
    let gates = report.gates();
    if gates.is_empty() {
        return;
    }
    let names: Vec<&str> = gates.iter().map(|gate| gate.name()).collect();
    let _ = writeln!(text, "| image | {} |", names.join(" | "));
    let _ = writeln!(text, "| --- |{}", " --- |".repeat(gates.len()));
    for service in &report.services {
        let cells: Vec<String> = gates
            .iter()
            .map(|gate| cell(report.record(service, *gate)))
            .collect();
        let _ = writeln!(text, "| {} | {} |", escape(service), cells.join(" | "));
    }
    text.push('\n');
}

fn cell(record: Option<&Record>) -> String {
    let Some(record) = record else {
        return "not run".to_owned();
    };
    let word = record.word();
    let mut reason = record.reason_with_origin();
    if reason.chars().count() > 80 {
        reason = reason.chars().take(79).chain(['…']).collect();
    }
    format!("**{word}** {}", escape(&reason)).trim_end().to_owned()
}

/// Everything that is violated or undecided, with its evidence and its remedy.
fn findings(report: &Report, text: &mut String) {
    let bad = |record: &&Record| matches!(record.outcome, Outcome::Violated | Outcome::Undecided);
    for record in report.records.iter().filter(bad) {
        let _ = writeln!(
            text,
            "## {} {}: {}\n",
            escape(&record.service),
            record.gate.name(),
            record.outcome.word()
        );
        for check in record
            .checks
            .iter()
            .filter(|check| check.outcome > Outcome::Skipped)
        {
            let _ = writeln!(
                text,
                "- **{}** ({}): {}",
                escape(&check.name),
                check.outcome.word(),
                escape(&check.detail)
            );
            if let Some(hint) = &check.hint {
                let _ = writeln!(text, "  - hint: {}", escape(hint));
            }
        }
        if let Some(log) = &record.log {
            let _ = writeln!(text, "- log: `{log}`");
        }
        text.push('\n');
    }
}

/// Everything that a scan found, whatever fails the gate.
fn found(report: &Report, text: &mut String) {
    for record in &report.records {
        let listed = record.figures.get("findings").and_then(Value::as_array);
        let Some(listed) = listed.filter(|listed| !listed.is_empty()) else {
            continue;
        };
        let _ = writeln!(text, "## {}: all that was found\n", escape(&record.service));
        let _ = writeln!(text, "| severity | what | in | without it | from | since |");
        let _ = writeln!(text, "| --- | --- | --- | --- | --- | --- |");
        for finding in listed {
            let word = |key: &str| escape(finding[key].as_str().unwrap_or_default());
            let either = |one: &str, other: &str| match word(one) {
                empty if empty.is_empty() => word(other),
                said => said,
            };
            let cells = [
                word("severity"),
                format!("{} {}", either("id", "kind"), word("title")),
                format!("{} {}", word("package"), word("version")),
                either("fixed", "status"),
                // A file's origin names it already.
                match word("origin") {
                    origin if origin.starts_with("file ") => origin,
                    origin => format!("{origin} {}", word("path")),
                },
                word("introduced"),
            ];
            let _ = writeln!(
                text,
                "| {} |",
                cells.map(|cell| cell.trim().to_owned()).join(" | ")
            );
        }
        text.push('\n');
    }
}

/// The items of the benchmark, folded; a column an image, evidence where it is not the same word for all.
fn benchmark(report: &Report, text: &mut String) {
    let items = |record: &Record| {
        record
            .figures
            .get("cis")
            .and_then(|items| items.as_array().cloned())
    };
    let found = report.records.iter();
    let found: Vec<_> = found
        .filter_map(|record| Some((record.service.as_str(), items(record)?)))
        .collect();
    // One of which not all could be looked at has the first of them only.
    let Some((_, first)) = found.iter().max_by_key(|(_, items)| items.len()) else {
        return;
    };
    let names: Vec<String> = found.iter().map(|(service, _)| escape(service)).collect();
    text.push_str("<details><summary>CIS Docker Benchmark 1.6.0, item by item</summary>\n\n");
    let _ = writeln!(text, "| item | {} | evidence |", names.join(" | "));
    let _ = writeln!(text, "| --- |{} --- |", " --- |".repeat(names.len()));
    for (row, item) in first.iter().enumerate() {
        let word = |item: Option<&serde_json::Value>, key: &str| {
            escape(item.and_then(|item| item[key].as_str()).unwrap_or_default())
        };
        let column = |key: &str| -> Vec<String> {
            let cells = found.iter().map(|(_, items)| word(items.get(row), key));
            cells.collect()
        };
        let mut evidence = column("evidence");
        evidence.sort();
        evidence.dedup();
        let title = format!("{} {}", word(Some(item), "item"), word(Some(item), "title"));
        let _ = writeln!(
            text,
            "| {title} | {} | {} |",
            column("outcome").join(" | "),
            evidence.join("; ")
        );
    }
    text.push_str("\n</details>\n\n");
}

fn digests(report: &Report, text: &mut String) {
    if report.digests.is_empty() {
        return;
    }
    let _ = writeln!(text, "## Images\n\n| image | digest |\n| --- | --- |");
    for (service, digest) in &report.digests {
        let _ = writeln!(text, "| {} | `{digest}` |", escape(service));
    }
    text.push('\n');
}

/// Words from outside, so that none of them is read as markup.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("<br>"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_report_with_every_kind_of_verdict() {
        insta::assert_snapshot!(render(&sample()));
    }

    #[test]
    fn all_that_a_scan_found_is_listed() {
        let mut report = sample();
        let findings = serde_json::json!([
            {"kind": "vulnerability", "id": "CVE-1", "severity": "LOW", "status": "affected", "package": "smallvec", "version": "0.6.13",
             "fixed": "", "title": "a|b", "origin": "crate", "path": "frontend -> smallvec", "introduced": "disclosed"},
            {"kind": "file", "id": "", "severity": "", "package": "", "version": "", "fixed": "", "title": "runs as its owner",
             "origin": "file /su in layer 2", "path": "/su"}]);
        report.records[0].figures.insert("findings".to_owned(), findings);
        let text = render(&report);
        for row in [
            "## frontend: all that was found",
            "| LOW | CVE-1 a\\|b | smallvec 0.6.13 | affected | crate frontend -&gt; smallvec | disclosed |",
            "|  | file runs as its owner |  |  | file /su in layer 2 |  |",
        ] {
            assert!(text.contains(row), "{row} in {text}");
        }
    }

    #[test]
    fn words_from_outside_are_no_markup() {
        assert_eq!(escape("<b>a|b</b>\n*x*"), "&lt;b&gt;a\\|b&lt;/b&gt;<br>\\*x\\*");
    }
}
