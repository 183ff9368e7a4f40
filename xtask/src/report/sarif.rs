//! The report as SARIF 2.1.0 (OASIS): a result for each check that is not well and for each vulnerability, at a
//! line of Cargo.lock or of a Dockerfile where it has one, else at the image's Dockerfile.

mod place;
mod rules;
mod vulnerabilities;

use serde_json::{Value, json};

use super::Report;
use super::todo::{self, Todo};
use super::words::visible;
use crate::verdict::{Outcome, Record};
pub use place::{Place, Sources};

/// Renders a report.
pub fn render(report: &Report, sources: &Sources) -> Value {
    let mut told: Vec<(Value, Value)> = todo::all(report)
        .iter()
        .filter(|todo| !is_told_by_its_findings(todo))
        .flat_map(|todo| of_todo(report, todo, sources))
        .collect();
    told.extend(vulnerabilities::results(report, sources));
    let (mut results, mut rules): (Vec<Value>, Vec<Value>) = told.into_iter().unzip();
    make_unique(&mut results);
    rules.sort_by_key(|rule| rule["id"].to_string());
    rules.dedup_by_key(|rule| rule["id"].clone());
    for result in &mut results {
        let index = rules.iter().position(|rule| rule["id"] == result["ruleId"]);
        result["ruleIndex"] = index.into();
    }
    let mut run = json!({
        "tool": { "driver": driver(report, rules) },
        "automationDetails": { "id": format!("horme/{}/{}", visible(&report.command), visible(&report.run_id)) },
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": { "%SRCROOT%": { "description": { "text": "The root of the checkout." } } },
        "invocations": [invocation(report, sources)],
        "results": results,
    });
    if let (Some(repository), Some(commit)) = (&report.repository, &report.commit) {
        run["versionControlProvenance"] = json!([{
            "repositoryUri": repository,
            "revisionId": commit.id,
            "branch": commit.branch,
            "mappedTo": { "uriBaseId": "%SRCROOT%" },
        }]);
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    })
}

fn driver(report: &Report, rules: Vec<Value>) -> Value {
    let mut driver = json!({
        "name": "horme",
        "version": env!("CARGO_PKG_VERSION"),
        "semanticVersion": env!("CARGO_PKG_VERSION"),
        "rules": rules,
    });
    if let Some(repository) = &report.repository {
        driver["informationUri"] = repository.as_str().into();
    }
    driver
}

/// How the run went. One that ended early has looked at less than it was asked to: no results are no clean bill.
fn invocation(report: &Report, sources: &Sources) -> Value {
    let took = jiff::SignedDuration::from_millis(i64::try_from(report.took_ms).unwrap_or_default());
    let ended = report.started_at.checked_add(took).unwrap_or(report.started_at);
    let notifications = report
        .error
        .iter()
        .map(|text| notification("error", text, sources));
    let notes = report
        .notes
        .iter()
        .map(|text| notification("note", text, sources));
    let mut invocation = json!({
        "executionSuccessful": report.error.is_none() && report.exit_code <= 1,
        "exitCode": report.exit_code,
        "exitCodeDescription": visible(&report.summary()),
        "startTimeUtc": utc(report.started_at),
        "endTimeUtc": utc(ended),
        "toolExecutionNotifications": notifications.chain(notes).collect::<Vec<_>>(),
    });
    let signal = match report.exit_code {
        130 => Some(("SIGINT", 2)),
        143 => Some(("SIGTERM", 15)),
        _ => None,
    };
    if let Some((name, number)) = signal {
        invocation["exitSignalName"] = name.into();
        invocation["exitSignalNumber"] = number.into();
    }
    invocation
}

fn utc(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn notification(level: &str, text: &str, sources: &Sources) -> Value {
    let mut told = json!({ "level": level, "message": { "text": plain(text) } });
    if let Some(place) = sources.named(text) {
        told["locations"] = json!([place.location(&[])]);
    }
    told
}

/// The vulnerabilities that fail a scan are results of their own.
fn is_told_by_its_findings(todo: &Todo) -> bool {
    let fails = |record: &&Record| {
        let mut found = vulnerabilities::of_record(record);
        found.any(|finding| finding["became"] == "fails")
    };
    todo.outcome == Outcome::Violated
        && todo.name == Some("vulnerabilities")
        && todo.records.iter().all(fails)
}

/// What is violated has a result wherever it is to be mended; what is undecided has one remedy, and one result.
fn of_todo(report: &Report, todo: &Todo, sources: &Sources) -> Vec<(Value, Value)> {
    let mut places: Vec<(Place, Vec<&Record>)> = Vec::new();
    for record in &todo.records {
        let own = || sources.image(&record.service);
        let place = sources.named(todo.detail).unwrap_or_else(own);
        let same = |known: &Place| *known == place || todo.outcome == Outcome::Undecided;
        match places.iter_mut().find(|(known, _)| same(known)) {
            Some((_, records)) => records.push(record),
            None => places.push((place, vec![record])),
        }
    }
    let told = places
        .iter()
        .map(|(place, records)| of_place(report, todo, place, records));
    told.collect()
}

fn of_place(report: &Report, todo: &Todo, place: &Place, records: &[&Record]) -> (Value, Value) {
    let gate = records[0].gate;
    let name = todo.name.unwrap_or(gate.name());
    let mut services: Vec<&str> = records.iter().map(|record| record.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    let hint = todo
        .hint
        .map(|hint| format!("\nhint: {hint}"))
        .unwrap_or_default();
    let text = format!("{}: {name}: {}{hint}", services.join(", "), todo.detail);
    let level = match (todo.outcome, todo.tolerated) {
        (Outcome::Undecided, true) => "note",
        (Outcome::Undecided, false) => "warning",
        _ => "error",
    };
    let rule = rules::of_check(report, gate, name);
    let result = json!({
        "ruleId": rule["id"],
        "level": level,
        "message": { "text": plain(&text) },
        "locations": [place.location(&services)],
        "suppressions": [],
        "partialFingerprints": { "horme/v1": format!("{}/{}/{}", gate.name(), services[0], visible(name)) },
        "properties": { "outcome": todo.outcome.word(), "images": services, "logs": todo.logs() },
    });
    (result, rule)
}

/// No two results are taken for the same one.
fn make_unique(results: &mut [Value]) {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for result in results {
        let print = &mut result["partialFingerprints"]["horme/v1"];
        let count = seen.entry(print.to_string()).or_default();
        *count += 1;
        if *count > 1 {
            *print = format!("{}#{count}", print.as_str().unwrap_or_default()).into();
        }
    }
}

/// Words that no viewer takes for a link: `[text](target)` is one even in plain text.
fn plain(text: &str) -> String {
    let text = visible(text);
    match text.contains("](") {
        true => text.replace('[', "\\[").replace(']', "\\]"),
        false => text,
    }
}

#[cfg(test)]
mod tests;
