//! The files of some folders as the build sees them: without what `.dockerignore` leaves out, by content and
//! mode, not by time.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use globset::{GlobBuilder, GlobMatcher};

use crate::exit::Failure;
use crate::hash;

/// The rules of a `.dockerignore`: the last one that matches a path, or a folder above it, decides.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// `!pattern`: what is named comes back.
    keeps: bool,
    text: String,
    glob: GlobMatcher,
}

impl Ignore {
    /// Reads `.dockerignore` at the root; without one nothing is left out.
    ///
    /// # Errors
    /// Exit 2 for a pattern that is none, exit 3 for a file that cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        match std::fs::read_to_string(root.join(".dockerignore")) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context("cannot read .dockerignore"),
        }
    }

    /// Reads rules.
    ///
    /// # Errors
    /// Exit 2 for a pattern that is none.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let rules = lines.map(|line| {
            let (keeps, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            let text = pattern.trim_start_matches("./").trim_matches('/').to_owned();
            let glob = GlobBuilder::new(&text)
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            let glob = glob.map_err(|error| {
                let hint = "see the syntax of .dockerignore in Docker's documentation";
                Failure::usage(format!(".dockerignore: '{line}' is no pattern: {error}"), hint)
            })?;
            Ok(Rule {
                keeps,
                text,
                glob: glob.compile_matcher(),
            })
        });
        Ok(Ignore {
            rules: rules.collect::<Result<_>>()?,
        })
    }

    /// Whether the build does not see a path, relative to the root.
    pub fn leaves_out(&self, path: &Path) -> bool {
        let above: Vec<&Path> = path
            .ancestors()
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        let matches = |rule: &&Rule| above.iter().any(|path| rule.glob.is_match(path));
        self.rules.iter().rfind(matches).is_some_and(|rule| !rule.keeps)
    }

    /// Whether nothing under a folder that is left out can come back.
    fn leaves_out_all_under(&self, folder: &Path) -> bool {
        let comes_back = |rule: &Rule| rule.keeps && Path::new(&rule.text).starts_with(folder);
        let anywhere = |rule: &Rule| rule.keeps && rule.text.contains("**");
        self.leaves_out(folder) && !self.rules.iter().any(|rule| comes_back(rule) || anywhere(rule))
    }
}

/// Which part of a file's mode counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modes {
    /// Whether it is a program: for sources, which two checkouts may hold under another umask.
    Program,
    /// All of it: for files that get into an image or a container as they are.
    All,
}

/// Every file under the folders, and every file named itself (relative to the root), that the build sees:
/// path -> mode and content, hashed. A link counts by what it points to in name, an executable file differs from another.
///
/// # Errors
/// A folder or file that cannot be read.
pub fn read(
    root: &Path,
    folders: &BTreeSet<PathBuf>,
    ignore: &Ignore,
    modes: Modes,
) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut queue: Vec<PathBuf> = folders.iter().cloned().collect();
    while let Some(folder) = queue.pop() {
        let full = root.join(&folder);
        if full.is_file() {
            files.insert(folder.display().to_string(), digest(&full, modes)?);
            continue;
        }
        let entries = std::fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                if !ignore.leaves_out_all_under(&path) {
                    queue.push(path);
                }
            } else if !ignore.leaves_out(&path) {
                files.insert(path.display().to_string(), digest(&root.join(&path), modes)?);
            }
        }
    }
    Ok(files)
}

fn digest(path: &Path, modes: Modes) -> Result<String> {
    let unreadable = || format!("cannot read {}", path.display());
    let facts = path.symlink_metadata().with_context(unreadable)?;
    if facts.is_symlink() {
        let target = std::fs::read_link(path).with_context(unreadable)?;
        // What it points to counts too, where that is a file; a link to nowhere is its name alone.
        let content = hash::of_file(path).unwrap_or_default();
        return Ok(hash::of_parts(["link", &target.to_string_lossy(), &content]));
    }
    let mode = facts.permissions().mode();
    let mode = match modes {
        Modes::All => format!("{:o}", mode & 0o777),
        Modes::Program if mode & 0o111 == 0 => "file".to_owned(),
        Modes::Program => "program".to_owned(),
    };
    let content = hash::of_file(path).with_context(unreadable)?;
    Ok(hash::of_parts([mode.as_str(), content.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "# all but\n*\n!Cargo.toml\n!services\nservices/**/tests\nservices/**/*.md\n";

    fn left_out(rules: &str, path: &str) -> bool {
        Ignore::parse(rules).unwrap().leaves_out(Path::new(path))
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        for kept in [
            "Cargo.toml",
            "services/kit/src/lib.rs",
            "services/kit/src/tests.rs",
        ] {
            assert!(!left_out(OURS, kept), "{kept}");
        }
        for gone in [
            "README.md",
            "xtask/src/main.rs",
            "services/kit/tests/it/main.rs",
            "services/kit/README.md",
            "services/a.md",
        ] {
            assert!(left_out(OURS, gone), "{gone}");
        }
        assert!(!left_out("*.md\n!README.md", "README.md"));
        assert!(!left_out("*.md", "docs/a.md"), "one star does not cross a folder");
        assert!(left_out("docs", "docs/deep/a.md"));
        assert!(!left_out("", "anything"));
    }

    #[test]
    fn a_folder_that_is_out_for_good_is_not_walked() {
        let ignore = Ignore::parse(OURS).unwrap();
        assert!(ignore.leaves_out_all_under(Path::new("target")));
        assert!(!ignore.leaves_out_all_under(Path::new("services")));
        let back = Ignore::parse("services\n!services/kit/src").unwrap();
        assert!(!back.leaves_out_all_under(Path::new("services")));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let error = Ignore::parse("ok\n[z").unwrap_err();
        assert!(error.to_string().contains("'[z' is no pattern"), "{error}");
    }

    #[test]
    fn content_and_mode_count_and_time_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = BTreeSet::from([PathBuf::from("a")]);
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let file = dir.path().join("a/x.sh");
        let state = |text: &str, mode| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            [Modes::Program, Modes::All]
                .map(|modes| read(dir.path(), &folder, &Ignore::default(), modes).unwrap())
        };
        let first = state("1", 0o644);
        assert_eq!(first[0], state("1", 0o600)[0]);
        assert_ne!(first[1], state("1", 0o600)[1]);
        for other in [state("2", 0o644), state("1", 0o755)] {
            assert!(first[0] != other[0] && first[1] != other[1]);
        }
    }
}
