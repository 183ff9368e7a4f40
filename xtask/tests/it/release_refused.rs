//! What forbids a release, as its user sees it: nothing is sent, nothing is written by a dry run, and the words name the
//! culprit and the remedy.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::checkout::{Ended, ended};
use crate::releasing::{OWNER, Releasing};
use crate::stub::{Fault, Login, Look, Right, Stub, User};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The exit, and the words whose order does not matter.
fn refused(ended: &Ended, code: i32, words: &[&str]) {
    let said = ended.said();
    assert_eq!(ended.code, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no '{word}' in: {said}");
    }
}

fn git(releasing: &Releasing, words: &[&str]) {
    let mut git = Command::new("git");
    git.arg("-C").arg(releasing.checkout.path(""));
    git.args(["-c", "user.name=x", "-c", "user.email=x@example.com"]);
    let ended = ended(git.args(words).output().unwrap());
    assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.said());
}

/// Changes the proof that lies beside the images.
fn alter(releasing: &Releasing, change: impl FnOnce(&mut Value)) {
    let mut proof: Value = serde_json::from_str(&releasing.read("images/proof.json")).unwrap();
    change(&mut proof);
    releasing.checkout.write("images/proof.json", &proof.to_string());
}

/// Whether one may push is asked by beginning an upload, which is taken back.
fn sent_nothing(stub: &Stub) {
    assert_eq!(stub.received(), 0, "{:?}", stub.writes());
    assert!(stub.content().snapshot().is_empty(), "{:?}", stub.writes());
}

/// Every file below a folder, with its size.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut queue = vec![folder.to_path_buf()];
    while let Some(folder) = queue.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let size = path.symlink_metadata().unwrap().len();
            if path.is_dir() {
                queue.push(path.clone());
            }
            // git writes its index anew when it is asked what changed.
            if !path.components().any(|part| part.as_os_str() == ".git") {
                found.insert(format!("{} {size}", path.display()));
            }
        }
    }
    found
}

#[test]
fn what_is_wrong_with_the_checkout_is_said_with_its_remedy() {
    let stub = Stub::start();
    let releasing = Releasing::new("refused-git", &stub);
    releasing.checkout.write("stray.txt", "x");
    // Whatever a user's own configuration hides.
    git(&releasing, &["config", "status.showUntrackedFiles", "no"]);
    let dirty = releasing.release(&[]);
    refused(
        &dirty,
        2,
        &[
            "the checkout is not its commit: ?? stray.txt",
            "hint: commit, stash",
        ],
    );
    std::fs::remove_file(releasing.checkout.path("stray.txt")).unwrap();
    for (tag, words) in [
        (
            "v1.4",
            "the commit's tag is v1.4, which is not `v` and a SemVer version",
        ),
        (
            "v1.4.3",
            "the commit's tag is v1.4.3, Cargo.toml's version is 1.4.2",
        ),
    ] {
        git(&releasing, &["tag", tag]);
        git(&releasing, &["tag", "--delete", "v1.4.2"]);
        refused(&releasing.release(&[]), 2, &[words, "git tag v1.4.2"]);
        git(&releasing, &["tag", "--delete", tag]);
        git(&releasing, &["tag", "v1.4.2"]);
    }
    let mut job = releasing.command(&[]);
    job.env("GITHUB_REF", "refs/tags/v1.5.0");
    refused(
        &ended(job.output().unwrap()),
        2,
        &["this job was started by the tag v1.5.0"],
    );
    releasing
        .checkout
        .write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n- x\n");
    git(
        &releasing,
        &["commit", "--all", "--quiet", "--amend", "--no-edit"],
    );
    git(&releasing, &["tag", "--force", "v1.4.2"]);
    let unmentioned = releasing.release(&[]);
    // The proof is not of this commit any more, either.
    let words = [
        "2 things forbid this release",
        "CHANGELOG.md has no section 1.4.2",
        "call its section Unreleased",
        "proves the commit",
    ];
    refused(&unmentioned, 2, &words);
    sent_nothing(&stub);
}

#[test]
fn a_proof_is_there_of_this_commit_and_of_these_digests() {
    let stub = Stub::start();
    let releasing = Releasing::new("refused-proof", &stub);
    let whole = releasing.read("images/proof.json");
    alter(&releasing, |proof| proof["commit"] = "f".repeat(40).into());
    refused(
        &releasing.release(&[]),
        2,
        &[
            "images proves the commit ffffffffffff",
            "hint: git checkout ffffffffffff",
        ],
    );
    releasing.checkout.write("images/proof.json", &whole);
    let other = format!("sha256:{}", "e".repeat(64));
    alter(&releasing, |proof| {
        proof["images"][0]["records"][4]["digest"] = other.clone().into()
    });
    refused(&releasing.release(&[]), 2, &["boot", &other]);
    releasing.checkout.write("images/proof.json", &whole);
    alter(&releasing, |proof| {
        proof["images"].as_array_mut().unwrap().pop();
    });
    refused(
        &releasing.release(&[]),
        2,
        &[
            "images proves no horme-test-refused-proof-b",
            "all images are released or none",
        ],
    );
    std::fs::remove_file(releasing.checkout.path("images/proof.json")).unwrap();
    refused(&releasing.release(&[]), 2, &["proof.json", "ci --export"]);
    // Without a folder the last run here is asked.
    let mut here = releasing.checkout.command(&["release", "--dry-run"]);
    here.env("HORME_REGISTRY", format!("{}/{OWNER}", stub.host()))
        .env("HORME_SIGN_KEY", releasing.checkout.path("keys/release.key"))
        .env_remove("GITHUB_REF");
    refused(
        &ended(here.output().unwrap()),
        2,
        &["no run here proved the commit", "cargo xtask ci --strict"],
    );
    sent_nothing(&stub);
}

