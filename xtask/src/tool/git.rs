//! git: the state of the checkout, and which commits touched what.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::process::Call;

/// The state of some inputs in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The last commit that touched them, in full; `None` outside git or before the first commit.
    pub commit: Option<String>,
    /// That commit's time, seconds since 1970; 0 where there is none.
    pub time_s: i64,
    /// Whether any of them differs from that commit.
    pub dirty: bool,
}

impl Revision {
    /// Where git has nothing to say.
    pub const UNKNOWN: Revision = Revision {
        commit: None,
        time_s: 0,
        dirty: true,
    };

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

/// A commit that `git log` listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub id: String,
    pub time_s: i64,
    pub parents: Vec<String>,
    /// What differs from each parent (from nothing, in the first commit), by path from the root. Parents that it
    /// does not differ from are left out.
    pub touched: Vec<Vec<PathBuf>>,
}

fn git(root: &Path, words: &[&str]) -> Call {
    let start = [
        std::ffi::OsString::from("git"),
        "-C".into(),
        root.as_os_str().to_owned(),
    ];
    Call::new(start.into_iter().chain(words.iter().map(Into::into))).deadline_s(30)
}

fn with_paths(mut call: Call, paths: &[PathBuf]) -> Call {
    call.args.push("--".into());
    call.args
        .extend(paths.iter().map(|path| path.as_os_str().to_owned()));
    call
}

/// What is checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    pub commit: String,
    /// `HEAD` where none is checked out.
    pub branch: String,
    /// The history is cut off somewhere.
    pub shallow: bool,
    /// Where in the repository the root lies: empty, or a path with a slash at its end.
    pub prefix: String,
    /// Anything at all differs from the commit, or lies beside it without being ignored.
    pub dirty: bool,
}

/// Prints whether the clone is shallow, where the root lies in it, the commit that is checked out and its branch.
pub fn head(root: &Path) -> Call {
    git(
        root,
        &[
            "rev-parse",
            "--is-shallow-repository",
            "--show-prefix",
            "HEAD",
            "--abbrev-ref",
            "HEAD",
        ],
    )
}

/// The answer to [`head`].
pub fn parse_head(stdout: &str) -> Option<Head> {
    let mut lines = stdout.lines();
    let (shallow, prefix, commit) = (
        lines.next()? == "true",
        lines.next()?.to_owned(),
        lines.next()?.to_owned(),
    );
    let branch = lines.next()?.to_owned();
    Some(Head {
        commit,
        branch,
        shallow,
        prefix,
        dirty: true,
    })
}

/// Copies a repository with its whole history into a folder that is not there yet; no file is checked out.
pub fn clone(repository: &Path, folder: &Path) -> Call {
    let words = ["git", "clone", "--quiet", "--local", "--no-checkout", "--"].map(Into::into);
    let paths = [repository.as_os_str().to_owned(), folder.as_os_str().to_owned()];
    Call::new(words.into_iter().chain(paths)).deadline_s(300)
}

/// Makes the files of a clone those of a commit.
pub fn check_out(root: &Path, commit: &str) -> Call {
    git(root, &["checkout", "--quiet", "--detach", commit]).deadline_s(300)
}

/// Prints whatever differs from the commit; nothing of what git ignores.
pub fn unclean(root: &Path) -> Call {
    git(
        root,
        &[
            "status",
            "--porcelain",
            "-z",
            "--no-renames",
            // Whatever the user's own configuration says.
            "--untracked-files=normal",
        ],
    )
}

/// Prints what differs from the commit, with files that git ignores, NUL after each.
pub fn status(root: &Path, paths: &[PathBuf]) -> Call {
    let words = [
        "status",
        "--porcelain",
        "-z",
        "--no-renames",
        "--untracked-files=all",
        "--ignored=matching",
    ];
    with_paths(git(root, &words), paths)
}

