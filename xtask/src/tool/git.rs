//! git: which commit last touched a set of paths, and whether they have changed since.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::process::Call;

/// The state of some paths in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// The last commit that touched the paths, in full; `None` outside git or before the first commit.
    pub commit: Option<String>,
    /// That commit's time, seconds since 1970; 0 where there is none.
    pub time_s: i64,
    /// Whether any of the paths differs from that commit.
    pub dirty: bool,
}

impl Revision {
    /// As it stands in labels and tags: the commit, `-dirty` where it is not all, `unknown` without git.
    pub fn shown(&self) -> String {
        match (&self.commit, self.dirty) {
            (Some(commit), false) => commit.clone(),
            (Some(commit), true) => format!("{commit}-dirty"),
            (None, _) => "unknown".to_owned(),
        }
    }

    /// The commit's time as RFC 3339 in UTC.
    pub fn created(&self) -> String {
        jiff::Timestamp::from_second(self.time_s)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_string()
    }
}

/// `git log` for the last commit that touched the paths: prints `<commit> <time>`.
pub fn last_commit(root: &Path, paths: &[PathBuf]) -> Call {
    let argv = ["git", "-C"]
        .map(Into::into)
        .into_iter()
        .chain([root.as_os_str().to_owned()]);
    let argv = argv.chain(["log", "-1", "--format=%H %ct", "--"].map(Into::into));
    Call::new(argv.chain(paths.iter().map(|path| path.as_os_str().to_owned()))).deadline_s(20)
}

/// `git status` of the paths: prints nothing where they are as committed.
pub fn status(root: &Path, paths: &[PathBuf]) -> Call {
    let argv = ["git", "-C"]
        .map(Into::into)
        .into_iter()
        .chain([root.as_os_str().to_owned()]);
    let argv = argv.chain(["status", "--porcelain", "--untracked-files=all", "--"].map(Into::into));
    Call::new(argv.chain(paths.iter().map(|path| path.as_os_str().to_owned()))).deadline_s(20)
}

/// Reads the two answers; `None` for an answer that git refused to give.
pub fn parse(last_commit: Option<&str>, status: Option<&str>) -> Revision {
    let mut words = last_commit.unwrap_or_default().split_whitespace();
    let commit = words.next().filter(|word| word.len() >= 40).map(str::to_owned);
    let time_s = words
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or_default();
    let dirty = status.is_none_or(|text| !text.trim().is_empty());
    Revision {
        commit,
        time_s,
        dirty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "734517e9d1b6a0f3c2e4d5a6b7c8d9e0f1a2b3c4";

    #[test]
    fn a_revision_says_when_it_is_not_the_whole_truth() {
        let line = format!("{COMMIT} 1763715600\n");
        assert_eq!(parse(Some(&line), Some("")).shown(), COMMIT);
        assert_eq!(
            parse(Some(&line), Some(" M services/kit/src/lib.rs\n")).shown(),
            format!("{COMMIT}-dirty")
        );
        assert_eq!(parse(None, None).shown(), "unknown");
        assert_eq!(parse(Some(""), Some("?? services/\n")).shown(), "unknown");
    }

    #[test]
    fn the_time_is_the_commits() {
        let line = format!("{COMMIT} 1763715600\n");
        assert_eq!(parse(Some(&line), Some("")).created(), "2025-11-21T09:00:00Z");
        assert_eq!(parse(None, None).created(), "1970-01-01T00:00:00Z");
    }
}