#[test]
fn who_is_not_logged_in_or_may_not_push_is_told_so() {
    let stub = Stub::with_tokens("acme", "right");
    let mut releasing = Releasing::new("refused-login", &stub);
    let word = format!("docker login {}", stub.host());
    refused(
        &releasing.release(&[]),
        2,
        &["refused-login-a", "refused-login-b", &word],
    );
    // Also where there is nothing yet to be pushed.
    let images = releasing.checkout.path("images");
    std::fs::rename(&images, images.with_extension("away")).unwrap();
    refused(&releasing.release(&[]), 2, &["images", "refused-login-a", &word]);
    std::fs::rename(images.with_extension("away"), &images).unwrap();
    assert!(stub.content().tags().is_empty());
    let reader = Stub::with(Look {
        login: Login::Token {
            users: vec![User::new("reader", "right", Right::Pull)],
            anonymous: true,
        },
        ..Look::default()
    });
    releasing.use_registry(&reader);
    // "reader:right"
    let login = format!(
        r#"{{"auths":{{"{}":{{"auth":"cmVhZGVyOnJpZ2h0"}}}}}}"#,
        reader.host()
    );
    releasing.checkout.write("state/docker/config.json", &login);
    refused(&releasing.release(&[]), 2, &["refused-login-a"]);
    let read_only = Stub::start();
    read_only.fault_from("POST", "/blobs/uploads/", 1, Fault::Refuse(405, "UNSUPPORTED"));
    releasing.use_registry(&read_only);
    refused(
        &releasing.release(&[]),
        2,
        &["refused-login-a", "refused-login-b"],
    );
    for stub in [&stub, &reader, &read_only] {
        assert!(stub.content().snapshot().is_empty(), "{:?}", stub.writes());
    }
    let gone = Stub::start();
    releasing.use_registry(&gone);
    drop(gone);
    refused(
        &releasing.release(&["--dry-run"]),
        3,
        &["horme-test-refused-login-a", "did not answer"],
    );
}

#[test]
fn a_version_that_was_published_with_another_digest_is_refused() {
    let stub = Stub::start();
    let releasing = Releasing::new("refused-spent", &stub);
    for tag in ["claim-1.4.2", "1.4.2"] {
        let other = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","of":"{tag}"}}"#);
        let repository = releasing.repository(1);
        let digest = stub
            .content()
            .put_manifest(&repository, tag, MANIFEST, other.as_bytes());
        let ended = releasing.release(&[]);
        let words = [
            repository.as_str(),
            "1.4.2 was published as",
            &digest,
            &releasing.digest(1),
            "versions are immutable",
        ];
        refused(&ended, 2, &words);
        stub.content().untag(&repository, tag);
    }
    assert!(stub.content().tags().is_empty(), "{:?}", stub.content().tags());
    assert_eq!(
        stub.content().snapshot().len(),
        1,
        "the other repository was not begun"
    );
}

#[test]
fn a_dry_run_prints_the_plan_and_touches_nothing() {
    let stub = Stub::start();
    let releasing = Releasing::new("refused-dry", &stub);
    let before = files(&releasing.checkout.path(""));
    let planned = releasing.release(&["--dry-run"]);
    let digests = [releasing.digest(0), releasing.digest(1)];
    let words = [
        "release 1.4.2 to ",
        "5 of 6 blobs to upload",
        "1 to mount",
        &digests[0],
        &digests[1],
        "claim-1.4.2",
        "latest",
        "nothing forbids it; nothing was touched",
    ];
    refused(&planned, 0, &words);
    releasing.checkout.write("stray.txt", "x");
    git(&releasing, &["tag", "--delete", "v1.4.2"]);
    let forbidden = releasing.release(&["--dry-run"]);
    refused(
        &forbidden,
        2,
        &[
            "release 1.4.2 to ",
            "2 things forbid this release",
            "stray.txt",
            "no tag v1.4.2",
        ],
    );
    let document: Value =
        serde_json::from_str(&releasing.release(&["--dry-run", "--format", "json"]).stdout).unwrap();
    assert_eq!(document["problems"].as_array().unwrap().len(), 2, "{document}");
    assert_eq!(document["plan"]["images"][1]["digest"], digests[1]);
    assert_eq!(document["problems"][0]["exit_code"], 2);
    // A snapshot needs neither version nor tag nor changelog, and claims nothing.
    std::fs::remove_file(releasing.checkout.path("stray.txt")).unwrap();
    let snapshot = releasing.release(&["--dry-run", "--snapshot"]);
    refused(&snapshot, 0, &["snapshot main to ", "main", "sha-"]);
    assert!(
        !snapshot.stdout.contains("claim-") && !snapshot.stdout.contains("latest"),
        "{}",
        snapshot.stdout
    );
    assert_eq!(files(&releasing.checkout.path("")), before);
    assert_eq!(stub.writes(), Vec::<String>::new());
    assert!(!stub.seen().is_empty());
}
