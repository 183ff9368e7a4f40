//! The journal of a release: a folder with everything that it pushes, and a file of JSON lines, one a step that was
//! done, each on the disk before the next one begins. What was done is all that `--resume` and `--undo` go by.

mod lock;
mod step;

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};

pub use lock::{Lock, all, refused, withdrawn};
pub use step::{Former, FormerManifest, Line, Sent, Statement, Step, Tag};

use super::state::State;
use crate::exit::Failure;

/// Raised whenever a step changes its shape; a journal of another one is refused.
pub const VERSION: u32 = 1;

/// The lines, in the journal's folder.
pub const FILE: &str = "journal.jsonl";

/// What the name of a journal ends with that made room for a new one, before its number: no version and no tag has that.
pub const KEPT: char = '~';

/// What the name of a journal begins with before everything that it sends is there: no tag begins with a dot.
pub const NEW: &str = ".new-";

/// A journal that is open: nobody else writes to any journal of this owner.
#[derive(Debug)]
pub struct Journal {
    pub folder: PathBuf,
    run_id: String,
    open: Mutex<Open>,
    _lock: Lock,
}

#[derive(Debug)]
struct Open {
    file: File,
    state: State,
}

impl Journal {
    /// Begins a journal in a folder that is not there yet.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(lock: Lock, name: &str, run_id: &str, opened: Step) -> Result<Self> {
        let folder = lock.folder.join(name);
        let create = || -> std::io::Result<File> {
            std::fs::create_dir_all(&folder)?;
            File::create_new(folder.join(FILE))
        };
        let file = create().with_context(|| format!("cannot begin the journal {}", folder.display()))?;
        let journal = Self::with(lock, folder, run_id, file, State::default());
        journal.write(opened)?;
        Ok(journal)
    }

    /// Opens a journal that is there. A last line that was cut off was never done, and goes.
    ///
    /// # Errors
    /// Exit 2: it is damaged, or of another version.
    pub fn open(lock: Lock, name: &str, run_id: &str) -> Result<Self> {
        let folder = lock.folder.join(name);
        let (lines, whole) = read(&folder)?;
        let path = folder.join(FILE);
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self::with(lock, folder, run_id, file, State::of(&lines)))
    }

    fn with(lock: Lock, folder: PathBuf, run_id: &str, file: File, state: State) -> Self {
        Journal {
            folder,
            run_id: run_id.to_owned(),
            open: Mutex::new(Open { file, state }),
            _lock: lock,
        }
    }

    /// Writes what was done; it is on the disk when this comes back.
    ///
    /// # Errors
    /// The disk takes no line: what is not written was not done.
    pub fn write(&self, step: Step) -> Result<()> {
        let line = Line {
            at: jiff::Timestamp::now(),
            run_id: self.run_id.clone(),
            step,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let written = open.file.write_all(&text).and_then(|()| open.file.sync_data());
        written.map_err(|error| {
            let what = format!("the journal {} takes no line: {error}", self.folder.display());
            Failure::undecided(what, "free some space, then `cargo xtask release --resume`")
        })?;
        open.state.take(&line);
        Ok(())
    }

    /// Gives the journal its name, now that it can be resumed.
    ///
    /// # Errors
    /// The folder cannot be renamed.
    pub fn rename(&mut self, folder: PathBuf) -> Result<()> {
        std::fs::rename(&self.folder, &folder)
            .with_context(|| format!("cannot rename {} to {}", self.folder.display(), folder.display()))?;
        self.folder = folder;
        Ok(())
    }

    /// Lets go of what was pushed: the lines are enough to take the release back.
    pub fn slim(&self) {
        slim(&self.folder);
    }

    /// What was done so far.
    pub fn state(&self) -> State {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .state
            .clone()
    }
}

/// The same of a journal that is not open.
pub fn slim(folder: &Path) {
    for name in ["layout", "bundles"] {
        let _ = std::fs::remove_dir_all(folder.join(name));
    }
}

/// The lines of a journal, and how many bytes of the file they are.
///
/// # Errors
/// Exit 2: it cannot be read, a line of it is damaged, or it is of another version.
pub fn read(folder: &Path) -> Result<(Vec<Line>, u64)> {
    let path = folder.join(FILE);
    let refuse = |why: String| {
        let what = format!("{} cannot be read: {why}", path.display());
        let hint =
            "move its folder away; what is published stays as it is, and a new release begins a new journal";
        anyhow::Error::from(Failure::usage(what, hint))
    };
    let bytes = std::fs::read(&path).map_err(|error| refuse(error.to_string()))?;
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut lines: Vec<Line> = Vec::new();
    for (at, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let line = serde_json::from_slice::<Line>(line);
        lines.push(line.map_err(|error| refuse(format!("line {}: {error}", at + 1)))?);
    }
    match lines.first().map(|line| &line.step) {
        Some(Step::Opened { version, .. }) if *version != VERSION => {
            Err(refuse(format!("it is of version {version}, not {VERSION}")))
        }
        Some(Step::Opened { .. }) | None => Ok((lines, whole as u64)),
        Some(_) => Err(refuse("it does not begin with its beginning".to_owned())),
    }
}

