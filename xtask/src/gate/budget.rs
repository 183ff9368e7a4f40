//! The size gate: an image's layers, unpacked and compressed, against the service's budget, the accepted sizes and
//! the waste that policy allows. *Compressed* is the sum of the layer blobs in the manifest, *unpacked* that of the
//! uncompressed layers.

pub mod anatomy;
pub mod baseline;
mod crates;
mod files;
pub mod growth;
mod measure;
pub mod twin;

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::build::Built;
use crate::context::Context;
use crate::engine::Engine;
use crate::evidence::Subject;
use crate::fingerprint::dockerfile;
use crate::verdict::{Check, Gate, Record};
use anatomy::Anatomy;
use baseline::Baseline;
use growth::Accepted;
use measure::Look;
use twin::Twins;

/// What the verdict on one image is true of.
pub fn subject(context: &Context, image: &Built, baseline: &Baseline) -> Subject {
    let service = &image.plan.service;
    let digest = [(service.name.clone(), image.digest.clone())];
    // The Dockerfile tells which layers are ours, and whether there is a twin.
    let dockerfile = image
        .plan
        .inputs
        .files
        .get(&service.dockerfile().display().to_string());
    let settings = json!([
        service.budget_bytes,
        baseline.settings(&service.image),
        dockerfile,
        twin::absent(context, image)
    ]);
    Subject::new(Gate::Budget, &service.name, digest, settings, Vec::new())
}

/// Judges one image by its archive.
pub async fn check(
    context: &Context,
    engine: &Engine,
    image: &Built,
    baseline: &Baseline,
    twins: &Twins<'_>,
) -> Result<Record> {
    let service = &image.plan.service;
    let text = std::fs::read_to_string(context.root.join(service.dockerfile())).unwrap_or_default();
    let look = Look {
        archive: image.export(engine).await?.clone(),
        digest: image.digest.clone(),
        own_words: dockerfile::shipped(&text).words,
        twin: twins.of(image).await,
    };
    let anatomy = tokio::task::spawn_blocking(move || look.measure()).await??;
    let growth = baseline.judge(&service.image, &anatomy);
    let waste = baseline.judge_waste(&anatomy);
    let record = judge(
        &service.name,
        &anatomy,
        service.budget_bytes,
        growth.into_iter().chain([waste]),
    );
    Ok(match baseline.of(&service.image) {
        Some(accepted) => record.figure("baseline_bytes", accepted.unpacked_bytes),
        None => record,
    })
}

/// The sizes in the verdicts of a run, by image name: what `--accept` accepts.
pub fn measured(records: &[Record], image_of: &BTreeMap<&str, &str>) -> BTreeMap<String, Accepted> {
    let sizes = records
        .iter()
        .filter(|record| record.gate == Gate::Budget)
        .filter_map(|record| {
            let accepted = Accepted::of(&Anatomy::of_figures(&record.figures)?);
            Some(((*image_of.get(record.service.as_str())?).to_owned(), accepted))
        });
    sizes.collect()
}

fn judge(service: &str, anatomy: &Anatomy, budget_bytes: u64, more: impl Iterator<Item = Check>) -> Record {
    let unpacked_bytes = anatomy.unpacked_bytes;
    let shown = format!("{} of {}", mb(unpacked_bytes), mb(budget_bytes));
    let check = if unpacked_bytes <= budget_bytes {
        Check::passed(
            "unpacked",
            format!("{shown} unpacked, {} compressed", mb(anatomy.compressed_bytes)),
        )
    } else {
        let over = mb(unpacked_bytes - budget_bytes);
        Check::violated(
            "over budget",
            format!(
                "{} unpacked, {over} over the budget of {}",
                mb(unpacked_bytes),
                mb(budget_bytes)
            ),
            "make it smaller, or raise image.budget in the service's Cargo.toml where the growth is worth it",
        )
    };
    let checks = std::iter::once(check).chain(more).collect();
    let mut record =
        Record::from_checks(service, Gate::Budget, checks, shown).figure("budget_bytes", budget_bytes);
    if let Ok(Value::Object(figures)) = serde_json::to_value(anatomy) {
        record.figures.extend(figures);
    }
    record
}

/// Bytes as decimal megabytes with two digits.
pub fn mb(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn over_budget_is_violated_and_says_by_how_much() {
        let anatomy = Anatomy {
            unpacked_bytes: 17_000_000,
            compressed_bytes: 6_000_000,
            ..Anatomy::default()
        };
        let record = judge("gateway", &anatomy, 16_000_000, std::iter::empty());
        assert_eq!(record.outcome, Outcome::Violated);
        assert_eq!(
            record.reason,
            "over budget: 17.00 MB unpacked, 1.00 MB over the budget of 16.00 MB"
        );
        let record = judge("gateway", &anatomy, 17_000_000, std::iter::empty());
        assert_eq!(record.outcome, Outcome::Passed);
        assert_eq!(Anatomy::of_figures(&record.figures), Some(anatomy));
    }
}
