//! The signature that `cosign verify` of version 2 and most admission controllers look for: a "simple signing" payload
//! that names the digest, its signature in an annotation, in a manifest under the tag `sha256-<hex>.sig`.

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::hash;

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// What is pushed: two blobs, and the manifest under its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classic {
    pub tag: String,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub payload: Vec<u8>,
}

/// What is signed; the same bytes each time.
pub(super) fn payload(reference: &str, digest: &str) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": reference },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// Makes of a signature's bundle (`attest::sign_classic`) what is pushed: the same bytes for the same bundle.
///
/// # Errors
/// The bundle holds no signature of a payload.
pub fn classic(reference: &str, digest: &str, bundle: &[u8]) -> Result<Classic> {
    let bundle: Value = serde_json::from_slice(bundle)?;
    let signature = bundle["messageSignature"]["signature"]
        .as_str()
        .ok_or_else(|| anyhow!("the bundle of {digest} holds no signature"))?;
    let mut annotations = Map::new();
    annotations.insert("dev.cosignproject.cosign/signature".into(), signature.into());
    if let Some(certificate) = certificate(&bundle) {
        annotations.insert("dev.sigstore.cosign/certificate".into(), certificate.into());
    }
    if let Some(entry) = log_entry(&bundle) {
        annotations.insert("dev.sigstore.cosign/bundle".into(), entry.into());
    }
    let payload = payload(reference, digest);
    let config = config(&payload);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [with(descriptor(SIMPLE_SIGNING, &payload), annotations)],
    });
    Ok(Classic {
        tag: format!("{}.sig", digest.replace(':', "-")),
        manifest: manifest.to_string().into_bytes(),
        config,
        payload,
    })
}

/// Registries ask an image for one; it says nothing but what the layer is.
fn config(payload: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": "",
        "config": {},
        "created": "0001-01-01T00:00:00Z",
        "history": [{ "created": "0001-01-01T00:00:00Z" }],
        "os": "",
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hash::of(payload))] },
    });
    config.to_string().into_bytes()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    let digest = format!("sha256:{}", hash::of(bytes));
    json!({ "mediaType": media_type, "size": bytes.len(), "digest": digest })
}

fn with(mut descriptor: Value, annotations: Map<String, Value>) -> Value {
    descriptor["annotations"] = annotations.into();
    descriptor
}

/// Whoever signed without a key, as PEM.
fn certificate(bundle: &Value) -> Option<String> {
    let der = bundle["verificationMaterial"]["certificate"]["rawBytes"].as_str()?;
    let lines: Vec<&str> = der
        .as_bytes()
        .chunks(64)
        .filter_map(|line| str::from_utf8(line).ok())
        .collect();
    let lines = lines.join("\n");
    Some(format!(
        "-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
    ))
}

/// The log's promise, in the words of the older format. A log that makes none (Rekor 2) cannot be said in it.
fn log_entry(bundle: &Value) -> Option<String> {
    let entry = &bundle["verificationMaterial"]["tlogEntries"][0];
    let promise = entry["inclusionPromise"]["signedEntryTimestamp"].as_str()?;
    // 64-bit numbers are strings there.
    let number = |name: &str| entry[name].as_str().and_then(|text| text.parse::<i64>().ok());
    let log = STANDARD.decode(entry["logId"]["keyId"].as_str()?).ok()?;
    let log: String = log.iter().map(|byte| format!("{byte:02x}")).collect();
    let said = json!({
        "SignedEntryTimestamp": promise,
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": number("integratedTime")?,
            "logIndex": number("logIndex")?,
            "logID": log,
        },
    });
    Some(said.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::testing::digest;

    fn made(material: &Value) -> (Classic, Value) {
        let bundle = json!({
            "verificationMaterial": material,
            "messageSignature": { "signature": "c2ln" },
        });
        let made = classic("ghcr.io/acme/x", &digest('a'), bundle.to_string().as_bytes()).unwrap();
        let manifest: Value = serde_json::from_slice(&made.manifest).unwrap();
        let annotations = manifest["layers"][0]["annotations"].clone();
        (made, annotations)
    }

    #[test]
    fn a_key_leaves_a_signature_alone() {
        let (made, annotations) = made(&json!({ "publicKey": { "hint": "x" } }));
        assert_eq!(
            annotations,
            json!({ "dev.cosignproject.cosign/signature": "c2ln" })
        );
        assert_eq!(made.tag, format!("sha256-{}.sig", "a".repeat(64)));
        insta::assert_snapshot!(String::from_utf8(made.payload).unwrap());
        insta::assert_snapshot!(String::from_utf8(made.manifest).unwrap());
    }

    #[test]
    fn an_identity_brings_its_certificate_and_the_logs_promise() {
        let (_, annotations) = made(&json!({
            "certificate": { "rawBytes": "QUJD" },
            "tlogEntries": [{
                "logIndex": "12", "integratedTime": "1763715600", "logId": { "keyId": "AQI=" },
                "inclusionPromise": { "signedEntryTimestamp": "c2V0" }, "canonicalizedBody": "Ym9keQ==",
            }],
        }));
        assert_eq!(
            annotations["dev.sigstore.cosign/certificate"],
            "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
        );
        assert_eq!(
            annotations["dev.sigstore.cosign/bundle"],
            r#"{"SignedEntryTimestamp":"c2V0","Payload":{"body":"Ym9keQ==","integratedTime":1763715600,"logIndex":12,"logID":"0102"}}"#
        );
    }

    #[test]
    fn a_bundle_of_something_else_is_refused() {
        assert!(classic("x", &digest('a'), b"{\"dsseEnvelope\":{}}").is_err());
    }
}
