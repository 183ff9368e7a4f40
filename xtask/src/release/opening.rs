//! How a release begins, and how one that was interrupted goes on: which journal it writes to, and what it may go by.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Opened;
use super::journal::{self, Former, Journal, Lock, Step, VERSION};
use super::plan::ReleasePlan;
use super::preconditions;
use super::settings::Settings;
use super::stage;
use super::state::{Phase, State};
use super::work::Work;
use crate::attest::Signer;
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Failure;
use crate::process;
use crate::proof::{self, Verified};
use crate::registry::Client;
use crate::tool::git;
use crate::verdict::Gate;

/// What the name of a journal ends with that makes room for a new one: no version and no tag has that.
const KEPT: char = '~';

/// The lock on all journals of an owner.
///
/// # Errors
/// As of [`Lock::take`].
pub fn lock(context: &Context, options: &ReleaseOptions, settings: &Settings, what: &str) -> Result<Lock> {
    let journals = options.journal.clone().unwrap_or_else(journal::default_folder);
    let folder = journal::folder_of(&journals, &settings.host, &settings.owner);
    Lock::take(folder, &context.run_id, what)
}

/// A release from its beginning: nothing is sent before everything that it sends lies in its folder.
///
/// # Errors
/// Everything that forbids it; a journal that waits to be resumed.
pub async fn begun<'a>(context: &'a Context, options: &ReleaseOptions) -> Result<Opened<'a>> {
    let settings = Settings::read(context, options.registry.as_deref()).await?;
    let version = settings
        .version
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let what = if options.snapshot {
        "a snapshot".to_owned()
    } else {
        format!("the release {version}")
    };
    let lock = lock(context, options, &settings, &what)?;
    if !options.snapshot {
        refuse_unfinished(&lock, &version)?;
    }
    let staging = lock.folder.join("staging");
    let _ = std::fs::remove_dir_all(&staging);
    let looking = context.board.step("preconditions");
    let ready = preconditions::look(context, options, &staging).await?.ready()?;
    drop(looking);
    ready.notes.iter().for_each(|note| context.board.note(note));
    let inherited = make_room(&lock, &ready.plan)?;
    let opened = Step::Opened {
        version: VERSION,
        release: ready.plan.version.clone(),
        snapshot: ready.plan.snapshot,
        commit: ready.plan.commit.clone(),
        inherited,
    };
    let journal = Journal::begin(lock, &ready.plan.version, &context.run_id, opened)?;
    let layout = stage::lay_down(&journal.folder, &ready.plan, &ready.sources)?;
    let _ = std::fs::remove_dir_all(&staging);
    journal.write(Step::Staged {
        plan: Box::new(ready.plan.clone()),
    })?;
    Ok(Opened {
        work: Work {
            context,
            client: Client::to_push(context, &ready.plan.host)?,
            journal,
            plan: ready.plan,
            layout,
        },
        verified: ready.sources.into_iter().map(|source| source.verified).collect(),
        signer: Some(ready.signer),
        trust: ready.settings.trust,
    })
}

fn refuse_unfinished(lock: &Lock, version: &str) -> Result<()> {
    let Some(state) = state_of(lock, version)? else {
        return Ok(());
    };
    let (run, _) = state.opened.unwrap_or_default();
    let what = format!(
        "the release {version} was begun by run {run}: {}",
        state.phase.words()
    );
    match state.phase {
        Phase::Staged | Phase::Moving => {
            let hint =
                format!("`cargo xtask release --resume` goes on with it, `--undo {version}` closes it");
            Err(Failure::usage(what, hint).into())
        }
        Phase::Undoing => Err(Failure::usage(what, format!("`cargo xtask release --undo {version}`")).into()),
        Phase::Opened | Phase::Done | Phase::Undone => Ok(()),
    }
}

/// `None`: there is no journal of that version, or one that was cut off before its first line.
pub fn state_of(lock: &Lock, version: &str) -> Result<Option<State>> {
    let folder = lock.folder.join(version);
    if !folder.join(journal::FILE).exists() {
        return Ok(None);
    }
    Ok(Some(State::of(&journal::read(&folder)?.0)))
}

/// Moves an earlier journal of the same name out of the way. Gives what it remembers of tags that point to the very
/// images of this plan: this release will find them where that one put them.
fn make_room(lock: &Lock, plan: &ReleasePlan) -> Result<Vec<Former>> {
    let folder = lock.folder.join(&plan.version);
    let failed = || format!("cannot make room for the journal {}", folder.display());
    let state = state_of(lock, &plan.version)?.unwrap_or_default();
    if state.phase == Phase::Opened {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(failed)?;
        }
        return Ok(Vec::new());
    }
    if !plan.snapshot {
        refuse_unfinished(lock, &plan.version)?;
    }
    let kept = |number: u32| -> PathBuf { lock.folder.join(format!("{}{KEPT}{number}", plan.version)) };
    let free = (1..).map(kept).find(|path| !path.exists()).with_context(failed)?;
    std::fs::rename(&folder, free).with_context(failed)?;
    Ok(inherited(&state, plan))
}

