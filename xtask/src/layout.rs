//! Images as files: an OCI image layout (image-spec, `image-layout.md`) in a folder, several images in one. This is
//! how images travel between jobs and wait to be pushed: as the very bytes that were tested.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// What a manifest says of something else (image-spec, `descriptor.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    /// `sha256:<64 hex digits>`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
}

/// An image manifest, as far as it names other content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    #[serde(default)]
    pub media_type: Option<String>,
    #[serde(default)]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default)]
    pub subject: Option<Descriptor>,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A layout in a folder.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// Makes an empty layout, or opens the one that is there.
    ///
    /// # Errors
    /// The folder cannot be written, or holds something else.
    pub fn create(folder: &Path) -> Result<Self> {
        bail!("{}: not there yet", folder.display())
    }

    /// # Errors
    /// Exit 2: the folder holds no layout.
    pub fn open(folder: &Path) -> Result<Self> {
        bail!("{}: not there yet", folder.display())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes everything that the image `digest` consists of out of an archive that the engine exported, each blob
    /// checked against its digest, and names it in `index.json`.
    ///
    /// # Errors
    /// A blob is missing or damaged; a disk that is full.
    pub fn add(&self, archive: &Path, digest: &str, name: &str) -> Result<()> {
        bail!("{} {digest} {name}: not there yet", archive.display())
    }

    /// Where the content of a digest lies.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.folder
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    /// The exact bytes of a manifest, checked against its digest.
    ///
    /// # Errors
    /// It is missing or damaged (names file and remedy).
    pub fn manifest_bytes(&self, digest: &str) -> Result<Vec<u8>> {
        bail!("{digest}: not there yet")
    }

    /// # Errors
    /// As of [`Layout::manifest_bytes`]; it is no image manifest.
    pub fn manifest(&self, digest: &str) -> Result<Manifest> {
        bail!("{digest}: not there yet")
    }
}
