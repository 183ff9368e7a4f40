//! The build: every image that does not stand here already, in one joint bake, each by the digest that the
//! engine reports. What is tested and pushed from here on is that digest; a name on top of it is a convenience.

mod caching;
pub mod fitness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::engine::{Engine, ImageFacts, run_tag};
use crate::exit::Failure;
use crate::fingerprint::{self, Inputs};
use crate::hash;
use crate::plan::{ImagePlan, Plan};
use crate::process::{self, Call};
use crate::proof::Made;
use crate::standing;
use crate::tool::bake;
use crate::tool::baking::Baking;
use crate::verdict::{Check, Gate, Origin, Record};

/// An image in the engine, by the digest that every gate judges.
#[derive(Debug, Clone)]
pub struct Built {
    pub plan: ImagePlan,
    /// A name that this run alone moves, given by [`hold`]: `<image>:run-<id>`.
    pub reference: String,
    /// The platform manifest's digest, `sha256:...`.
    pub digest: String,
    pub labels: BTreeMap<String, String>,
    pub user: String,
    /// `NAME=value` of each variable in its configuration.
    pub env: Vec<String>,
    /// Whether this run built it.
    pub origin: Origin,
    /// How it came about, where that was recorded.
    pub made: Option<Made>,
    /// Where [`export`] puts the image as an archive, deleted at the end of the run.
    archive: PathBuf,
}

impl Built {
    /// An image that the engine holds.
    pub fn new(context: &Context, plan: &ImagePlan, facts: ImageFacts, origin: Origin) -> Self {
        let name = &plan.service.name;
        Built {
            reference: run_reference(context, plan),
            digest: facts.id,
            labels: facts.labels,
            user: facts.user,
            env: facts.env,
            origin,
            made: None,
            archive: context.run_dir.join("images").join(format!("{name}.tar")),
            plan: plan.clone(),
        }
    }

    /// Gives the image the name that this run alone moves, so that nothing takes it away meanwhile.
    pub async fn hold(&self, context: &Context, engine: &Engine) -> Result<()> {
        engine
            .tag(&self.digest, &self.plan.service.image, &run_tag(&context.run_id))
            .await
    }

    /// The image as an archive, for gates that read it; written once in a run.
    pub async fn export(&self, engine: &Engine) -> Result<&PathBuf> {
        if !self.archive.is_file() {
            engine.export(&self.digest, &self.archive).await?;
        }
        Ok(&self.archive)
    }
}

/// What the build came to: a verdict for every image, and those that were built.
#[derive(Debug, Default)]
pub struct BuildResult {
    pub records: Vec<Record>,
    pub images: Vec<Built>,
}

/// Builds the images that do not stand here already, in one go, and puts them beside those that do.
///
/// # Errors
/// Only where nothing can be said of any image (the definition cannot be written, the run was interrupted).
pub async fn build(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    standing: Vec<Built>,
) -> Result<BuildResult> {
    let stands = |image: &&ImagePlan| {
        standing
            .iter()
            .any(|built| built.plan.service.name == image.service.name)
    };
    let missing: Vec<ImagePlan> = plan
        .images
        .iter()
        .filter(|image| !stands(image))
        .cloned()
        .collect();
    let judged = standing.iter().filter(|built| !built.plan.support);
    let mut result = BuildResult {
        records: judged.map(passed).collect(),
        images: Vec::new(),
    };
    let board = &context.board;
    result.records.iter().for_each(|record| board.judged(record));
    if !missing.is_empty() {
        let built = bake(context, engine, plan, &missing).await?;
        built.records.iter().for_each(|record| board.judged(record));
        result.records.extend(built.records);
        result.images = built.images;
    }
    result.images.extend(standing);
    result
        .images
        .sort_by(|a, b| a.plan.service.name.cmp(&b.plan.service.name));
    Ok(result)
}

async fn bake(context: &Context, engine: &Engine, plan: &Plan, images: &[ImagePlan]) -> Result<BuildResult> {
    let board = &context.board;
    let (begun, started_at) = (Instant::now(), jiff::Timestamp::now());
    let (definition, metadata) = (
        context.run_dir.join("bake.json"),
        context.run_dir.join("bake-metadata.json"),
    );
    let tag = run_tag(&context.run_id);
    let content = bake::definition(&context.root, plan, images, &tag);
    if let Some(records) = fitness::unfit(context, plan, images).await {
        return Ok(records);
    }
    let cached = caching::importing(context, &content, images).await;

    for image in images {
        board.begin(&image.service.name, Gate::Build);
    }
    let call = bake::call(&definition, &metadata).log(context.log("build"));
    let mut progress = Baking::of(&plan.images);
    let observe = |line: &str| {
        if let Some(progress) = progress.line(line) {
            board.progress(progress);
        }
    };
    let output = caching::baked(context, engine, &call, (&definition, &content), cached, observe).await?;
    if let Some(size) = progress.context_size {
        board.note(&format!("build context: {size} sent"));
    }
    if !output.success() {
        return Ok(failed(context, images, &output, begun).await);
    }
    let made = Made {
        run_id: context.run_id.clone(),
        started_at,
        finished_at: jiff::Timestamp::now(),
        with: builders(context, engine).await,
    };
    let digests = bake::parse_digests(&std::fs::read_to_string(&metadata).unwrap_or_default());
    let mut result = BuildResult::default();
    for image in images {
        let record = match built(context, engine, plan, image, &digests, &made).await {
            Ok(built) => {
                let record = passed(&built);
                result.images.push(built);
                record
            }
            Err(error) => Record::undecided(
                &image.service.name,
                Gate::Build,
                format!("{error:#}"),
                "run again",
            ),
        };
        if !image.support {
            result.records.push(finish(record, begun));
        }
    }
    caching::export(context, &content).await;
    Ok(result)
}

