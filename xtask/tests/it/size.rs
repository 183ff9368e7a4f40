//! Where an image's bytes are: waste, the binary by crate, and the parts that growth is told by.

use std::process::Command;

use serde_json::Value;

use crate::checkout::{Checkout, Fixture, ended, fixture_twin};

/// The latest run's record of the size gate.
fn budget(checkout: &Checkout) -> Value {
    let report = checkout.report();
    let mut records = report["records"].as_array().unwrap().iter();
    records.find(|record| record["gate"] == "budget").unwrap().clone()
}

fn check<'a>(record: &'a Value, name: &str) -> &'a Value {
    let mut checks = record["checks"].as_array().unwrap().iter();
    checks.find(|check| check["name"] == name).unwrap()
}

/// Puts more instructions into a fixture's Dockerfile, before the one that copies its binary.
fn with_instructions(checkout: &Checkout, name: &str, more: &str) {
    let path = format!("docker/Dockerfile.{name}");
    let text = std::fs::read_to_string(checkout.path(&path)).unwrap();
    checkout.write(
        &path,
        &text.replace("COPY --link bin", &format!("{more}\nCOPY --link bin")),
    );
}

#[test]
fn a_file_that_is_there_twice_or_overwritten_is_waste() {
    let checkout = Checkout::new(vec![Fixture::new("size-waste")]);
    with_instructions(&checkout, "size-waste", "COPY bin/fixture /size-waste");
    let ended = checkout.gate("budget");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let record = budget(&checkout);
    let waste = check(&record, "wasted bytes");
    assert_eq!(waste["outcome"], "violated");
    let detail = waste["detail"].as_str().unwrap();
    assert!(
        detail.contains("the largest: /size-waste, ") && detail.contains("overwritten by layer 1"),
        "{detail}"
    );
    let size_bytes = std::fs::metadata(checkout.path("bin/fixture")).unwrap().len();
    assert_eq!(record["figures"]["wasted_bytes"], size_bytes);
    // Where policy allows it, it is told and passes.
    checkout.write(
        "docker/policy/budget.toml",
        "allowed_growth_percent = 5.0\nwasted_bytes_max = 100_000_000\n",
    );
    assert_eq!(checkout.run(&["budget"]).code, Some(0));
    with_instructions(&checkout, "size-waste", "COPY bin/fixture /again");
    assert_eq!(checkout.gate("budget").code, Some(0));
    let wasted = budget(&checkout)["figures"]["wasted"].clone();
    let whys: Vec<&str> = wasted
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["why"].as_str().unwrap())
        .collect();
    assert!(whys.contains(&"the same content as /again"), "{whys:?}");
    let layers = budget(&checkout)["figures"]["layers"].clone();
    assert_eq!(layers.as_array().unwrap().len(), 3);
    assert_eq!(layers[0]["from"], "ours");
    assert_eq!(layers[0]["created_by"], "COPY bin/fixture /size-waste");
}

/// Ships the twin without its symbols, and keeps it in a stage.
fn with_twin(checkout: &Checkout, name: &str) {
    std::fs::copy(fixture_twin(), checkout.path("bin/twin")).unwrap();
    let mut strip = Command::new("strip");
    strip
        .arg("-o")
        .args([checkout.path("bin/fixture"), checkout.path("bin/twin")]);
    let stripped = ended(strip.output().unwrap());
    assert_eq!(stripped.code, Some(0), "{}", stripped.said());
    let path = format!("docker/Dockerfile.{name}");
    let text = std::fs::read_to_string(checkout.path(&path)).unwrap();
    checkout.write(
        &path,
        &format!("FROM scratch AS symbols\nCOPY bin/twin /{name}\n{text}"),
    );
}

