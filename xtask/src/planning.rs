//! From the checkout to the plan: what cargo, git, the pins and the files say, gathered for `plan.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cargo_metadata::Metadata;
use serde::Serialize;

use crate::bases;
use crate::catalogue::{self, Catalogue};
use crate::context::Context;
use crate::engine;
use crate::exit::Failure;
use crate::fingerprint::{self, Checkout, Inputs};
use crate::hash;
use crate::plan::{self, Plan};
use crate::process::{self, Call};
use crate::revision;
use crate::setup;
use crate::tool::cargo;
use crate::verdict::Gate;

/// Whose catalogue it is.
#[derive(Serialize)]
struct Workspace<'a> {
    root: &'a Path,
    lock: String,
    /// The folders that could hold a member.
    members: Vec<PathBuf>,
    target: &'static str,
    pipeline: &'static str,
}

/// Reads the services' manifests: through cargo where any of them changed, otherwise as it was read before.
///
/// # Errors
/// Exit 2 with every problem of every manifest.
pub async fn read_catalogue(context: &Context) -> Result<Catalogue> {
    let workspace = workspace(&context.root);
    if let Some(kept) = context.cache.get::<Catalogue>("catalogue", &workspace) {
        let catalogue = kept.value;
        let as_read = |(path, known): (&PathBuf, &String)| hash::of_file(path).is_ok_and(|now| now == *known);
        if !context.options.fresh && catalogue.manifests.iter().all(as_read) {
            catalogue::check_dockerfiles(&context.root, &catalogue)?;
            return Ok(catalogue);
        }
    }
    let metadata = asked(context, &cargo::metadata(&context.root)).await?;
    let metadata =
        cargo_metadata::MetadataCommand::parse(metadata).context("cargo metadata cannot be read")?;
    let mut catalogue = catalogue::read(&context.root, &metadata)?;
    let features = cargo::parse_features(&asked(context, &cargo::features(&context.root)).await?);
    for service in &mut catalogue.services {
        let closure = service.closure();
        let own = features.iter().filter(|(id, _)| closure.contains(*id));
        service.features = own.map(|(id, features)| (id.clone(), features.clone())).collect();
    }
    catalogue.manifests = manifests(&context.root, &metadata);
    context.cache.put("catalogue", &workspace, &catalogue);
    Ok(catalogue)
}

/// What cargo says of the services' workspace.
async fn asked(context: &Context, call: &Call) -> Result<String> {
    let output = process::run(context, call).await?;
    if output.success() {
        return Ok(output.stdout);
    }
    let what = format!(
        "the services' workspace cannot be read:\n{}",
        output.last_lines(12)
    );
    let hint = "`cargo metadata --locked` must pass; a stale Cargo.lock: `cargo update -w`";
    Err(Failure::usage(what, hint).into())
}

/// Every manifest of this checkout that cargo read -> its hash.
fn manifests(root: &Path, metadata: &Metadata) -> BTreeMap<PathBuf, String> {
    let local = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none());
    let files = local.map(|package| package.manifest_path.clone().into_std_path_buf());
    let files = files.chain([
        root.join("Cargo.toml"),
        root.join("Cargo.lock"),
        root.join(".cargo/config.toml"),
    ]);
    files
        .filter_map(|path| Some((path.clone(), hash::of_file(&path).ok()?)))
        .collect()
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
        target: catalogue::TARGET,
        pipeline: env!("HORME_PIPELINE"),
    }
}

/// The plan of this run, and what a reader should know of how it came about.
///
/// # Errors
/// Exit 2: an unknown service, malformed pins or `.dockerignore`, a faulty context of docker's. Exit 3: an engine of
/// another architecture than that whose dependencies are read.
pub async fn work_out(
    context: &Context,
    catalogue: &Catalogue,
    gates: &[Gate],
) -> Result<(Plan, Vec<String>)> {
    context.refuse_faulty_engine()?;
    let mut catalogue = catalogue.clone();
    fingerprint::note_copied(&context.root, &mut catalogue.services);
    let catalogue = &catalogue;
    let selected = catalogue.select(&context.options.services)?;
    let checkout = Checkout::read(&context.root)?;
    let (revisions, bases, platform) = tokio::join!(
        revision::revisions(context, catalogue, &checkout),
        bases::resolve(context, context.options.bases),
        platform(context)
    );
    let (mut revisions, bases) = (revisions, bases?);
    let platform = platform.unwrap_or_else(|| {
        let guessed = engine::platform("linux", std::env::consts::ARCH);
        let words = format!("no engine answers: planned for {guessed}, as one on this machine would build");
        revisions.words.push(words);
        guessed
    });
    catalogue::refuse_another_target(&platform)?;
    let mut inputs = BTreeMap::new();
    for service in &catalogue.services {
        let gathered = Inputs::gather(&context.root, &checkout, service, &bases.contexts)?;
        inputs.insert(service.name.clone(), gathered);
    }
    let mut plan = plan::work_out(
        catalogue,
        &selected,
        &revisions.of,
        &inputs,
        bases,
        &platform,
        gates,
    );
    plan.ca_bundle = setup::ca_bundle();
    plan.limits = context.limits;
    plan.head = revisions.head;
    Ok((plan, revisions.words))
}

/// The platform that images are built for: the engine's own. Before there is one, set-up will start it here.
async fn platform(context: &Context) -> Option<String> {
    context.engine().await.ok().map(|engine| engine.platform)
}
