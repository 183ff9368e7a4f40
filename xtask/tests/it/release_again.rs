//! What is done once and what again: statements that are kept or not, layers that are read back, a claim that somebody
//! takes meanwhile, a token that expires, a release that was interrupted by hand.

use std::process::Command;

use serde_json::{Value, json};

use crate::checkout::ended;
use crate::releasing::Releasing;
use crate::stub::{Fault, Stub, Then, When};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn told(releasing: &Releasing) -> Value {
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    serde_json::from_str(&releasing.read("reports/latest/release.json")).unwrap()
}

fn signed_and_kept(told: &Value) -> (u64, u64) {
    (told["signed"].as_u64().unwrap(), told["kept"].as_u64().unwrap())
}

/// No tag that users ask for is there.
fn is_unseen(stub: &Stub) -> bool {
    !stub
        .content()
        .tags()
        .keys()
        .any(|name| name.ends_with(":latest") || name.ends_with(":1.4.2"))
}

fn policy(releasing: &Releasing, verdict: u32, database: u32, trust: &str) {
    let text = format!("[age]\nverdict_max_days = {verdict}\ndatabase_max_days = {database}\n{trust}");
    releasing.checkout.write("docker/policy/release.toml", &text);
}

#[test]
fn where_nobody_is_named_to_be_trusted_the_signer_keeps_what_it_signed() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-own", &stub);
    policy(&releasing, 14, 7, "");
    releasing.make_ready("1.4.3");
    assert_eq!(signed_and_kept(&told(&releasing)), (8, 0));
    releasing.make_ready("1.4.4");
    assert_eq!(signed_and_kept(&told(&releasing)), (0, 8));
}

#[test]
fn verdicts_that_grew_old_are_signed_anew_and_what_ages_not_is_kept() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-old", &stub);
    let trust = "[trust]\nkey = \"docker/policy/release.pub\"\n";
    policy(&releasing, 14, 30, trust);
    releasing.make_ready("1.4.3");
    let fresh = releasing.read("images/proof.json");
    let now = serde_json::from_str::<Value>(&fresh).unwrap()["started_at"].clone();
    let mut then = Command::new("date");
    then.args(["--utc", "--date=10 days ago", "+%Y-%m-%dT%H:%M:%SZ"]);
    let then = ended(then.output().unwrap()).stdout.trim().to_owned();
    releasing
        .checkout
        .write("images/proof.json", &fresh.replace(now.as_str().unwrap(), &then));
    assert_eq!(signed_and_kept(&told(&releasing)), (8, 0));
    policy(&releasing, 7, 30, trust);
    releasing.make_ready("1.4.4");
    assert_eq!(signed_and_kept(&told(&releasing)), (2, 6), "the verdicts of both");
}

#[test]
fn who_signs_and_is_not_trusted_is_refused_before_anything_is_sent() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-trust", &stub);
    let mut cosign = Command::new("cosign");
    cosign
        .args(["generate-key-pair", "--output-key-prefix", "other"])
        .env("COSIGN_PASSWORD", "");
    let made = ended(
        cosign
            .current_dir(releasing.checkout.path("keys"))
            .output()
            .unwrap(),
    );
    assert_eq!(made.code, Some(0), "{}", made.said());
    let mut command = releasing.command(&[]);
    let said = ended(command.env("HORME_SIGN_KEY", "keys/other.key").output().unwrap());
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(
        said.stderr
            .contains("docker/policy/release.toml [trust] does not trust who signs"),
        "{}",
        said.stderr
    );
    assert_eq!(stub.received(), 0, "{:?}", stub.writes());
    // The right key goes on with it.
    let said = releasing.release(&["--resume"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
}

#[test]
fn the_signature_for_cosign_2_is_there_before_the_statement_that_is_kept() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-classic", &stub);
    told(&releasing);
    let tag = releasing.digest(0).replace(':', "-");
    let written = stub.writes();
    let place = |end: String| written.iter().position(|write| write.ends_with(&end));
    let (classic, list) = (
        place(format!("/manifests/{tag}.sig")),
        place(format!("/manifests/{tag}")),
    );
    assert!(classic.is_some() && classic < list, "{written:?}");
}

#[test]
fn a_layer_that_reads_back_as_other_bytes_of_its_length_stops_it() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-layer", &stub);
    let layer = releasing.layers(1)[1].clone();
    stub.fault_from("GET", &format!("/blobs/{layer}"), 1, Fault::Other);
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    assert!(said.stderr.contains(&layer), "{}", said.stderr);
    assert!(is_unseen(&stub));
}

