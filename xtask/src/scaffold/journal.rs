//! Files that are created and changed together, or not at all: what was done is remembered, and can be undone.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// What was done to the files under one root.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    root: &'a Path,
    /// Files and folders that were not there before, outermost first.
    created: Vec<PathBuf>,
    /// Files as they were before.
    before: Vec<(PathBuf, String)>,
}

impl<'a> Journal<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Journal {
            root,
            created: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Creates a file with the folders above it. Paths are relative to the root.
    ///
    /// # Errors
    /// It is there already, or cannot be written.
    pub(super) fn create(&mut self, path: &Path, text: &str) -> Result<()> {
        let folders: Vec<&Path> = path.ancestors().skip(1).collect();
        for folder in folders.into_iter().rev() {
            self.create_folder(folder)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.root.join(path))
            .with_context(|| format!("cannot create {}", path.display()))?;
        self.created.push(path.to_owned());
        file.write_all(text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn create_folder(&mut self, folder: &Path) -> Result<()> {
        match std::fs::create_dir(self.root.join(folder)) {
            Ok(()) => self.created.push(folder.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", folder.display())),
        }
        Ok(())
    }

    /// Remembers a file that is about to be changed; returns its text.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn remember(&mut self, path: &Path) -> Result<String> {
        let text = std::fs::read_to_string(self.root.join(path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        self.before.push((path.to_owned(), text.clone()));
        Ok(text)
    }

    /// Writes another text into a file that is there.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(super) fn change(&mut self, path: &Path, text: &str) -> Result<()> {
        self.remember(path)?;
        std::fs::write(self.root.join(path), text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes everything back, the last first; what could not be taken back, a line each.
    pub(super) fn undo(self) -> Vec<String> {
        let restored = self.before.iter().rev().map(|(path, text)| {
            let done = std::fs::write(self.root.join(path), text);
            (path, "restored", done)
        });
        let removed = self.created.iter().rev().map(|path| {
            let full = self.root.join(path);
            let done = if full.is_dir() {
                std::fs::remove_dir(&full)
            } else {
                std::fs::remove_file(&full)
            };
            (path, "removed", done)
        });
        restored
            .chain(removed)
            .filter_map(|(path, what, done)| {
                Some(format!("{} is not {what}: {}", path.display(), done.err()?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_taken_back_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("services")).unwrap();
        std::fs::write(root.join("a.yaml"), "old").unwrap();
        let mut journal = Journal::new(root);
        journal.create(Path::new("services/x/src/main.rs"), "fn").unwrap();
        journal.change(Path::new("a.yaml"), "new").unwrap();
        // What is there is never overwritten.
        assert!(journal.create(Path::new("a.yaml"), "other").is_err());
        assert!(journal.change(Path::new("missing"), "x").is_err());
        assert_eq!(std::fs::read_to_string(root.join("a.yaml")).unwrap(), "new");

        assert_eq!(journal.undo(), Vec::<String>::new());
        assert_eq!(std::fs::read_to_string(root.join("a.yaml")).unwrap(), "old");
        assert_eq!(std::fs::read_dir(root.join("services")).unwrap().count(), 0);
    }
}