/// The paths in the answer to [`status`] (files, and folders that git ignores as a whole), from the root; `prefix` is the root's place in the repository.
pub fn parse_status(stdout: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = stdout
        .split('\0')
        .filter_map(|entry| entry.get(3..)?.strip_prefix(prefix));
    entries
        .map(|path| path.trim_end_matches('/'))
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// Lists up to `most` commits that touched the paths, the newest first, each with what it touched.
pub fn log(root: &Path, most: usize, paths: &[PathBuf]) -> Call {
    let most = format!("--max-count={most}");
    let words = [
        "-c",
        "log.showRoot=true",
        "log",
        &most,
        "--topo-order",
        "--diff-merges=separate",
        "-z",
        "--name-only",
        "--no-renames",
        "--relative",
        "--format=%x01%H %ct %P",
    ];
    with_paths(git(root, &words), paths)
}

/// The answer to [`log`]. A merge is listed once for each parent, and comes back as one commit.
pub fn parse_log(stdout: &str) -> Vec<Commit> {
    let mut commits: Vec<Commit> = Vec::new();
    for block in stdout.split('\u{1}').skip(1) {
        let mut fields = block.split(['\0', '\n']).filter(|field| !field.is_empty());
        let mut words = fields
            .next()
            .unwrap_or_default()
            .split(' ')
            .filter(|word| !word.is_empty());
        let (Some(id), Some(time_s)) = (words.next(), words.next().and_then(|word| word.parse().ok())) else {
            continue;
        };
        let touched: Vec<PathBuf> = fields.map(PathBuf::from).collect();
        match commits.last_mut().filter(|last| last.id == id) {
            Some(last) => last.touched.push(touched),
            None => commits.push(Commit {
                id: id.to_owned(),
                time_s,
                parents: words.map(str::to_owned).collect(),
                touched: vec![touched],
            }),
        }
    }
    commits
}

/// Prints a file as it was in a commit.
pub fn show(root: &Path, commit: &str, path: &str) -> Call {
    git(root, &["show", &format!("{commit}:./{path}")])
}

/// Lists the manifests in a commit, from the root.
pub fn manifests(root: &Path, commit: &str) -> Call {
    git(root, &["ls-tree", "-r", "--name-only", commit])
}

/// The paths of the manifests in the answer to [`manifests`].
pub fn parse_manifests(stdout: &str) -> impl Iterator<Item = &str> {
    let is_one = |path: &&str| path.rsplit('/').next() == Some("Cargo.toml");
    stdout.lines().filter(is_one)
}

/// Lists the release tags below the commit that is checked out; its own are none of them.
pub fn release_tags(root: &Path) -> Call {
    git(
        root,
        &["tag", "--list", "v*", "--merged", "HEAD", "--no-contains", "HEAD"],
    )
}

/// The highest release in the answer to [`release_tags`]: `v1.2.0`, not `v2.0.0-rc.1`.
pub fn last_release(stdout: &str) -> Option<&str> {
    let releases = stdout.lines().filter_map(|tag| {
        let version = semver::Version::parse(tag.strip_prefix('v')?).ok()?;
        version.pre.is_empty().then_some((version, tag))
    });
    releases.max().map(|(_, tag)| tag)
}

/// Where the default branch may be, the surest first.
const DEFAULT_BRANCHES: [&str; 5] = [
    "refs/remotes/origin/HEAD",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
    "refs/heads/main",
    "refs/heads/master",
];

/// Lists those of the references that are there.
pub fn default_branches(root: &Path) -> Call {
    let words = ["for-each-ref", "--format=%(refname)"];
    git(root, &[&words[..], &DEFAULT_BRANCHES].concat())
}

/// The default branch in the answer to [`default_branches`].
pub fn default_branch(stdout: &str) -> Option<&'static str> {
    let there = |name: &&str| stdout.lines().any(|line| line == *name);
    DEFAULT_BRANCHES.into_iter().find(|name| there(name))
}

/// Prints the address of the remote `origin`.
pub fn remote(root: &Path) -> Call {
    git(root, &["remote", "get-url", "origin"])
}

/// Lists the tags of the commit that is checked out.
pub fn tags_of_head(root: &Path) -> Call {
    git(root, &["tag", "--list", "--points-at", "HEAD"])
}

/// Prints the commit where the branch was left.
pub fn merge_base(root: &Path, branch: &str) -> Call {
    git(root, &["merge-base", "HEAD", branch])
}

/// Lists up to a thousand commits that only one of two has below it, the newest first.
pub fn between(root: &Path, good: &str, bad: &str) -> Call {
    let (range, most) = (format!("{good}...{bad}"), "--max-count=1000");
    git(
        root,
        &[
            "log",
            "--left-right",
            "--topo-order",
            most,
            "--format=%m%s",
            &range,
            "--",
        ],
    )
}

