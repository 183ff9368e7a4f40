//! `reproduce`: the commit that is checked out, built without cache in fresh clones in different folders, must give the
//! digests that were proven, and the same ones again; where one differs, the file that does is named.

mod building;
mod clone;
mod difference;
mod listing;
mod outcome;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::build::fitness;
use crate::cleaning;
use crate::cli::{Format, ReproduceOptions};
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::exit::{Exit, Failure};
use crate::plan::Plan;
use crate::planning;
use crate::report;
use crate::setup;
use crate::standing;
use crate::verdict::Gate;
use building::Build;
use clone::Copy;
use difference::Image;
use outcome::{Outcome, Reproduction};

/// The folder of clones and built images, inside the run's; swept with the run.
pub const FOLDER: &str = "reproduce";

/// How many differences of an image are told.
const TOLD: usize = 20;

/// Builds twice (once, where the first build differs already from what was proven) and prints a row an image.
///
/// # Errors
/// Only where the run's folder cannot be made.
pub async fn run(context: &Context, _: &ReproduceOptions) -> Result<Exit> {
    context.create_run_dir()?;
    context.begin("reproduce");
    let done = look(context).await;
    context.board.finish();
    let done = done.and_then(|done| show(context, &done).map(|()| done));
    let (exit, words) = match &done {
        Ok(done) => (done.exit(), done.words()),
        Err(error) => (report::told(context, error), "undecided".to_owned()),
    };
    let exit = context.interrupted().map_or(exit, |signal| exit.worst(signal));
    let seconds = context.started.elapsed().as_secs();
    let summary = format!("reproduce: {words}; exit {} after {seconds} s", exit.code());
    context.end(exit.code(), &summary, &summary);
    Ok(exit)
}

/// Holds a lease while it lasts, and leaves nothing.
async fn look(context: &Context) -> Result<Reproduction> {
    let folder = context.run_dir.join(FOLDER);
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(None))?;
    let done = async {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        steps(context, &folder).await
    };
    let done = done.await;
    // No name in the engine was moved: what there is lies in the folder.
    let _ = std::fs::remove_dir_all(&folder);
    lease.end();
    done
}

async fn steps(context: &Context, folder: &Path) -> Result<Reproduction> {
    let board = &context.board;
    let planning = board.step("planning");
    // The commit alone: what is not committed is named, and not built.
    let first = Copy::make(context, folder, "first").await?;
    let catalogue = planning::read_catalogue(&first.context).await?;
    let (plan, mut notes) = planning::work_out(&first.context, &catalogue, &[Gate::Build]).await?;
    drop(planning);
    notes.extend(first.uncommitted(context).await?);
    let engine = engine(context, &plan).await?;
    notes.push(bases_in_words(&plan));
    notes.iter().for_each(|note| board.note(note));
    // What was proven for the very same inputs.
    let bases = engine.ids(plan.bases.build_images()).await?;
    let mut outcomes: Vec<Outcome> = plan
        .images
        .iter()
        .map(|image| Outcome::begin(image, standing::recorded(context, image, &bases)))
        .collect();
    let building = Build {
        context,
        engine: &engine,
        plan: &plan,
    };
    let archives = folder.join("first-images");
    let digests = building.run("first", &first.context.root, &archives).await?;
    outcomes.iter_mut().for_each(|outcome| outcome.first(&digests));
    if outcomes.iter().all(Outcome::holds) {
        // Another folder, of another depth and length.
        let second = Copy::make(context, &folder.join("elsewhere/deeper"), "second").await?;
        let again = folder.join("second-images");
        let digests = building.run("second", &second.context.root, &again).await?;
        outcomes.iter_mut().for_each(|outcome| outcome.second(&digests));
        explain(&mut outcomes, &archives, &again)?;
    } else {
        board.note("refuted by the first build: no second one was made");
        let proven = folder.join("proven-images");
        export(&engine, &outcomes, &proven).await?;
        explain(&mut outcomes, &proven, &archives)?;
    }
    Ok(Reproduction::new(&context.run_id, &plan, notes, outcomes))
}

/// The engine, with all that a build needs in it.
async fn engine(context: &Context, plan: &Plan) -> Result<Engine> {
    if context.options.setup {
        let _under_way = context.board.step("set-up");
        setup::provision(context, &plan.bases).await?;
    }
    let engine = context.engine().await?;
    cleaning::sweep_the_dead(context, &engine).await;
    if !engine.containerd_store {
        let hint = "a new engine gets containerd's by `cargo xtask setup`; the README says how to switch one";
        return Err(Failure::undecided("this engine's image store keeps no digest", hint).into());
    }
    fitness::refuse_unfit(context, &engine, plan).await?;
    Ok(engine)
}

fn bases_in_words(plan: &Plan) -> String {
    match plan.bases.build_images().next() {
        Some(_) => "on base images that this machine made: another machine's would differ".to_owned(),
        None => "on the base images that the Dockerfiles pin by digest".to_owned(),
    }
}

/// Writes the proven images that were not met again into archives, as far as the engine still holds them.
async fn export(engine: &Engine, outcomes: &[Outcome], folder: &Path) -> Result<()> {
    for outcome in outcomes.iter().filter(|outcome| !outcome.holds()) {
        let Some(proven) = &outcome.proven else { continue };
        if engine.image(proven).await?.is_some() {
            let path = building::archive(folder, &outcome.service);
            engine.export(proven, &path).await?;
        }
    }
    Ok(())
}

/// Names what differs in each image that is not the same, out of the archives in two folders.
fn explain(outcomes: &mut [Outcome], one: &Path, other: &Path) -> Result<()> {
    for outcome in outcomes.iter_mut().filter(|outcome| !outcome.holds()) {
        let Some((before, after)) = outcome.pair() else {
            continue;
        };
        let archives = [one, other].map(|folder| building::archive(folder, &outcome.service));
        if !archives[0].is_file() {
            outcome.differences =
                vec!["the engine holds the proven image no more: what differs is not known".to_owned()];
            continue;
        }
        let image = |place: usize, digest| Image {
            archive: &archives[place],
            digest,
        };
        let found = difference::between(&image(0, &before), &image(1, &after))
            .with_context(|| format!("cannot compare the images of {}", outcome.service))?;
        outcome.differences = difference::first(found, TOLD);
    }
    Ok(())
}

fn show(context: &Context, done: &Reproduction) -> Result<()> {
    let json = serde_json::to_string_pretty(done)?;
    let path = context.run_dir.join("reproduce.json");
    std::fs::write(&path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    report::say(&match context.options.format {
        Format::Human => done.table(),
        Format::Json => json,
    });
    Ok(())
}
