//! The rules that results refer to: what each asks for, in words that a viewer shows beside the finding.

use serde_json::{Value, json};

use crate::report::Report;
use crate::report::words::visible;
use crate::verdict::Gate;

/// A rule of ours: a check of a gate.
pub(super) fn of_check(report: &Report, gate: Gate, name: &str) -> Value {
    let asks = asks(gate);
    let name = visible(name);
    let text = format!("The {} gate checks: {name}. It asks {asks}.", gate.name());
    let mut rule = json!({
        "id": check_id(gate, &name),
        "name": pascal(&format!("{} {name}", gate.name())),
        "shortDescription": { "text": format!("{}: {name}", gate.name()) },
        "fullDescription": { "text": text },
        "help": {
            "text": format!("{text} `cargo xtask {}` looks again.", gate.name()),
            "markdown": format!(
                "{} `cargo xtask {}` looks again.",
                crate::report::escape(&text),
                gate.name()
            ),
        },
        "defaultConfiguration": { "level": "error" },
        "properties": { "tags": ["container", gate.name()], "precision": "very-high" },
    });
    if let Some(page) = page(report) {
        rule["helpUri"] = format!("{page}#what-the-gates-ask").into();
    }
    rule
}

/// Where our words about a gate stand, as they were at that commit.
fn page(report: &Report) -> Option<String> {
    let repository = report.repository.as_ref()?;
    let commit = &report.commit.as_ref()?.id;
    Some(format!("{repository}/blob/{commit}/README.md"))
}

fn asks(gate: Gate) -> &'static str {
    match gate {
        Gate::Build => "that every image is built from what is committed",
        Gate::Lint => "that Dockerfiles and the compose stack keep their rules",
        Gate::Scan => "that nothing known to be vulnerable, secret or loose is in the image",
        Gate::Budget => "that the image keeps its size",
        Gate::Boot => "that the image alone lives, answers and ends under the constraints of production",
        Gate::Network => "that declared edges are open, and every other way is closed",
        Gate::Faults => "that nothing hangs and nothing stored is lost while a store is in trouble",
    }
}

/// `boot/in-flight-requests`.
pub(super) fn check_id(gate: Gate, check: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let slug: String = check
        .to_lowercase()
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    let slug = slug.trim_matches('-');
    format!("{}/{}", gate.name(), if slug.is_empty() { "check" } else { slug })
}

/// `BootInFlightRequests`.
fn pascal(words: &str) -> String {
    let words = words.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .flat_map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            [first.to_ascii_uppercase(), rest.to_owned()]
        })
        .collect()
}

/// A rule of the world's: a vulnerability.
pub(super) fn of_vulnerability(found: &Value) -> Value {
    let word = |key: &str| visible(found[key].as_str().unwrap_or_default());
    let id = vulnerability_id(found);
    let title = match word("title") {
        title if title.is_empty() => format!("{id} in {}", word("package")),
        title => title,
    };
    let text = format!("{id} ({}): {title}", word("severity"));
    let mut rule = json!({
        "id": id,
        "name": "KnownVulnerability",
        "shortDescription": { "text": title },
        "fullDescription": { "text": text },
        "help": { "text": text, "markdown": crate::report::escape(&text) },
        "defaultConfiguration": { "level": level(&word("severity")) },
        "properties": { "tags": ["security", "vulnerability"], "precision": "very-high" },
    });
    if let Some(score) = score(&word("severity")) {
        rule["properties"]["security-severity"] = score.into();
    }
    let url = word("url");
    if url.starts_with("https://")
        && url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte))
    {
        rule["helpUri"] = url.into();
    }
    rule
}

pub(super) fn vulnerability_id(found: &Value) -> String {
    match visible(found["id"].as_str().unwrap_or_default()) {
        id if id.is_empty() => "vulnerability".to_owned(),
        id => id,
    }
}

/// How bad it is by itself, whatever policy makes of it.
pub(super) fn level(severity: &str) -> &'static str {
    match severity {
        "CRITICAL" | "HIGH" => "error",
        "MEDIUM" => "warning",
        _ => "note",
    }
}

/// A number within the band of the severity: scanners tell the word alone.
fn score(severity: &str) -> Option<&'static str> {
    match severity {
        "CRITICAL" => Some("9.5"),
        "HIGH" => Some("8.0"),
        "MEDIUM" => Some("5.5"),
        "LOW" => Some("2.0"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_a_name_that_stays_the_same() {
        assert_eq!(
            check_id(Gate::Boot, "In-flight requests"),
            "boot/in-flight-requests"
        );
        assert_eq!(check_id(Gate::Boot, "--help"), "boot/help");
        assert_eq!(pascal("boot in-flight requests"), "BootInFlightRequests");
        assert_eq!(check_id(Gate::Lint, "\u{202e}"), "lint/check");
    }

    #[test]
    fn a_link_that_is_none_is_left_out() {
        let rule = |url: &str| of_vulnerability(&json!({ "id": "CVE-1", "severity": "HIGH", "url": url }));
        assert_eq!(
            rule("https://avd.aquasec.com/nvd/cve-1")["helpUri"],
            "https://avd.aquasec.com/nvd/cve-1"
        );
        for url in ["javascript:alert(1)", "https://a b", "https://<x>", ""] {
            assert_eq!(rule(url)["helpUri"], Value::Null, "{url}");
        }
        assert_eq!(rule("")["properties"]["security-severity"], "8.0");
    }
}
