//! The boot gate against services that break exactly one of its rules each.

use crate::checkout::{Checkout, Fixture};

/// A fixture in a mode, under a name of this file's own.
fn in_mode(mode: &'static str) -> Fixture {
    Fixture {
        mode,
        ..Fixture::new(&format!("bt-{mode}"))
    }
}

/// Gives an image a folder that its user owns.
fn with_data(checkout: &Checkout, service: &str, more: &str) {
    let path = format!("docker/Dockerfile.{service}");
    let text = std::fs::read_to_string(checkout.path(&path)).unwrap();
    let data = format!("COPY --chown=65532:65532 bin/fixture /data/copy\n{more}COPY --link bin");
    checkout.write(&path, &text.replace("COPY --link bin", &data));
}

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

/// Boots a fixture for each mode; each must fail the one check that is meant, and say why.
fn each_fails(cases: &[(&'static str, &str, &str)], prepare: impl Fn(&Checkout)) {
    let checkout = Checkout::new(cases.iter().map(|(mode, _, _)| in_mode(mode)).collect());
    prepare(&checkout);
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    for (mode, check, word) in cases {
        let failed = failed(&checkout, &format!("bt-{mode}"));
        assert_eq!(failed.len(), 1, "{mode}: {failed:?}");
        assert!(
            failed[0].starts_with(&format!("{check}: violated: ")),
            "{mode}: {failed:?}"
        );
        assert!(failed[0].contains(word), "{mode}: {failed:?}");
    }
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
fn each_rule_of_a_running_service_has_one_that_breaks_it() {
    let mut cases = vec![
        (
            "drops-in-flight",
            "in-flight requests",
            "a request that had begun before SIGTERM",
        ),
        ("never-ready", "ready", "/ready gives no JSON"),
        ("wrong-version", "identity", "reports version 0.0.9"),
        (
            "accepts-malformed",
            "malformed settings",
            "exit code 0 instead of 78",
        ),
        (
            "prints-secret",
            "secrets in the log",
            "FIXTURE_TOKEN stands in its log",
        ),
    ];
    // Descriptors can be counted only by whoever may look into another's process.
    if std::fs::read_dir("/proc/1/fd").is_ok() {
        cases.push(("leaks-descriptors", "descriptors", "after them"));
    }
    each_fails(&cases, |_| ());
}

#[test]
fn a_service_that_ignores_sigterm_passes_the_rest_of_its_boot() {
    let checkout = Checkout::new(vec![in_mode("deaf")]);
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let failed = failed(&checkout, "bt-deaf");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(
        failed[0].starts_with("ends on SIGTERM: violated: had to be killed"),
        "{failed:?}"
    );
    assert!(
        failed[1].starts_with("in-flight requests: violated: answered, but still running"),
        "{failed:?}"
    );
}

#[test]
fn what_a_service_leaves_in_its_root_or_in_a_volume_is_found() {
    let cases = [
        ("writes-root", "writes to its root", "/data"),
        ("no-restart", "restart after SIGKILL", "ended with exit code 11"),
    ];
    each_fails(&cases, |checkout| {
        with_data(checkout, "bt-writes-root", "");
        with_data(checkout, "bt-no-restart", "VOLUME /data\n");
    });
}

#[test]
fn a_service_that_never_lives_is_told_what_it_lacks() {
    let cases = [
        ("needs-writable-root", "never live", "needs a writable root"),
        ("needs-capability", "never live", "needs a capability"),
        ("needs-root", "never live", "needs root"),
        ("eats-memory", "never live", "needs more memory"),
        ("dies", "never live", "ended with exit code 9"),
    ];
    each_fails(&cases, |checkout| {
        with_data(checkout, "bt-needs-writable-root", "")
    });
}

#[test]
fn an_image_whose_program_cannot_be_executed_is_its_own_fault() {
    let checkout = Checkout::new(vec![Fixture::new("bt-unexecutable")]);
    let path = "docker/Dockerfile.bt-unexecutable";
    let text = std::fs::read_to_string(checkout.path(path)).unwrap();
    checkout.write(
        path,
        &text.replace("COPY --link bin", "COPY --chmod=0644 --link bin"),
    );
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let failed = failed(&checkout, "bt-unexecutable");
    assert!(failed[0].starts_with("never live: violated: "), "{failed:?}");
    assert!(failed[0].contains("permission denied"), "{failed:?}");
}

#[test]
fn a_volume_that_the_image_has_no_folder_for_is_not_written_by_the_service() {
    let checkout = Checkout::new(vec![Fixture::new("bt-volume")]);
    let path = "docker/Dockerfile.bt-volume";
    let text = std::fs::read_to_string(checkout.path(path)).unwrap();
    checkout.write(
        path,
        &text.replace("COPY --link bin", "VOLUME /var/state/of\nCOPY --link bin"),
    );
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(0), "{}", ended.said());
}

#[test]
fn a_service_on_the_wrong_address_is_told_so() {
    each_fails(
        &[("wrong-address", "never live", "listens on 127.0.0.1 only")],
        |_| (),
    );
}

#[test]
fn readiness_without_a_store_that_is_needed_is_refused() {
    let cases = [(
        "ready-without-store",
        "ready without its store",
        "200 without redis",
    )];
    each_fails(&cases, |checkout| {
        let path = "services/bt-ready-without-store/Cargo.toml";
        let text = std::fs::read_to_string(checkout.path(path)).unwrap();
        checkout.write(path, &text.replace("needs = []", "needs = [\"redis\"]"));
    });
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

#[test]
fn memory_that_grows_with_every_request_is_found() {
    let checkout = Checkout::new(vec![in_mode("leaks-memory")]);
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let failed = failed(&checkout, "bt-leaks-memory");
    let memory = failed
        .iter()
        .any(|check| check.starts_with("memory under load: violated: killed"));
    assert!(memory, "{failed:?}");
}
