//! An image as an archive: an OCI layout in a tar, as the engine exports it. Read front to back, never unpacked to
//! the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use serde::Deserialize;

/// A layer, as a manifest names it.
#[derive(Debug, Clone, Deserialize)]
pub struct Layer {
    digest: String,
    #[serde(rename = "mediaType")]
    media_type: String,
    /// Bytes as they are stored and sent, most often compressed.
    pub size: u64,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

/// The layers of the image `digest`, base first.
///
/// # Errors
/// An archive that cannot be read, or that holds no such manifest.
pub fn layers(archive: &Path, digest: &str) -> Result<Vec<Layer>> {
    let mut tar = open(archive)?;
    for entry in tar.entries().context("the archive cannot be read")? {
        let mut entry = entry.context("the archive is cut off")?;
        if entry.path()?.to_string_lossy() == blob(digest) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            let manifest: Manifest = serde_json::from_slice(&bytes)
                .with_context(|| format!("the manifest {digest} is not one"))?;
            return Ok(manifest.layers);
        }
    }
    bail!("the archive holds no {digest}: not an OCI layout (is the containerd image store on?)")
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
    let mut wanted: BTreeMap<String, &Layer> =
        layers.iter().map(|layer| (blob(&layer.digest), layer)).collect();
    let mut tar = open(archive)?;
    for entry in tar.entries().context("the archive cannot be read")? {
        let mut entry = entry.context("the archive is cut off")?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let Some(layer) = wanted.remove(&path) else {
            continue;
        };
        let visited = if layer.media_type.ends_with("gzip") {
            visit(&mut GzDecoder::new(entry))
        } else if layer.media_type.ends_with("tar") {
            visit(&mut entry)
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
        Some(missing) => bail!("the archive holds no layer {}", missing.digest),
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
