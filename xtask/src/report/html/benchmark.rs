//! The CIS Docker Benchmark, item by item: what is not followed first, the rest folded.

use maud::{Markup, html};
use serde_json::Value;

use super::words::{badge, section as framed, table};
use crate::report::Report;

const COLUMNS: [&str; 3] = ["item", "outcome", "evidence"];

/// One item: each outcome with the images that have it, and each image's evidence.
struct Item<'r> {
    name: String,
    outcomes: Vec<(&'r str, Vec<&'r str>)>,
    evidence: Vec<&'r str>,
}

impl Item<'_> {
    fn open(&self) -> bool {
        let fine = ["passed", "not applicable here"];
        self.outcomes.iter().any(|(word, _)| !fine.contains(word))
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
        for item in listed.into_iter().flatten() {
            let word = |key: &str| item[key].as_str().unwrap_or_default();
            let name = format!("{} {}", word("item"), word("title"));
            let place = items.iter().position(|known| known.name == name);
            let place = place.unwrap_or_else(|| {
                items.push(Item {
                    name,
                    outcomes: Vec::new(),
                    evidence: Vec::new(),
                });
                items.len() - 1
            });
            let known = &mut items[place];
            let service = record.service.as_str();
            match known
                .outcomes
                .iter_mut()
                .find(|(outcome, _)| *outcome == word("outcome"))
            {
                Some((_, services)) => services.push(service),
                None => known.outcomes.push((word("outcome"), vec![service])),
            }
            if !known.evidence.contains(&word("evidence")) {
                known.evidence.push(word("evidence"));
            }
        }
    }
    items
}

fn items_table(id: &str, caption: &str, items: &[Item]) -> Markup {
    let rows = html! {
        @for item in items {
            tr {
                th scope="row" { (item.name) }
                td {
                    @for (outcome, services) in &item.outcomes {
                        (badge(outcome))
                        @if item.outcomes.len() > 1 { span class="reason" { (services.join(", ")) } }
                    }
                }
                td { @for evidence in &item.evidence { span class="reason" { (evidence) } } }
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