/// The images that stand in the engine already, for a gate that is run alone.
///
/// # Errors
/// Exit 2, naming every image that is not there.
pub async fn existing(context: &Context, engine: &Engine, plan: &Plan) -> Result<Vec<Built>> {
    let (mut images, mut missing) = (Vec::new(), Vec::new());
    for image in &plan.images {
        let name = format!("{}:latest", image.service.image);
        match engine.image(&name).await? {
            Some(facts) => {
                images.push(Built::new(context, image, facts, Origin::Fresh));
            }
            None => missing.push(name),
        }
    }
    if missing.is_empty() {
        return Ok(images);
    }
    Err(Failure::usage(
        format!("not built yet: {}", missing.join(", ")),
        "build them first: `cargo xtask build`",
    )
    .into())
}

/// What builds, as the programs call themselves.
async fn builders(context: &Context, engine: &Engine) -> Vec<String> {
    let buildx = process::run(context, &Call::new(["docker", "buildx", "version"])).await;
    let buildx = buildx.ok().filter(process::Output::success);
    let words = buildx.and_then(|said| said.stdout.lines().next().map(str::to_owned));
    words.into_iter().chain([engine.words()]).collect()
}

fn run_reference(context: &Context, image: &ImagePlan) -> String {
    format!("{}:{}", image.service.image, run_tag(&context.run_id))
}

/// One image after a bake that succeeded: the engine must hold the digest that bake reported, and the inputs
/// must still be those of the key, or the image is made of something else.
async fn built(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    image: &ImagePlan,
    digests: &BTreeMap<String, String>,
    made: &Made,
) -> Result<Built> {
    let reference = run_reference(context, image);
    let facts = engine
        .image(&reference)
        .await?
        .with_context(|| format!("the engine holds no {reference}"))?;
    let reported = digests
        .get(&image.service.name)
        .context("bake reported no digest")?;
    if engine.containerd_store && *reported != facts.id {
        anyhow::bail!("bake reported {reported}, the engine holds {}", facts.id);
    }
    if let Some(path) = plan
        .manifests
        .iter()
        .find(|(path, known)| hash::of_file(path).ok().as_ref() != Some(known))
    {
        anyhow::bail!(
            "{} changed while the image was being built",
            context.shown(path.0)
        );
    }
    let now = Inputs::again(&context.root, &image.service, &plan.bases.contexts, &image.inputs)?;
    if let Some(change) = fingerprint::differences(&image.inputs, &now).first() {
        anyhow::bail!("{change} while the image was being built");
    }
    let mut built = Built::new(context, image, facts, Origin::Fresh);
    built.made = Some(made.clone());
    standing::remember(context, engine, &plan.bases, &built).await?;
    Ok(built)
}

fn passed(built: &Built) -> Record {
    let revision = &built.plan.revision;
    let detail = format!("revision {}", revision.shown());
    let unclean = match (&revision.commit, revision.dirty) {
        (Some(_), false) => "",
        (Some(_), true) => " -dirty",
        (None, _) => " of no known revision",
    };
    let mut record = Record::from_checks(
        &built.plan.service.name,
        Gate::Build,
        vec![Check::passed("image", detail)],
        format!("{}{unclean}", short(&built.digest)),
    );
    record.digest = Some(built.digest.clone());
    record.origin = built.origin.clone();
    record
}

/// A failed bake: the image that it names is at fault; of the others nothing can be said. Where the engine
/// itself is gone, its disk is full or a registry did not give what it was asked for, nothing can be said of any.
async fn failed(
    context: &Context,
    images: &[ImagePlan],
    output: &process::Output,
    begun: Instant,
) -> BuildResult {
    let only = match images {
        [image] if bake::failed_to_solve(&output.stderr) => Some(image.service.name.clone()),
        _ => None,
    };
    let step = bake::failed_step(&output.stderr).filter(|_| bake::failed_to_solve(&output.stderr));
    let step = step.filter(|name| images.iter().any(|image| image.service.name == *name));
    let named = bake::failed_target(&output.stderr).or(step).map(str::to_owned);
    let named = named.or(only);
    let full = output.stderr.contains("no space left on device");
    let elsewhere = !bake::failed_in_what_is_built(&output.stderr) || context.engine().await.is_err();
    let judged = images.iter().filter(|image| !image.support);
    let records = judged.map(|image| {
        let service = &image.service.name;
        let record = if full {
            Record::undecided(
                service,
                Gate::Build,
                "no space left on the engine's disk",
                "free some: `docker system df`",
            )
        } else if elsewhere || named.is_none() {
            let detail = format!("the build could not run:\n{}", output.last_lines(6));
            Record::undecided(
                service,
                Gate::Build,
                detail,
                "see logs/build.log; is the engine well?",
            )
        } else if named.as_deref() == Some(service) {
            let said = bake::said_by_failed_step(&output.stderr, 15);
            let check = Check::violated("build", said, "see logs/build.log");
            let mut record = Record::from_checks(service, Gate::Build, vec![check], "");
            record.reason = "the build failed, see logs/build.log".to_owned();
            record
        } else {
            let other = named.as_deref().unwrap_or_default();
            Record::undecided(
                service,
                Gate::Build,
                format!("the joint build failed in {other}"),
                "mend that one first",
            )
        };
        finish(record, begun)
    });
    BuildResult {
        records: records.collect(),
        images: Vec::new(),
    }
}

fn finish(mut record: Record, begun: Instant) -> Record {
    record.took_ms = begun.elapsed().as_millis() as u64;
    record.log = Some("logs/build.log".to_owned());
    record
}

/// The first twelve hex digits of a digest, for tables.
pub fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}
