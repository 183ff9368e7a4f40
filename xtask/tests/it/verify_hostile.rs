//! `verify` where whoever may push is not a friend: what he needs no key for, and what he can hide.

use serde_json::{Value, json};

use crate::checkout::ended;
use crate::releasing::{OWNER, Releasing};
use crate::stub::{Fault, Login, Look, Right, Stub, User};
use crate::verify::{
    ALL, BUNDLE, INDEX, MANIFEST, PASSED, PROVENANCE, Published, SIGNATURE, VERDICTS, predicate,
};

/// Whoever may push needs no key to copy one service's image, with all that is attached to it, to another's name.
#[test]
fn the_image_of_another_service_is_no_release_of_this_one() {
    let (mut published, digest) = Published::whole("att-other");
    published.repository = "acme/horme-test-att-victim".to_owned();
    let copied = published.image("linux/amd64", &["1.4.2", "claim-1.4.2"]);
    assert_eq!(copied, digest);
    let signed = ALL.map(|kind| {
        let said = predicate(kind, "horme-test-att-other");
        (kind, published.sign(&digest, kind, &said, "release"))
    });
    published.attach(&digest, &signed);
    let ended = published.verify(&[":1.4.2"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let words = "it is about the image horme-test-att-other, not horme-test-att-victim";
    assert!(ended.stdout.contains(words), "{}", ended.stdout);
}

#[test]
fn verdicts_older_than_the_reader_wants_are_none() {
    let (published, _) = Published::whole("att-old");
    let (code, checks) = published.told(&[":1.4.2", "--max-age", "30"]);
    assert_eq!((code, checks[5].as_str()), (Some(1), "gate verdicts violated"));
    assert_eq!(published.told(&[":1.4.2", "--max-age", "36500"]).0, Some(0));
}

/// Whoever may push may attach what cannot be read: it hides nothing of what else is attached.
#[test]
fn one_broken_attachment_hides_nothing() {
    let (published, digest) = Published::whole("att-broken");
    let content = published.stub.content();
    let tag = digest.replace(':', "-");
    let index = content.manifest(&published.repository, &tag).unwrap();
    let mut index: Value = serde_json::from_slice(&index).unwrap();
    let manifests = index["manifests"].as_array_mut().unwrap();
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
        "digest": content.put_blob(&published.repository, b"{}") });
    let gone = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": empty,
        "layers": [{ "mediaType": BUNDLE, "digest": format!("sha256:{}", "1".repeat(64)), "size": 7 }] });
    let entry = json!({ "mediaType": MANIFEST, "artifactType": BUNDLE, "size": 1,
        "digest": published.put(MANIFEST, &gone, &[]) });
    manifests.push(entry);
    published.put(INDEX, &index, &[&tag]);
    let ended = published.verify(&[":1.4.2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(
        ended.stdout.contains("(of 2 attached, 1 do not hold)"),
        "{}",
        ended.stdout
    );
    assert_eq!(
        published.told(&[":1.4.2"]),
        (Some(0), PASSED.map(str::to_owned).to_vec())
    );
    // Nothing sound beside it: it may be what is missing.
    let lacks = |kinds: &[&'static str]| {
        let signed: Vec<_> = kinds
            .iter()
            .map(|kind| {
                (
                    *kind,
                    published.sign(&digest, kind, &published.predicate(kind), "release"),
                )
            })
            .collect();
        published.attach(&digest, &signed);
        let index = content.manifest(&published.repository, &tag).unwrap();
        let mut index: Value = serde_json::from_slice(&index).unwrap();
        let entry = json!({ "mediaType": MANIFEST, "artifactType": BUNDLE, "size": 1,
            "digest": published.put(MANIFEST, &gone, &[]) });
        index["manifests"].as_array_mut().unwrap().push(entry);
        published.put(INDEX, &index, &[&tag]);
        published.told(&[":1.4.2"])
    };
    let (code, checks) = lacks(&[SIGNATURE, PROVENANCE, VERDICTS]);
    assert_eq!(
        (code, checks[3].as_str()),
        (Some(3), "bill of materials undecided")
    );
}

#[test]
fn other_bytes_than_the_digest_says_are_an_answer() {
    let (published, digest) = Published::whole("att-bytes");
    published.stub.fault_from("GET", "/manifests/", 1, Fault::Other);
    let (code, checks) = published.told(&[&format!("@{digest}")]);
    assert_eq!(code, Some(1), "{checks:?}");
    assert_eq!(checks.last().unwrap(), "look violated");
}

/// A registry that hides what does not exist yet from who may only pull takes a first release, too. What the release
/// itself signed is verified, and copied to the other service's name it is not.
#[test]
fn a_first_release_to_a_registry_like_docker_hub_is_verified() {
    let stub = Stub::with(Look {
        hides_unknown: true,
        login: Login::Token {
            users: vec![User::new("ada", "right", Right::Push)],
            anonymous: true,
        },
        ..Look::default()
    });
    let releasing = Releasing::new("att-first", &stub);
    // "ada:right"
    let login = json!({ "auths": { stub.host(): { "auth": "YWRhOnJpZ2h0" } } });
    releasing
        .checkout
        .write("state/docker/config.json", &login.to_string());
    let dry_run = releasing.release(&["--dry-run"]);
    assert_eq!(dry_run.code, Some(0), "{}", dry_run.said());
    let released = releasing.release(&[]);
    assert_eq!(released.code, Some(0), "{}", released.said());

    let verify = |service: usize| {
        let image = format!("{}/{}:1.4.2", stub.host(), releasing.repository(service));
        let words = ["verify", &image, "--key", "docker/policy/release.pub"];
        // Who reads is nobody.
        let mut command = releasing.checkout.command(&words);
        let nobody = releasing.checkout.path("no-login");
        ended(command.env("DOCKER_CONFIG", nobody).output().unwrap())
    };
    for service in [0, 1] {
        let verified = verify(service);
        assert_eq!(verified.code, Some(0), "{}", verified.said());
    }
    let (content, victim) = (stub.content(), releasing.repository(1));
    let snapshot = content.snapshot();
    let other = &snapshot[&releasing.repository(0)];
    assert!(victim.starts_with(OWNER));
    other.blobs.values().for_each(|bytes| {
        content.put_blob(&victim, bytes);
    });
    for (digest, (kind, bytes)) in &other.manifests {
        content.put_manifest(&victim, digest, kind, bytes);
    }
    for (tag, digest) in &other.tags {
        let (kind, bytes) = &other.manifests[digest];
        content.put_manifest(&victim, tag, kind, bytes);
    }
    let copied = verify(1);
    assert_eq!(copied.code, Some(1), "{}", copied.said());
    let words = "it is about the image horme-test-att-first-a, not horme-test-att-first-b";
    assert!(copied.stdout.contains(words), "{}", copied.stdout);
}
