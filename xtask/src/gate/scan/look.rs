//! The look itself: Trivy on an image's archive, what the files of its layers are, and nothing of any policy.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::files::{self, OddFile};
use super::{Scanner, layers::Layers};
use crate::build::Built;
use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::gate::step;
use crate::plan::Limits;
use crate::process;
use crate::tool::trivy::{self, Report, Scanners};
use crate::verdict::Gate;

/// What a scan found, before any policy.
#[derive(Serialize, Deserialize)]
pub struct Seen {
    pub report: Report,
    pub crates: BTreeSet<String>,
    pub odd_files: Vec<OddFile>,
    pub layers: Layers,
}

/// Runs Trivy. Crates come from the report where there is a database; without one, from a bill of materials.
pub async fn look(
    context: &Context,
    engine: &Engine,
    scanner: &Scanner,
    image: &Built,
    limits: &Limits,
) -> Result<Seen> {
    let archive = image.export(engine).await?;
    let name = step(Gate::Scan, &image.plan.service.name);
    let output = context.run_dir.join("scan").join(format!("{name}.json"));
    let cache = context.run_dir.join("scan").join(format!("{name}.cache"));
    std::fs::create_dir_all(&cache).context("cannot create the scan's folder")?;
    let (dir, scanners) = match &scanner.database {
        Some(database) => (database.dir.as_path(), Scanners::All),
        None => (cache.as_path(), Scanners::WithoutDatabase),
    };
    let call = trivy::scan(&scanner.trivy, archive, dir, &output, scanners);
    let text = report(context, call, &output, &name, limits).await?;
    let mut report = trivy::parse(&text).map_err(|error| unreadable(&name, &error.to_string()))?;
    let dockerfile = std::fs::read_to_string(context.root.join(image.plan.service.dockerfile()));
    let layers = Layers::read(&text, &dockerfile.unwrap_or_default())
        .map_err(|error| unreadable(&name, &error.to_string()))?;
    let mut crates: BTreeSet<String> = report.crates().collect();
    if scanner.database.is_none() {
        let output = context.run_dir.join("scan").join(format!("{name}.cdx.json"));
        let call = trivy::bill(&scanner.trivy, archive, dir, &output);
        let text = self::report(context, call, &output, &name, limits).await?;
        crates = trivy::crates_in_bill(&text)
            .map_err(|error| unreadable(&name, &error.to_string()))?
            .into_iter()
            .collect();
    }
    let _ = std::fs::remove_dir_all(&cache);
    report
        .results
        .iter_mut()
        .for_each(|result| result.packages.clear());
    let (archive, digest) = (archive.clone(), image.digest.clone());
    let odd_files = tokio::task::spawn_blocking(move || files::odd(&archive, &digest)).await??;
    Ok(Seen {
        report,
        crates,
        odd_files,
        layers,
    })
}

/// The text of a report that this very call has written.
async fn report(
    context: &Context,
    call: process::Call,
    output: &Path,
    name: &str,
    limits: &Limits,
) -> Result<String> {
    let _ = std::fs::remove_file(output);
    let mut call = call.log(context.log(name));
    call.deadline = Duration::from_millis(limits.scan_deadline_ms);
    let ended = process::run(context, &call).await?;
    std::fs::read_to_string(output).map_err(|_| {
        let why = format!(
            "Trivy ended with {} and wrote no report:\n{}",
            ended.status,
            ended.last_lines(3)
        );
        Failure::undecided(why, format!("see logs/{name}.log")).into()
    })
}

fn unreadable(name: &str, why: &str) -> anyhow::Error {
    Failure::undecided(
        format!("Trivy's report cannot be read: {why}"),
        format!("see logs/{name}.log"),
    )
    .into()
}
