//! One release at a time: the lock on all journals of an owner at a registry. The kernel drops it with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{KEPT, read};
use crate::exit::Failure;
use crate::release::state::{Phase, State};

/// A tag never begins with a dot: no journal of a snapshot is called that.
const LOCK: &str = ".lock";

/// Journals of one owner at one registry on this machine. Releases move the same tags, so one goes on at a time.
#[derive(Debug)]
pub struct Lock {
    /// `<journals>/<host>/<owner>`.
    pub folder: PathBuf,
    _file: File,
}

/// Who holds the lock.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    run_id: String,
    what: String,
}

impl Lock {
    /// `what` is being done, e.g. `the release 1.4.2`.
    ///
    /// # Errors
    /// Exit 3: another run holds it (names what it does), or the folder cannot be written.
    pub fn take(folder: PathBuf, run_id: &str, what: &str) -> Result<Self> {
        let path = folder.join(LOCK);
        let failed = |error: std::io::Error| {
            let what = format!("cannot keep a journal in {}: {error}", folder.display());
            Failure::undecided(what, "make that folder writable, or name another: --journal DIR")
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        if let Err(error) = file.try_lock() {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Err(match error {
                TryLockError::WouldBlock => held(&text),
                TryLockError::Error(error) => failed(error),
            }
            .into());
        }
        let holder = Holder {
            run_id: run_id.to_owned(),
            what: what.to_owned(),
        };
        let text = serde_json::to_vec(&holder)?;
        file.set_len(0)
            .and_then(|()| file.write_all(&text))
            .map_err(failed)?;
        Ok(Lock { folder, _file: file })
    }

    /// Versions that have a journal here, and how far each is.
    pub fn all(&self) -> Vec<(String, State)> {
        all(&self.folder)
    }
}

/// Who holds the lock now, as [`Lock::take`] would refuse; nothing is written.
pub fn refused(folder: &Path) -> Option<Failure> {
    let mut file = File::open(folder.join(LOCK)).ok()?;
    let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    is_held.then(|| held(&text))
}

/// Versions that have a journal in this folder, and how far each is.
pub fn all(folder: &Path) -> Vec<(String, State)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(String, State)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_journal = !name.starts_with('.') && !name.contains(KEPT);
            let lines = is_journal.then(|| read(&entry.path()).ok())??.0;
            Some((name, State::of(&lines)))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Versions that were taken back here: where a registry deletes no tags, theirs still look released.
pub fn withdrawn(folder: &Path) -> Vec<Version> {
    let undone = all(folder)
        .into_iter()
        .filter(|(_, state)| state.phase == Phase::Undone && !state.snapshot);
    undone
        .filter_map(|(name, _)| Version::parse(&name).ok())
        .collect()
}

fn held(text: &str) -> Failure {
    let holder = serde_json::from_str::<Holder>(text).ok();
    let who = holder.map_or("another run".to_owned(), |holder| {
        format!("{} (run {})", holder.what, holder.run_id)
    });
    Failure::undecided(
        format!("{who} is under way on this machine"),
        "wait until it has ended",
    )
}
