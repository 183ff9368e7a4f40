//! `verify` as a reader runs it: nothing but a registry (in memory, `stub/`) and a public key, on statements that
//! cosign really signed.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::checkout::{Checkout, Ended, Fixture, ended};
use crate::releasing::{OWNER, Releasing};
use crate::stub::{Fault, Login, Look, Right, Stub, User};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const GATES: [&str; 6] = ["build", "lint", "scan", "budget", "boot", "network"];

const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
const SBOM: &str = "https://cyclonedx.org/bom";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const VERDICTS: &str = "https://in-toto.io/attestation/test-result/v0.1";
const ALL: [&str; 4] = [SIGNATURE, SBOM, PROVENANCE, VERDICTS];

/// A registry, and whoever publishes in it.
struct Published {
    /// `acme/horme-test-<name>`.
    repository: String,
    stub: Stub,
    checkout: Checkout,
}

impl Published {
    fn new(name: &str, look: Look) -> Self {
        let published = Published {
            repository: format!("acme/{}", Fixture::new(name).image_name()),
            stub: Stub::with(look),
            checkout: Checkout::new(vec![Fixture::new(name)]),
        };
        published.make_key("release");
        published
    }

    /// Release 1.4.2 of one image, with everything attached.
    fn whole(name: &str) -> (Self, String) {
        let published = Published::new(name, Look::default());
        let digest = published.image("linux/amd64", &["1.4.2", "claim-1.4.2"]);
        published.attach_all(&digest, &ALL);
        (published, digest)
    }

    fn make_key(&self, name: &str) {
        let made = self.cosign(&["generate-key-pair", "--output-key-prefix", name]);
        assert_eq!(made.code, Some(0), "{}", made.said());
    }

    fn cosign(&self, words: &[&str]) -> Ended {
        let mut cosign = Command::new("cosign");
        cosign.args(words).env("COSIGN_PASSWORD", "");
        cosign.current_dir(self.checkout.path(""));
        let started = cosign.output();
        ended(started.expect("these tests need cosign: `cargo xtask test --setup`"))
    }

    /// An image of nothing, another one for each platform.
    fn image(&self, platform: &str, tags: &[&str]) -> String {
        let content = self.stub.content();
        let config = json!({ "os": "linux", "architecture": platform }).to_string();
        let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": content.put_blob(&self.repository, config.as_bytes()), "size": config.len() });
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
        self.put(MANIFEST, &manifest, tags)
    }

    fn put(&self, media_type: &str, manifest: &Value, tags: &[&str]) -> String {
        let (content, text) = (self.stub.content(), manifest.to_string());
        let digest = digest(text.as_bytes());
        content.put_manifest(&self.repository, &digest, media_type, text.as_bytes());
        for tag in tags {
            content.put_manifest(&self.repository, tag, media_type, text.as_bytes());
        }
        digest
    }

