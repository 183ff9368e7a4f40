//! Steps from a registry's cache, and into it. A cache only saves time: whatever its registry does, the build neither
//! fails for it nor waits for it beyond a bound.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use serde_json::Value;

use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::plan::ImagePlan;
use crate::process::{self, Call, Output};
use crate::tool::build_cache::{self, Refusal, Waiting};
use crate::tool::{bake, imagetools};

/// How long a registry may take to say whether it has a cache.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a bake without it may say nothing, after a cache kept one waiting.
const HELD: Duration = Duration::from_secs(300);
/// How long putting steps there may take; what is there by then is found there by the next run.
const EXPORT: Duration = Duration::from_secs(120);

/// The definition as it is to be baked: with the caches of these images, where their registry answers.
pub(super) async fn importing(context: &Context, definition: &Value, images: &[ImagePlan]) -> Option<Value> {
    let repository = context.options.cache_from.as_ref()?;
    let asked = images.iter().map(|image| async move {
        let reference = build_cache::reference(repository, &image.service.name);
        let there = holds(context, repository, &reference).await?;
        Ok(there.then_some(reference))
    });
    let answers: Result<Vec<_>, String> = join_all(asked).await.into_iter().collect();
    let references: Vec<String> = match answers {
        Ok(answers) => answers.into_iter().flatten().collect(),
        Err(why) => {
            context
                .board
                .note(&format!("cache {repository}: {why}; built without it"));
            return None;
        }
    };
    (!references.is_empty()).then(|| build_cache::importing(definition, &references))
}

/// Whether a registry has a cache under a reference and hands it over, or why it does not say. BuildKit waits without an
/// end for one that hands over manifests and no blobs, and its other builds wait with it: so a blob is asked for, too.
async fn holds(context: &Context, repository: &str, reference: &str) -> Result<bool, String> {
    let Some(manifest) = answer(context, reference).await? else {
        return Ok(false);
    };
    let Some(digest) = build_cache::contents(&manifest) else {
        return Err(format!("{reference} is no build cache"));
    };
    Ok(answer(context, &format!("{repository}@{digest}"))
        .await?
        .is_some())
}

/// What a registry has under a reference, or why it does not say.
async fn answer(context: &Context, reference: &str) -> Result<Option<String>, String> {
    match process::run(context, &imagetools::inspect(reference, ANSWER)).await {
        Ok(output) if output.success() => Ok(Some(output.stdout)),
        Ok(output) if build_cache::refusal(&output.stderr) == Refusal::Absent => Ok(None),
        Ok(output) => Err(imagetools::last_words(&output.stderr)),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

/// Bakes with steps from a cache; without them where that fails for another reason than a step's own, or waits too
/// long. What was done by then stays in the builder.
///
/// # Errors
/// Those of a bake.
pub(super) async fn baked(
    context: &Context,
    engine: &Engine,
    call: &Call,
    (file, definition): (&Path, &Value),
    cached: Option<Value>,
    mut observe: impl FnMut(&str),
) -> Result<Output> {
    if let Some(cached) = cached {
        write(file, &cached)?;
        let tried = patiently(context, engine, call, &mut observe, Waiting::is_too_long).await;
        let why = match tried {
            Ok(Some(output)) if output.success() || bake::failed_by_itself(&output.stderr) => {
                return Ok(output);
            }
            Ok(Some(output)) => imagetools::last_words(&output.stderr),
            Ok(None) => {
                let why = "its registry keeps the build waiting";
                context.board.note(&format!("cache: {why}; building without it"));
                write(file, definition)?;
                let quiet = |waiting: &Waiting, now| waiting.is_quiet_for(HELD, now);
                let baked = patiently(context, engine, call, &mut observe, quiet).await?;
                return baked.ok_or_else(held);
            }
            Err(error) if context.cancel.is_cancelled() => return Err(error),
            Err(error) => format!("{error:#}"),
        };
        context.board.note(&format!("cache: {why}; building without it"));
    }
    write(file, definition)?;
    engine
        .watched(process::run_observed(context, call, observe))
        .await
}

fn write(file: &Path, definition: &Value) -> Result<()> {
    std::fs::write(file, serde_json::to_vec_pretty(definition)?).context("cannot write bake.json")
}

/// BuildKit itself may be held by a registry that fell silent, until their connection ends.
fn held() -> anyhow::Error {
    let what = format!(
        "the builder says nothing for {} s: a cache's registry that fell silent holds it",
        HELD.as_secs()
    );
    Failure::undecided(
        what,
        "restart the builder, or wait until its connection ends; run again without --cache-from",
    )
    .into()
}

/// Bakes until it waits for too long: then nothing.
async fn patiently(
    context: &Context,
    engine: &Engine,
    call: &Call,
    observe: &mut impl FnMut(&str),
    is_too_long: impl Fn(&Waiting, Instant) -> bool,
) -> Result<Option<Output>> {
    let waiting = RefCell::new(Waiting::new(Instant::now()));
    let baking = process::run_observed(context, call, |line| {
        waiting.borrow_mut().line(line, Instant::now());
        observe(line);
    });
    let too_long = async {
        while !is_too_long(&waiting.borrow(), Instant::now()) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        output = engine.watched(baking) => output.map(Some),
        () = too_long => Ok(None),
    }
}

/// Puts the steps of what was built into the cache, where its registry answers; says what came of it.
pub(super) async fn export(context: &Context, definition: &Value) {
    let Some(repository) = &context.options.cache_to else {
        return;
    };
    let begun = Instant::now();
    let under_way = context.board.step("exporting the build cache");
    let exported = exported(context, repository, definition).await;
    drop(under_way);
    let seconds = begun.elapsed().as_secs_f64();
    context.board.note(&match exported {
        Ok(()) => format!("cache {repository}: steps put there in {seconds:.1} s"),
        Err(error) => format!("cache {repository}: no steps put there after {seconds:.1} s: {error:#}"),
    });
}

async fn exported(context: &Context, repository: &str, definition: &Value) -> Result<()> {
    let any = definition["target"]
        .as_object()
        .and_then(|targets| targets.keys().next());
    let reference = build_cache::reference(repository, any.map_or("any", String::as_str));
    answer(context, &reference).await.map_err(anyhow::Error::msg)?;
    let file = context.run_dir.join("bake-cache.json");
    write(&file, &build_cache::exporting(definition, repository))?;
    let call = build_cache::export_call(&file).log(context.log("build-cache"));
    let call = Call {
        deadline: EXPORT,
        ..call
    };
    let output = process::run(context, &call).await?;
    if output.success() {
        return Ok(());
    }
    let words = imagetools::last_words(&output.stderr);
    Err(Failure::undecided(words, "see logs/build-cache.log").into())
}
