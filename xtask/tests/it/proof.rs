//! The proof that the main job leaves, and the images that travel with it, as the next job sees them.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::bolt;
use crate::checkout::{Checkout, Ended, Fixture, ended, repository};

fn run(program: &str, words: &[&str], checkout: &Checkout) -> String {
    let mut command = Command::new(program);
    let said = ended(
        command
            .args(words)
            .current_dir(checkout.path(""))
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(0), "{program} {words:?}: {}", said.said());
    said.stdout.trim().to_owned()
}

/// Two services under git, whose binary lists both crates; a database of today.
fn checkout(names: [&str; 2]) -> Checkout {
    let checkout = Checkout::new(names.map(Fixture::new).to_vec());
    checkout.write(
        ".gitignore",
        "/reports/\n/cache/\n/state/\n/vuln-db/\n/database/\n",
    );
    let git = |words: &[&str]| {
        let author = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        run("git", &[author.as_slice(), words].concat(), &checkout)
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "Begin"]);
    let bytes = std::fs::read(repository().join("xtask/src/selftest/database/trivy.db")).unwrap();
    bolt::put(&checkout.path("vuln-db"), &bytes, 0);
    checkout
}

fn ci(checkout: &Checkout, more: &[&str]) -> Ended {
    let database = checkout.path("vuln-db").display().to_string();
    checkout.run(&[&["ci", "--vuln-db", &database], more].concat())
}

fn read(file: PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
}

fn inspect(image: &str) -> String {
    let mut docker = Command::new("docker");
    docker.args(["image", "inspect", "--format", "{{.Id}}", image]);
    ended(docker.output().unwrap()).stdout.trim().to_owned()
}

