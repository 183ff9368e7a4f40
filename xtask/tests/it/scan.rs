//! The scan gate on real images with the real scanner: a real database, damaged ones, and stand-ins for scanners that
//! fail, as far as the selftest does not play it. The binary carries a list of crates as cargo-auditable would write it.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::bolt;
use crate::checkout::{Checkout, Ended, Fixture, ended, repository};

/// A crate of that name and version lies in the checkout, and in the binary's list.
struct Vulnerable {
    name: &'static str,
    version: &'static str,
}

const SMALLVEC: Vulnerable = Vulnerable {
    name: "smallvec",
    version: "0.6.13",
};

const UNFIXED: Vulnerable = Vulnerable {
    name: "horme-fixture-unfixed",
    version: "1.0.0",
};

/// A checkout with one service of that name, which depends on a vulnerable crate; its image is built.
fn checkout(name: &str, depends_on: &Vulnerable) -> Checkout {
    let checkout = Checkout::new(vec![Fixture::new(name)]);
    let Vulnerable { name: of, version } = depends_on;
    checkout.write(
        &format!("crates/{of}/Cargo.toml"),
        &format!("[package]\nname = \"{of}\"\nversion = \"{version}\"\nedition = \"2024\"\n"),
    );
    checkout.write(&format!("crates/{of}/src/lib.rs"), "");
    checkout.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"services/*\", \"crates/*\"]\n",
    );
    let manifest = format!("services/{name}/Cargo.toml");
    let text = std::fs::read_to_string(checkout.path(&manifest)).unwrap();
    checkout.write(
        &manifest,
        &format!("{text}\n[dependencies]\n{of} = {{ path = \"../../crates/{of}\" }}\n"),
    );
    let mut packages = [
        format!("\n[[package]]\nname = \"{of}\"\nversion = \"{version}\"\n"),
        format!("\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"{of}\",\n]\n"),
    ];
    packages.sort();
    checkout.write("Cargo.lock", &format!("version = 4\n{}", packages.concat()));
    let list = json!({"packages": [
        {"name": name, "version": "0.1.0", "source": "local", "root": true, "dependencies": [1]},
        {"name": of, "version": version, "source": "local"},
    ]});
    checkout.audit(&list);
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    checkout
}

/// The committed database in a Trivy cache folder, so many days old.
fn database(checkout: &Checkout, days_old: i64) -> String {
    let folder = checkout.path(&format!("vuln-db-{days_old}"));
    let bytes = std::fs::read(repository().join("xtask/src/selftest/database/trivy.db")).unwrap();
    bolt::put(&folder, &bytes, days_old);
    folder.display().to_string()
}

/// The check of that name in the latest report, whole.
fn check(checkout: &Checkout, service: &str, name: &str) -> Value {
    let report = checkout.report();
    let records = report["records"].as_array().unwrap();
    let record = records
        .iter()
        .find(|record| record["service"] == service && record["gate"] == "scan");
    let checks = record.unwrap()["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == name)
        .cloned()
        .unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

fn says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.said());
    for word in words {
        assert!(ended.said().contains(word), "{word}: {}", ended.said());
    }
}

const VEX: &str = r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.org/vex/1","author":"ann",
    "timestamp":"2026-11-01T00:00:00Z","version":1,"statements":[{"vulnerability":{"name":"CVE-2021-25900"},
    "products":[{"@id":"pkg:cargo/smallvec@0.6.13"}],"status":"not_affected",
    "justification":"vulnerable_code_not_in_execute_path"}]}"#;

#[test]
fn a_statement_is_shown_beside_what_it_lets_pass_and_a_faulty_one_is_refused() {
    let checkout = checkout("scan-vex", &SMALLVEC);
    let database = database(&checkout, 0);
    let temporary = checkout.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let scan = || {
        let mut command = checkout.command(&["scan", "--vuln-db", &database]);
        command.env("TMPDIR", &temporary);
        ended(command.output().unwrap())
    };
    checkout.write("docker/policy/openvex.json", VEX);
    says(&scan(), 0, &[]);
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().flatten().collect();
    assert!(left.is_empty(), "a scan leaves nothing: {left:?}");
    let passed = check(&checkout, "scan-vex", "vulnerabilities");
    let detail = passed["detail"].as_str().unwrap();
    assert!(
        detail.contains("CVE-2021-25900") && detail.contains("says ann"),
        "let pass, and shown: {detail}"
    );

    checkout.write("docker/policy/vex/more.json", &VEX[..200]);
    says(&scan(), 2, &["docker/policy/vex/more.json"]);
}

