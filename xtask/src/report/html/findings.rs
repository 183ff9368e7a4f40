//! What scans found, each finding once for all images that have it: where it comes from, since when, and what helps.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::words::{Card, badge, cards, images, outside, section as framed};
use crate::report::Report;
use crate::report::todo::remedy;
use crate::report::words::counted;
use crate::verdict::{Gate, Outcome, Record};

const COLUMNS: [&str; 7] = [
    "finding",
    "policy",
    "images",
    "in",
    "fixed in",
    "comes from",
    "since",
];

/// What makes two images' findings the same one.
const SAME: [&str; 8] = [
    "kind", "id", "severity", "package", "version", "title", "became", "why",
];

/// One finding, and each image's own words for it.
struct Found<'r> {
    found: &'r Value,
    images: Vec<(&'r Record, &'r Value)>,
}

pub(super) fn section(report: &Report) -> Markup {
    let scans: Vec<&Record> = report
        .records
        .iter()
        .filter(|record| record.gate == Gate::Scan && record.outcome != Outcome::Skipped)
        .collect();
    if scans.is_empty() {
        return Markup::default();
    }
    let found = gathered(&scans);
    let body = html! {
        (looked_with(&scans))
        @if !found.is_empty() {
            @let rows: Vec<Card> = found.iter().map(|one| row(report, one)).collect();
            (cards("findings", "Findings, what fails first", &COLUMNS, &rows))
        }
    };
    framed("findings", "Findings of the scans", body)
}

/// Every finding, worst first.
fn gathered<'r>(scans: &[&'r Record]) -> Vec<Found<'r>> {
    let mut all: Vec<Found> = Vec::new();
    for record in scans {
        let listed = record.figures.get("findings").and_then(Value::as_array);
        for found in listed.into_iter().flatten() {
            let same = |known: &&mut Found| SAME.iter().all(|key| known.found[key] == found[key]);
            match all.iter_mut().find(same) {
                Some(known) => known.images.push((record, found)),
                None => all.push(Found {
                    found,
                    images: vec![(record, found)],
                }),
            }
        }
    }
    all.sort_by_key(|one| {
        let known = ["CRITICAL", "HIGH", "MEDIUM", "LOW"];
        let severity = known.iter().position(|name| one.found["severity"] == *name);
        (one.found["became"] != "fails", severity.unwrap_or(known.len()))
    });
    all
}

/// How much was found, by how many scans, with which database.
fn looked_with(scans: &[&Record]) -> Markup {
    let count = |key: &str| {
        scans
            .iter()
            .filter(|record| record.figures.contains_key(key))
            .count()
    };
    let undecided = scans
        .iter()
        .filter(|record| record.outcome == Outcome::Undecided)
        .count();
    // A scan that had no image to look at has no figures.
    let looked = count("crates_seen").max(count("findings"));
    let mut databases: Vec<&str> = scans
        .iter()
        .filter_map(|record| record.figures.get("database_updated_at")?.as_str())
        .collect();
    databases.sort_unstable();
    databases.dedup();
    html! {
        p {
            @match count("findings") {
                0 => { "No scan lists a finding" }
                some => { (counted(some, "image")) " with findings" }
            }
            " ("
            @if looked < scans.len() { (looked) " of " }
            (counted(scans.len(), "image")) " scanned"
            @for database in databases { ", database of " (database.split('T').next().unwrap_or_default()) }
            ")."
            @if undecided > 0 {
                " " strong { (counted(undecided, "scan")) " undecided" } ": that nothing is listed there is no all-clear."
            }
        }
    }
}

fn row(report: &Report, one: &Found) -> Card {
    let word = |key: &str| one.found[key].as_str().unwrap_or_default();
    let day = |key: &str| word(key).split('T').next().unwrap_or_default();
    let records: Vec<&Record> = one.images.iter().map(|(record, _)| *record).collect();
    let head = html! {
        @if !word("severity").is_empty() { (word("severity")) " " }
        (outside(word("url"), either(word("id"), word("kind"))))
        span class="reason" { (word("title")) }
    };
    let policy = html! {
        @if !word("became").is_empty() { (badge(word("became"))) }
        @if !word("why").is_empty() { span class="reason" { (word("why")) } }
    };
    let since = html! {
        (since(word("introduced")))
        @if !word("published").is_empty() { span class="reason" { "published " (day("published")) } }
    };
    let cells = vec![
        policy,
        images(report, &records),
        html! { (format!("{} {}", word("package"), word("version")).trim()) },
        html! {
            (either(word("fixed"), word("status")))
            @for remedy in remedies(one) { span class="reason" { "remedy: " (remedy) } }
        },
        origin(one),
        since,
    ];
    Card {
        bad: word("became") == "fails",
        head,
        cells,
    }
}

