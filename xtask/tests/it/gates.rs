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
fn over_budget_is_violated() {
    let checkout = Checkout::new(vec![Fixture {
        budget: "10 kB",
        ..Fixture::new("fat")
    }]);
    let ended = checkout.gate("budget");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(has(&checkout.checks("fat", "budget"), "over budget: violated"));
}

#[test]
fn growth_beyond_what_is_allowed_is_violated_until_it_is_accepted() {
    let checkout = Checkout::new(vec![Fixture::new("grown")]);
    let accepted = checkout.run(&["build"]);
    assert_eq!(accepted.code, Some(0), "{}", accepted.said());
    let accepted = checkout.run(&["budget", "--accept"]);
    assert_eq!(accepted.code, Some(0), "{}", accepted.said());
    assert!(
        accepted.stderr.contains("reports/baseline.json: 1 accepted"),
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
fn a_root_user_fails_lint_and_boot() {
    let checkout = Checkout::new(vec![Fixture {
        user: "",
        ..Fixture::new("rooted")
    }]);
    let lint = checkout.run(&["lint"]);
    assert_eq!(lint.code, Some(1), "{}", lint.said());
    assert!(has(&checkout.checks("rooted", "lint"), "root user: violated"));
    let boot = checkout.gate("boot");
    assert_eq!(boot.code, Some(1), "{}", boot.said());
    assert!(has(&checkout.checks("rooted", "boot"), "runs as root: violated"));
}

#[test]
fn a_binary_without_a_list_of_crates_is_no_clean_scan() {
    let checkout = Checkout::new(vec![Fixture::new("opaque")]);
    let ended = checkout.gate("scan");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let checks = checkout.checks("opaque", "scan");
    assert!(
        has(&checks, "crates: violated") && has(&checks, "vulnerabilities: undecided"),
        "{checks:?}"
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

#[test]
fn a_setuid_program_a_package_manager_and_a_file_that_all_may_write_are_named() {
    let odd = [
        (
            "odd-setuid",
            "--chmod=4755 bin/fixture /su",
            "/su runs as its owner or group",
        ),
        (
            "odd-manager",
            "--chmod=755 bin/fixture /usr/bin/apt-get",
            "/usr/bin/apt-get is a package manager",
        ),
        (
            "odd-open",
            "--chmod=666 bin/fixture /etc/passwd",
            "/etc/passwd may be written by everybody",
        ),
    ];
    let checkout = Checkout::new(odd.iter().map(|(name, _, _)| Fixture::new(name)).collect());
    for (name, copy, _) in odd {
        let path = format!("docker/Dockerfile.{name}");
        let text = std::fs::read_to_string(checkout.path(&path)).unwrap();
        checkout.write(
            &path,
            &text.replace("COPY --link bin", &format!("COPY {copy}\nCOPY --link bin")),
        );
    }
    let ended = checkout.gate("scan");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    for (name, _, word) in odd {
        assert!(has(&checkout.checks(name, "scan"), "files: violated"), "{name}");
        assert!(checkout.report().to_string().contains(word), "{word}");
    }
}

#[test]
fn an_exception_that_has_ended_fails_the_scan_and_a_faulty_one_is_named() {
    let checkout = Checkout::new(vec![Fixture::new("excused")]);
    let exception = |expires: &str| {
        format!(
            "[[exception]]\nid = \"CVE-1\"\npackage = \"x\"\nowner = \"ann\"\nreason = \"y\"\nexpires = \"{expires}\"\n"
        )
    };
    checkout.write("docker/policy/exceptions.toml", &exception("2020-01-01"));
    let ended = checkout.gate("scan");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(has(
        &checkout.checks("excused", "scan"),
        "expired exception: violated"
    ));
    checkout.write("docker/policy/exceptions.toml", &exception("soon"));
    let ended = checkout.run(&["scan"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains("docker/policy/exceptions.toml: "),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("expires"), "{}", ended.stderr);
}

#[test]
fn a_service_that_never_answers_is_violated_at_the_deadline() {
    let checkout = Checkout::new(vec![Fixture {
        mode: "never-live",
        ..Fixture::new("mute")
    }]);
    let ended = checkout.gate("boot");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(has(&checkout.checks("mute", "boot"), "never live: violated"));
    assert!(
        ended.stdout.contains("no 200 from /live on port 8000 within"),
        "{}",
        ended.stdout
    );
}

#[test]
fn without_a_compose_entry_lint_names_what_is_missing() {
    let checkout = Checkout::new(vec![Fixture::new("homeless")]);
    checkout.write(
        "compose/compose.yaml",
        r#"{"name": "horme-test", "services": {"other": {"image": "x"}}}"#,
    );
    let ended = checkout.run(&["lint"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(
        ended.stdout.contains("no service 'homeless' among other"),
        "{}",
        ended.stdout
    );
}
