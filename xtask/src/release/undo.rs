//! `release --undo`: the tags of a release point to what they pointed to before it. What was pushed stays, and so does
//! the claim: the version is spent.

use anyhow::Result;

use super::journal::{Journal, Step};
use super::opening;
use super::put_back::{self, Back, shown};
use super::settings::Settings;
use super::state::Phase;
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
    let state = opening::state_of(&lock, version)?;
    let phase = state.map(|state| state.phase);
    if phase.is_none_or(|phase| phase == Phase::Opened) {
        let what = format!("there is no release {version} to take back");
        return Err(Failure::usage(what, opening::there_is(&lock)).into());
    }
    let journal = Journal::open(lock, version, &context.run_id)?;
    let client = Client::to_push(context, &settings.host)?;
    // Whatever moved since an earlier undoing is somebody else's.
    if phase != Some(Phase::Undone) {
        journal.write(Step::Undoing)?;
        let back = put_back::all(context, &client, &journal).await?;
        tell(context, &back);
        journal.write(Step::Undone {
            stayed: back.stayed.clone(),
        })?;
        telling::write_undone(context, version, &back)?;
        journal.slim();
    } else {
        context.board.line(&format!("{version} was taken back already"));
    }
    Ok(match &journal.state().stayed[..] {
        [] => format!("release: {version} is taken back; the version is spent"),
        stayed => format!(
            "release: {version} is taken back but for {}, which this registry cannot delete; the version is spent",
            shown(stayed)
        ),
    })
}

fn tell(context: &Context, back: &Back) {
    back.words().lines().for_each(|line| context.board.line(line));
}
