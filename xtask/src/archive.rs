//! An image as an archive: an OCI layout in a tar, as the engine exports it. Read front to back, never unpacked to
//! the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A layer, as a manifest names it.
#[derive(Debug, Clone, Deserialize)]
pub struct Layer {
    pub digest: String,
    #[serde(rename = "mediaType")]
    media_type: String,
    /// Bytes as they are stored and sent, most often compressed.
    pub size: u64,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
    config: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    digest: String,
}

/// An image's configuration, as far as it says where layers come from and what is started.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Configuration {
    /// One entry an instruction, the base's first.
    #[serde(default)]
    pub history: Vec<Step>,
    #[serde(default)]
    pub config: Start,
}

/// An instruction that an image was made by.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Step {
    #[serde(default)]
    pub created_by: String,
    /// It changed the configuration alone.
    #[serde(default)]
    pub empty_layer: bool,
}

/// What an image starts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Start {
    #[serde(default, rename = "Entrypoint")]
    pub entrypoint: Option<Vec<String>>,
}

/// The layers of the image `digest`, base first.
///
/// # Errors
/// An archive that cannot be read, or that holds no such manifest.
pub fn layers(archive: &Path, digest: &str) -> Result<Vec<Layer>> {
    let manifest: Manifest = read(archive, digest)?;
    Ok(manifest.layers)
}

/// The configuration of the image `digest`; an empty one where its manifest names none.
///
/// # Errors
/// As of [`layers`].
pub fn configuration(archive: &Path, digest: &str) -> Result<Configuration> {
    let manifest: Manifest = read(archive, digest)?;
    match manifest.config {
        Some(config) => read(archive, &config.digest),
        None => Ok(Configuration::default()),
    }
}

/// What is stored under a digest, as JSON.
fn read<T: DeserializeOwned>(archive: &Path, digest: &str) -> Result<T> {
    serde_json::from_slice(&bytes(archive, digest)?).with_context(|| format!("{digest} cannot be understood"))
}

/// What is stored under a digest, as it is.
///
/// # Errors
/// An archive that cannot be read, or that holds no such content.
pub fn bytes(archive: &Path, digest: &str) -> Result<Vec<u8>> {
    let (mut wanted, mut bytes) = (BTreeSet::from([digest.to_owned()]), Vec::new());
    blobs(archive, &mut wanted, |_, content| {
        content.read_to_end(&mut bytes)?;
        Ok(())
    })?;
    match wanted.is_empty() {
        true => Ok(bytes),
        false => {
            bail!("the archive holds no {digest}: not an OCI layout (is the containerd image store on?)")
        }
    }
}

/// Hands what is stored under each of the digests to `visit`, in the order in which the archive holds it; what it does
/// not hold stays in `wanted`.
///
/// # Errors
/// An archive that cannot be read, and whatever `visit` refuses.
pub fn blobs(
    archive: &Path,
    wanted: &mut BTreeSet<String>,
    mut visit: impl FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut tar = open(archive)?;
    for entry in tar.entries().context("the archive cannot be read")? {
        let mut entry = entry.context("the archive is cut off")?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let found = wanted.iter().find(|digest| blob(digest) == path).cloned();
        if let Some(digest) = found {
            visit(&digest, &mut entry)?;
            wanted.remove(&digest);
        }
        if wanted.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Hands the plain tar of each layer to `visit`, in the order in which the archive holds them.
///
/// # Errors
/// A layer that is missing, or packed in a way that is not known here; and whatever `visit` refuses.
pub fn unpack(
    archive: &Path,
    layers: &[Layer],
    mut visit: impl FnMut(&mut dyn Read) -> Result<()>,
) -> Result<()> {
    unpack_each(archive, layers, |_, layer| visit(layer))
}

/// The same, with the places that each layer has among `layers`: one that is there twice is stored once.
///
/// # Errors
/// As of [`unpack`].
pub fn unpack_each(
    archive: &Path,
    layers: &[Layer],
    mut visit: impl FnMut(&[usize], &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut wanted: BTreeMap<String, (Vec<usize>, &Layer)> = BTreeMap::new();
    for (place, layer) in layers.iter().enumerate() {
        let (places, _) = wanted.entry(blob(&layer.digest)).or_insert((Vec::new(), layer));
        places.push(place);
    }
    let mut tar = open(archive)?;
    for entry in tar.entries().context("the archive cannot be read")? {
        let mut entry = entry.context("the archive is cut off")?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let Some((places, layer)) = wanted.remove(&path) else {
            continue;
        };
        let visited = if layer.media_type.ends_with("gzip") {
            // Registries hold layers of several members too; a reader of the first alone would see a part, silently.
            visit(&places, &mut MultiGzDecoder::new(entry))
        } else if layer.media_type.ends_with("tar") {
            visit(&places, &mut entry)
        } else {
            bail!(
                "the layer {} is packed as {}, which is not known here",
                layer.digest,
                layer.media_type
            )
        };
        visited.with_context(|| format!("{} cannot be unpacked", layer.digest))?;
    }
    match wanted.into_values().next() {
        Some((_, missing)) => bail!("the archive holds no layer {}", missing.digest),
        None => Ok(()),
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn open(archive: &Path) -> Result<tar::Archive<File>> {
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    Ok(tar::Archive::new(file))
}
