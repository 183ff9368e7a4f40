//! Interrupted, told to end, killed: nothing stays behind, and the exit code says which it was.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::checkout::{Checkout, Fixture, ended};

/// Starts a boot gate on a service that never answers, and waits until its container runs.
fn booting(checkout: &Checkout) -> Child {
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let child = checkout.command(&["boot"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while containers(checkout).is_empty() {
        assert!(Instant::now() < deadline, "no container of the run appeared");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// The containers of this checkout's latest run.
fn containers(checkout: &Checkout) -> String {
    let Ok(run) = std::fs::read_link(checkout.path("reports/latest")) else {
        return String::new();
    };
    let filter = format!("label=dev.horme.run={}", run.display());
    let listed = Command::new("docker")
        .args(["ps", "--all", "--quiet", "--filter", &filter])
        .output()
        .unwrap();
    String::from_utf8_lossy(&listed.stdout).trim().to_owned()
}

fn signalled(name: &str, signal: &str) -> (Checkout, Option<i32>) {
    let checkout = Checkout::new(vec![Fixture {
        mode: "never-live",
        ..Fixture::new(name)
    }]);
    let child = booting(&checkout);
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let ended = ended(child.wait_with_output().unwrap());
    (checkout, ended.code)
}

#[test]
fn sigint_cleans_up_reports_and_ends_with_130() {
    let (checkout, code) = signalled("int", "-INT");
    assert_eq!(code, Some(130));
    assert_eq!(containers(&checkout), "");
    assert_eq!(checkout.report()["exit_code"], 130);
}

#[test]
fn sigterm_cleans_up_and_ends_with_143() {
    let (checkout, code) = signalled("term", "-TERM");
    assert_eq!(code, Some(143));
    assert_eq!(containers(&checkout), "");
}

#[test]
fn what_a_killed_run_leaves_the_next_one_sweeps_and_nothing_else() {
    let (checkout, code) = signalled("killed", "-KILL");
    assert_eq!(code, None);
    assert_ne!(containers(&checkout), "", "the killed run left its container");
    let foreign = format!("horme-test-foreign-{}", std::process::id());
    let image = "horme-test-killed:latest";
    let made = Command::new("docker")
        .args([
            "create",
            "--name",
            &foreign,
            "--label",
            "dev.horme.run=somebody-else",
            image,
        ])
        .output();
    assert!(made.unwrap().status.success());
    let left = containers(&checkout);
    let looked = checkout.run(&["clean", "--dry-run"]);
    assert!(
        looked
            .stdout
            .ends_with("would sweep 1 container, 1 image tag of dead runs\n"),
        "{}",
        looked.stdout
    );
    assert_eq!(containers(&checkout), left, "only a look");
    let swept = checkout.run(&["clean"]);
    assert_eq!(swept.code, Some(0), "{}", swept.said());
    assert!(
        swept
            .stdout
            .ends_with("swept 1 container, 1 image tag of dead runs\n"),
        "{}",
        swept.stdout
    );
    assert_eq!(containers(&checkout), "", "left: {left}");
    let removed = Command::new("docker").args(["rm", &foreign]).status().unwrap();
    assert!(removed.success(), "the foreign container was touched");
}
