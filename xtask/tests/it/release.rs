//! Releases into a registry that misbehaves on request: what arrives, what is sent again, what users see meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::releasing::{OWNER, Releasing};
use crate::stub::{Fault, Stub, Then, When};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The tags that users see: neither claims nor what lists attachments.
fn public(stub: &Stub) -> BTreeMap<String, String> {
    let mut tags = stub.content().tags();
    tags.retain(|name, _| !name.contains(":claim-") && !name.contains(":sha256-"));
    tags
}

fn list(stub: &Stub, releasing: &Releasing, service: usize) -> Vec<Value> {
    let tag = releasing.digest(service).replace(':', "-");
    let index = stub
        .content()
        .manifest(&releasing.repository(service), &tag)
        .unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

fn well(releasing: &Releasing, words: &[&str]) -> String {
    let said = releasing.release(words);
    assert_eq!(said.code, Some(0), "{words:?}: {}", said.said());
    said.stdout
}

#[test]
fn a_release_arrives_whole_and_a_second_one_sends_what_changed() {
    let stub = Stub::start();
    let mut releasing = Releasing::new("rel-plain", &stub);
    well(&releasing, &[]);
    for service in [0, 1] {
        let (repository, digest) = (releasing.repository(service), releasing.digest(service));
        for tag in ["1.4.2", "1.4", "1", "latest", "claim-1.4.2"] {
            assert_eq!(
                stub.content().tag(&repository, tag).as_ref(),
                Some(&digest),
                "{tag}"
            );
        }
        assert_eq!(
            list(&stub, &releasing, service).len(),
            4,
            "signature, bill, provenance, verdicts"
        );
    }
    // What both share was sent once.
    let shared = stub.seen_of("POST", "blobs/uploads/*mount=");
    assert!(!shared.is_empty());
    assert_eq!(releasing.steps("1.4.2").last().unwrap()["step"], "done");
    assert!(!releasing.journal("1.4.2").join("layout").exists());
    let told: Value = serde_json::from_str(&releasing.read("reports/latest/release.json")).unwrap();
    assert_eq!(
        (told["done"].clone(), told["sent"]["mounted"].clone()),
        (json!(true), json!(1))
    );

    // One changed: of the other nothing is sent but names.
    let before = stub.content().snapshot();
    releasing.change(0, "second");
    releasing.make_ready("1.4.3");
    stub.forget();
    well(&releasing, &[]);
    let after = stub.content().snapshot();
    let other = releasing.repository(1);
    assert_eq!(after[&other].blobs, before[&other].blobs);
    assert_eq!(after[&other].manifests, before[&other].manifests);
    assert_eq!(stub.content().tag(&other, "1.4.3"), Some(releasing.digest(1)));
    assert_eq!(stub.content().tag(&other, "latest"), Some(releasing.digest(1)));
    assert_ne!(
        after[&releasing.repository(0)].blobs,
        before[&releasing.repository(0)].blobs
    );
    let sent = stub.seen_of("*", &format!("/{other}/blobs/"));
    let received: usize = sent.iter().map(|seen| seen.received).sum();
    assert_eq!(received, 0, "{sent:?}");

    // Nothing changed, the same version once more: nothing is written at all.
    let before = stub.content().snapshot();
    well(&releasing, &[]);
    assert_eq!(stub.content().snapshot(), before);
    let told: Value = serde_json::from_str(&releasing.read("reports/latest/release.json")).unwrap();
    assert_eq!(
        (&told["sent"]["uploaded"], &told["signed"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn images_of_two_platforms_become_one_index_of_the_manifests_that_were_tested() {
    let stub = Stub::start();
    let mut releasing = Releasing::new("rel-two", &stub);
    let amd64 = releasing.digest(0);
    let folder = releasing.prove_for_arm64();
    well(&releasing, &["--images", folder]);
    let repository = releasing.repository(0);
    let index = stub.content().manifest(&repository, "1.4.2").unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let platforms: Vec<&Value> = manifests
        .iter()
        .map(|one| &one["platform"]["architecture"])
        .collect();
    assert_eq!(platforms, [&json!("amd64"), &json!("arm64")]);
    assert_eq!(manifests[0]["digest"], json!(amd64));
    // Each platform has its statements, the index its signature.
    let latest = stub.content().tag(&repository, "latest").unwrap();
    let subjects = manifests
        .iter()
        .map(|one| one["digest"].as_str().unwrap().to_owned());
    let counts: Vec<usize> = subjects
        .chain([latest])
        .map(|subject| {
            let list = stub
                .content()
                .manifest(&repository, &subject.replace(':', "-"))
                .unwrap();
            let list: Value = serde_json::from_slice(&list).unwrap();
            list["manifests"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(counts, [4, 4, 1]);
    // One platform forgotten is said before the tags lose it.
    releasing.make_ready("1.4.3");
    let said = well(&releasing, &["--dry-run"]);
    assert!(said.contains("latest had linux/arm64"), "{said}");
}

#[test]
fn what_a_registry_fails_at_for_a_while_is_tried_again() {
    let stub = Stub::start();
    let releasing = Releasing::new("rel-retry", &stub);
    stub.fault("PUT", "/blobs/uploads/", 1, Fault::Reset(100));
    stub.fault("PUT", "/blobs/uploads/", 2, Fault::Busy(Some("1".to_owned())));
    stub.fault("POST", "/blobs/uploads/", 4, Fault::Busy(None));
    stub.fault(
        "PUT",
        "/manifests/",
        1,
        Fault::Refuse(404, "MANIFEST_BLOB_UNKNOWN"),
    );
    stub.fault("PUT", "/manifests/", 3, Fault::Refuse(500, "UNKNOWN"));
    stub.fault("PUT", "/manifests/", 5, Fault::Unanswered);
    well(&releasing, &[]);
    assert_eq!(public(&stub).len(), 10, "{:?}", public(&stub));
}

#[test]
fn what_reads_back_wrong_stops_it_before_a_tag_moves_and_it_goes_on_when_that_is_mended() {
    let stub = Stub::start();
    let releasing = Releasing::new("rel-wrong", &stub);
    let path = format!("/manifests/{}", releasing.digest(0));
    stub.fault_from("GET", &path, 1, Fault::Other);
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    assert!(said.stderr.contains(&releasing.digest(0)), "{}", said.stderr);
    assert_eq!(public(&stub), BTreeMap::new());
    stub.behave();
    // It waits to be resumed: a new one is not begun.
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(said.stderr.contains("release --resume"), "{}", said.stderr);
    well(&releasing, &["--resume"]);
    assert_eq!(public(&stub).len(), 10);
    let said = releasing.release(&["--resume"]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(said.stderr.contains("1.4.2: done"), "{}", said.stderr);
}

#[test]
fn a_lost_list_of_attachments_is_written_again_and_others_entries_stay() {
    let stub = Stub::start();
    let releasing = Releasing::new("rel-list", &stub);
    let (repository, tag) = (releasing.repository(0), releasing.digest(0).replace(':', "-"));
    // A registry takes no list of what it does not have: theirs is there.
    let foreign = |by: &str| {
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "annotations": { "by": by } }).to_string();
        let content = stub.content();
        let digest = content.put_manifest(
            &repository,
            &format!("foreign-{by}"),
            MANIFEST,
            manifest.as_bytes(),
        );
        json!({ "mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "annotations": { "by": by } })
    };
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [foreign("a")] }).to_string();
    stub.content()
        .put_manifest(&repository, &tag, INDEX, index.as_bytes());
    stub.fault("PUT", &format!("/manifests/{tag}"), 1, Fault::Lost);
    // Another writer comes after our second write, and knows nothing of ours.
    let (content, name) = (stub.content(), (repository.clone(), tag.clone()));
    let theirs = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [foreign("a"), foreign("b")] })
        .to_string();
    stub.on("PUT", &format!("/manifests/{tag}"), 2, When::After, move || {
        content.put_manifest(&name.0, &name.1, INDEX, theirs.as_bytes());
        Then::GoOn
    });
    well(&releasing, &[]);
    let listed = list(&stub, &releasing, 0);
    assert_eq!(listed.len(), 6, "{listed:?}");
    assert_eq!((&listed[0], &listed[1]), (&foreign("a"), &foreign("b")));

    let lossy = Stub::start();
    let releasing = Releasing::new("rel-lossy", &lossy);
    let tag = releasing.digest(0).replace(':', "-");
    lossy.fault_from("PUT", &format!("/manifests/{tag}"), 1, Fault::Lost);
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stderr.contains("does not keep what is written to it"),
        "{}",
        said.stderr
    );
    assert_eq!(public(&lossy), BTreeMap::new());
}

#[test]
fn a_tag_that_cannot_be_moved_takes_the_others_back() {
    let stub = Stub::start();
    let mut releasing = Releasing::new("rel-back", &stub);
    well(&releasing, &[]);
    let before = public(&stub);
    releasing.change(0, "second");
    releasing.change(1, "second");
    releasing.make_ready("1.4.3");
    let path = format!("/{}/manifests/latest", releasing.repository(1));
    stub.fault_from("PUT", &path, 1, Fault::Refuse(403, "DENIED"));
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stderr.contains("not all tags could be moved"),
        "{}",
        said.stderr
    );
    let mut after = public(&stub);
    // New ones cannot be taken away here; that is said.
    assert!(said.stderr.contains("deletes no tags"), "{}", said.stderr);
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(after, before);
    stub.behave();
    well(&releasing, &["--resume"]);
    for service in [0, 1] {
        let latest = stub.content().tag(&releasing.repository(service), "latest");
        assert_eq!(latest, Some(releasing.digest(service)));
    }
}

#[test]
fn undo_puts_back_what_the_tags_pointed_to_and_the_version_is_spent() {
    let stub = Stub::with(crate::stub::Look {
        deletes_tags: true,
        ..Default::default()
    });
    let mut releasing = Releasing::new("rel-undo", &stub);
    well(&releasing, &[]);
    let before = public(&stub);
    releasing.change(0, "second");
    releasing.make_ready("1.4.3");
    well(&releasing, &[]);
    // Somebody moves one of them since: it is theirs.
    let (repository, digest) = (releasing.repository(0), "1.4.2");
    let theirs = stub.content().manifest(&repository, digest).unwrap();
    let other = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    stub.content()
        .put_manifest(&repository, "1.4", INDEX, other.as_bytes());
    let said = well(&releasing, &["--undo", "1.4.3"]);
    assert!(
        said.contains("left alone, because somebody moved it since: 1.4 of"),
        "{said}"
    );
    let mut after = public(&stub);
    stub.content().put_manifest(&repository, "1.4", MANIFEST, &theirs);
    after.insert(
        format!("{repository}:1.4"),
        before[&format!("{repository}:1.4")].clone(),
    );
    assert_eq!(after, before);
    // Once more changes nothing; the claim stays, and with it the version is spent.
    stub.forget();
    well(&releasing, &["--undo", "1.4.3"]);
    assert_eq!(stub.writes(), Vec::<String>::new());
    assert!(stub.content().tag(&repository, "claim-1.4.3").is_some());
    let said = releasing.release(&["--undo", "9.9.9"]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(
        said.stderr.contains("1.4.2: done; 1.4.3: undone"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_second_release_at_the_same_time_is_refused_by_name() {
    let stub = Stub::start();
    let releasing = Releasing::new("rel-twice", &stub);
    stub.fault("PUT", "/manifests/", 1, Fault::Late(Duration::from_secs(20)));
    let mut first = releasing.command(&[]).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while stub.seen_of("PUT", "/blobs/").is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = releasing.release(&["--resume"]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(said.stderr.contains("the release 1.4.2 (run "), "{}", said.stderr);
    well(&releasing, &["--resume"]);
    assert_eq!(public(&stub).len(), 10, "of {OWNER}");
}
