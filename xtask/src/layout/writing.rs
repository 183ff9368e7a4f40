//! Putting an image into a layout: each blob under another name first, and under its own once it is whole and what its
//! digest says; the image's name last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest, Sha256};

use super::{Descriptor, Layout, NAME, image_manifest, is_digest};
use crate::archive;
use crate::exit::Failure;
use crate::hash;

impl Layout {
    /// Takes everything that the image `digest` consists of out of an archive that the engine exported, each blob
    /// checked against its digest, and names it in `index.json` (in place of another image of that name).
    ///
    /// # Errors
    /// Exit 2: the archive holds no image manifest of that digest (the engine's classic image store keeps none).
    /// Otherwise: a blob is missing or damaged; a disk that is full.
    pub fn add(&self, archive: &Path, digest: &str, name: &str) -> Result<()> {
        is_digest(digest)?;
        let bytes = archive::bytes(archive, digest).map_err(|error| {
            let hint = "images travel by digest out of an engine with the containerd image store alone";
            Failure::usage(format!("{name}: {error:#}"), hint)
        })?;
        let manifest =
            image_manifest(&bytes).map_err(|why| Failure::usage(format!("{name}: {why}"), NATIVE))?;
        let mut sizes = BTreeMap::from([(digest.to_owned(), bytes.len() as u64)]);
        for part in manifest.parts() {
            is_digest(&part.digest)?;
            sizes.insert(part.digest.clone(), part.size);
        }
        let mut wanted: BTreeSet<String> = sizes
            .iter()
            .filter(|(digest, size)| !self.has(digest, **size))
            .map(|(digest, _)| digest.clone())
            .collect();
        archive::blobs(archive, &mut wanted, |digest, content| {
            self.write_blob(digest, sizes.get(digest).copied().unwrap_or_default(), content)
        })?;
        if let Some(missing) = wanted.first() {
            bail!("{name}: the engine's archive holds no {missing}");
        }
        self.name(digest, name)
    }

    /// Whether a blob is here, whole.
    fn has(&self, digest: &str, size: u64) -> bool {
        let file = self.blob(digest);
        let as_long = file.metadata().is_ok_and(|facts| facts.len() == size);
        as_long && hash::of_file(&file).is_ok_and(|found| digest.strip_prefix("sha256:") == Some(&found))
    }

    fn write_blob(&self, digest: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let file = self.blob(digest);
        let fresh = file.with_extension("part");
        let written = copy(content, &fresh).and_then(|(length, found)| {
            if length != size || digest.strip_prefix("sha256:") != Some(&found) {
                bail!("the engine's archive is damaged: {digest} has {length} bytes and is sha256:{found}");
            }
            std::fs::rename(&fresh, &file)?;
            Ok(())
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        written.with_context(|| format!("cannot write {}", file.display()))
    }

    fn name(&self, digest: &str, name: &str) -> Result<()> {
        let mut manifests: Vec<Descriptor> =
            self.images()?.into_iter().map(|(_, manifest)| manifest).collect();
        manifests.retain(|other| other.annotations.get(NAME).is_none_or(|other| other != name));
        let mut manifest = self.descriptor(digest)?;
        manifest.annotations.insert(NAME.to_owned(), name.to_owned());
        manifests.push(manifest);
        manifests.sort_by(|a, b| a.annotations.cmp(&b.annotations));
        self.write_index(manifests)
    }
}

const NATIVE: &str =
    "an image is built here for the engine's own platform: build it anew, `cargo xtask ci --fresh`";

/// Copies to a file and onto the disk; gives the length and the SHA-256 of what was copied.
fn copy(content: &mut dyn Read, to: &Path) -> Result<(u64, String)> {
    let mut file = File::create(to)?;
    let (mut hasher, mut piece, mut length) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let count = content.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        file.write_all(&piece[..count])?;
        length += count as u64;
    }
    file.sync_data()?;
    Ok((length, hash::hex(hasher)))
}
