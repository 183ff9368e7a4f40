//! Captured reports and statements, damaged at random and judged: never a panic, and never a pass where something that
//! fails can still be read. `HORME_FUZZ_SECONDS=600 cargo test mutations` goes on for as long, from a seed of its own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::layers::Layers;
use super::origin::tests::origins;
use super::policy::{DatabasePolicy, Disclosed};
use super::testing::scanner;
use super::vex::{Image, Vex};
use super::{Scanner, crates, day, findings, vulnerabilities};
use crate::tool::trivy::{self, Report};
use crate::verdict::Outcome;

const REPORTS: [&str; 6] = [
    include_str!("../../../tests/captured/trivy-0.68.2/vulnerable.json"),
    include_str!("../../../tests/captured/trivy-0.68.2/no-crates.json"),
    include_str!("../../../tests/captured/trivy-0.68.2/secrets-and-misconfigurations.json"),
    include_str!("../../../tests/captured/trivy-0.68.2/suppressed-by-vex.json"),
    include_str!("../../../tests/captured/trivy-0.44.1/vulnerable.json"),
    include_str!("../../../tests/captured/trivy-0.44.1/secrets.json"),
];

const STATEMENTS: &str = r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.org/vex/1","author":"ann",
    "timestamp":"2026-11-01T00:00:00Z","version":1,"statements":[{"vulnerability":{"name":"CVE-2021-25900","aliases":["x"]},
    "products":[{"@id":"pkg:oci/shop","subcomponents":[{"@id":"pkg:cargo/smallvec@0.6.13"}]}],"status":"not_affected",
    "justification":"vulnerable_code_not_in_execute_path"}]}"#;

const IMAGE: Image = Image {
    name: "shop",
    digest: "sha256:aa",
};

/// Pieces of text that readers stumble over.
const PIECES: [&str; 14] = [
    "\u{feff}",
    "null",
    "1e999",
    "-0",
    "99999999999999999999999999",
    "[",
    "{",
    "\"",
    "\\ud800",
    "]}",
    ",,",
    "\0",
    "\"Results\":[],",
    "\"Vulnerabilities\":null,",
];

/// SplitMix64: small, and the same everywhere for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

fn damaged_text(text: &str, dice: &mut Dice) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        let (start, length) = (dice.below(bytes.len()), dice.below(200));
        let end = (start + length).min(bytes.len());
        match dice.below(5) {
            0 => bytes.truncate(start),
            1 => drop(bytes.drain(start..end)),
            2 => {
                let again = bytes[start..end].to_vec();
                bytes.splice(start..start, again);
            }
            3 if start < bytes.len() => bytes[start] ^= 1 << dice.below(7),
            _ => drop(bytes.splice(start..start, dice.one_of(&PIECES).bytes())),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Somewhere in a value, something else.
fn damaged_value(value: &mut Value, dice: &mut Dice) {
    let inner = dice.below(5) != 0;
    match value {
        Value::Object(map) if inner && !map.is_empty() => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = dice.one_of(&keys);
            match dice.below(12) {
                0 => drop(map.shift_remove(key)),
                1 => {
                    let moved = map.shift_remove(key).unwrap_or_default();
                    map.insert(dice.one_of(&keys).clone(), moved);
                }
                _ => damaged_value(&mut map[key], dice),
            }
        }
        Value::Array(list) if inner && !list.is_empty() => {
            let index = dice.below(list.len());
            match dice.below(8) {
                0 => drop(list.remove(index)),
                1 => list.push(list[index].clone()),
                _ => damaged_value(&mut list[index], dice),
            }
        }
        _ => *value = other(dice),
    }
}

fn other(dice: &mut Dice) -> Value {
    let others = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("UNKNOWN"),
        json!("CRITICAL"),
        json!("will_not_fix"),
        json!("\u{202e}\0"),
        json!([]),
        json!({}),
        json!([[[[null]]]]),
        json!({"VulnerabilityID": null}),
    ];
    dice.one_of(&others).clone()
}

fn damaged(text: &str, dice: &mut Dice) -> String {
    if dice.below(2) == 0 {
        return damaged_text(text, dice);
    }
    let mut value: Value = serde_json::from_str(text).unwrap();
    for _ in 0..=dice.below(4) {
        damaged_value(&mut value, dice);
    }
    value.to_string()
}

