//! The boot gate's figures, and the benchmark's policy; what it must catch is played by the selftest.

use crate::checkout::{Checkout, Fixture};

/// The checks of a service that have not passed: `name: outcome: detail`.
fn failed(checkout: &Checkout, service: &str) -> Vec<String> {
    let report = checkout.report();
    let records = report["records"].as_array().unwrap();
    let own = |record: &&serde_json::Value| record["service"] == service && record["gate"] == "boot";
    let record = records.iter().find(own).unwrap();
    let checks = record["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["outcome"] != "passed");
    failed
        .map(|check| {
            let word = |key: &str| check[key].as_str().unwrap().to_owned();
            format!("{}: {}: {}", word("name"), word("outcome"), word("detail"))
        })
        .collect()
}

#[test]
fn a_good_service_passes_all_of_it_with_its_figures() {
    let checkout = Checkout::new(vec![Fixture::new("bt-good")]);
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let figures = &checkout.report()["records"][0]["figures"];
    assert_eq!(
        figures["first_answers_ms"].as_array().unwrap().len(),
        5,
        "{figures}"
    );
    assert!(
        figures["first_answer_p95_ms"].as_u64() >= figures["first_answer_ms"].as_u64(),
        "{figures}"
    );
    assert!(figures["loaded_memory_bytes"].as_u64().unwrap() > 0, "{figures}");
}

#[test]
fn the_benchmark_judges_image_and_stack_and_its_policy_must_be_sound() {
    let checkout = Checkout::new(vec![Fixture::new("bt-cis")]);
    let path = "docker/Dockerfile.bt-cis";
    let text = std::fs::read_to_string(checkout.path(path)).unwrap();
    checkout.write(path, &text.replace("HEALTHCHECK", "LABEL unhealthy=x\n#"));
    let stack = std::fs::read_to_string(checkout.path("compose/compose.yaml")).unwrap();
    checkout.write(
        "compose/compose.yaml",
        &stack.replace("\"read_only\":true", "\"read_only\":false"),
    );
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let failed = failed(&checkout, "bt-cis");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].starts_with("CIS 4.6: violated: "), "{failed:?}");
    assert!(failed[1].starts_with("CIS 5.13: violated: "), "{failed:?}");

    checkout.write(
        "docker/policy/cis.toml",
        "[[accepted]]\nitem = \"5.99\"\nowner = \"ann\"\nreason = \"x\"\n",
    );
    let ended = checkout.run(&["boot"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains("docker/policy/cis.toml: item '5.99'"),
        "{}",
        ended.stderr
    );
    let text = ["4.6", "5.13", "5.15", "5.5"]
        .map(|item| format!("[[accepted]]\nitem = \"{item}\"\nowner = \"ann\"\nreason = \"x\"\n"));
    checkout.write("docker/policy/cis.toml", &text.concat());
    let ended = checkout.run(&["boot"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let failed = self::failed(&checkout, "bt-cis");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0].starts_with("unused acceptance: violated: 5.5"),
        "{failed:?}"
    );
}