    /// A statement about a digest, signed with a key; the bundle.
    fn sign(&self, digest: &str, kind: &str, predicate: &Value, key: &str) -> Vec<u8> {
        let manifest = self.stub.content().manifest(&self.repository, digest).unwrap();
        std::fs::write(self.path("subject"), manifest).unwrap();
        std::fs::write(self.path("predicate"), predicate.to_string()).unwrap();
        let key = format!("{key}.key");
        let signed = self.cosign(&[
            "attest-blob",
            "--type",
            kind,
            "--predicate",
            "predicate",
            "--bundle",
            "bundle",
            "--new-bundle-format",
            "--key",
            &key,
            "--tlog-upload=false",
            "--yes",
            "subject",
        ]);
        assert_eq!(signed.code, Some(0), "{}", signed.said());
        std::fs::read(self.path("bundle")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.checkout.path(name)
    }

    /// Attaches bundles to a digest, in an index of its own where the registry keeps none.
    fn attach(&self, digest: &str, bundles: &[(&str, Vec<u8>)]) {
        let content = self.stub.content();
        let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": content.put_blob(&self.repository, b"{}"), "size": 2 });
        let listed = bundles.iter().map(|(kind, bundle)| {
            let blob = content.put_blob(&self.repository, bundle);
            let annotations = json!({ "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": kind });
            let attached = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": empty,
                "layers": [{ "mediaType": BUNDLE, "digest": blob, "size": bundle.len() }],
                "subject": { "mediaType": MANIFEST, "digest": digest, "size": 1 }, "annotations": annotations });
            let size = attached.to_string().len();
            json!({ "mediaType": MANIFEST, "digest": self.put(MANIFEST, &attached, &[]), "size": size,
                "artifactType": BUNDLE, "annotations": annotations })
        });
        let listed: Vec<Value> = listed.collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        self.put(INDEX, &index, &[&digest.replace(':', "-")]);
    }

    fn predicate(&self, kind: &str) -> Value {
        predicate(kind, self.repository.trim_start_matches("acme/"))
    }

    fn attach_all(&self, digest: &str, kinds: &[&'static str]) {
        let signed = kinds
            .iter()
            .map(|kind| (*kind, self.sign(digest, kind, &self.predicate(kind), "release")));
        self.attach(digest, &signed.collect::<Vec<_>>());
    }

    fn verify(&self, words: &[&str]) -> Ended {
        let image = format!("{}/{}{}", self.stub.host(), self.repository, words[0]);
        let mut all = vec!["verify", &image, "--key", "release.pub"];
        all.extend(&words[1..]);
        self.checkout.run(&all)
    }

    /// Code, and each check as JSON tells it: `name outcome`, of the reference first, then of each manifest.
    fn told(&self, words: &[&str]) -> (Option<i32>, Vec<String>) {
        let ended = self.verify(&[words, &["--format", "json"]].concat());
        let document: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("one document: {error}: {}", ended.said()));
        assert_eq!(document["exit_code"], ended.code.unwrap());
        let parts = document["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| &part["checks"]);
        let checks = std::iter::once(&document["checks"]).chain(parts);
        let checks = checks.flat_map(|checks| checks.as_array().unwrap());
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let told = checks.map(|check| format!("{} {}", word(&check["name"]), word(&check["outcome"])));
        (ended.code, told.collect())
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// What a release says of the image of that name, as shortly as it can be said.
fn predicate(kind: &str, image: &str) -> Value {
    match kind {
        SBOM => {
            json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{ "name": "serde" }] })
        }
        PROVENANCE => json!({
            "buildDefinition": { "buildType": "urn:x", "externalParameters": {},
                "internalParameters": { "release": "1.4.2", "image": image },
                "resolvedDependencies": [{ "digest": { "gitCommit": "c0ffee" } }] },
            "runDetails": { "builder": { "id": "urn:y" } } }),
        VERDICTS => {
            let gate = |gate| {
                json!({ "gate": gate, "outcome": "passed", "reason": "well", "foundBy": "run-1",
                "foundAt": "2024-11-21T10:00:00Z", "figures": {} })
            };
            json!({ "result": "PASSED", "configuration": [], "passedTests": [], "warnedTests": [], "failedTests": [],
                "release": "1.4.2", "commit": "c0ffee", "platform": "linux/amd64", "run": "run-1",
                "runAt": "2024-11-21T10:00:00Z", "gates": GATES.map(gate) })
        }
        _ => json!({}),
    }
}

const PASSED: [&str; 6] = [
    "tag and digest passed",
    "claim passed",
    "signature passed",
    "bill of materials passed",
    "provenance passed",
    "gate verdicts passed",
];

