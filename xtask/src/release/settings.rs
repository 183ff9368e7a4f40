//! Where a release goes and what it asks for: `[workspace.metadata.release]` of the root's Cargo.toml (version,
//! registry) and `docker/policy/release.toml` (ages, trust).

use anyhow::{Result, bail};

use crate::attest::Trust;
use crate::context::Context;

/// How old a verdict may be when its image is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Days; of every gate's verdict.
    pub verdict_max_days: u32,
    /// Days; of the vulnerability database that the scan asked.
    pub database_max_days: u32,
}

/// Everything that is configured about releases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[workspace.metadata.release] version`: what the next release is called.
    pub version: Option<semver::Version>,
    /// Registry host, e.g. `ghcr.io`, and owner, e.g. `acme` (may have several parts, may be empty).
    pub host: String,
    pub owner: String,
    pub ages: Ages,
    /// Whom `verify` trusts where no flag says.
    pub trust: Option<Trust>,
    /// The public source, for provenance: GitHub's variables, or the remote `origin` of git.
    pub source: Option<String>,
}

impl Settings {
    /// `registry` is the flag's or variable's `HOST/OWNER`.
    ///
    /// # Errors
    /// Exit 2: names file, key and remedy.
    pub async fn read(context: &Context, registry: Option<&str>) -> Result<Self> {
        bail!("{} {registry:?}: not there yet", context.run_id)
    }

    /// The repository's name within the registry: `owner/image`.
    pub fn repository(&self, image: &str) -> String {
        match self.owner.as_str() {
            "" => image.to_owned(),
            owner => format!("{owner}/{image}"),
        }
    }
}
