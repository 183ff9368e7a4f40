//! What is attached to a published digest: its signature, bill of materials, provenance and gate verdicts, each an
//! in-toto statement about the digest in a Sigstore bundle, signed by cosign.

mod classic;
mod find;
mod job;
mod own;
mod provenance;
mod signing;
mod statement;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod verdicts;

use anyhow::Result;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::proof::{Proof, ProvenImage};

pub use classic::{Classic, classic};
pub use find::{Attached, find, work_folder};
pub use job::Job;
pub use own::own_trust;
pub use signing::{provide, sign, sign_classic, verify};
pub use statement::{EMPTY, attachment};
pub use verdicts::Verdicts;

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

    /// As a reader calls it, and a check of it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Signature => "signature",
            Kind::Sbom => "bill of materials",
            Kind::Provenance => "provenance",
            Kind::Verdicts => "gate verdicts",
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
/// Exit 3: there is no bill of materials, or one of nothing (no scanner looked).
pub fn predicate(kind: Kind, release: &Release, proof: &Proof, image: &ProvenImage) -> Result<Value> {
    Ok(match kind {
        Kind::Signature => json!({}),
        Kind::Sbom => bill(image)?.clone(),
        Kind::Provenance => provenance::predicate(release, proof, image),
        Kind::Verdicts => verdicts::predicate(release, proof, image),
    })
}

fn bill(image: &ProvenImage) -> Result<&Value, Failure> {
    let lists_something = |bill: &&Value| count_components(bill) > 0;
    image.sbom.as_ref().filter(lists_something).ok_or_else(|| {
        Failure::undecided(
            format!("{}: no scanner said what is in it", image.image),
            "`cargo xtask ci --fresh` scans it again",
        )
    })
}

/// How many components a CycloneDX document lists.
pub fn count_components(bill: &Value) -> usize {
    bill["components"].as_array().map_or(0, Vec::len)
}