fn inherited(state: &State, plan: &ReleasePlan) -> Vec<Former> {
    let (Some(earlier), Phase::Done) = (&state.plan, state.phase) else {
        return Vec::new();
    };
    let is_same = |former: &&Former| {
        let digest = |plan: &ReleasePlan| {
            let image = plan.images.iter().find(|image| image.image == former.of.image);
            image.map(|image| image.digest.clone())
        };
        digest(earlier) == digest(plan)
    };
    state.former.iter().flatten().filter(is_same).cloned().collect()
}

/// The release that was interrupted, as its journal has it: the same images, the same plan, the same signatures.
///
/// # Errors
/// Exit 2: nothing is to be resumed (names what there is), or another commit is checked out.
pub async fn resumed<'a>(context: &'a Context, options: &ReleaseOptions) -> Result<Opened<'a>> {
    let settings = Settings::read(context, options.registry.as_deref()).await?;
    let version = settings
        .version
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let lock = lock(context, options, &settings, &format!("the release {version}"))?;
    let state = state_of(&lock, &version)?;
    if state.as_ref().is_some_and(|state| state.phase == Phase::Opened) {
        // It was cut off before anything was sent: from its beginning, then.
        drop(lock);
        return begun(context, options).await;
    }
    let Some(state) = state.filter(|state| state.phase.is_unfinished()) else {
        return Err(nothing_to_resume(&lock, &version));
    };
    refuse_other_commit(context, &version, &state).await?;
    refuse_other_images(options, &version, &state)?;
    let journal = Journal::open(lock, &version, &context.run_id)?;
    let at = state.opened.map(|(_, at)| at).unwrap_or_default();
    Ok(Opened {
        verified: verified(&journal, &settings, at)?,
        signer: signer(options),
        trust: settings.trust,
        work: Work {
            context,
            client: Client::to_push(context, &settings.host)?,
            layout: stage::open(&journal.folder)?,
            plan: state.plan.context("a journal that is staged has a plan")?,
            journal,
        },
    })
}

/// What is journalled, for a hint.
pub fn there_is(lock: &Lock) -> String {
    let all = lock.all();
    let words: Vec<String> = all
        .iter()
        .filter(|(name, _)| !name.contains(KEPT))
        .map(|(name, state)| format!("{name}: {}", state.phase.words()))
        .collect();
    match &words[..] {
        [] => format!("{} has no journal", lock.folder.display()),
        words => format!("{} has {}", lock.folder.display(), words.join("; ")),
    }
}

fn nothing_to_resume(lock: &Lock, version: &str) -> anyhow::Error {
    let what = format!("there is no release {version} to go on with");
    let hint = format!("{}; `cargo xtask release` begins one", there_is(lock));
    Failure::usage(what, hint).into()
}

async fn refuse_other_commit(context: &Context, version: &str, state: &State) -> Result<()> {
    let head = process::run_ok(context, &git::head(&context.root)).await?;
    let head = git::parse_head(&head.stdout).context("git does not say what is checked out")?;
    if head.commit == state.commit {
        return Ok(());
    }
    let what = format!(
        "the release {version} was begun at {}, and {} is checked out",
        state.commit, head.commit
    );
    let hint = format!(
        "`git checkout {}`, then again; or close it: `cargo xtask release --undo {version}`",
        state.commit
    );
    Err(Failure::usage(what, hint).into())
}

/// Images that are named once more must be those that it was begun with.
fn refuse_other_images(options: &ReleaseOptions, version: &str, state: &State) -> Result<()> {
    let plan = state.plan.iter().flat_map(|plan| &plan.images);
    let known: Vec<&str> = plan
        .flat_map(|image| &image.manifests)
        .map(|manifest| manifest.digest.as_str())
        .collect();
    for folder in &options.images {
        let (proof, _) = proof::from_folder(folder)?;
        let other = proof
            .images
            .iter()
            .find(|image| !known.contains(&image.digest.as_str()));
        if let Some(other) = other {
            let place = folder.display();
            let what = format!(
                "{place} has {} of {}, which {version} was not begun with",
                other.digest, other.image
            );
            let hint =
                "leave --images out: the journal has the images; or close it with --undo, and begin anew";
            return Err(Failure::usage(what, hint).into());
        }
    }
    Ok(())
}

/// The proofs that the release was begun with, judged as they were then: it does not grow too old on the way.
fn verified(journal: &Journal, settings: &Settings, at: jiff::Timestamp) -> Result<Vec<Verified>> {
    let proofs = stage::proofs(&journal.folder)?.into_iter();
    proofs
        .map(|proof| {
            let verified = Verified::of(proof, &Gate::ALL, &settings.ages, at);
            verified.or_else(|problems| {
                preconditions::refuse(&problems)?;
                anyhow::bail!("a proof that was not refused, and not verified")
            })
        })
        .collect()
}

/// With what is signed, where that is said.
fn signer(options: &ReleaseOptions) -> Option<Signer> {
    let job = std::env::var_os("ACTIONS_ID_TOKEN_REQUEST_URL");
    let key = options.sign_key.clone().map(Signer::Key);
    key.or(job.map(|_| Signer::Keyless))
}
