//! The CIS Docker Benchmark, item by item: what is not followed first, the rest folded.

use maud::{Markup, html};
use serde_json::Value;

use super::words::{badge, section as framed, table};
use crate::report::Report;

const COLUMNS: [&str; 3] = ["item", "outcome", "evidence"];

/// One item, and what it came to.
struct Item<'r> {
    name: String,
    outcomes: Vec<Came<'r>>,
}

/// An outcome, with the images that have it and what was seen of them.
struct Came<'r> {
    word: &'r str,
    services: Vec<&'r str>,
    evidence: Vec<&'r str>,
}

impl<'r> Item<'r> {
    fn open(&self) -> bool {
        let fine = ["passed", "not applicable here"];
        self.outcomes.iter().any(|came| !fine.contains(&came.word))
    }

    fn add(&mut self, word: &'r str, service: &'r str, evidence: &'r str) {
        let known = self.outcomes.iter().position(|came| came.word == word);
        let place = known.unwrap_or_else(|| {
            self.outcomes.push(Came {
                word,
                services: Vec::new(),
                evidence: Vec::new(),
            });
            self.outcomes.len() - 1
        });
        let came = &mut self.outcomes[place];
        came.services.push(service);
        if !came.evidence.contains(&evidence) {
            came.evidence.push(evidence);
        }
    }
}

pub(super) fn section(report: &Report) -> Markup {
    let (open, fine): (Vec<_>, Vec<_>) = items(report).into_iter().partition(Item::open);
    if open.is_empty() && fine.is_empty() {
        return Markup::default();
    }
    let body = html! {
        @if open.is_empty() { p { "Every item that applies here is followed by every image." } }
        @else { (items_table("cis-open", "Items that are not followed, or not by every image", &open)) }
        @if !fine.is_empty() {
            details {
                summary { (fine.len()) " items that are followed, or do not apply here" }
                (items_table("cis-fine", "Items that are followed, or do not apply here", &fine))
            }
        }
    };
    framed("cis", "CIS Docker Benchmark 1.6.0", body)
}

fn items(report: &Report) -> Vec<Item<'_>> {
    let mut items: Vec<Item> = Vec::new();
    for record in &report.records {
        let listed = record.figures.get("cis").and_then(Value::as_array);
        for found in listed.into_iter().flatten() {
            let word = |key: &str| found[key].as_str().unwrap_or_default();
            let name = format!("{} {}", word("item"), word("title"));
            let known = items.iter().position(|item| item.name == name);
            let place = known.unwrap_or_else(|| {
                items.push(Item {
                    name,
                    outcomes: Vec::new(),
                });
                items.len() - 1
            });
            items[place].add(word("outcome"), &record.service, word("evidence"));
        }
    }
    for item in &mut items {
        item.outcomes.sort_by_key(|came| came.word != "violated");
    }
    items
}

fn items_table(id: &str, caption: &str, items: &[Item]) -> Markup {
    let rows = html! {
        @for item in items {
            @for (place, came) in item.outcomes.iter().enumerate() {
                tr class=[(came.word == "violated").then_some("bad")] {
                    @if place == 0 { th scope="row" rowspan=(item.outcomes.len()) { (item.name) } }
                    td {
                        (badge(came.word))
                        @if item.outcomes.len() > 1 { span class="reason" { (came.services.join(", ")) } }
                    }
                    td { @for evidence in &came.evidence { span class="reason" { (evidence) } } }
                }
            }
        }
    };
    table(id, caption, &COLUMNS, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use serde_json::json;

    #[test]
    fn what_one_image_does_not_follow_is_open_and_names_it() {
        let mut report = sample();
        let item = |outcome: &str| json!([{"item": "5.15", "title": "restarts", "outcome": outcome, "evidence": "as it is"}]);
        report.records[0].figures.insert("cis".to_owned(), item("passed"));
        let all = section(&report).into_string();
        assert!(all.contains("Every item that applies here is followed"), "{all}");
        report.records[3]
            .figures
            .insert("cis".to_owned(), item("accepted"));
        let one = section(&report).into_string();
        assert!(!one.contains("<details>"), "{one}");
        assert!(
            one.contains("accepted</span><span class=\"reason\">gateway</span>"),
            "{one}"
        );
    }
}
