//! The scan gate on real images with the real scanner: a real database, damaged ones, and stand-ins for scanners that
//! fail. The binary carries a list of crates as cargo-auditable would write it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use crate::bolt;
use crate::checkout::{Checkout, Ended, Fixture, repository};

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
    std::fs::copy(binary_with(name, &list), checkout.path("bin/fixture")).unwrap();
    checkout.extend_binary(b"");
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    checkout
}

/// The fixture service with a list of crates in it.
fn binary_with(name: &str, list: &Value) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (packed, binary) = (folder.join(format!("{name}.zz")), folder.join(name));
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(list.to_string().as_bytes()).unwrap();
    std::fs::write(&packed, encoder.finish().unwrap()).unwrap();
    let rustc = Command::new("rustc")
        .args(["--edition=2024", "-O", "-C", "strip=symbols", "--cfg", "crates"])
        .args([
            "-C",
            "target-feature=+crt-static",
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .arg(repository().join("xtask/tests/fixtures/service.rs"))
        .env("CRATES", &packed)
        .arg("-o")
        .arg(&binary)
        .output()
        .unwrap();
    assert!(
        rustc.status.success(),
        "{}",
        String::from_utf8_lossy(&rustc.stderr)
    );
    binary
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
fn a_vulnerable_crate_fails_until_a_statement_says_why_it_does_no_harm() {
    let checkout = checkout("scan-vex", &SMALLVEC);
    let database = database(&checkout, 0);
    let scan = || checkout.run(&["scan", "--vuln-db", &database]);
    says(&scan(), 1, &["CVE-2021-25900", "smallvec 0.6.13"]);
    assert_eq!(check(&checkout, "scan-vex", "crates")["outcome"], "passed");

    checkout.write("docker/policy/openvex.json", VEX);
    says(&scan(), 0, &[]);
    let passed = check(&checkout, "scan-vex", "vulnerabilities");
    let detail = passed["detail"].as_str().unwrap();
    assert!(
        detail.contains("CVE-2021-25900") && detail.contains("says ann"),
        "let pass, and shown: {detail}"
    );

    checkout.write(
        "docker/policy/vex/more.json",
        &VEX.replace("CVE-2021-25900", "CVE-2000-0001"),
    );
    says(&scan(), 1, &["CVE-2000-0001 is found in no image"]);
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