/// Entries of a kind in a report, as anybody would read them.
fn entries<'v>(report: &'v Value, kind: &str) -> Vec<&'v Value> {
    let results = report["Results"].as_array().into_iter().flatten();
    let lists = results.filter_map(|result| result[kind].as_array());
    lists.flatten().filter(|entry| entry.is_object()).collect()
}

fn crates_of(report: &Value) -> BTreeSet<String> {
    let binaries = report["Results"].as_array().into_iter().flatten();
    let binaries = binaries.filter(|result| result["Type"] == "rustbinary");
    let packages = binaries.filter_map(|result| result["Packages"].as_array());
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    packages
        .flatten()
        .filter(|package| package.is_object())
        .map(|package| format!("{} {}", word(&package["Name"]), word(&package["Version"])))
        .collect()
}

/// Judges what was read; whatever fails by a plain reading of the text must fail here.
fn hold(text: &str, report: &Report, scanner: &Scanner, expected: &BTreeSet<String>) {
    // What nobody asks for is not read to the end: half a surrogate there harms nothing.
    let Ok(plain) = serde_json::from_str::<Value>(text) else {
        return;
    };
    // Not read either: the image stays undecided.
    let Ok(layers) = Layers::read(text, "FROM scratch\nCOPY a /a\n") else {
        return;
    };
    let now = jiff::Timestamp::now();
    let judged = origins(None, Disclosed::Fail, false, |origins| {
        let fates = vulnerabilities::fates(report, scanner, origins, IMAGE, day(now));
        let listed = origins.findings(&fates, report, &[]);
        assert!(listed.len() >= fates.len(), "{text}");
        vulnerabilities::judge(&fates, scanner, origins, now)
    });
    let worst = |found: &&Value| found["Severity"] == "CRITICAL" && found["Status"] == "fixed";
    if entries(&plain, "Vulnerabilities").iter().any(worst) {
        assert_eq!(judged.outcome, Outcome::Violated, "{text}");
    }
    if !entries(&plain, "Secrets").is_empty() {
        assert_eq!(
            findings::secrets(report, &layers).outcome,
            Outcome::Violated,
            "{text}"
        );
    }
    let misconfigured = findings::misconfigurations(report, &scanner.policy);
    let wrong = |found: &&Value| found["Severity"] == "HIGH" && found["Status"] == "FAIL";
    if entries(&plain, "Misconfigurations").iter().any(wrong) {
        assert_eq!(misconfigured.outcome, Outcome::Violated, "{text}");
    }
    let seen: BTreeSet<String> = report.crates().collect();
    let check = crates::judge(&seen, expected, &BTreeSet::new());
    if plain.is_object() && crates_of(&plain) != *expected {
        assert_eq!(check.outcome, Outcome::Violated, "{text}");
    }
}

#[test]
fn mutations_never_panic_and_never_pass_what_fails() {
    let seconds = std::env::var("HORME_FUZZ_SECONDS").ok();
    let seconds: Option<u64> = seconds.map(|text| text.parse().unwrap());
    let begun = Instant::now();
    let seed = match seconds {
        Some(_) => jiff::Timestamp::now().as_nanosecond() as u64,
        None => 1,
    };
    let goes_on = |done: u64| match seconds {
        Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
        None => done < 1_500,
    };
    let mut scanner = scanner(Some(1), DatabasePolicy::Required);
    let expected = crates_of(&serde_json::from_str(REPORTS[0]).unwrap());
    assert_eq!(expected.len(), 5);
    let (mut dice, mut done, mut read, mut stated) = (Dice(seed), 0_u64, 0_u64, 0_u64);
    while goes_on(done) {
        done += 1;
        let captured: &str = dice.one_of::<&str>(&REPORTS);
        let text = damaged(captured, &mut dice);
        if let Ok(report) = trivy::parse(&text) {
            read += 1;
            scanner.vex = Default::default();
            hold(&text, &report, &scanner, &expected);
            let mut vex = Vex::default();
            for _ in 0..4 {
                let statements = damaged(STATEMENTS, &mut dice);
                stated += u64::from(vex.add("openvex.json", &statements).is_ok());
            }
            scanner.vex = vex.into();
            origins(None, Disclosed::Fail, false, |origins| {
                vulnerabilities::fates(&report, &scanner, origins, IMAGE, day(jiff::Timestamp::now())).len()
            });
            scanner.vex.unused();
        }
    }
    println!("seed {seed}: {done} reports, {read} read, {stated} documents of statements read");
    assert!(read > done / 20 && read < done, "the damage is of both kinds");
}