#[test]
fn a_finding_that_nobody_has_fixed_is_reported_and_policy_may_fail_it() {
    let checkout = checkout("scan-unfixed", &UNFIXED);
    let database = database(&checkout, 0);
    let scan = || checkout.run(&["scan", "--vuln-db", &database]);
    says(&scan(), 0, &[]);
    let passed = check(&checkout, "scan-unfixed", "vulnerabilities");
    assert!(
        passed["detail"].as_str().unwrap().contains("CVE-2099-0002"),
        "{passed}"
    );

    let path = "docker/policy/scan.toml";
    let shipped = std::fs::read_to_string(checkout.path(path)).unwrap();
    let strict = shipped.replace("CRITICAL = [\"fixed\"", "CRITICAL = [\"affected\", \"fixed\"");
    checkout.write(path, &strict);
    says(&scan(), 1, &["CVE-2099-0002"]);
    checkout.write(path, &shipped.replace("HIGH     =", "HGIH     ="));
    says(
        &scan(),
        2,
        &["docker/policy/scan.toml", "'HGIH', did you mean 'HIGH'?"],
    );
}

#[test]
fn a_damaged_database_is_undecided_and_named() {
    let checkout = checkout("scan-damaged", &SMALLVEC);
    let bytes = std::fs::read(repository().join("xtask/src/selftest/database/trivy.db")).unwrap();
    let mut zeroed = bytes.clone();
    zeroed[4 * 4096..5 * 4096].fill(0);
    let damaged = [
        ("other", b"SQLite format 3".as_slice(), "beginning is damaged"),
        ("zeroed", &zeroed, "page 4 is damaged"),
        (
            "empty",
            &bolt::database(&[]),
            "no vulnerability of any Rust crate",
        ),
    ];
    for (name, bytes, why) in damaged {
        let folder = checkout.path(name);
        bolt::put(&folder, bytes, 0);
        let ended = checkout.run(&["scan", "--vuln-db", &folder.display().to_string()]);
        says(&ended, 3, &[why, "db/trivy.db"]);
        let undecided = check(&checkout, "scan-damaged", "vulnerabilities");
        assert_eq!(undecided["outcome"], "undecided", "{name}");
        assert!(
            undecided["hint"].as_str().unwrap().contains("--vuln-db"),
            "{undecided}"
        );
        assert_eq!(check(&checkout, "scan-damaged", "crates")["outcome"], "passed");
    }
}

/// A program that calls itself a scanner.
fn stand_in(checkout: &Checkout, name: &str, version: &str, does: &str) -> String {
    let path = checkout.path(name);
    let text = format!(
        "#!/bin/bash\n[ \"$1\" = --version ] && {{ echo 'Version: {version}'; exit 0; }}\n\
         while [ $# -gt 1 ]; do [ \"$1\" = --output ] && out=$2; shift; done\n{does}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_report_that_is_none_is_undecided_and_an_unknown_scanner_is_refused() {
    let checkout = checkout("scan-stand-in", &SMALLVEC);
    let database = database(&checkout, 0);
    let captured = repository().join("xtask/tests/captured/trivy-0.68.2/vulnerable.json");
    let captured = captured.display();
    let scan = |trivy: &str| checkout.run(&["scan", "--vuln-db", &database, "--trivy", trivy]);
    for (name, does, why) in [
        (
            "binary",
            "printf '\\xff\\xfe{}' > $out".to_owned(),
            "cannot be used",
        ),
        (
            "marked",
            format!("(printf '\\xef\\xbb\\xbf'; cat {captured}) > $out"),
            "cannot be used",
        ),
        (
            "empty",
            "echo '{\"SchemaVersion\":9}' > $out".to_owned(),
            "schema version 9",
        ),
    ] {
        let trivy = stand_in(&checkout, name, "0.68.2", &does);
        let ended = scan(&trivy);
        says(&ended, 3, &[why]);
        let report = checkout.report().to_string();
        assert!(
            report.contains("see logs/") && report.contains("--trivy FILE"),
            "{report}"
        );
    }
    for (version, why) in [("0.44.1", "older than 0.60.0"), ("dev", "version cannot be told")] {
        let trivy = stand_in(&checkout, "refused", version, "touch $out");
        says(&scan(&trivy), 3, &[why, "name another one: --trivy FILE"]);
    }
    says(&scan("/nowhere/trivy"), 2, &["/nowhere/trivy"]);
}
