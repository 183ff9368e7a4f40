//! Before anything is sent: the bytes of every image are laid into the journal's folder, so that a release that is
//! resumed sends what this one would have sent, wherever the images came from.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::plan::{ImageRelease, ReleasePlan};
use super::preconditions::Source;
use crate::attest::EMPTY;
use crate::cache::whole;
use crate::exit::Failure;
use crate::hash;
use crate::layout::Layout;
use crate::proof::Proof;

/// Copies what the plan names out of where it was proven, each blob checked.
///
/// # Errors
/// A blob is missing or damaged there; a disk that is full.
pub fn lay_down(folder: &Path, plan: &ReleasePlan, sources: &[Source]) -> Result<Layout> {
    let layout = open(folder)?;
    keep(&layout, EMPTY)?;
    for image in &plan.images {
        lay_image(&layout, image, sources)?;
    }
    for (number, source) in sources.iter().enumerate() {
        let text = serde_json::to_vec_pretty(source.verified.proof())?;
        let path = folder.join(format!("proof-{number}.json"));
        whole(&path, "new", &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(layout)
}

/// The layout in a journal's folder.
///
/// # Errors
/// It cannot be made.
pub fn open(folder: &Path) -> Result<Layout> {
    Layout::create(&folder.join("layout"))
}

/// The proofs that a journal was begun with.
///
/// # Errors
/// Exit 3: the folder is damaged.
pub fn proofs(folder: &Path) -> Result<Vec<Proof>> {
    let paths = (0..).map(|number| folder.join(format!("proof-{number}.json")));
    paths
        .take_while(|path| path.exists())
        .map(|path| {
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
        })
        .collect()
}

fn lay_image(layout: &Layout, image: &ImageRelease, sources: &[Source]) -> Result<()> {
    for manifest in &image.manifests {
        let has_it = |source: &&Source| source.layout.blob(&manifest.digest).exists();
        let source = sources.iter().find(has_it).with_context(|| {
            format!(
                "{} for {} is in none of the folders",
                image.image, manifest.platform
            )
        })?;
        let blobs = manifest.blobs.iter().map(|blob| &blob.digest);
        for digest in blobs.chain([&manifest.digest]) {
            copy(&source.layout.blob(digest), &layout.blob(digest), digest)?;
        }
    }
    match &image.index {
        Some(index) => keep(layout, index.text.as_bytes()).map(drop),
        None => Ok(()),
    }
}

/// Keeps bytes of our own; their digest.
///
/// # Errors
/// A disk that is full.
pub fn keep(layout: &Layout, bytes: &[u8]) -> Result<String> {
    let digest = format!("sha256:{}", hash::of(bytes));
    let path = layout.blob(&digest);
    whole(&path, "new", bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(digest)
}

/// A blob is there under its name only when it is whole.
fn copy(from: &Path, to: &Path, digest: &str) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    let fresh = to.with_extension("new");
    std::fs::copy(from, &fresh)
        .with_context(|| format!("cannot copy {} to {}", from.display(), fresh.display()))?;
    if format!("sha256:{}", hash::of_file(&fresh)?) != digest {
        let what = format!("{} is not what its name says", from.display());
        return Err(
            Failure::undecided(what, "export the images again: `cargo xtask ci --export DIR`").into(),
        );
    }
    std::fs::rename(&fresh, to).with_context(|| format!("cannot write {}", to.display()))
}
