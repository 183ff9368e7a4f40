//! Leases. A run holds a locked file while it lives; the kernel drops the lock with the process, however the
//! process ends, and the file says where to look for what it left behind.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// How long what a dead run left in an engine that was not met again is remembered.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 24 * 3600);

/// A file that is not named yet: whoever finds it unlocked may take it away.
const UNNAMED: &str = ".new-";

/// Where a run creates things.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estate {
    /// The engine's own id; empty where there was none to ask.
    pub engine: String,
    /// `reports/<run-id>` of its checkout.
    pub run_dir: PathBuf,
}

/// The lease of one run: of ours while it lives, or of a dead one while we sweep it.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    pub run_id: String,
    pub estate: Estate,
    _file: File,
}

impl Lease {
    /// Takes the lease of a new run. Must be held before the run creates anything.
    ///
    /// # Errors
    /// Exit 3: the folder cannot be written or locked, or another run has this id.
    pub fn take(dir: &Path, run_id: &str, estate: Estate) -> Result<Self> {
        let path = dir.join(run_id);
        let failed = |error: std::io::Error| {
            let what = format!("cannot take the lease {}: {error}", path.display());
            let hint = "make that folder writable, or name another disk for it: XDG_STATE_HOME";
            anyhow::Error::from(Failure::undecided(what, hint))
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        if path.exists() {
            let what = format!("another run has the id {run_id}");
            return Err(Failure::undecided(what, "run again").into());
        }
        // Locked before it has its name: nobody ever sees an unlocked lease of a living run. Another run's sweep
        // may take the nameless file away; then there is one more try.
        let fresh = dir.join(format!("{UNNAMED}{run_id}"));
        let mut tries = 3;
        let file = loop {
            let file = locked(&fresh, &estate).map_err(failed)?;
            match std::fs::rename(&fresh, &path) {
                Ok(()) => break file,
                Err(error) if tries == 0 => return Err(failed(error)),
                Err(_) => tries -= 1,
            }
        };
        Ok(Lease {
            path,
            run_id: run_id.to_owned(),
            estate,
            _file: file,
        })
    }

    /// Gives the lease back: the run left nothing behind.
    pub fn end(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// The runs whose process is gone but whose lease was never given back. Each is ours while we hold it: no
    /// other run sweeps it meanwhile.
    pub fn dead(dir: &Path) -> Vec<Lease> {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Vec::new();
        };
        let mut dead: Vec<Lease> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| abandoned(entry.path()))
            .collect();
        dead.sort_by(|a, b| a.run_id.cmp(&b.run_id));
        dead
    }

    /// Whether what the run left can be in this engine.
    pub fn concerns(&self, engine: &str) -> bool {
        self.estate.engine.is_empty() || self.estate.engine == engine
    }

    /// Whether its engine was not met for so long that it never will be.
    pub fn is_ancient(&self) -> bool {
        let taken = std::fs::metadata(&self.path).and_then(|facts| facts.modified());
        let age = taken.ok().and_then(|at| at.elapsed().ok());
        age.is_some_and(|age| age > FORGET_AFTER)
    }

    /// Where leases lie: one folder a user, shared by all checkouts.
    pub fn dir() -> PathBuf {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = || absolute("HOME").map(|home| home.join(".local/state"));
        // A folder for all users' temporary files gets one of our own: theirs would not be ours to lock.
        let temporary =
            || std::env::temp_dir().join(format!("state-of-{}", rustix::process::getuid().as_raw()));
        absolute("XDG_STATE_HOME")
            .or_else(home)
            .unwrap_or_else(temporary)
            .join("horme/leases")
    }
}

fn locked(path: &Path, estate: &Estate) -> std::io::Result<File> {
    let mut file = File::create(path)?;
    file.lock()?;
    file.write_all(&serde_json::to_vec(estate)?)?;
    Ok(file)
}

/// The lease in a file that nobody holds any more. Where locks cannot be told, everybody is taken to live.
fn abandoned(path: PathBuf) -> Option<Lease> {
    let mut file = File::open(&path).ok()?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
    }
    let run_id = path.file_name()?.to_str()?.to_owned();
    // Given back, or swept by another, between our look at the folder and the lock.
    if run_id.starts_with(UNNAMED) || !path.exists() {
        let _ = std::fs::remove_file(&path);
        return None;
    }
    let mut text = String::new();
    let estate = file
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| serde_json::from_str(&text).ok());
    Some(Lease {
        path,
        run_id,
        estate: estate.unwrap_or_default(),
        _file: file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(dir: &Path) -> Vec<String> {
        Lease::dead(dir).into_iter().map(|lease| lease.run_id).collect()
    }

    fn estate() -> Estate {
        Estate {
            engine: "E1".into(),
            run_dir: "/x/reports/held".into(),
        }
    }

    #[test]
    fn a_held_lease_is_alive_and_an_abandoned_one_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lease::take(dir.path(), "held", estate()).unwrap();
        let given_back = Lease::take(dir.path(), "given-back", estate()).unwrap();
        given_back.end();
        std::fs::write(dir.path().join("abandoned"), "").unwrap();
        assert_eq!(ids(dir.path()), ["abandoned"]);
        drop(held);
        let dead = Lease::dead(dir.path());
        let last = dead.last().unwrap();
        assert_eq!((last.run_id.as_str(), &last.estate), ("held", &estate()));
        assert_eq!(ids(dir.path()), [""; 0], "who sweeps a run holds its lease");
    }

    #[test]
    fn what_was_left_in_another_engine_is_not_forgotten_by_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::take(dir.path(), "held", estate()).unwrap();
        assert!(lease.concerns("E1") && !lease.concerns("E2") && !lease.is_ancient());
        drop(lease);
        std::fs::write(dir.path().join("half"), "{\"engine\": \"E").unwrap();
        let half = Lease::dead(dir.path()).remove(0);
        assert!(half.concerns("E1") && half.concerns("E2"), "nobody knows where");
    }

    #[test]
    fn a_run_that_died_before_its_lease_had_a_name_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".new-x"), "").unwrap();
        assert!(ids(dir.path()).is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = Lease::take(&dir.path().join("file/leases"), "x", estate()).unwrap_err();
        let (exit, text) = crate::exit::explain(&error);
        assert_eq!(exit, crate::exit::Exit::Undecided);
        assert!(
            text.contains("file/leases") && text.contains("XDG_STATE_HOME"),
            "{text}"
        );
    }
}
