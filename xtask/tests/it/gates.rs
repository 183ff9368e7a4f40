//! Each gate against what it must catch, and for the reason that is meant.

use crate::checkout::{Checkout, Fixture};

fn has(checks: &[String], check: &str) -> bool {
    checks.iter().any(|found| found == check)
}

#[test]
fn a_good_image_passes_lint_and_budget() {
    let checkout = Checkout::new(vec![Fixture::new("good")]);
    let lint = checkout.run(&["lint"]);
    assert_eq!(lint.code, Some(0), "{}", lint.said());
    let budget = checkout.gate("budget");
    assert_eq!(budget.code, Some(0), "{}", budget.said());
    assert!(budget.stdout.contains("1 passed"), "{}", budget.stdout);
}

#[test]
fn growth_beyond_what_is_allowed_is_violated_until_it_is_accepted() {
    let checkout = Checkout::new(vec![Fixture::new("grown")]);
    let accepted = checkout.run(&["build"]);
    assert_eq!(accepted.code, Some(0), "{}", accepted.said());
    let accepted = checkout.run(&["budget", "--accept"]);
    assert_eq!(accepted.code, Some(0), "{}", accepted.said());
    assert!(
        accepted.stdout.contains("reports/baseline.json: 1 accepted"),
        "{}",
        accepted.said()
    );
    checkout.extend_binary(&[7; 400_000]);
    let grown = checkout.gate("budget");
    assert_eq!(grown.code, Some(1), "{}", grown.said());
    assert!(has(&checkout.checks("grown", "budget"), "growth: violated"));
    assert!(
        grown.stdout.contains(", allowed 5 %; +400 kB: /grown +400 kB"),
        "{}",
        grown.stdout
    );
    assert!(
        grown.stdout.contains("cargo xtask budget --accept"),
        "{}",
        grown.stdout
    );
    assert_eq!(checkout.run(&["budget", "--accept"]).code, Some(0));
    assert_eq!(checkout.run(&["budget"]).code, Some(0));
    checkout.write(
        "reports/baseline.json",
        r#"{"local": {"horme-gone": {"unpacked_bytes": 1, "compressed_bytes": 1}}}"#,
    );
    let stale = checkout.run(&["budget"]);
    assert_eq!(stale.code, Some(2), "{}", stale.said());
    assert!(
        stale
            .stderr
            .contains("no service has the image 'horme-gone' any more"),
        "{}",
        stale.stderr
    );
    assert!(
        stale.stderr.contains("hint: delete reports/baseline.json"),
        "{}",
        stale.stderr
    );
}

#[test]
fn a_secret_in_the_configuration_is_violated_and_not_repeated() {
    let checkout = Checkout::new(vec![Fixture::new("leaky")]);
    let path = "docker/Dockerfile.leaky";
    let text = std::fs::read_to_string(checkout.path(path)).unwrap();
    checkout.write(
        path,
        &text.replace("ENV MODE=", "ENV DB_PASSWORD=hunter2-of-the-test MODE="),
    );
    let ended = checkout.gate("scan");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let checks = checkout.checks("leaky", "scan");
    assert!(
        has(&checks, "secrets in the configuration: violated"),
        "{checks:?}"
    );
    assert!(
        !checkout.report().to_string().contains("hunter2"),
        "the report repeats it"
    );
}
