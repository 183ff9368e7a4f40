//! A copy of this repository's own services, Dockerfiles and compose files in a temporary folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::checkout::{Ended, ended, repository};

/// The relative path and the bytes of every file.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The copy; it goes with the test.
pub(crate) struct Copy(TempDir);

impl Copy {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for tree in ["services", "docker", "compose"] {
            copy_tree(&repository().join(tree), &folder.path().join(tree));
        }
        for file in ["Cargo.toml", "Cargo.lock", ".dockerignore", "rust-toolchain.toml"] {
            std::fs::copy(repository().join(file), folder.path().join(file)).unwrap();
        }
        std::fs::create_dir(folder.path().join("xtask")).unwrap();
        std::fs::write(folder.path().join("xtask/Cargo.toml"), "").unwrap();
        Copy(folder)
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    pub(crate) fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside)).unwrap()
    }

    pub(crate) fn write(&self, inside: &str, text: &str) {
        std::fs::write(self.path(inside), text).unwrap();
    }

    pub(crate) fn xtask(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.0.path());
        command
            .env("CI", "true")
            .env("HORME_CACHE_DIR", self.0.path().join(".git/cache"));
        ended(command.output().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// Puts everything under git, as one commit; returns its id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["init", "--quiet", "--initial-branch=main"]);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git, and returns what it printed.
    pub(crate) fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
            .args(words);
        let said = ended(git.current_dir(self.0.path()).output().unwrap());
        assert_eq!(said.code, Some(0), "git {words:?}: {}", said.said());
        said.stdout.trim().to_owned()
    }

    pub(crate) fn files(&self) -> Files {
        let mut files = Files::new();
        walk(self.0.path(), &mut |path| {
            let inside = path.strip_prefix(self.0.path()).unwrap().to_owned();
            files.insert(inside, std::fs::read(path).unwrap());
        });
        files
    }

    /// Ends with 2, says so, and leaves every file as it was.
    pub(crate) fn refuses(&self, arguments: &[&str], word: &str) {
        let before = self.files();
        let ended = self.xtask(arguments);
        assert_eq!(ended.code, Some(2), "{}", ended.said());
        assert!(
            ended.stderr.contains(word),
            "'{word}' is not in:\n{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
        assert!(before == self.files(), "{arguments:?} changed a file");
    }
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, visit);
        } else {
            visit(&path);
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    walk(from, &mut |path| {
        let copy = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(path, copy).unwrap();
    });
}