#[test]
fn a_claim_that_another_machine_takes_meanwhile_stops_it_before_a_tag_moves() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-claim", &stub);
    let (content, repository) = (stub.content(), releasing.repository(0));
    let path = format!("/{repository}/manifests/claim-1.4.2");
    // Asked before it is planned, before it is put, and when it was put: then another one puts it.
    stub.on("HEAD", &path, 3, When::After, move || {
        let theirs = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
        content.put_manifest(&repository, "claim-1.4.2", INDEX, theirs.as_bytes());
        Then::GoOn
    });
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(
        said.stderr.contains("was published with another digest"),
        "{}",
        said.stderr
    );
    assert!(is_unseen(&stub));
}

#[test]
fn what_waited_too_long_is_not_published() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-late", &stub);
    let killed = releasing.signalled(&stub, "-KILL", "PUT", "/blobs/uploads/");
    assert_eq!(killed.code, None, "{}", killed.said());
    let path = releasing.journal("1.4.2").join("proof-0.json");
    let proof = std::fs::read_to_string(&path).unwrap();
    let now = serde_json::from_str::<Value>(&proof).unwrap()["started_at"].clone();
    std::fs::write(
        &path,
        proof.replace(now.as_str().unwrap(), "2020-01-01T00:00:00Z"),
    )
    .unwrap();
    let said = releasing.release(&["--resume"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(said.stderr.contains("release --undo 1.4.2"), "{}", said.stderr);
    assert!(is_unseen(&stub));
}

#[test]
fn interrupted_by_hand_it_ends_with_130_and_goes_on_where_it_was() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-int", &stub);
    for (path, seen) in [("/blobs/uploads/", false), ("/manifests/latest", true)] {
        let said = releasing.signalled(&stub, "-INT", "PUT", path);
        assert_eq!(said.code, Some(130), "{path}: {}", said.said());
        let words = if seen {
            "some may point to 1.4.2 already"
        } else {
            "no tag has moved"
        };
        assert!(
            said.said().contains(words) && said.said().contains("--resume"),
            "{path}: {}",
            said.said()
        );
        // A dry run tells what a release would.
        let dry = releasing.release(&["--dry-run"]);
        assert_eq!(dry.code, Some(2), "{path}: {}", dry.said());
        assert!(
            dry.stderr.contains("the release 1.4.2 was begun by run"),
            "{path}: {}",
            dry.said()
        );
        assert_eq!(is_unseen(&stub), !seen, "{path}: what moved stays for --resume");
        if !seen {
            // The second time it is resumed until its tags move.
            assert_eq!(releasing.release(&["--undo", "1.4.2"]).code, Some(0));
        }
    }
    let said = releasing.release(&["--resume"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    for service in [0, 1] {
        let latest = stub.content().tag(&releasing.repository(service), "latest");
        assert_eq!(latest, Some(releasing.digest(service)));
    }
}

#[test]
fn a_token_that_expires_on_the_way_is_asked_for_again() {
    let stub = Stub::with_tokens("ada", "ada-may-push");
    let releasing = Releasing::new("again-token", &stub);
    let login = json!({ "auths": { stub.host(): { "username": "ada", "password": "ada-may-push" } } });
    releasing
        .checkout
        .write("state/docker/config.json", &login.to_string());
    for (method, path) in [
        ("PUT", "/blobs/uploads/"),
        ("PUT", "/manifests/sha256"),
        ("GET", "/blobs/"),
        ("PUT", "/manifests/latest"),
    ] {
        stub.fault(method, path, 1, Fault::Expired);
    }
    told(&releasing);
    let refused = stub
        .seen()
        .into_iter()
        .filter(|seen| seen.status == Some(401))
        .count();
    assert!(refused >= 4, "{refused}");
    let latest = stub.content().tag(&releasing.repository(1), "latest");
    assert_eq!(latest, Some(releasing.digest(1)));
}

#[test]
fn a_branch_may_be_called_what_it_likes() {
    let stub = Stub::start();
    let releasing = Releasing::new("again-branch", &stub);
    for branch in ["staging", "lock"] {
        releasing.git(&["checkout", "--quiet", "-b", branch]);
        let said = releasing.release(&["--snapshot"]);
        assert_eq!(said.code, Some(0), "{branch}: {}", said.said());
        let tag = stub.content().tag(&releasing.repository(0), branch);
        assert_eq!(tag, Some(releasing.digest(0)), "{branch}");
    }
}
