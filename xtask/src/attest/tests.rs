//! Statements as cosign itself signs them and takes them: signed here, checked here, and found in a registry by its
//! own commands, which know nothing of us.

use std::path::{Path, PathBuf};

use super::statement::BUNDLE;
use super::*;
use crate::cli::RunOptions;
use crate::context::Context;
use crate::exit::{Exit, explain};
use crate::hash;
use crate::layout::Descriptor;
use crate::process::{self, Call, Output};
use crate::registry::stub::Stub;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const REPOSITORY: &str = "acme/x";

/// A folder with a pair of keys, a manifest, and what is signed about it.
struct Bench {
    folder: tempfile::TempDir,
    context: Context,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = RunOptions {
            cache_dir: Some(folder.path().join("cache")),
            ..RunOptions::default()
        };
        let bench = Bench {
            context: Context::new(folder.path().to_path_buf(), options),
            folder,
        };
        let empty = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2,
            "digest": format!("sha256:{}", hash::of(EMPTY)) });
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [] });
        std::fs::write(bench.manifest(), manifest.to_string()).unwrap();
        bench.make_key("release").await;
        bench
    }

    async fn make_key(&self, name: &str) {
        let made = self
            .cosign(&["generate-key-pair", "--output-key-prefix", name])
            .await;
        assert!(
            made.success(),
            "cosign (`cargo xtask test --setup`): {}",
            made.stderr
        );
    }

    async fn cosign(&self, words: &[&str]) -> Output {
        let mut argv = vec!["cosign"];
        argv.extend(words);
        let call = Call::new(argv).cwd(self.folder.path()).env("COSIGN_PASSWORD", "");
        process::run(&self.context, &call).await.unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn manifest(&self) -> PathBuf {
        self.path("manifest")
    }

    fn subject(&self) -> Descriptor {
        let bytes = std::fs::read(self.manifest()).unwrap();
        Descriptor {
            media_type: MANIFEST.into(),
            digest: format!("sha256:{}", hash::of(&bytes)),
            size: bytes.len() as u64,
            artifact_type: None,
            platform: None,
            annotations: [].into(),
        }
    }

    fn signer(&self) -> Signer {
        Signer::Key(self.path("release.key").display().to_string())
    }

    fn trust(&self, name: &str) -> Trust {
        Trust::Key(self.path(name).display().to_string())
    }

    async fn signed(&self, kind: Kind) -> PathBuf {
        let proof = testing::proof();
        let said = predicate(kind, &testing::release(), &proof, &proof.images[0]).unwrap();
        let bundle = self.path(&format!("{}.bundle", kind.word()));
        let signer = self.signer();
        let signed = sign(&self.context, &signer, kind, &said, &self.manifest(), &bundle).await;
        signed.unwrap();
        bundle
    }

    async fn verify(&self, key: &str, kind: Kind, bundle: &Path) -> (Exit, String) {
        let trust = self.trust(key);
        match verify(&self.context, &trust, kind, &self.manifest(), bundle).await {
            Ok(predicate) => (Exit::Passed, predicate.to_string()),
            Err(error) => explain(&error),
        }
    }
}

