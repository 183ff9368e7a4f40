//! What is attached to a published digest: its signature, bill of materials, provenance and gate verdicts, each an
//! in-toto statement about the digest in a Sigstore bundle, signed by cosign.

mod job;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::context::Context;
use crate::proof::{Proof, ProvenImage};

pub use job::Job;

/// A kind of statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Signature,
    Sbom,
    Provenance,
    Verdicts,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Signature, Kind::Sbom, Kind::Provenance, Kind::Verdicts];

    /// The statement's predicate type.
    pub fn predicate_type(self) -> &'static str {
        match self {
            // What cosign 3 signs and looks for.
            Kind::Signature => "https://sigstore.dev/cosign/sign/v1",
            Kind::Sbom => "https://cyclonedx.org/bom",
            Kind::Provenance => "https://slsa.dev/provenance/v1",
            Kind::Verdicts => "https://in-toto.io/attestation/test-result/v0.1",
        }
    }
}

/// What a release is called, for its statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release<'a> {
    /// `1.4.2`; of a snapshot, its first tag.
    pub version: &'a str,
    pub commit: &'a str,
    /// Where the source lies, e.g. `https://github.com/owner/horme`, where git or GitHub's variables tell.
    pub source: Option<&'a str>,
}

/// With what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A key file, a KMS address or `env://NAME`, as cosign takes it.
    Key(String),
    /// The identity of a job (OIDC): GitHub Actions.
    Keyless,
}

/// Whom a reader trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A public key file or a KMS address.
    Key(String),
    /// Who signed, as the certificate names it: exact, or a regular expression where it begins with `^`.
    Identity { issuer: String, identity: String },
}

/// The statement's predicate, in the shape that its type asks for.
///
/// # Errors
/// There is no bill of materials (no scanner looked).
pub fn predicate(kind: Kind, release: &Release, proof: &Proof, image: &ProvenImage) -> Result<Value> {
    bail!(
        "{kind:?} {release:?} {} {}: not there yet",
        proof.run_id,
        image.image
    )
}

/// Signs a statement about the manifest in `subject` (its digest is the statement's subject) and writes the Sigstore
/// bundle to `bundle`.
///
/// # Errors
/// cosign is missing or fails: names what it said.
pub async fn sign(
    context: &Context,
    signer: &Signer,
    kind: Kind,
    predicate: &Value,
    subject: &Path,
    bundle: &Path,
) -> Result<()> {
    bail!(
        "{} {signer:?} {kind:?} {predicate} {} {}: not there yet",
        context.run_id,
        subject.display(),
        bundle.display()
    )
}

/// The manifest that attaches a bundle to a subject (OCI 1.1 artifact, `artifactType` the bundle's media type), as
/// exact bytes: the same bundle gives the same bytes.
pub fn attachment(kind: Kind, subject: &crate::layout::Descriptor, bundle: &[u8]) -> Vec<u8> {
    let _ = (kind, subject, bundle);
    Vec::new()
}

/// Checks a bundle: the signature against whom the reader trusts, the subject against the digest, the type against the
/// kind (cosign alone does not). Gives the predicate.
///
/// # Errors
/// Exit 1: it does not hold. Exit 3: it could not be checked.
pub async fn verify(
    context: &Context,
    trust: &Trust,
    kind: Kind,
    manifest: &Path,
    bundle: &Path,
) -> Result<Value> {
    let _: PathBuf = bundle.into();
    bail!(
        "{} {trust:?} {kind:?} {}: not there yet",
        context.run_id,
        manifest.display()
    )
}