fn bill(checkout: &Checkout, folder: &str, name: &str) -> String {
    let file = format!("{folder}/sbom/horme-test-{name}.cdx.json");
    let text = std::fs::read_to_string(checkout.path(&file)).unwrap();
    let schema = include_str!("../schemas/cyclonedx-1.6-required.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let bill = serde_json::from_str(&text).unwrap();
    let faults: Vec<String> = schema.iter_errors(&bill).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    text
}

fn sums(checkout: &Checkout) -> String {
    std::fs::read_to_string(checkout.path("images/checksums.txt")).unwrap()
}

#[test]
fn the_main_job_leaves_its_proof_and_the_images_travel_with_it() {
    let checkout = checkout(["proof-one", "proof-two"]);
    let said = ci(&checkout, &["--export", "images"]);
    // The fixture's binary lists no crates: its scan alone is violated, and the proof says so.
    assert_eq!(said.code, Some(1), "{}", said.said());
    assert!(
        said.stdout
            .contains("exported 2 images and their proof to images"),
        "{}",
        said.said()
    );
    let proof = read(checkout.path("images/proof.json"));
    assert_eq!(proof, read(checkout.path("reports/latest/proof.json")));
    assert_eq!(proof["commit"], run("git", &["rev-parse", "HEAD"], &checkout));
    assert_eq!(proof["dirty"], false);
    for (index, name) in ["proof-one", "proof-two"].into_iter().enumerate() {
        let image = &proof["images"][index];
        let digest = image["digest"].as_str().unwrap();
        assert_eq!(digest, inspect(&format!("horme-test-{name}:latest")));
        let records = image["records"].as_array().unwrap();
        assert_eq!(records.len(), 6, "a verdict of each gate");
        for record in records.iter().filter(|record| record["gate"] != "lint") {
            assert_eq!(record["digest"], digest, "{record}");
        }
        let bill: Value = serde_json::from_str(&bill(&checkout, "images", name)).unwrap();
        assert_eq!(bill["bomFormat"], "CycloneDX");
        let about = &bill["metadata"]["component"]["name"];
        assert_eq!(*about, format!("horme-test-{name}"));
        assert!(
            image["build_started_at"].is_string() && image["built_with"][0].is_string(),
            "{image}"
        );
        assert!(sums(&checkout).contains(&format!("{}  horme-test-{name}\n", &digest[7..])));
        // The manifest's bytes are those whose digest was judged.
        let manifest = checkout.path("images/blobs/sha256").join(&digest[7..]);
        let sum = run("sha256sum", &[manifest.to_str().unwrap()], &checkout);
        assert!(sum.starts_with(&digest[7..]), "{sum}");
    }
    let index = read(checkout.path("images/index.json"));
    let platform = &index["manifests"][0]["platform"];
    assert_eq!(
        format!(
            "{}/{}",
            platform["os"].as_str().unwrap(),
            platform["architecture"].as_str().unwrap()
        ),
        proof["platform"].as_str().unwrap()
    );
    // An export lies in the checkout, which stays as committed.
    assert_eq!(run("git", &["status", "--porcelain"], &checkout), "");

    again_and_elsewhere(&checkout, &proof);
}

/// With all known: the same bytes and the same bills, in place of what was there.
fn again_and_elsewhere(checkout: &Checkout, proof: &Value) {
    checkout.write("images/left-behind", "");
    checkout.extend_binary(b"more");
    let said = ci(checkout, &["--export", "images"]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    let second = read(checkout.path("images/proof.json"));
    assert_eq!(second["dirty"], true, "the binary lies in the checkout");
    assert_ne!(second["images"][0]["digest"], proof["images"][0]["digest"]);
    assert!(
        !checkout.path("images/left-behind").exists(),
        "replaced as a whole"
    );
    let old = proof["images"][0]["digest"].as_str().unwrap();
    assert!(!checkout.path("images/blobs/sha256").join(&old[7..]).exists());
    let said = ci(checkout, &[]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    let third = read(checkout.path("reports/latest/proof.json"));
    let bills = ["images", "reports/latest"].map(|folder| bill(checkout, folder, "proof-one"));
    assert_eq!(bills[0], bills[1], "to its number and time");
    for part in ["digest", "build_started_at", "built_by"] {
        assert_eq!(third["images"][0][part], second["images"][0][part], "{part}");
    }
    // What is half of something is never taken for an export, and nothing of one is left beside it.
    let beside = std::fs::read_dir(checkout.path("")).unwrap().flatten();
    let beside: Vec<String> = beside
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!beside.iter().any(|name| name.ends_with(".part")), "{beside:?}");
}

#[test]
fn an_export_that_cannot_be_is_refused_before_anything_is_built() {
    let checkout = Checkout::new(vec![Fixture::new("proof-refused")]);
    checkout.write("notes/mine.txt", "");
    let said = checkout.run(&["ci", "--export", "notes"]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(
        said.stderr.contains("--export notes: it holds something else"),
        "{}",
        said.stderr
    );
    assert_eq!(inspect("horme-test-proof-refused:latest"), "");
    let said = checkout.run(&["ci", "--export", "images", "--service", "proof-refused"]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    let said = checkout.run(&["build", "--export", "images"]);
    assert_eq!(
        said.code,
        Some(2),
        "only the main job proves anything: {}",
        said.said()
    );
}

#[test]
fn a_build_that_failed_exports_nothing_and_proves_nothing() {
    let checkout = Checkout::new(vec![Fixture::new("proof-broken")]);
    let dockerfile = "docker/Dockerfile.proof-broken";
    let text = std::fs::read_to_string(checkout.path(dockerfile)).unwrap();
    checkout.write(
        dockerfile,
        &text.replace("COPY --link bin/fixture", "COPY --link bin/absent"),
    );
    let said = checkout.run(&["ci", "--export", "images"]);
    assert_ne!(said.code, Some(0), "{}", said.said());
    let told = json!(said.stderr).to_string();
    assert!(
        told.contains("nothing was exported: there is no image of proof-broken"),
        "{told}"
    );
    assert!(!checkout.path("images").exists());
    assert!(!checkout.path("reports/latest/proof.json").exists());
}
