//! `release --undo`: the tags of a release point to what they pointed to before it. What was pushed stays, and so does
//! the claim: the version is spent.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use semver::Version;

use super::journal::{self, Journal, Lock, Step, Tag};
use super::opening;
use super::put_back::{self, Back, shown};
use super::settings::Settings;
use super::state::{Phase, State};
use super::tags;
use super::telling;
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Failure;
use crate::registry::Client;

/// Takes a release back, or the rest of one whose undoing was interrupted. Gives the last line.
///
/// # Errors
/// Exit 2: this machine has no journal of that version. Exit 3: a tag could not be put back.
pub async fn run(context: &Context, options: &ReleaseOptions, version: &str) -> Result<String> {
    let settings = Settings::read(context, options.registry.as_deref()).await?;
    let lock = opening::lock(context, options, &settings, &format!("the undoing of {version}"))?;
    let state = opening::state_of(&lock.folder, version)?;
    let phase = state.as_ref().map(|state| state.phase);
    if phase.is_none_or(|phase| phase == Phase::Opened) {
        let what = format!("there is no release {version} to take back");
        return Err(Failure::usage(what, opening::there_is(&lock)).into());
    }
    let state = state.unwrap_or_default();
    let client = Client::to_push(context, &settings.host)?;
    let mut later = later_here(&lock, version, &state);
    if phase == Some(Phase::Undoing) || phase == Some(Phase::Done) || phase == Some(Phase::Moving) {
        later.extend(later_there(&client, &lock, &state).await?);
    }
    let journal = Journal::open(lock, version, &context.run_id)?;
    // Whatever moved since an earlier undoing is somebody else's.
    if phase != Some(Phase::Undone) {
        journal.write(Step::Undoing)?;
        let back = put_back::all(context, &client, &journal, &later).await?;
        tell(context, &back);
        journal.write(Step::Undone {
            stayed: back.stayed.clone(),
            forgotten: back.forgotten.clone(),
        })?;
        telling::write_undone(context, version, &back)?;
        journal.slim();
    } else {
        context.board.line(&format!("{version} was taken back already"));
    }
    let mut state = journal.state();
    state.forgotten = still_there(&client, &state).await?;
    taken_back(version, &state)
}

/// Of the tags whose past nobody remembers, those that point to this release still.
async fn still_there(client: &Arc<Client>, state: &State) -> Result<Vec<Tag>> {
    let mut still = Vec::new();
    for tag in &state.forgotten {
        let mut images = state.plan.iter().flat_map(|plan| &plan.images);
        let Some(image) = images.find(|image| image.image == tag.image) else {
            continue;
        };
        let now = client.repository(&image.repository).resolve(&tag.tag).await?;
        if now.is_some_and(|now| now.digest == image.digest) {
            still.push(tag.clone());
        }
    }
    Ok(still)
}

/// The last line, by what the journal knows of it: a second time it says the same.
fn taken_back(version: &str, state: &State) -> Result<String> {
    if !state.forgotten.is_empty() {
        let what = format!(
            "{version} is taken back, but {} still has it",
            shown(&state.forgotten)
        );
        let hint = "it was released before by another journal, whose --undo knows what was before; or release the next version";
        return Err(Failure::undecided(what, hint).into());
    }
    // Without a claim nobody knows of it, and it may be released yet.
    let spent = match state.claimed.is_empty() {
        true => "",
        false => "; the version is spent",
    };
    Ok(match &state.stayed[..] {
        [] => format!("release: {version} is taken back{spent}"),
        stayed => format!(
            "release: {version} is taken back but for {} tags, which this registry does not delete for us{spent}",
            stayed.len()
        ),
    })
}

/// Floating tags that releases which this machine began later have moved, or may have.
fn later_here(lock: &Lock, version: &str, state: &State) -> BTreeSet<String> {
    let opened = |state: &State| state.opened.as_ref().map(|(_, at)| *at);
    let since = opened(state);
    let all = lock.all().into_iter();
    let later = all.filter(|(name, other)| {
        let has_moved = matches!(other.phase, Phase::Moving | Phase::Done | Phase::Undoing);
        name != version && !other.snapshot && has_moved && opened(other) > since
    });
    let plans = later.filter_map(|(_, other)| other.plan);
    let tags = plans.flat_map(|plan| {
        let is_floating = move |tag: &String| *tag != plan.version && !tag.starts_with("sha-");
        let images = plan.images.into_iter();
        let tags = images.flat_map(|image| image.tags).map(|moved| moved.tag);
        tags.filter(is_floating).collect::<Vec<_>>()
    });
    tags.collect()
}

/// The same of other machines' releases: a higher version that a tag may name, and that is on some image what the tag
/// names now. An image that did not change is not told by its digest alone.
async fn later_there(client: &Arc<Client>, lock: &Lock, state: &State) -> Result<BTreeSet<String>> {
    let mut later = BTreeSet::new();
    let Some(plan) = state.plan.as_ref().filter(|plan| !plan.snapshot) else {
        return Ok(later);
    };
    let Ok(version) = Version::parse(&plan.version) else {
        return Ok(later);
    };
    let withdrawn = journal::withdrawn(&lock.folder);
    for image in &plan.images {
        let repository = client.repository(&image.repository);
        let tags = repository.tags().await?;
        let higher = tags::versions(tags.iter().map(String::as_str)).into_iter();
        for higher in higher.filter(|higher| *higher > version && !withdrawn.contains(higher)) {
            let theirs = repository.resolve(&higher.to_string()).await?;
            for tag in tags::floating(&higher, &[]) {
                let is_ours = image.tags.iter().any(|moved| moved.tag == tag);
                if is_ours && theirs.is_some() && repository.resolve(&tag).await? == theirs {
                    later.insert(tag);
                }
            }
        }
    }
    Ok(later)
}

fn tell(context: &Context, back: &Back) {
    back.words().lines().for_each(|line| context.board.line(line));
}
