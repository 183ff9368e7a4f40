//! The size gate: an image's layers, unpacked and compressed, against the service's budget.
//! *Compressed* is the sum of the layer blobs in the manifest, *unpacked* that of the uncompressed layers.

pub mod baseline;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::archive;
use crate::build::Built;
use crate::engine::Engine;
use crate::evidence::Subject;
use crate::verdict::{Check, Gate, Record};
use baseline::{Accepted, Baseline};

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub unpacked_bytes: u64,
    pub compressed_bytes: u64,
    pub layers: usize,
}

/// What the verdict on one image is true of.
pub fn subject(image: &Built, baseline: &Baseline) -> Subject {
    let service = &image.plan.service;
    let digest = [(service.name.clone(), image.digest.clone())];
    let settings = json!([service.budget_bytes, baseline.settings(&service.image)]);
    Subject::new(Gate::Budget, &service.name, digest, settings, Vec::new())
}

/// Judges one image by its archive.
pub async fn check(engine: &Engine, image: &Built, baseline: &Baseline) -> Result<Record> {
    let (archive, digest) = (image.export(engine).await?.clone(), image.digest.clone());
    let sizes = tokio::task::spawn_blocking(move || measure(&archive, &digest)).await??;
    let service = &image.plan.service;
    let growth = baseline.judge(&service.image, sizes);
    Ok(judge(&service.name, sizes, service.budget_bytes, growth))
}

/// The sizes in the verdicts of a run, by image name: what `--accept` accepts.
pub fn measured(records: &[Record], image_of: &BTreeMap<&str, &str>) -> BTreeMap<String, Accepted> {
    let sizes = records
        .iter()
        .filter(|record| record.gate == Gate::Budget)
        .filter_map(|record| {
            let bytes = |name: &str| record.figures.get(name)?.as_u64();
            let accepted = Accepted {
                unpacked_bytes: bytes("unpacked_bytes")?,
                compressed_bytes: bytes("compressed_bytes")?,
            };
            Some(((*image_of.get(record.service.as_str())?).to_owned(), accepted))
        });
    sizes.collect()
}

fn judge(service: &str, sizes: Sizes, budget_bytes: u64, growth: Option<Check>) -> Record {
    let shown = format!("{} of {}", mb(sizes.unpacked_bytes), mb(budget_bytes));
    let check = if sizes.unpacked_bytes <= budget_bytes {
        Check::passed(
            "unpacked",
            format!("{shown} unpacked, {} compressed", mb(sizes.compressed_bytes)),
        )
    } else {
        let over = mb(sizes.unpacked_bytes - budget_bytes);
        Check::violated(
            "over budget",
            format!(
                "{} unpacked, {over} over the budget of {}",
                mb(sizes.unpacked_bytes),
                mb(budget_bytes)
            ),
            "make it smaller, or raise image.budget in the service's Cargo.toml where the growth is worth it",
        )
    };
    let checks = std::iter::once(check).chain(growth).collect();
    Record::from_checks(service, Gate::Budget, checks, shown)
        .figure("unpacked_bytes", sizes.unpacked_bytes)
        .figure("compressed_bytes", sizes.compressed_bytes)
        .figure("budget_bytes", budget_bytes)
        .figure("layers", sizes.layers)
}

/// Bytes as decimal megabytes with two digits.
pub fn mb(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

/// Measures an OCI archive: the manifest of `digest` and its layers.
///
/// # Errors
/// An archive without that manifest or one of its layers, or a layer that cannot be unpacked.
fn measure(path: &Path, digest: &str) -> Result<Sizes> {
    let layers = archive::layers(path, digest)?;
    let mut sizes = Sizes {
        unpacked_bytes: 0,
        compressed_bytes: layers.iter().map(|layer| layer.size).sum(),
        layers: layers.len(),
    };
    archive::unpack(path, &layers, |layer| {
        sizes.unpacked_bytes += std::io::copy(layer, &mut std::io::sink())?;
        Ok(())
    })?;
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;
    use std::io::Write;

    fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, bytes).unwrap();
    }

    fn archive_with_a_gzip_and_a_plain_layer() -> tempfile::NamedTempFile {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&[7; 100_000]).unwrap();
        let packed = packer.finish().unwrap();
        let manifest = serde_json::json!({ "layers": [
            { "digest": "sha256:aa", "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": packed.len() },
            { "digest": "sha256:bb", "mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 500 },
        ]});
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, "blobs/sha256/aa", &packed);
        add(&mut tar, "blobs/sha256/bb", &[1; 500]);
        add(&mut tar, "blobs/sha256/mm", manifest.to_string().as_bytes());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&tar.into_inner().unwrap()).unwrap();
        file
    }

    #[test]
    fn layers_are_unpacked_and_added_up() {
        let archive = archive_with_a_gzip_and_a_plain_layer();
        let sizes = measure(archive.path(), "sha256:mm").unwrap();
        assert_eq!((sizes.unpacked_bytes, sizes.layers), (100_500, 2));
        assert!(sizes.compressed_bytes < 2_000, "{}", sizes.compressed_bytes);
    }

    #[test]
    fn an_archive_without_the_digest_is_an_error_not_a_zero() {
        let archive = archive_with_a_gzip_and_a_plain_layer();
        assert!(measure(archive.path(), "sha256:other").is_err());
    }

    #[test]
    fn over_budget_is_violated_and_says_by_how_much() {
        let sizes = Sizes {
            unpacked_bytes: 17_000_000,
            compressed_bytes: 6_000_000,
            layers: 2,
        };
        let record = judge("gateway", sizes, 16_000_000, None);
        assert_eq!(record.outcome, Outcome::Violated);
        assert_eq!(
            record.reason,
            "over budget: 17.00 MB unpacked, 1.00 MB over the budget of 16.00 MB"
        );
        assert_eq!(judge("gateway", sizes, 17_000_000, None).outcome, Outcome::Passed);
    }
}
