//! The proof of a run: which images it proved, how, and by which verdicts. A `ci` run over all services writes one;
//! `release` takes nothing else. [`Verified`] can be made from a proof alone, and only where every gate passed.

mod finding;
mod making;
#[cfg(test)]
pub mod testing;
mod travelling;
mod verified;
mod writing;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attest::Job;
use crate::verdict::{Origin, Record};

pub use finding::{from_folder, latest};
pub use making::{Made, Proven};
pub use travelling::{images_from_engine, refuse};
pub use verified::Verified;

/// Of [`Proof::version`].
const VERSION: u32 = 1;

/// In a run's folder, and beside exported images.
const FILE: &str = "proof.json";

/// Beside exported images: the digest and name of each, as `sha256sum` would write them.
pub const CHECKSUMS: &str = "checksums.txt";

/// What a whole run came to. One file, `proof.json`, in the run's folder and beside exported images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// Raised whenever the shape changes; another one is refused by name.
    pub version: u32,
    pub run_id: String,
    pub started_at: jiff::Timestamp,
    /// The commit that was checked out, in full; `unknown` where git knows none.
    pub commit: String,
    /// Whether anything in the checkout differed from that commit.
    pub dirty: bool,
    /// Of every image here, e.g. `linux/amd64`.
    pub platform: String,
    /// What the run was made with: engine, Trivy, database (words for a reader).
    pub environment: Vec<String>,
    /// `local` or `upstream`, and each base image: as the Dockerfile names it -> as it was taken.
    pub bases_origin: String,
    pub bases: BTreeMap<String, String>,
    /// Each file that says what the gates let pass: path in the checkout -> SHA-256 (hex).
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// The job of GitHub Actions that it was a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    pub images: Vec<ProvenImage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvenImage {
    pub service: String,
    /// The repository's last part, e.g. `horme-frontend`.
    pub image: String,
    /// The crate's own version.
    pub crate_version: String,
    /// The platform manifest's digest: what was tested.
    pub digest: String,
    /// The fingerprint of its inputs.
    pub key: String,
    /// As in its labels.
    pub revision: String,
    pub dockerfile: String,
    /// The build's arguments.
    pub args: BTreeMap<String, String>,
    /// The run that built it, and when.
    pub built_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_started_at: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_finished_at: Option<jiff::Timestamp>,
    /// What it was built with, as the programs call themselves: buildx, engine.
    #[serde(default)]
    pub built_with: Vec<String>,
    /// Every gate's verdict. A reused one says from which run, and how old it was at `started_at`.
    pub records: Vec<Record>,
    /// The CycloneDX bill of what is in it (JSON), made when it was scanned; `None` where no scanner looked. On disk it
    /// is a file of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<serde_json::Value>,
}

impl Proof {
    /// When a verdict was found: by this run, or by the one that it was reused from.
    pub fn found_at(&self, record: &Record) -> jiff::Timestamp {
        let age_s = match record.origin {
            Origin::Fresh => 0,
            Origin::Reused { age_s, .. } => i64::try_from(age_s).unwrap_or(i64::MAX),
        };
        let age = jiff::SignedDuration::from_secs(age_s);
        self.started_at
            .checked_sub(age)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}