#[tokio::test]
async fn what_is_signed_is_read_back_word_for_word() {
    let bench = Bench::new().await;
    let proof = testing::proof();
    for kind in Kind::ALL {
        let bundle = bench.signed(kind).await;
        let expected = predicate(kind, &testing::release(), &proof, &proof.images[0]).unwrap();
        let (exit, said) = bench.verify("release.pub", kind, &bundle).await;
        assert_eq!(exit, Exit::Passed, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn what_was_changed_or_is_somebody_elses_does_not_hold() {
    let bench = Bench::new().await;
    bench.make_key("other").await;
    let bundle = bench.signed(Kind::Sbom).await;
    let (exit, said) = bench.verify("other.pub", Kind::Sbom, &bundle).await;
    assert_eq!(exit, Exit::Violated, "{said}");
    assert!(said.contains("the bill of materials does not hold: "), "{said}");
    let (exit, said) = bench.verify("release.pub", Kind::Provenance, &bundle).await;
    assert_eq!(exit, Exit::Violated, "{said}");
    assert!(
        said.contains("it is a bill of materials, no provenance"),
        "{said}"
    );

    let mut tampered: Value = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
    let payload = tampered["dsseEnvelope"]["payload"].as_str().unwrap().to_owned();
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let text = String::from_utf8(base64.decode(payload).unwrap()).unwrap();
    let text = text.replacen("serde", "torch", 1);
    tampered["dsseEnvelope"]["payload"] = base64.encode(text).into();
    let changed = bench.path("tampered");
    std::fs::write(&changed, tampered.to_string()).unwrap();
    let (exit, said) = bench.verify("release.pub", Kind::Sbom, &changed).await;
    assert_eq!(exit, Exit::Violated, "{said}");

    std::fs::write(bench.manifest(), "{}").unwrap();
    let (exit, said) = bench.verify("release.pub", Kind::Sbom, &bundle).await;
    assert_eq!(exit, Exit::Violated, "{said}");
    assert!(said.contains("it is about "), "{said}");
    let (exit, said) = bench.verify("release.key", Kind::Sbom, &bundle).await;
    assert_eq!(exit, Exit::Usage, "{said}");
}

#[tokio::test]
async fn a_password_that_opens_nothing_is_wrong_usage() {
    let bench = Bench::new().await;
    let call = Call::new(["cosign", "generate-key-pair", "--output-key-prefix", "locked"])
        .cwd(bench.path(""))
        .env("COSIGN_PASSWORD", "x");
    assert!(process::run(&bench.context, &call).await.unwrap().success());
    let signer = Signer::Key(bench.path("locked.key").display().to_string());
    let bundle = bench.path("b");
    let (said, manifest) = (json!({}), bench.manifest());
    let signed = sign(
        &bench.context,
        &signer,
        Kind::Signature,
        &said,
        &manifest,
        &bundle,
    )
    .await;
    let (exit, said) = explain(&signed.unwrap_err());
    assert_eq!(exit, Exit::Usage, "{said}");
    assert!(said.contains("COSIGN_PASSWORD does not open"), "{said}");
    assert!(!bundle.exists(), "nothing half-signed stays");
}

/// Pushes image, attachments and the index of them, as a registry without the referrers API is given them.
async fn published(bench: &Bench, stub: &Stub, kinds: &[Kind]) {
    let (content, subject) = (stub.content(), bench.subject());
    content.put_blob(REPOSITORY, EMPTY);
    let manifest = std::fs::read(bench.manifest()).unwrap();
    content.put_manifest(REPOSITORY, "1.4.2", MANIFEST, &manifest);
    let mut listed = Vec::new();
    for kind in kinds {
        let bundle = std::fs::read(bench.signed(*kind).await).unwrap();
        content.put_blob(REPOSITORY, &bundle);
        let attached = attachment(*kind, &subject, &bundle);
        let digest = format!("sha256:{}", hash::of(&attached));
        content.put_manifest(REPOSITORY, &digest, MANIFEST, &attached);
        let annotations = serde_json::from_slice::<Value>(&attached).unwrap()["annotations"].clone();
        listed.push(
            json!({ "mediaType": MANIFEST, "digest": digest, "size": attached.len(),
            "artifactType": BUNDLE, "annotations": annotations }),
        );
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let tag = subject.digest.replace(':', "-");
    content.put_manifest(REPOSITORY, &tag, INDEX, index.as_bytes());
}

#[tokio::test]
async fn cosign_itself_finds_and_takes_what_is_attached() {
    let (bench, stub) = (Bench::new().await, Stub::start());
    published(&bench, &stub, &[Kind::Signature, Kind::Provenance]).await;
    std::fs::write(bench.path("roots"), crate::tool::cosign::NO_ROOTS).unwrap();
    let image = format!("{}/{REPOSITORY}:1.4.2", stub.host());
    let found = async |key: &str, kind: Kind| {
        let words = [
            "verify-attestation",
            "--new-bundle-format",
            "--insecure-ignore-tlog",
            "--trusted-root",
            "roots",
            "--key",
            key,
            "--type",
            kind.predicate_type(),
            &image,
        ];
        bench.cosign(&words).await
    };
    let taken = found("release.pub", Kind::Provenance).await;
    assert!(taken.success(), "{}", taken.stderr);
    bench.make_key("other").await;
    assert!(!found("other.pub", Kind::Provenance).await.success());
}

#[tokio::test]
async fn cosign_2_takes_the_classic_signature() {
    let (bench, stub) = (Bench::new().await, Stub::start());
    published(&bench, &stub, &[]).await;
    let (image, digest) = (format!("{}/{REPOSITORY}", stub.host()), bench.subject().digest);
    let bundle = bench.path("classic.bundle");
    let signer = bench.signer();
    sign_classic(&bench.context, &signer, &image, &digest, &bundle)
        .await
        .unwrap();
    let made = classic(&image, &digest, &std::fs::read(&bundle).unwrap()).unwrap();
    let content = stub.content();
    content.put_blob(REPOSITORY, &made.config);
    content.put_blob(REPOSITORY, &made.payload);
    content.put_manifest(REPOSITORY, &made.tag, MANIFEST, &made.manifest);
    let named = format!("{image}:1.4.2");
    let verified = async |key: &str| {
        let words = ["verify", "--insecure-ignore-tlog", "--key", key, &named];
        bench.cosign(&words).await
    };
    let taken = verified("release.pub").await;
    assert!(taken.success(), "{}", taken.stderr);
    assert!(taken.stdout.contains(&digest), "{}", taken.stdout);
    bench.make_key("other").await;
    assert!(!verified("other.pub").await.success());
}

#[test]
fn a_signature_says_nothing_and_a_bill_says_what_the_scanner_wrote() {
    let proof = testing::proof();
    let release = testing::release();
    let predicate = |kind| predicate(kind, &release, &proof, &proof.images[0]).unwrap();
    assert_eq!(predicate(Kind::Signature), json!({}));
    assert_eq!(Some(predicate(Kind::Sbom)), proof.images[0].sbom);
}

#[test]
fn a_bill_of_nothing_is_none() {
    let mut proof = testing::proof();
    for sbom in [None, Some(json!({ "bomFormat": "CycloneDX", "components": [] }))] {
        proof.images[0].sbom = sbom;
        let error = predicate(Kind::Sbom, &testing::release(), &proof, &proof.images[0]).unwrap_err();
        assert_eq!(error.to_string(), "horme-frontend: no scanner said what is in it");
    }
}

/// The bill of a run over the real services (every kind of component that it lists, three of each): what is signed is
/// the document itself, with all that the standard requires of one.
#[test]
fn the_bill_of_a_real_image_is_signed_as_it_is_and_whole_by_the_standard() {
    let bill = include_str!("../../tests/captured/bill/horme-frontend.cdx.json");
    let bill: Value = serde_json::from_str(bill).unwrap();
    let mut proof = testing::proof();
    proof.images[0].sbom = Some(bill.clone());
    let said = predicate(Kind::Sbom, &testing::release(), &proof, &proof.images[0]).unwrap();
    assert_eq!(said, bill);

    let schema = include_str!("../../tests/schemas/cyclonedx-1.6-required.json");
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&serde_json::from_str(schema).unwrap())
        .unwrap();
    let faults: Vec<String> = schema.iter_errors(&said).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    for (place, value) in [
        ("/components/0/type", json!("crate")),
        ("/components/0/name", Value::Null),
        ("/serialNumber", json!("1")),
        ("/metadata/timestamp", json!("today")),
        ("/dependencies/0/ref", json!("")),
    ] {
        let mut broken = said.clone();
        *broken.pointer_mut(place).unwrap() = value;
        assert!(!schema.is_valid(&broken), "{place}");
    }

    let component = &said["metadata"]["component"];
    let listed = said["components"].as_array().unwrap().iter().chain([component]);
    let names: Vec<&Value> = listed.map(|component| &component["bom-ref"]).collect();
    for dependency in said["dependencies"].as_array().unwrap() {
        let on = dependency["dependsOn"].as_array().into_iter().flatten();
        for name in on.chain([&dependency["ref"]]) {
            assert!(names.contains(&name), "{name} is no component");
        }
    }
}
