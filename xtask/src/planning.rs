//! From the checkout to the plan: what cargo, git, the pins and the files say, gathered for `plan.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bases;
use crate::catalogue::{self, Catalogue};
use crate::context::Context;
use crate::exit::Failure;
use crate::fingerprint::{self, Checkout, Inputs};
use crate::hash;
use crate::plan::{self, Plan};
use crate::process;
use crate::revision;
use crate::setup;
use crate::tool::cargo;
use crate::verdict::Gate;

/// A catalogue as it was read from these manifests.
#[derive(Serialize, Deserialize)]
struct ReadCatalogue {
    /// Every manifest that cargo read -> its hash.
    manifests: BTreeMap<PathBuf, String>,
    catalogue: Catalogue,
}

/// Whose catalogue it is.
#[derive(Serialize)]
struct Workspace<'a> {
    root: &'a Path,
    lock: String,
    /// The folders that could hold a member.
    members: Vec<PathBuf>,
    pipeline: &'static str,
}

/// Reads the services' manifests: through cargo where any of them changed, otherwise as it was read before.
///
/// # Errors
/// Exit 2 with every problem of every manifest.
pub async fn read_catalogue(context: &Context) -> Result<Catalogue> {
    let workspace = workspace(&context.root);
    if let Some(kept) = context.cache.get::<ReadCatalogue>("catalogue", &workspace) {
        let ReadCatalogue { manifests, catalogue } = kept.value;
        if manifests
            .iter()
            .all(|(path, known)| hash::of_file(path).is_ok_and(|now| now == *known))
        {
            catalogue::check_dockerfiles(&context.root, &catalogue)?;
            return Ok(catalogue);
        }
    }
    let output = process::run(context, &cargo::metadata(&context.root)).await?;
    if !output.success() {
        let what = format!(
            "the services' workspace cannot be read:\n{}",
            output.last_lines(12)
        );
        let hint = "`cargo metadata --locked` must pass; a stale Cargo.lock: `cargo update -w`";
        return Err(Failure::usage(what, hint).into());
    }
    let metadata =
        cargo_metadata::MetadataCommand::parse(output.stdout).context("cargo metadata cannot be read")?;
    let catalogue = catalogue::read(&context.root, &metadata)?;
    let local = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none());
    let files = local.map(|package| package.manifest_path.clone().into_std_path_buf());
    let files = files.chain([
        context.root.join("Cargo.toml"),
        context.root.join(".cargo/config.toml"),
    ]);
    let manifests = files
        .filter_map(|path| Some((path.clone(), hash::of_file(&path).ok()?)))
        .collect();
    let read = ReadCatalogue { manifests, catalogue };
    context.cache.put("catalogue", &workspace, &read);
    Ok(read.catalogue)
}

fn workspace(root: &Path) -> Workspace<'_> {
    let folders = std::fs::read_dir(root.join("services"))
        .into_iter()
        .flatten()
        .flatten();
    let mut members: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    members.sort();
    Workspace {
        root,
        lock: hash::of_file(&root.join("Cargo.lock")).unwrap_or_default(),
        members,
        pipeline: env!("HORME_PIPELINE"),
    }
}

/// The plan of this run, and what a reader should know of how it came about.
///
/// # Errors
/// Exit 2: an unknown service, malformed pins or `.dockerignore`.
pub async fn work_out(
    context: &Context,
    catalogue: &Catalogue,
    gates: &[Gate],
) -> Result<(Plan, Vec<String>)> {
    let mut catalogue = catalogue.clone();
    fingerprint::add_copied(&context.root, &mut catalogue.services);
    let catalogue = &catalogue;
    let selected = catalogue.select(&context.options.services)?;
    let checkout = Checkout::read(&context.root)?;
    let (revisions, bases) = tokio::join!(
        revision::revisions(context, catalogue, &checkout),
        bases::resolve(context, context.options.bases)
    );
    let (revisions, bases) = (revisions, bases?);
    let mut inputs = BTreeMap::new();
    for service in &catalogue.services {
        let gathered = Inputs::gather(&context.root, &checkout, service, &bases.contexts)?;
        inputs.insert(service.name.clone(), gathered);
    }
    let plan = plan::work_out(
        catalogue,
        &selected,
        &revisions.of,
        &inputs,
        bases,
        setup::ca_bundle(),
        gates,
    );
    Ok((plan, revisions.words))
}