#[test]
fn a_release_is_verified_with_a_public_key_alone() {
    let (published, digest) = Published::whole("att-whole");
    let ended = published.verify(&[":1.4.2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(
        ended
            .stdout
            .contains("commit c0ffee, built by urn:y, first released as 1.4.2"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.trim_end().ends_with(":1.4.2"), "{}", ended.stdout);
    assert_eq!(
        published.told(&[":1.4.2"]),
        (Some(0), PASSED.map(str::to_owned).to_vec())
    );
    let both = format!(":1.4.2@{digest}");
    assert_eq!(published.told(&[&both]).0, Some(0));
    let other = format!(":1.4.2@sha256:{}", "0".repeat(64));
    let (code, checks) = published.told(&[&other]);
    assert_eq!((code, checks[0].as_str()), (Some(1), "tag and digest violated"));
    assert!(
        published.stub.writes().is_empty(),
        "{:?}",
        published.stub.writes()
    );
}

#[test]
fn the_referrers_api_is_asked_where_there_is_one() {
    let look = Look {
        referrers: true,
        ..Look::default()
    };
    let published = Published::new("att-api", look);
    let digest = published.image("linux/amd64", &["1.4.2", "claim-1.4.2"]);
    published.attach_all(&digest, &ALL);
    published
        .stub
        .content()
        .untag(&published.repository, &digest.replace(':', "-"));
    assert_eq!(published.told(&[":1.4.2"]).0, Some(0));
}

#[test]
fn what_is_forged_missing_or_about_something_else_fails_its_own_check() {
    let (published, digest) = Published::whole("att-forged");
    published.make_key("other");
    let violated = |published: &Published| {
        let (code, mut checks) = published.told(&[":1.4.2"]);
        checks.retain(|check| !check.ends_with(" passed"));
        assert_eq!(code, Some(1), "{checks:?}");
        checks
    };
    let signed = |kind: &'static str, key: &str| {
        (
            kind,
            published.sign(&digest, kind, &published.predicate(kind), key),
        )
    };
    let three = || {
        vec![
            signed(SIGNATURE, "release"),
            signed(PROVENANCE, "release"),
            signed(VERDICTS, "release"),
        ]
    };

    published.attach(&digest, &three());
    assert_eq!(violated(&published), ["bill of materials violated"], "none");

    published.attach(&digest, &[three(), vec![signed(SBOM, "other")]].concat());
    assert_eq!(
        violated(&published),
        ["bill of materials violated"],
        "another's key"
    );

    let mut tampered: Value = serde_json::from_slice(&signed(SBOM, "release").1).unwrap();
    tampered["dsseEnvelope"]["signatures"][0]["sig"] = serde_json::from_slice::<Value>(
        &signed(SBOM, "other").1,
    )
    .unwrap()["dsseEnvelope"]["signatures"][0]["sig"]
        .clone();
    published.attach(
        &digest,
        &[three(), vec![(SBOM, tampered.to_string().into_bytes())]].concat(),
    );
    assert_eq!(
        violated(&published),
        ["bill of materials violated"],
        "another's signature"
    );

    let elsewhere = published.image("elsewhere", &[]);
    let about = published.sign(&elsewhere, SBOM, &published.predicate(SBOM), "release");
    published.attach(&digest, &[three(), vec![(SBOM, about)]].concat());
    assert_eq!(
        violated(&published),
        ["bill of materials violated"],
        "about another digest"
    );

    let mut failed = published.predicate(VERDICTS);
    failed["gates"][4]["outcome"] = "violated".into();
    let failed = published.sign(&digest, VERDICTS, &failed, "release");
    let rest = vec![
        signed(SIGNATURE, "release"),
        signed(SBOM, "release"),
        signed(PROVENANCE, "release"),
    ];
    published.attach(&digest, &[rest, vec![(VERDICTS, failed)]].concat());
    assert_eq!(
        violated(&published),
        ["gate verdicts violated"],
        "a gate that did not pass"
    );
}

#[test]
fn a_tag_that_was_moved_is_not_what_was_released() {
    let (published, _) = Published::whole("att-moved");
    let other = published.image("linux/arm64", &["1.4.2", "2.0.0"]);
    published.attach_all(&other, &ALL);
    let (code, checks) = published.told(&[":1.4.2"]);
    assert_eq!((code, checks[1].as_str()), (Some(1), "claim violated"), "moved");
    let (code, checks) = published.told(&[":2.0.0"]);
    assert_eq!(
        (code, checks[1].as_str()),
        (Some(1), "claim violated"),
        "never claimed"
    );
    let (code, checks) = published.told(&[":3.0.0"]);
    assert_eq!(
        (code, checks),
        (Some(1), vec!["tag and digest violated".to_owned()]),
        "not there"
    );
}

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
    let gone = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
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

#[test]
fn each_image_of_an_index_is_looked_at() {
    let published = Published::new("att-index", Look::default());
    let images = ["amd64", "arm64"].map(|architecture| {
        let digest = published.image(&format!("linux/{architecture}"), &[]);
        (digest, architecture)
    });
    let listed = images.clone().map(|(digest, architecture)| {
        json!({ "mediaType": MANIFEST, "digest": digest, "size": 1,
            "platform": { "os": "linux", "architecture": architecture } })
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
    let index = published.put(INDEX, &index, &["1.4.2", "claim-1.4.2"]);
    published.attach_all(&index, &[SIGNATURE]);
    published.attach_all(&images[0].0, &ALL);
    published.attach_all(&images[1].0, &[SIGNATURE, SBOM, PROVENANCE]);
    let ended = published.verify(&[":1.4.2"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let part = ended.stdout.split("linux/arm64 ").nth(1).unwrap();
    assert!(
        part.contains("violated   gate verdicts      none is attached"),
        "{}",
        ended.stdout
    );

    let mut verdicts = published.predicate(VERDICTS);
    verdicts["platform"] = "linux/arm64".into();
    let verdicts = published.sign(&images[1].0, VERDICTS, &verdicts, "release");
    let rest = [SIGNATURE, SBOM, PROVENANCE].map(|kind| {
        (
            kind,
            published.sign(&images[1].0, kind, &published.predicate(kind), "release"),
        )
    });
    published.attach(
        &images[1].0,
        &[rest.to_vec(), vec![(VERDICTS, verdicts)]].concat(),
    );
    let ended = published.verify(&[":1.4.2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
}

#[test]
fn what_does_not_answer_is_undecided() {
    let (published, _) = Published::whole("att-silent");
    published
        .stub
        .fault_from("GET", "/manifests/", 1, Fault::Refuse(500, "UNKNOWN"));
    let (code, checks) = published.told(&[":1.4.2"]);
    assert_eq!(code, Some(3), "{checks:?}");
    assert_eq!(checks.last().unwrap(), "look undecided");
    let image = format!("{}/{}:1.4.2", published.stub.host(), published.repository);
    let mut without = published
        .checkout
        .command(&["verify", &image, "--key", "release.pub"]);
    let without = ended(without.env("PATH", published.path("bin")).output().unwrap());
    assert_eq!(without.code, Some(3), "{}", without.said());
    assert!(
        without.stderr.contains("hint: put cosign 2.4 or newer on PATH"),
        "{}",
        without.said()
    );
}

/// cosign's own example of a key that lies in no file.
#[test]
fn a_public_key_may_lie_in_a_variable() {
    let (published, _) = Published::whole("att-variable");
    let image = format!("{}/{}:1.4.2", published.stub.host(), published.repository);
    let words = ["verify", &image, "--key", "env://COSIGN_PUBLIC_KEY"];
    let key = std::fs::read_to_string(published.path("release.pub")).unwrap();
    let mut command = published.checkout.command(&words);
    let with = ended(command.env("COSIGN_PUBLIC_KEY", key).output().unwrap());
    assert_eq!(with.code, Some(0), "{}", with.said());
    let mut command = published.checkout.command(&words);
    let without = ended(command.env_remove("COSIGN_PUBLIC_KEY").output().unwrap());
    assert_eq!(without.code, Some(2), "{}", without.said());
}

#[test]
fn whom_to_trust_and_what_to_look_at_must_be_said() {
    let published = Published::new("att-usage", Look::default());
    let refused = |words: &[&str], expected: &str| {
        let ended = published.checkout.run(words);
        assert_eq!(ended.code, Some(2), "{}", ended.said());
        assert!(ended.stderr.contains(expected), "{}", ended.said());
        assert!(ended.stderr.contains("hint: "), "{}", ended.said());
    };
    refused(
        &["verify", "https://x/y", "--key", "release.pub"],
        "leave the scheme out",
    );
    let image = format!("{}/{}:1.4.2", published.stub.host(), published.repository);
    published.image("linux/amd64", &["1.4.2"]);
    published.attach_all(
        &published
            .stub
            .content()
            .tag(&published.repository, "1.4.2")
            .unwrap(),
        &[SIGNATURE],
    );
    refused(&["verify", &image, "--key", "release.key"], "it is a private key");
    refused(&["verify", &image, "--key", "no.pub"], "no trust root: no.pub");
}

#[test]
fn a_checkout_says_whom_it_trusts_and_where_a_service_is_published() {
    let (published, _) = Published::whole("att-configured");
    let (checkout, place) = (&published.checkout, format!("{}/acme", published.stub.host()));
    let image = format!("{}/{}:1.4.2", published.stub.host(), published.repository);
    let age = "[age]\nverdict_max_days = 14\ndatabase_max_days = 7\n";
    checkout.write("docker/policy/release.toml", age);
    let ended = checkout.run(&["verify", &image]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains("nothing says whose signature"),
        "{}",
        ended.said()
    );
    let policy = format!("{age}\n[trust]\nkey = \"release.pub\"\n");
    checkout.write("docker/policy/release.toml", &policy);
    let by_name = ["verify", "att-configured:1.4.2", "--registry", &place];
    for words in [&["verify", &image][..], &by_name] {
        let ended = checkout.run(words);
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        assert!(
            ended.stdout.contains("by the key release.pub"),
            "{}",
            ended.stdout
        );
        assert!(ended.stdout.contains(&image), "{}", ended.stdout);
    }
    let ended = checkout.run(&["verify", "att-configurd", "--registry", &place]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains("did you mean 'att-configured'?"),
        "{}",
        ended.said()
    );
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
