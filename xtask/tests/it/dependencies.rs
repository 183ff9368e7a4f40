//! What the scan gate says of the crates in a binary: their licences, whether they were yanked, who pulls them in.

use crate::bolt;
use crate::checkout::{Checkout, Ended, Fixture, repository};
use crate::registry::{self, Crate};

/// No database knows it: where the machine keeps one, it is asked.
const ODD: Crate = Crate {
    name: "horme-fixture-odd",
    version: "0.6.13",
    licence: "license = \"MIT/Apache-2.0\"",
    yanked: false,
};

const SMALLVEC: Crate = Crate {
    name: "smallvec",
    ..ODD
};

/// A checkout whose one service depends on the crate; its image is built.
fn checkout(name: &str, on: Crate) -> Checkout {
    let checkout = Checkout::new(vec![Fixture::new(name)]);
    registry::depend(&checkout, name, on);
    let built = run(&checkout, &["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    checkout
}

/// With a home of cargo's own, so that nothing of the fixture's registry stays.
fn run(checkout: &Checkout, arguments: &[&str]) -> Ended {
    let mut command = checkout.command(arguments);
    command.env("CARGO_HOME", checkout.path("cargo-home"));
    crate::checkout::ended(command.output().unwrap())
}

/// Outcome, detail and hint of a check in the latest report.
fn check(checkout: &Checkout, name: &str) -> (String, String, String) {
    let report = checkout.report();
    let checks = report["records"][0]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap();
    let word = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (word("outcome"), word("detail"), word("hint"))
}

#[test]
fn a_yanked_crate_is_named_with_its_path_until_it_is_asked_for_again() {
    let checkout = checkout("deps-yanked", Crate { yanked: true, ..ODD });
    let ended = run(&checkout, &["scan"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let (outcome, detail, hint) = check(&checkout, "yanked crates");
    assert_eq!(
        (outcome.as_str(), detail.as_str(), hint.as_str()),
        (
            "violated",
            "horme-fixture-odd 0.6.13 (deps-yanked -> horme-fixture-odd)",
            "cargo update -p horme-fixture-odd@0.6.13"
        )
    );
    assert_eq!(check(&checkout, "crates").0, "passed");
    assert_eq!(check(&checkout, "licences").0, "passed");
    // The registry takes it back: an answer holds for a day, unless a run asks for everything anew.
    registry::publish(&checkout, &[ODD]);
    run(&checkout, &["scan"]);
    assert_eq!(check(&checkout, "yanked crates").0, "violated");
    run(&checkout, &["scan", "--fresh"]);
    assert_eq!(check(&checkout, "yanked crates").0, "passed");
}

#[test]
fn a_registry_that_does_not_answer_leaves_it_undecided_as_policy_says() {
    let checkout = checkout("deps-silent", ODD);
    std::fs::rename(checkout.path("registry/index"), checkout.path("registry/away")).unwrap();
    let ended = run(&checkout, &["scan"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert_eq!(check(&checkout, "yanked crates").0, "undecided");
    assert_eq!(run(&checkout, &["scan", "--strict"]).code, Some(3));
    let policy = std::fs::read_to_string(checkout.path("docker/policy/scan.toml")).unwrap();
    let required = policy.replace("yanked = \"when-available\"", "yanked = \"required\"");
    checkout.write("docker/policy/scan.toml", &required);
    let ended = run(&checkout, &["scan"]);
    assert_eq!(ended.code, Some(3), "{}", ended.said());
}

#[test]
fn a_licence_that_is_not_allowed_is_named_and_an_exception_has_to_be_needed() {
    let odd = Crate {
        licence: "license = \"GPL-3.0-only\"",
        ..ODD
    };
    let checkout = checkout("deps-licence", odd);
    let ended = run(&checkout, &["scan"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let (outcome, detail, _) = check(&checkout, "licences");
    assert_eq!(outcome, "violated");
    assert_eq!(
        detail,
        "horme-fixture-odd 0.6.13 is licensed GPL-3.0-only (deps-licence -> horme-fixture-odd)"
    );
    let path = "docker/policy/licences.toml";
    let policy = std::fs::read_to_string(checkout.path(path)).unwrap();
    let exception = |name: &str| {
        format!("{policy}\n[[exception]]\ncrate = \"{name}\"\nlicence = \"GPL-3.0-only\"\nreason = \"x\"\n")
    };
    checkout.write(path, &exception("horme-fixture-odd"));
    assert_eq!(run(&checkout, &["scan"]).code, Some(0));
    checkout.write(
        path,
        &format!(
            "{}{}",
            exception("horme-fixture-odd"),
            exception("gone").replace(&policy, "")
        ),
    );
    assert_eq!(run(&checkout, &["scan"]).code, Some(1));
    assert_eq!(
        check(&checkout, "licences").1,
        "an exception that no crate needs: gone (GPL-3.0-only)"
    );
    checkout.write(path, "allowed = [\"MITT\"]\n");
    let faulty = run(&checkout, &["scan"]);
    assert_eq!(faulty.code, Some(2), "{}", faulty.said());
    assert!(
        faulty
            .stderr
            .contains("docker/policy/licences.toml: allowed: 'MITT'"),
        "{}",
        faulty.stderr
    );
}

/// A command in the checkout that has to succeed.
fn does(checkout: &Checkout, words: &[&str]) {
    let mut command = std::process::Command::new(words[0]);
    command.args(&words[1..]).current_dir(checkout.path(""));
    command.env("CARGO_HOME", checkout.path("cargo-home"));
    let ended = crate::checkout::ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.said());
}

fn commit(checkout: &Checkout, tag: Option<&str>) {
    let git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"];
    does(checkout, &["git", "add", "services", "docker", "Cargo.lock"]);
    does(
        checkout,
        &[
            &git[..],
            &["commit", "--quiet", "--allow-empty", "--message", "x"],
        ]
        .concat(),
    );
    if let Some(tag) = tag {
        does(checkout, &["git", "tag", tag]);
    }
}

#[test]
fn a_vulnerable_crate_is_told_with_path_cause_and_a_remedy_that_works() {
    let checkout = Checkout::new(vec![Fixture::new("deps-vulnerable")]);
    let database = repository().join("xtask/src/selftest/database/trivy.db");
    bolt::put(&checkout.path("trivy"), &std::fs::read(database).unwrap(), 1);
    does(&checkout, &["git", "init", "--quiet"]);
    commit(&checkout, Some("v1.0.0"));
    registry::depend(&checkout, "deps-vulnerable", SMALLVEC);
    // A release is not compared with itself, and a trial is none.
    commit(&checkout, Some("v1.1.0"));
    does(&checkout, &["git", "tag", "v2.0.0-rc.1", "HEAD~1"]);
    let built = run(&checkout, &["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let ended = run(&checkout, &["scan", "--vuln-db", "trivy"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let (outcome, detail, hint) = check(&checkout, "vulnerabilities");
    assert_eq!(outcome, "violated");
    let told =
        "CRITICAL CVE-2021-25900 in smallvec 0.6.13 (deps-vulnerable -> smallvec; introduced since v1.0.0): ";
    assert!(detail.starts_with(told), "{detail}");
    assert_eq!(hint, "cargo update -p smallvec@0.6.13 --precise 0.6.14");
    let finding = &checkout.report()["records"][0]["figures"]["findings"][0];
    for (key, word) in [
        ("origin", "crate"),
        ("path", "deps-vulnerable -> smallvec"),
        ("introduced", "introduced"),
        ("status", "fixed"),
    ] {
        assert_eq!(finding[key], word, "{finding}");
    }
    let text = std::fs::read_to_string(checkout.path("reports/latest/report.md")).unwrap();
    assert!(text.contains("crate deps-vulnerable -&gt; smallvec"), "{text}");

    // The next change finds it there.
    commit(&checkout, None);
    let ended = run(&checkout, &["scan", "--vuln-db", "trivy"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(
        check(&checkout, "vulnerabilities")
            .1
            .contains("; disclosed since v1.1.0)")
    );
    let policy = std::fs::read_to_string(checkout.path("docker/policy/scan.toml")).unwrap();
    let reports = policy.replace("disclosed = \"fail\"", "disclosed = \"report\"");
    checkout.write("docker/policy/scan.toml", &reports);
    let ended = run(&checkout, &["scan", "--vuln-db", "trivy"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(
        check(&checkout, "vulnerabilities")
            .1
            .contains("reported: CRITICAL CVE-2021-25900")
    );
    assert_eq!(
        run(&checkout, &["scan", "--vuln-db", "trivy", "--strict"]).code,
        Some(1)
    );

    // What the hint says can be done.
    let mended = Crate {
        version: "0.6.14",
        ..SMALLVEC
    };
    registry::publish(&checkout, &[SMALLVEC, mended]);
    does(&checkout, &hint.split(' ').collect::<Vec<_>>());
    let lock = std::fs::read_to_string(checkout.path("Cargo.lock")).unwrap();
    assert!(lock.contains("version = \"0.6.14\""), "{lock}");
}
