//! Images as files: an OCI image layout (image-spec, `image-layout.md`) in a folder, several images in one. This is
//! how images travel between jobs and wait to be pushed: as the very bytes that were tested.

mod writing;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cache::whole;
use crate::exit::Failure;
use crate::hash;

/// What an index and the only kinds of image manifest that there are call themselves.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Under which an entry of `index.json` says its name.
const NAME: &str = "org.opencontainers.image.ref.name";

/// The file that marks a folder as a layout, and the one version of it that there is.
const MARK: &str = "oci-layout";
const LAYOUT_VERSION: &str = "1.0.0";

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

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
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

impl Manifest {
    /// What the image consists of beside the manifest itself: its configuration, then its layers, base first.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or(MANIFEST)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    image_layout_version: String,
}

/// `index.json`: the images by name.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
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
    /// Exit 2: the folder holds something else. Otherwise: it cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        if folder.join(MARK).exists() {
            return Self::open(folder);
        }
        let mut entries = std::fs::read_dir(folder).into_iter().flatten();
        if entries.next().is_some() {
            let what = format!("{} holds something else than images", folder.display());
            return Err(Failure::usage(what, "name an empty folder, or one that does not exist yet").into());
        }
        let layout = Layout {
            folder: folder.to_owned(),
        };
        let cannot = || format!("cannot write to {}", folder.display());
        std::fs::create_dir_all(folder.join("blobs/sha256")).with_context(cannot)?;
        layout.write_index(Vec::new())?;
        let mark = Mark {
            image_layout_version: LAYOUT_VERSION.to_owned(),
        };
        // Last: what bears it is whole.
        whole(&folder.join(MARK), "new", &serde_json::to_vec(&mark)?).with_context(cannot)?;
        Ok(layout)
    }

    /// # Errors
    /// Exit 2: the folder holds no layout, or one of another version.
    pub fn open(folder: &Path) -> Result<Self> {
        let layout = Layout {
            folder: folder.to_owned(),
        };
        let mark: Mark = read(&folder.join(MARK))?;
        if mark.image_layout_version != LAYOUT_VERSION {
            let (file, version) = (folder.join(MARK), mark.image_layout_version);
            let what = format!("{}: version {version}, not {LAYOUT_VERSION}", file.display());
            return Err(Failure::usage(what, AGAIN).into());
        }
        layout.images()?;
        Ok(layout)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every image here: name and manifest.
    ///
    /// # Errors
    /// Exit 2: `index.json` is missing or damaged.
    pub fn images(&self) -> Result<Vec<(String, Descriptor)>> {
        let index: Index = read(&self.folder.join("index.json"))?;
        let named = index.manifests.into_iter();
        let named = named.filter_map(|manifest| Some((manifest.annotations.get(NAME)?.clone(), manifest)));
        Ok(named.collect())
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
    /// Exit 2: it is missing or damaged (names file and remedy).
    pub fn manifest_bytes(&self, digest: &str) -> Result<Vec<u8>> {
        is_digest(digest)?;
        let file = self.blob(digest);
        let bytes = std::fs::read(&file).map_err(|error| unreadable(&file, &error))?;
        same(&file, digest, &hash::of(&bytes))?;
        Ok(bytes)
    }

    /// # Errors
    /// As of [`Layout::manifest_bytes`]; it is no image manifest.
    pub fn manifest(&self, digest: &str) -> Result<Manifest> {
        image_manifest(&self.manifest_bytes(digest)?)
            .map_err(|why| Failure::usage(format!("{}: {why}", self.blob(digest).display()), AGAIN).into())
    }

    /// What names an image manifest: its media type, digest, size and platform.
    ///
    /// # Errors
    /// As of [`Layout::manifest`], of the manifest and of the configuration.
    pub fn descriptor(&self, digest: &str) -> Result<Descriptor> {
        let bytes = self.manifest_bytes(digest)?;
        let manifest = self.manifest(digest)?;
        let config = self.manifest_bytes(&manifest.config.digest)?;
        let platform = serde_json::from_slice(&config).map_err(|error| {
            let file = self.blob(&manifest.config.digest);
            Failure::usage(format!("{}: {error}", file.display()), AGAIN)
        })?;
        Ok(Descriptor {
            media_type: manifest.media_type().to_owned(),
            digest: digest.to_owned(),
            size: bytes.len() as u64,
            artifact_type: None,
            platform: Some(platform),
            annotations: Default::default(),
        })
    }

    /// Whether everything that an image consists of is here and whole.
    ///
    /// # Errors
    /// Exit 2, naming the first file that is missing or damaged.
    pub fn check(&self, digest: &str) -> Result<()> {
        let manifest = self.manifest(digest)?;
        let mut seen = BTreeSet::new();
        for part in manifest.parts().filter(|part| seen.insert(&part.digest)) {
            self.check_blob(part)?;
        }
        Ok(())
    }

    fn check_blob(&self, part: &Descriptor) -> Result<()> {
        is_digest(&part.digest)?;
        let file = self.blob(&part.digest);
        let facts = file.metadata().map_err(|error| unreadable(&file, &error))?;
        if facts.len() != part.size {
            let what = format!("{}: {} bytes, not {}", file.display(), facts.len(), part.size);
            return Err(Failure::usage(what, AGAIN).into());
        }
        let found = hash::of_file(&file).map_err(|error| unreadable(&file, &error))?;
        same(&file, &part.digest, &found)
    }

    fn write_index(&self, manifests: Vec<Descriptor>) -> Result<()> {
        let index = Index {
            schema_version: 2,
            media_type: Some(INDEX.to_owned()),
            manifests,
        };
        let file = self.folder.join("index.json");
        whole(&file, "new", &serde_json::to_vec_pretty(&index)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The remedy of a folder that is not as it was written.
const AGAIN: &str = "carry the whole folder over again, or export anew: `cargo xtask ci --export DIR`";

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = std::fs::read(file).map_err(|error| unreadable(file, &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display()), AGAIN).into())
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", file.display()), AGAIN)
}

/// A digest of the one kind that is known here; what else is called one could lead out of the folder.
fn is_digest(digest: &str) -> Result<()> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let plain = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match plain {
        true => Ok(()),
        false => {
            Err(Failure::usage(format!("'{digest}' is no digest (sha256:<64 hex digits>)"), AGAIN).into())
        }
    }
}

fn same(file: &Path, digest: &str, found: &str) -> Result<()> {
    if digest.strip_prefix("sha256:") == Some(found) {
        return Ok(());
    }
    let what = format!("{}: damaged, its content is sha256:{found}", file.display());
    Err(Failure::usage(what, AGAIN).into())
}

/// Why some bytes are no manifest of one image.
fn image_manifest(bytes: &[u8]) -> Result<Manifest, String> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| format!("no image manifest: {error}"))?;
    match manifest.media_type() {
        MANIFEST | DOCKER_MANIFEST => Ok(manifest),
        other => Err(format!("{other}, not the manifest of one image")),
    }
}

#[cfg(test)]
mod tests;