/// `$XDG_STATE_HOME/horme/releases`, or the same under `~/.local/state`.
fn default_folder() -> PathBuf {
    let leases = crate::engine::Lease::dir();
    leases.parent().unwrap_or(&leases).join("releases")
}

/// Where the journals of an owner lie, in a folder that is named or the usual one.
pub fn folder(named: Option<&Path>, host: &str, owner: &str) -> PathBuf {
    let journals = named.map_or_else(default_folder, Path::to_path_buf);
    folder_of(&journals, host, owner)
}

/// Where the journals of an owner lie. An owner may have several parts: they are one folder's name.
fn folder_of(journals: &Path, host: &str, owner: &str) -> PathBuf {
    let owner = if owner.is_empty() {
        "-".to_owned()
    } else {
        owner.replace('/', "+")
    };
    // Archives of CI systems take no colon in a path.
    journals.join(host.replace(':', "+")).join(owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::state::Phase;

    fn opened() -> Step {
        Step::Opened {
            version: VERSION,
            release: "1.4.2".to_owned(),
            snapshot: false,
            commit: "c".repeat(40),
            inherited: Vec::new(),
        }
    }

    fn image(name: &str) -> Step {
        Step::Claimed {
            image: name.to_owned(),
        }
    }

    fn begun(folder: &Path) -> Journal {
        let lock = Lock::take(folder.to_owned(), "run-1", "the release 1.4.2").unwrap();
        Journal::begin(lock, "1.4.2", "run-1", opened()).unwrap()
    }

    #[test]
    fn what_was_written_is_there_after_the_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = begun(folder.path());
        journal.write(image("a")).unwrap();
        drop(journal);
        let lock = Lock::take(folder.path().to_owned(), "run-2", "the release 1.4.2").unwrap();
        let journal = Journal::open(lock, "1.4.2", "run-2").unwrap();
        assert_eq!(journal.state().claimed, ["a".to_owned()].into());
        journal.write(image("b")).unwrap();
        let (lines, _) = read(&journal.folder).unwrap();
        let runs: Vec<&str> = lines.iter().map(|line| line.run_id.as_str()).collect();
        assert_eq!(runs, ["run-1", "run-1", "run-2"]);
        assert_eq!(lines[2].step, image("b"));
    }

    #[test]
    fn a_last_line_that_was_cut_off_was_never_done() {
        let folder = tempfile::tempdir().unwrap();
        let journal = begun(folder.path());
        journal.write(image("a")).unwrap();
        drop(journal);
        let path = folder.path().join("1.4.2").join(FILE);
        let whole = std::fs::read(&path).unwrap();
        let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        // Wherever it was cut, the first line alone was done, and what comes next is a line of its own.
        for cut in second..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let lock = Lock::take(folder.path().to_owned(), "run-2", "x").unwrap();
            let journal = Journal::open(lock, "1.4.2", "run-2").unwrap();
            assert!(journal.state().claimed.is_empty(), "cut at {cut}");
            journal.write(image("b")).unwrap();
            assert_eq!(read(&journal.folder).unwrap().0.len(), 2, "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_and_another_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let journal = begun(folder.path());
        journal.write(image("a")).unwrap();
        let path = journal.folder.join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("{\"at\"", "{at", 1)).unwrap();
        let error = read(&journal.folder).unwrap_err().to_string();
        assert!(error.contains("line 1: "), "{error}");
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":9")).unwrap();
        let error = read(&journal.folder).unwrap_err().to_string();
        assert!(error.ends_with("it is of version 9, not 1"), "{error}");
    }

    #[test]
    fn a_second_release_is_told_who_is_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let journal = begun(folder.path());
        let refused = Lock::take(folder.path().to_owned(), "run-2", "the release 1.4.3").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the release 1.4.2 (run run-1) is under way on this machine"
        );
        assert_eq!(journal.state().phase, Phase::Opened);
        drop(journal);
        let lock = Lock::take(folder.path().to_owned(), "run-2", "the release 1.4.3").unwrap();
        let all: Vec<(String, Phase)> = lock
            .all()
            .into_iter()
            .map(|(name, state)| (name, state.phase))
            .collect();
        assert_eq!(all, [("1.4.2".to_owned(), Phase::Opened)]);
    }

    #[test]
    fn an_owner_of_several_parts_is_one_folder() {
        let of = |owner| folder_of(Path::new("/j"), "ghcr.io", owner);
        assert_eq!(of("acme/team"), Path::new("/j/ghcr.io/acme+team"));
        assert_eq!(of(""), Path::new("/j/ghcr.io/-"));
        let with_port = folder_of(Path::new("/j"), "registry.example.org:5000", "acme");
        assert_eq!(with_port, Path::new("/j/registry.example.org+5000/acme"));
    }
}
