//! `cargo xtask faults`: a service on a store of its own, behind an edge, each of which is the fixture.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::checkout::{Checkout, Ended, Fixture, ended, signal};

const TRAFFIC: &str = r#"{
    "request": {"name": "write", "method": "GET", "path": "/write/${n}",
        "expect": {"status": 201, "json": {"/number": "${n}"}}},
    "read_back": {"name": "read", "method": "GET", "path": "/read/${n}",
        "expect": {"status": 200, "json": {"/number": "${n}"}}}
}"#;

/// A service in this mode, its store, and an edge before it; what hangs is told after 4 s.
pub(crate) fn stack(name: &str, mode: &'static str) -> Checkout {
    let store = format!("{name}-store");
    let checkout = Checkout::new(vec![Fixture {
        mode,
        needs: vec![store.clone()],
        ..Fixture::new(name)
    }]);
    let compose = std::fs::read_to_string(checkout.path("compose/compose.yaml")).unwrap();
    let mut compose: serde_json::Value = serde_json::from_str(&compose).unwrap();
    let image = format!("horme-test-{name}:latest");
    compose["services"][name]["environment"]["STORE"] = json!(format!("own.{store}:8000"));
    compose["services"][name]["environment"]["REQUEST_TIMEOUT"] = json!("2");
    // Started last: what takes its place before it may take its address, so it listens on any it is given.
    compose["services"][&store] = json!({
        "image": image, "user": "0", "expose": ["8000"], "environment": {"MODE": "store"}, "depends_on": [name],
        "networks": { &store: { "aliases": [format!("own.{store}")] } },
    });
    compose["networks"][&store] = json!({ "internal": true });
    compose["services"][format!("{name}-edge")] = json!({
        "image": image, "expose": ["8000"], "environment": {"MODE": "relay", "TO": format!("own.{name}:8000"), "HOST": format!("own.{name}-edge")},
        "networks": { "edge": { "aliases": [format!("own.{name}-edge")] }, name: {} },
    });
    compose["networks"]["edge"] = json!({});
    checkout.write("compose/compose.yaml", &compose.to_string());
    let ports =
        json!({"services": { format!("{name}-edge"): { "ports": ["${HORME_PUBLISH:-127.0.0.1}::8000"] } }});
    checkout.write("compose/compose.ci.yaml", &ports.to_string());
    checkout.write(&format!("services/{name}/faults/rows.json"), TRAFFIC);
    checkout
}

fn faults(name: &str, mode: &'static str, kinds: &[&str]) -> (Checkout, Ended) {
    let checkout = stack(name, mode);
    let mut arguments = vec!["faults"];
    kinds.iter().for_each(|kind| arguments.extend(["--fault", kind]));
    let ended = checkout.run(&arguments);
    (checkout, ended)
}

#[test]
fn a_service_that_keeps_its_word_passes_every_fault() {
    let (checkout, ended) = faults("flt-good", "good", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let report = std::fs::read_to_string(checkout.path("reports/latest/report.md")).unwrap();
    for kind in ["killed", "frozen", "cut", "slowed", "reset"] {
        assert!(
            report.contains(&format!("| flt-good-store | {kind} |")),
            "{report}"
        );
    }
}

#[test]
fn a_store_that_nobody_needs_is_wrong_usage() {
    let ended = stack("flt-usage", "good").run(&["faults", "--store", "nowhere"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains("the stores are: flt-usage-store"),
        "{}",
        ended.stderr
    );
}

/// Interrupted while the store is frozen: it goes with everything else.
#[test]
fn sigint_during_a_fault_leaves_nothing() {
    let checkout = stack("flt-int", "good");
    let child = checkout
        .command(&["faults", "--fault", "frozen"])
        .spawn()
        .unwrap();
    let containers = |state: &str| {
        let filter = "label=com.docker.compose.service=flt-int-store";
        let mut list = Command::new("docker");
        list.args(["ps", "--all", "--quiet", "--filter", filter]);
        if !state.is_empty() {
            list.args(["--filter", &format!("status={state}")]);
        }
        String::from_utf8_lossy(&list.output().unwrap().stdout)
            .trim()
            .to_owned()
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    while containers("paused").is_empty() {
        assert!(Instant::now() < deadline, "the store was never frozen");
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(&child, "-INT");
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.said());
    assert_eq!(containers(""), "");
}
