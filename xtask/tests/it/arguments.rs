//! Wrong usage and configuration: one clear error that names the culprit and the remedy, exit 2.

use crate::checkout::{Checkout, Fixture};

#[test]
fn an_unknown_service_finds_its_neighbour() {
    let checkout = Checkout::new(vec![Fixture::new("arg-alpha"), Fixture::new("arg-beta")]);
    let ended = checkout.run(&["plan", "--service", "arg-alhpa"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains("no service is named 'arg-alhpa'"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("hint: did you mean 'arg-alpha'?"),
        "{}",
        ended.stderr
    );
}

#[test]
fn every_fault_of_every_manifest_is_told_at_once() {
    let checkout = Checkout::new(vec![Fixture {
        dockerfile: false,
        ..Fixture::new("arg-gamma")
    }]);
    checkout.write(
        "services/arg-gamma/Cargo.toml",
        "[package]\nname = \"arg-gamma\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[package.metadata.image]\n\
         name = \"Has Spaces\"\nport = 99999\nbudget = \"much\"\nneed = []\ncalls = [\"nobody\"]\non_loss = { x = \"degrade\" }\n",
    );
    let ended = checkout.run(&["plan"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    for fault in [
        "7 problems",
        "services/arg-gamma/Cargo.toml: image.name: expected a repository name",
        "image.port: expected a number from 1 to 65535",
        "image.budget: expected a size such as",
        "image.need: unknown key; did you mean 'needs'?",
        "image.on_loss.x: not among image.needs",
        "image.calls: 'nobody' is no other service",
        "docker/Dockerfile.arg-gamma: missing",
    ] {
        assert!(
            ended.stderr.contains(fault),
            "'{fault}' is not in:\n{}",
            ended.stderr
        );
    }
}

#[test]
fn a_policy_with_an_unknown_key_and_a_database_that_is_none_are_refused() {
    let checkout = Checkout::new(vec![Fixture::new("arg-delta")]);
    let ended = checkout.run(&["scan", "--vuln-db", "/nowhere"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(ended.stderr.contains("--vuln-db /nowhere"), "{}", ended.stderr);
    checkout.write("docker/policy/scan.toml", "databse = \"required\"\n");
    let ended = checkout.run(&["scan"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains("docker/policy/scan.toml") && ended.stderr.contains("databse"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_gate_alone_needs_its_images() {
    let checkout = Checkout::new(vec![Fixture::new("arg-epsilon")]);
    let ended = checkout.run(&["budget"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended
            .stderr
            .contains("not built yet: horme-test-arg-epsilon:latest"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_engine_that_does_not_answer_is_undecided() {
    let checkout = Checkout::new(vec![Fixture::new("arg-zeta")]);
    let ended = crate::checkout::ended(
        checkout
            .command(&["boot"])
            .env("DOCKER_HOST", "tcp://127.0.0.1:1")
            .output()
            .unwrap(),
    );
    assert_eq!(ended.code, Some(3), "{}", ended.said());
}
