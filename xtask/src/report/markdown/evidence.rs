//! What every gate looked at, and the items of the benchmark: each thing once, however many images say the same.

use std::fmt::Write;

use serde_json::Value;

use super::block::Block;
use super::escape;
use crate::report::Report;
use crate::report::words::counted;
use crate::verdict::{Check, Gate, Outcome};

/// A table of its checks for each gate.
pub(super) fn checks(report: &Report) -> Vec<Block> {
    report
        .gates()
        .into_iter()
        .filter_map(|gate| of_gate(report, gate))
        .collect()
}

fn of_gate(report: &Report, gate: Gate) -> Option<Block> {
    let (mut seen, mut images): (Vec<(&Check, Vec<&str>)>, Vec<&str>) = (Vec::new(), Vec::new());
    for record in report.records.iter().filter(|record| record.gate == gate) {
        if record.outcome != Outcome::Skipped {
            images.push(&record.service);
        }
        for check in &record.checks {
            match seen.iter_mut().find(|(known, _)| *known == check) {
                Some((_, services)) => services.push(&record.service),
                None => seen.push((check, vec![&record.service])),
            }
        }
    }
    if seen.is_empty() {
        return None;
    }
    seen.sort_by(|(one, _), (other, _)| (other.outcome, &one.name).cmp(&(one.outcome, &other.name)));
    let mut text = "| check | verdict | images | what was seen |\n| --- | --- | --- | --- |\n".to_owned();
    for (check, services) in &seen {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            escape(&check.name),
            check.outcome.word(),
            some(services, images.len()),
            escape(&check.detail)
        );
    }
    let count: usize = seen.iter().map(|(_, services)| services.len()).sum();
    let title = format!(
        "{}: {} of {}",
        gate.name(),
        counted(count, "check"),
        counted(images.len(), "image")
    );
    Some(Block::folded(&title, &text))
}

/// `all 6`, or their names.
fn some(services: &[&str], of: usize) -> String {
    match services.len() {
        all if all == of && of > 1 => format!("all {of}"),
        _ => escape(&services.join(", ")),
    }
}

/// The items of the benchmark; images are named where they are not all the same.
pub(super) fn benchmark(report: &Report) -> Option<Block> {
    let records = report.records.iter();
    let found: Vec<(&str, &Vec<Value>)> = records
        .filter_map(|record| Some((record.service.as_str(), record.figures.get("cis")?.as_array()?)))
        .collect();
    // One of which not all could be looked at has the first of them only.
    let (_, longest) = found.iter().max_by_key(|(_, items)| items.len())?;
    let mut text = "| item | verdict | evidence |\n| --- | --- | --- |\n".to_owned();
    for (row, item) in longest.iter().enumerate() {
        let column = |key: &str| {
            let images = found.iter();
            let words =
                images.filter_map(|(service, items)| Some((*service, items.get(row)?[key].as_str()?)));
            told(&words.collect::<Vec<_>>())
        };
        let word = |key: &str| escape(item[key].as_str().unwrap_or_default());
        let _ = writeln!(
            text,
            "| {} {} | {} | {} |",
            word("item"),
            word("title"),
            column("outcome"),
            column("evidence")
        );
    }
    let title = format!(
        "CIS Docker Benchmark 1.6.0, item by item ({} images)",
        found.len()
    );
    Some(Block::folded(&title, &text))
}

/// The word that all say, or each word with those that say it.
fn told(words: &[(&str, &str)]) -> String {
    let mut by_word: Vec<(&str, Vec<&str>)> = Vec::new();
    for (service, word) in words {
        match by_word.iter_mut().find(|(known, _)| known == word) {
            Some((_, services)) => services.push(service),
            None => by_word.push((word, vec![service])),
        }
    }
    match by_word.as_slice() {
        [(word, _)] => escape(word),
        several => {
            let each = several.iter();
            let each = each.map(|(word, services)| escape(&format!("{word} ({})", services.join(", "))));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::Record;

    fn looked(service: &str, detail: &str, cis: &str) -> Record {
        let checks = vec![Check::passed("user", "65532"), Check::passed("boot", detail)];
        let items = serde_json::json!([{"item": "4.1", "title": "a user", "outcome": cis, "evidence": "e"}]);
        Record::from_checks(service, Gate::Boot, checks, "").figure("cis", items)
    }

    #[test]
    fn what_all_images_say_is_said_once() {
        let mut report = sample();
        report.records = vec![looked("a", "1 ms", "passed"), looked("b", "2 ms", "accepted")];
        let text = &checks(&report)[0].text;
        assert!(
            text.contains("<summary>boot: 4 checks of 2 images</summary>"),
            "{text}"
        );
        assert!(text.contains("| user | passed | all 2 | 65532 |"), "{text}");
        assert!(text.contains("| boot | passed | b | 2 ms |"), "{text}");
        let text = benchmark(&report).unwrap().text;
        assert!(
            text.contains("| 4.1 a user | passed (a); accepted (b) | e |"),
            "{text}"
        );
    }
}
