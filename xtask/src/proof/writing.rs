//! A proof on disk: `proof.json`, and beside it each bill of materials in a file of its own, which anyone can read and
//! which a run that looked at nothing anew copies as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{FILE, Proof};
use crate::cache::whole;
use crate::hash;

#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    proof: &'a Proof,
    /// Image -> SHA-256 of its bill.
    bills: BTreeMap<&'a str, String>,
}

/// Where the bill of an image lies.
pub fn bill(folder: &Path, image: &str) -> PathBuf {
    folder.join("sbom").join(format!("{image}.cdx.json"))
}

/// Writes a proof and its bills (digest -> CycloneDX) into a folder.
///
/// # Errors
/// It cannot be written.
pub fn write(folder: &Path, proof: &Proof, bills: &BTreeMap<String, String>) -> Result<()> {
    let put = |file: PathBuf, bytes: &[u8]| {
        whole(&file, "new", bytes).with_context(|| format!("cannot write {}", file.display()))
    };
    let mut sums = BTreeMap::new();
    for image in &proof.images {
        if let Some(text) = bills.get(&image.digest) {
            put(bill(folder, &image.image), text.as_bytes())?;
            sums.insert(image.image.as_str(), hash::of(text));
        }
    }
    let written = Written { proof, bills: sums };
    // Last: what is named in it is there.
    put(folder.join(FILE), &serde_json::to_vec(&written)?)
}
