//! How a release begins, and how one that was interrupted goes on: which journal it writes to, and what it may go by.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Opened;
use super::journal::{self, Former, Journal, KEPT, Lock, Step, VERSION};
use super::plan::ReleasePlan;
use super::preconditions::{self, Ready};
use super::settings::Settings;
use super::stage;
use super::state::{Phase, State};
use super::work::Work;
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Failure;
use crate::process;
use crate::proof::{self, Verified};
use crate::registry::Client;
use crate::tool::git;
use crate::verdict::Gate;

/// The lock on all journals of an owner.
///
/// # Errors
/// As of [`Lock::take`].
pub fn lock(context: &Context, options: &ReleaseOptions, settings: &Settings, what: &str) -> Result<Lock> {
    let folder = journal::folder(options.journal.as_deref(), &settings.host, &settings.owner);
    let lock = Lock::take(folder, &context.run_id, what)?;
    finish_renaming(&lock)?;
    Ok(lock)
}

/// A run that was killed between making room for a journal and giving it its name: it is whole, and gets it now.
fn finish_renaming(lock: &Lock) -> Result<()> {
    for (name, folder) in unnamed(lock) {
        let named = lock.folder.join(name);
        let is_whole =
            journal::read(&folder).is_ok_and(|(lines, _)| State::of(&lines).phase >= Phase::Staged);
        if is_whole && !named.exists() {
            std::fs::rename(&folder, &named)
                .with_context(|| format!("cannot rename {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Journals that have no name yet: what they are to be called, and where they lie.
fn unnamed(lock: &Lock) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(&lock.folder).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.strip_prefix(journal::NEW)?.to_owned(), entry.path()))
    });
    named.collect()
}

/// A release from its beginning: nothing is sent before everything that it sends lies in its folder.
///
/// # Errors
/// Everything that forbids it; a journal that waits to be resumed.
pub async fn begun<'a>(context: &'a Context, options: &ReleaseOptions) -> Result<Opened<'a>> {
    let settings = Settings::read(context, options.registry.as_deref()).await?;
    let version = settings.version_word();
    let what = if options.snapshot {
        "a snapshot".to_owned()
    } else {
        format!("the release {version}")
    };
    let lock = lock(context, options, &settings, &what)?;
    if !options.snapshot {
        refuse_unfinished(&lock.folder, &version)?;
        refuse_half_moved(context, &lock.folder, &version)?;
    }
    let staging = lock.folder.join(".staging");
    let left = unnamed(&lock).into_iter().map(|(_, folder)| folder);
    left.chain([staging.clone()]).for_each(|folder| {
        let _ = std::fs::remove_dir_all(folder);
    });
    let looking = context.board.step("preconditions");
    let ready = preconditions::look(context, options, &staging).await?.ready()?;
    drop(looking);
    ready.notes.iter().for_each(|note| context.board.note(note));
    let journal = staged(context, lock, &ready)?;
    let _ = std::fs::remove_dir_all(&staging);
    Ok(Opened {
        work: Work {
            context,
            client: Client::to_push(context, &ready.plan.host)?,
            layout: stage::open(&journal.folder)?,
            journal,
            plan: ready.plan,
        },
        verified: ready.sources.into_iter().map(|source| source.verified).collect(),
        signer: Some(ready.signer),
        trust: ready.settings.trust,
        ages: ready.settings.ages,
    })
}

/// A journal that can be resumed. It lies aside until it can: whatever ends this, the last one's memory stays.
fn staged(context: &Context, lock: Lock, ready: &Ready) -> Result<Journal> {
    let plan = &ready.plan;
    let opened = Step::Opened {
        version: VERSION,
        release: plan.version.clone(),
        snapshot: plan.snapshot,
        commit: plan.commit.clone(),
        inherited: inherited(&state_of(&lock.folder, &plan.version)?.unwrap_or_default(), plan),
    };
    let named = lock.folder.join(&plan.version);
    let aside = format!("{}{}", journal::NEW, plan.version);
    let mut journal = Journal::begin(lock, &aside, &context.run_id, opened)?;
    stage::lay_down(&journal.folder, plan, &ready.sources)?;
    journal.write(Step::Staged {
        plan: Box::new(plan.clone()),
    })?;
    make_room(&named)?;
    journal.rename(named)?;
    Ok(journal)
}

