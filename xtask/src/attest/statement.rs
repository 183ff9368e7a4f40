//! Sigstore bundles: the statement in one, read without trusting it, and the manifest that attaches one to a digest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Kind;
use crate::hash;
use crate::layout::Descriptor;

/// Sigstore's bundle: signature, statement, and what is needed to check them, in one file.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The config of an artifact that has none (image-spec, "guidance for an empty descriptor"). A blob like any other.
pub const EMPTY: &[u8] = b"{}";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const STATEMENT: &str = "application/vnd.in-toto+json";

/// What a bundle claims; nothing of it is checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claim {
    pub kind: Kind,
    /// SHA-256 (hex) of each subject.
    pub subjects: Vec<String>,
    pub predicate: Value,
}

impl Claim {
    /// Reads the statement in a bundle. `Ok(None)`: it is of a kind that is none of ours.
    ///
    /// # Errors
    /// In words: it is no bundle, or none with a statement.
    pub(super) fn read(bundle: &[u8]) -> Result<Option<Self>, String> {
        let bundle: Value =
            serde_json::from_slice(bundle).map_err(|error| format!("it is no JSON: {error}"))?;
        let envelope = &bundle["dsseEnvelope"];
        if envelope["payloadType"] != STATEMENT {
            return Err("it holds no in-toto statement".to_owned());
        }
        let payload = envelope["payload"].as_str().unwrap_or_default();
        let payload = STANDARD
            .decode(payload)
            .map_err(|error| format!("its statement cannot be read: {error}"))?;
        let statement: Value = serde_json::from_slice(&payload)
            .map_err(|error| format!("its statement cannot be read: {error}"))?;
        if !statement["_type"]
            .as_str()
            .is_some_and(|name| name.starts_with("https://in-toto.io/Statement/"))
        {
            return Err("what it signs is no in-toto statement".to_owned());
        }
        let subjects = statement["subject"].as_array().into_iter().flatten();
        let subjects = subjects.filter_map(|subject| subject["digest"]["sha256"].as_str());
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| statement["predicateType"] == kind.predicate_type());
        Ok(kind.map(|kind| Claim {
            kind,
            subjects: subjects.map(str::to_owned).collect(),
            predicate: statement["predicate"].clone(),
        }))
    }

    /// # Errors
    /// In words: it is about another digest, or of another kind.
    pub(super) fn of(bundle: &[u8], kind: Kind, sha256: &str) -> Result<Value, String> {
        match Claim::read(bundle)? {
            Some(claim) if claim.kind != kind => {
                Err(format!("it is a {}, no {}", claim.kind.word(), kind.word()))
            }
            Some(claim) if !claim.subjects.iter().any(|subject| subject == sha256) => {
                let about = claim.subjects.first().map_or("nothing", String::as_str);
                Err(format!("it is about {about}, not about {sha256}"))
            }
            Some(claim) => Ok(claim.predicate),
            None => Err(format!("it is no {}", kind.word())),
        }
    }
}

/// The manifest that attaches a bundle to a subject (OCI 1.1 artifact, `artifactType` the bundle's media type), as
/// exact bytes: the same bundle gives the same bytes. It names two blobs, [`EMPTY`] and the bundle.
pub fn attachment(kind: Kind, subject: &Descriptor, bundle: &[u8]) -> Vec<u8> {
    let blob = |media_type: &str, bytes: &[u8]| {
        json!({
            "mediaType": media_type,
            "digest": format!("sha256:{}", hash::of(bytes)),
            "size": bytes.len(),
        })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": blob("application/vnd.oci.empty.v1+json", EMPTY),
        "layers": [blob(BUNDLE, bundle)],
        "subject": {
            "mediaType": subject.media_type,
            "digest": subject.digest,
            "size": subject.size,
        },
        // By these cosign tells what it looks for, without fetching every bundle.
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": kind.predicate_type(),
        },
    });
    manifest.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(statement: &Value) -> Vec<u8> {
        let payload = STANDARD.encode(statement.to_string());
        let envelope = json!({ "payloadType": STATEMENT, "payload": payload, "signatures": [] });
        json!({ "mediaType": BUNDLE, "dsseEnvelope": envelope })
            .to_string()
            .into_bytes()
    }

    fn statement(kind: &str, sha256: &str) -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": kind,
            "subject": [{ "name": "x", "digest": { "sha256": sha256 } }],
            "predicate": { "a": 1 },
        })
    }

    #[test]
    fn a_claim_is_held_to_its_kind_and_subject() {
        let sbom = bundle(&statement(Kind::Sbom.predicate_type(), "aa"));
        assert_eq!(Claim::of(&sbom, Kind::Sbom, "aa"), Ok(json!({ "a": 1 })));
        let said = |bundle: &[u8], kind, sha256| Claim::of(bundle, kind, sha256).unwrap_err();
        assert_eq!(said(&sbom, Kind::Sbom, "bb"), "it is about aa, not about bb");
        assert_eq!(
            said(&sbom, Kind::Provenance, "aa"),
            "it is a bill of materials, no provenance"
        );
        let foreign = bundle(&statement("https://example.org/x", "aa"));
        assert_eq!(said(&foreign, Kind::Sbom, "aa"), "it is no bill of materials");
        let mut nothing = statement(Kind::Sbom.predicate_type(), "aa");
        nothing["subject"] = json!([]);
        assert_eq!(
            said(&bundle(&nothing), Kind::Sbom, "aa"),
            "it is about nothing, not about aa"
        );
    }

    #[test]
    fn what_is_no_bundle_is_said_to_be_none() {
        let said = |bytes: &[u8]| Claim::read(bytes).unwrap_err();
        assert!(said(b"<html>").starts_with("it is no JSON"));
        assert_eq!(said(b"{}"), "it holds no in-toto statement");
        let broken = json!({ "dsseEnvelope": { "payloadType": STATEMENT, "payload": "%" } }).to_string();
        assert!(said(broken.as_bytes()).starts_with("its statement cannot be read"));
        let other = bundle(&json!({ "_type": "link" }));
        assert_eq!(said(&other), "what it signs is no in-toto statement");
    }

    #[test]
    fn an_attachment_is_the_same_bytes_each_time() {
        let subject = Descriptor {
            media_type: MANIFEST.into(),
            digest: format!("sha256:{}", "a".repeat(64)),
            size: 7,
            artifact_type: None,
            platform: None,
            annotations: [("x".to_owned(), "y".to_owned())].into(),
        };
        let bytes = attachment(Kind::Provenance, &subject, b"bundle");
        assert_eq!(bytes, attachment(Kind::Provenance, &subject, b"bundle"));
        let read: crate::layout::Manifest = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read.artifact_type.as_deref(), Some(BUNDLE));
        assert_eq!(read.subject.unwrap().annotations.len(), 0);
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap());
    }
}
