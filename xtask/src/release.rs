//! `release`: all images or none. The order is here: preconditions; everything laid down and signed; push by digest;
//! attach; read back; move the tags, last of all. What each step does lives in its own file.

mod attach;
mod classic;
mod dry_run;
mod journal;
mod move_tags;
mod opening;
pub mod plan;
pub mod preconditions;
mod push;
mod put_back;
mod readback;
pub mod settings;
mod shared;
mod sign;
mod stage;
mod state;
pub mod tags;
mod telling;
#[cfg(test)]
mod testing;
mod undo;
mod work;

use anyhow::Result;

use crate::attest::{Signer, Trust};
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Exit;
use crate::proof::Verified;
use crate::report;

use settings::Ages;
use state::Phase;
use work::Work;

/// Releases, goes on with a release, or takes one back.
///
/// # Errors
/// Exit 2, 1 or 3: everything that forbids the release, at once.
pub async fn run(context: &Context, options: &ReleaseOptions) -> Result<Exit> {
    if options.dry_run {
        return dry_run::run(context, options).await;
    }
    context.create_run_dir()?;
    context.begin("release");
    let mut reached = None;
    let ended = match &options.undo {
        Some(version) => undo::run(context, options, version).await,
        None => release(context, options, &mut reached).await,
    };
    let (exit, summary) = match ended {
        Ok(summary) => (Exit::Passed, summary),
        Err(error) => {
            let exit = report::told(context, &error);
            (exit, telling::not_done(options, exit, reached.as_ref()))
        }
    };
    context.end(exit.code(), &summary, &summary);
    Ok(exit)
}

/// What a release is carried out with, from its beginning or from where it was interrupted.
struct Opened<'a> {
    work: Work<'a>,
    verified: Vec<Verified>,
    /// Needed where something is left to be signed.
    signer: Option<Signer>,
    trust: Option<Trust>,
    ages: Ages,
}

/// How far a release came: its version, or its snapshot's first tag, and its phase.
struct Reached {
    version: String,
    phase: Phase,
}

async fn release(
    context: &Context,
    options: &ReleaseOptions,
    reached: &mut Option<Reached>,
) -> Result<String> {
    let opened = if options.resume {
        opening::resumed(context, options).await?
    } else {
        opening::begun(context, options).await?
    };
    let ended = carry_out(&opened).await;
    *reached = Some(Reached {
        version: opened.work.plan.version.clone(),
        phase: opened.work.journal.state().phase,
    });
    let told = telling::write(&opened.work, ended.is_ok());
    ended.and(told).map(|()| telling::done(&opened.work))
}

/// Each step finds in the journal what was done of it, and does the rest.
async fn carry_out(opened: &Opened<'_>) -> Result<()> {
    let work = &opened.work;
    // Offline, but for identities: the same bytes are sent however often the rest is tried.
    sign::all(opened).await?;
    // By digest: nobody who asks for a tag sees any of it.
    push::all(work).await?;
    attach::all(work).await?;
    // What everyone will get is compared with what was tested.
    readback::all(work).await?;
    // The only step that users see.
    move_tags::all(work).await?;
    work.journal.slim();
    Ok(())
}