/// What of this would refuse to begin, as far as it can be known without the lock: a dry run tells it, too.
pub fn in_the_way(context: &Context, options: &ReleaseOptions, settings: &Settings) -> Vec<anyhow::Error> {
    let folder = journal::folder(options.journal.as_deref(), &settings.host, &settings.owner);
    let mut all: Vec<anyhow::Error> = journal::refused(&folder).into_iter().map(Into::into).collect();
    if !options.snapshot {
        let version = settings.version_word();
        all.extend(refuse_unfinished(&folder, &version).err());
        all.extend(refuse_half_moved(context, &folder, &version).err());
    }
    all
}

/// Another version whose tags were moving is somebody's duty still; one that waits otherwise is mentioned.
fn refuse_half_moved(context: &Context, folder: &Path, version: &str) -> Result<()> {
    let others = journal::all(folder).into_iter();
    for (name, state) in others.filter(|(name, state)| name != version && !state.snapshot) {
        let (words, commit) = (state.phase.words(), &state.commit);
        let hint = match state.phase {
            Phase::Moving => {
                format!("`git checkout {commit}`, then `cargo xtask release --resume`; or `--undo {name}`")
            }
            Phase::Undoing => format!("`cargo xtask release --undo {name}`"),
            Phase::Staged => {
                let note = format!("the release {name} waits: {words}; `--undo {name}` closes it");
                context.board.note(&note);
                continue;
            }
            Phase::Opened | Phase::Done | Phase::Undone => continue,
        };
        return Err(Failure::usage(format!("the release {name} is {words}"), hint).into());
    }
    Ok(())
}

fn refuse_unfinished(folder: &Path, version: &str) -> Result<()> {
    let Some(state) = state_of(folder, version)? else {
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
pub fn state_of(journals: &Path, version: &str) -> Result<Option<State>> {
    let folder = journals.join(version);
    if !folder.join(journal::FILE).exists() {
        return Ok(None);
    }
    Ok(Some(State::of(&journal::read(&folder)?.0)))
}

/// Moves an earlier journal of the same name out of the way, without what it would have sent.
fn make_room(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let failed = || format!("cannot make room for the journal {}", folder.display());
    let kept = |number: u32| PathBuf::from(format!("{}{KEPT}{number}", folder.display()));
    let free = (1..).map(kept).find(|path| !path.exists()).with_context(failed)?;
    std::fs::rename(folder, &free).with_context(failed)?;
    journal::slim(&free);
    Ok(())
}

/// What an earlier journal of that version remembers of tags that point to the very images of this plan: this release
/// will find them where that one put them.
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
    let version = settings.version_word();
    let lock = lock(context, options, &settings, &format!("the release {version}"))?;
    let state = state_of(&lock.folder, &version)?;
    let is_unfinished = state.as_ref().is_some_and(|state| state.phase.is_unfinished());
    if !is_unfinished && unnamed(&lock).iter().any(|(name, _)| *name == version) {
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
    // Where tags were moving, users see a part of it: it is brought to its end, however old it has grown meanwhile.
    let at = match (state.phase, state.opened) {
        (Phase::Moving, Some((_, at))) => at,
        _ => jiff::Timestamp::now(),
    };
    Ok(Opened {
        verified: verified(&journal, &settings, &version, at)?,
        signer: preconditions::choose_signer(context, options).ok(),
        trust: settings.trust,
        ages: settings.ages,
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

/// The proofs that the release was begun with, judged as of a time.
fn verified(
    journal: &Journal,
    settings: &Settings,
    version: &str,
    at: jiff::Timestamp,
) -> Result<Vec<Verified>> {
    let proofs = stage::proofs(&journal.folder)?.into_iter();
    let hint = format!(
        "nobody sees any of it yet: `cargo xtask release --undo {version}`, `cargo xtask ci`, and begin anew"
    );
    proofs
        .map(|proof| {
            let verified = Verified::of(proof, &Gate::ALL, &settings.ages, at);
            verified.or_else(|mut problems| {
                for problem in &mut problems {
                    problem.hint = Some(hint.clone());
                }
                preconditions::refuse(&problems)?;
                anyhow::bail!("a proof that was not refused, and not verified")
            })
        })
        .collect()
}