#[test]
fn a_binary_is_told_by_crate_where_its_twin_is_the_same_code() {
    let checkout = Checkout::new(vec![Fixture::new("size-crates")]);
    with_twin(&checkout, "size-crates");
    let passed = checkout.gate("budget");
    assert_eq!(passed.code, Some(0), "{}", passed.said());
    let unaccepted = budget(&checkout);
    let binary = unaccepted["figures"]["binary"].clone();
    assert_eq!(binary["crates_absent"], Value::Null);
    let crates = binary["crates"].as_array().unwrap();
    let bytes = |part: &Value, name: &str| part[name].as_u64().unwrap();
    let sum: u64 = crates
        .iter()
        .map(|part| bytes(part, "code_bytes") + bytes(part, "data_bytes"))
        .sum();
    assert_eq!(
        sum + bytes(&binary, "other_bytes") + bytes(&binary, "unattributed_bytes"),
        bytes(&binary, "size_bytes")
    );
    let of = |name: &str| crates.iter().find(|part| part["name"] == name);
    assert!(bytes(of("std").unwrap(), "code_bytes") > 50_000, "{crates:?}");
    assert!(bytes(of("service").unwrap(), "code_bytes") > 1_000, "{crates:?}");

    // What was accepted names the crates; had it been less, the growth would name them.
    assert_eq!(checkout.run(&["budget", "--accept"]).code, Some(0));
    let text = std::fs::read_to_string(checkout.path("reports/baseline.json")).unwrap();
    let mut baseline: Value = serde_json::from_str(&text).unwrap();
    let accepted = &mut baseline["local"]["horme-test-size-crates"];
    let std_kb = accepted["crates_kb"]["std"].as_u64().unwrap();
    accepted["crates_kb"]["std"] = (std_kb - 40).into();
    let before = accepted["unpacked_bytes"].as_u64().unwrap() - 40_000;
    accepted["unpacked_bytes"] = before.into();
    checkout.write("reports/baseline.json", &baseline.to_string());
    checkout.write("docker/policy/budget.toml", "allowed_growth_percent = 1.0\n");
    let grown = checkout.run(&["budget"]);
    assert_eq!(grown.code, Some(1), "{}", grown.said());
    let record = budget(&checkout);
    let detail = check(&record, "growth")["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("; +40 kB: std +40 kB"), "{detail}");
    assert_eq!(record["figures"]["baseline_bytes"], before);
    assert_eq!(unaccepted["figures"]["baseline_bytes"], Value::Null);
}

#[test]
fn a_twin_of_other_code_tells_nothing_and_says_so() {
    let checkout = Checkout::new(vec![Fixture::new("size-other")]);
    with_twin(&checkout, "size-other");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), checkout.path("bin/twin")).unwrap();
    let ended = checkout.gate("budget");
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let binary = budget(&checkout)["figures"]["binary"].clone();
    let why = binary["crates_absent"].as_str().unwrap();
    assert!(why.starts_with("the twin is other code: its "), "{why}");
    assert_eq!(binary["crates"], serde_json::json!([]));
    assert_eq!(binary["unattributed_bytes"], binary["size_bytes"]);
}

#[test]
fn without_a_twin_the_sizes_are_judged_all_the_same() {
    let checkout = Checkout::new(vec![Fixture::new("size-alone")]);
    assert_eq!(checkout.gate("budget").code, Some(0));
    let why = |checkout: &Checkout| {
        let binary = budget(checkout)["figures"]["binary"].clone();
        binary["crates_absent"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        why(&checkout),
        "docker/Dockerfile.size-alone has no stage `symbols`"
    );
    // A stage that cannot be built; what ships can.
    let path = "docker/Dockerfile.size-alone";
    let text = std::fs::read_to_string(checkout.path(path)).unwrap();
    checkout.write(
        path,
        &format!("FROM scratch AS symbols\nCOPY bin/none /size-alone\n{text}"),
    );
    // Not built from the checkout as it is now.
    assert_eq!(checkout.run(&["budget"]).code, Some(0));
    assert_eq!(
        why(&checkout),
        "no run built this image from the checkout as it is"
    );
    assert_eq!(checkout.gate("budget").code, Some(0));
    let why = why(&checkout);
    assert!(
        why.starts_with("the twin could not be taken out of the build cache: "),
        "{why}"
    );
}
