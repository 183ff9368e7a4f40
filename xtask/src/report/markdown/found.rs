//! Everything that a scan found, whatever fails the gate: a table an image.

use std::fmt::Write;

use serde_json::Value;

use super::block::Block;
use super::escape;
use crate::report::Report;

pub(super) fn blocks(report: &Report) -> Vec<Block> {
    let records = report.records.iter();
    let found = records.filter_map(|record| {
        let listed = record.figures.get("findings").and_then(Value::as_array)?;
        (!listed.is_empty()).then_some((record, listed))
    });
    found
        .map(|(record, listed)| {
            let title = format!(
                "{}: all that the {} gate found ({})",
                escape(&record.service),
                record.gate.name(),
                listed.len()
            );
            Block::folded(&title, &table(listed))
        })
        .collect()
}

fn table(listed: &[Value]) -> String {
    let mut text = "| severity | what | in | fixed in | from | since | what became of it |\n".to_owned();
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for finding in listed {
        let cells = cells(finding).map(|cell| cell.trim().to_owned());
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn cells(finding: &Value) -> [String; 7] {
    let word = |key: &str| escape(finding[key].as_str().unwrap_or_default());
    let either = |one: &str, other: &str| match word(one) {
        empty if empty.is_empty() => word(other),
        said => said,
    };
    let became = match word("why") {
        why if why.is_empty() => word("became"),
        why => format!("{}: {why}", word("became")),
    };
    [
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
        became,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn all_that_a_scan_found_is_listed() {
        let mut report = sample();
        let findings = serde_json::json!([
            {"kind": "vulnerability", "id": "CVE-1", "severity": "LOW", "status": "affected", "package": "smallvec", "version": "0.6.13",
             "fixed": "", "title": "a|b", "origin": "crate", "path": "frontend -> smallvec", "introduced": "disclosed",
             "became": "let pass", "why": "not affected"},
            {"kind": "file", "id": "", "severity": "", "package": "", "version": "", "fixed": "", "title": "runs as its owner",
             "origin": "file /su in layer 2", "path": "/su"}]);
        report.records[0].figures.insert("findings".to_owned(), findings);
        let text = &blocks(&report)[0].text;
        for row in [
            "<details><summary>frontend: all that the build gate found (2)</summary>",
            "| LOW | CVE-1 a\\|b | smallvec 0.6.13 | affected | crate frontend -&gt; smallvec | disclosed | let pass: not affected |",
            "|  | file runs as its owner |  |  | file /su in layer 2 |  |  |",
        ] {
            assert!(text.contains(row), "{row} in {text}");
        }
    }
}