/// The answer to [`between`]: of each commit the side (`<` good, `>` bad) and the subject.
pub fn parse_between(stdout: &str) -> Vec<(char, String)> {
    let side = |line: &str| {
        let mut rest = line.chars();
        let side = rest.next().filter(|side| ['<', '>'].contains(side))?;
        Some((side, rest.as_str().to_owned()))
    };
    stdout.lines().filter_map(side).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "734517e9d1b6a0f3c2e4d5a6b7c8d9e0f1a2b3c4";

    fn revision(dirty: bool) -> Revision {
        Revision {
            commit: Some(COMMIT.to_owned()),
            time_s: 1_763_715_600,
            dirty,
        }
    }

    #[test]
    fn a_revision_says_when_it_is_not_the_whole_truth() {
        assert_eq!(revision(false).shown(), COMMIT);
        assert_eq!(revision(true).shown(), format!("{COMMIT}-dirty"));
        assert_eq!(Revision::UNKNOWN.shown(), "unknown");
    }

    #[test]
    fn the_time_is_the_commits() {
        assert_eq!(revision(false).created(), "2025-11-21T09:00:00Z");
        assert_eq!(Revision::UNKNOWN.created(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn heads_and_statuses_are_read() {
        let head = parse_head("true\nsub/\nabc\nmain\n").unwrap();
        assert_eq!(
            (
                head.commit.as_str(),
                head.branch.as_str(),
                head.shallow,
                head.prefix.as_str()
            ),
            ("abc", "main", true, "sub/")
        );
        assert!(!parse_head("false\n\nabc\nHEAD\n").unwrap().shallow);
        assert_eq!(parse_head(""), None);
        let said = " M services/kit/src/lib.rs\0?? services/a b.rs\0!! services/kit/target/\0";
        let paths = parse_status(said, "");
        assert_eq!(
            paths,
            [
                "services/kit/src/lib.rs",
                "services/a b.rs",
                "services/kit/target"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(parse_status("?? sub/a\0", "sub/"), [PathBuf::from("a")]);
        assert!(parse_status("", "").is_empty());
    }

    #[test]
    fn the_last_release_is_the_highest_that_is_no_trial() {
        for (tags, expected) in [
            ("v0.9.0\nv0.10.0\nv0.2.0\n", Some("v0.10.0")),
            ("v1.0.0-rc.1\nv0.9.0\nvim\nv2\n", Some("v0.9.0")),
            ("v1.0.0-rc.1\n", None),
            ("", None),
        ] {
            assert_eq!(last_release(tags), expected, "{tags}");
        }
    }

    #[test]
    fn the_default_branch_is_the_remotes_where_it_says_so() {
        let branch = |said| default_branch(said);
        assert_eq!(
            branch("refs/heads/main\nrefs/remotes/origin/master\n"),
            Some("refs/remotes/origin/master")
        );
        assert_eq!(branch("refs/heads/main\n"), Some("refs/heads/main"));
        assert_eq!(branch(""), None);
    }

    #[test]
    fn commits_of_two_sides_are_told_apart() {
        let commits = parse_between(">Grow < and >\n>\n<Shrink\n");
        let expected = [('>', "Grow < and >"), ('>', ""), ('<', "Shrink")];
        assert_eq!(
            commits,
            expected.map(|(side, subject)| (side, subject.to_owned()))
        );
    }

    #[test]
    fn a_merge_is_one_commit_with_a_list_for_each_parent() {
        let log = "\u{1}m1 30 p1 p2\0\na\0b\0\u{1}m1 30 p1 p2\0\nc\0\u{1}p1 20 r\0\na\0";
        let commits = parse_log(log);
        assert_eq!(commits.len(), 2);
        assert_eq!((commits[0].id.as_str(), commits[0].time_s), ("m1", 30));
        assert_eq!(commits[0].parents, ["p1", "p2"]);
        let touched: [Vec<PathBuf>; 2] = [vec!["a".into(), "b".into()], vec!["c".into()]];
        assert_eq!(commits[0].touched, touched);
        assert_eq!(commits[1].touched, [vec![PathBuf::from("a")]]);
    }
}