/// What mends it, where a check is about this very finding.
fn remedies<'r>(one: &Found<'r>) -> BTreeSet<&'r str> {
    let images = one.images.iter();
    images
        .filter_map(|(record, found)| remedy(record, found))
        .collect()
}

/// The origin of a finding and the paths that lead to it; a file's origin names its path already.
fn origin(one: &Found) -> Markup {
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut ways: Vec<(String, String)> = one
        .images
        .iter()
        .map(|(_, found)| match word(found, "origin") {
            origin if origin.starts_with("file ") => (origin, String::new()),
            origin => (origin, word(found, "path")),
        })
        .collect();
    ways.sort();
    ways.dedup();
    html! { ul { @for (origin, path) in ways { li { (origin) " " (path) } } } }
}

fn either<'t>(first: &'t str, other: &'t str) -> &'t str {
    if first.is_empty() { other } else { first }
}

fn since(introduced: &str) -> &str {
    match introduced {
        "introduced" => "introduced by a change",
        "disclosed" => "disclosed, was there before",
        "unknown" => "not known",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::Check;
    use serde_json::json;

    fn found(id: &str, severity: &str, became: &str, path: &str) -> Value {
        json!({"kind": "vulnerability", "id": id, "severity": severity, "status": "affected", "package": "smallvec",
            "version": "0.6.13", "fixed": "0.6.14", "title": "a <b>", "url": "https://example.org/a", "became": became,
            "origin": "crate", "path": path, "introduced": "disclosed"})
    }

    #[test]
    fn a_finding_of_two_images_is_a_row_with_both_paths_and_what_fails_comes_first() {
        let mut report = sample();
        let scan = |service: &str, findings: Value| {
            let check = Check::passed("vulnerabilities", "none that fails");
            Record::from_checks(service, Gate::Scan, vec![check], "").figure("findings", findings)
        };
        report.records = vec![
            scan(
                "frontend",
                json!([found("CVE-1", "CRITICAL", "reported", "frontend -> smallvec")]),
            ),
            scan(
                "gateway",
                json!([
                    found("CVE-1", "CRITICAL", "reported", "gateway -> smallvec"),
                    found("CVE-2", "LOW", "fails", "gateway -> smallvec")
                ]),
            ),
        ];
        let page = section(&report).into_string();
        assert_eq!(page.matches("CVE-1").count(), 1, "{page}");
        assert!(page.find("CVE-2") < page.find("CVE-1"), "{page}");
        assert!(page.contains("<li>crate frontend -&gt; smallvec</li><li>crate gateway -&gt; smallvec</li>"));
        assert!(
            page.contains("2 images with findings (2 images scanned)"),
            "{page}"
        );
    }

    #[test]
    fn what_fails_has_the_remedy_of_the_check_that_names_it() {
        let check = Check::violated("vulnerabilities", "CVE-1 in smallvec 0.6.13", "cargo update");
        let findings = json!([
            found("CVE-1", "HIGH", "fails", ""),
            found("CVE-3", "HIGH", "fails", "")
        ]);
        let mut report = sample();
        report.records =
            vec![Record::from_checks("a", Gate::Scan, vec![check], "").figure("findings", findings)];
        let page = section(&report).into_string();
        assert_eq!(page.matches("remedy: cargo update").count(), 1, "{page}");
    }

    #[test]
    fn nothing_found_by_an_undecided_scan_is_no_all_clear() {
        let page = section(&sample()).into_string();
        assert!(
            page.contains("No scan lists a finding (0 of 1 image scanned)") && page.contains("no all-clear"),
            "{page}"
        );
    }
}
