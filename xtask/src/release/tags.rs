//! Which tags an image gets. Pure: from git, GitHub's variables and Cargo.toml to names.

use anyhow::Result;
use semver::Version;

use crate::exit::Failure;
use crate::hash;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occasion {
    Version(Version),
    Branch(String),
    PullRequest(u64),
}

/// Longest tag (distribution-spec, "pulling manifests").
const LONGEST: usize = 128;
/// What is said by machines, and never by a branch. `key-` names images by their inputs, `sha256-` what hangs on a
/// digest.
const RESERVED: [&str; 5] = ["sha-", "sha256-", "claim-", "key-", "pr-"];

impl Occasion {
    /// Of a run that publishes no version: what GitHub says was pushed (`GITHUB_REF`), else the branch that git has
    /// checked out (`HEAD` where there is none).
    ///
    /// # Errors
    /// Exit 2: neither names a branch or a pull request.
    pub fn snapshot(github_ref: Option<&str>, branch: &str) -> Result<Self> {
        let given = github_ref.filter(|given| !given.is_empty());
        let number =
            given.and_then(|given| given.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok());
        if let Some(number) = number {
            return Ok(Occasion::PullRequest(number));
        }
        let branch = given.map_or(Some(branch), |given| given.strip_prefix("refs/heads/"));
        match branch.filter(|branch| *branch != "HEAD") {
            Some(branch) => Ok(Occasion::Branch(branch.to_owned())),
            None => {
                let said = given.unwrap_or("a commit without a branch");
                let what = format!("a snapshot of {said}: neither a branch nor a pull request");
                Err(Failure::usage(
                    what,
                    "check out a branch, or leave --snapshot out to release a version",
                )
                .into())
            }
        }
    }
}

/// Every tag of an image for this occasion, in the order in which they move: the exact one first, `latest` last.
/// `released`: versions that users can see already.
///
/// # Errors
/// Exit 2: a version with build metadata, which no tag can hold.
pub fn tags(occasion: &Occasion, commit: &str, released: &[Version]) -> Result<Vec<String>> {
    // The commit in full: a shortened one may come to mean two, and says nothing about how long it has to be.
    let mut tags = vec![format!("sha-{commit}")];
    match occasion {
        Occasion::Version(version) => {
            refuse_build_metadata(version)?;
            tags.insert(0, version.to_string());
            tags.extend(floating(version, released));
        }
        Occasion::Branch(branch) => tags.insert(0, of_branch(branch)),
        Occasion::PullRequest(number) => tags.insert(0, format!("pr-{number}")),
    }
    Ok(tags)
}

/// The tags that move on to this version: each only where it is the highest of those that the tag speaks for, so that
/// patching an old line moves nobody back. A pre-release moves none.
pub fn floating(version: &Version, released: &[Version]) -> Vec<String> {
    if !version.pre.is_empty() {
        return Vec::new();
    }
    let is_highest = |of: &dyn Fn(&Version) -> bool| {
        let mut rivals = released.iter().filter(|other| other.pre.is_empty() && of(other));
        rivals.all(|other| other <= version)
    };
    let same_major = |other: &Version| other.major == version.major;
    let same_line = |other: &Version| same_major(other) && other.minor == version.minor;
    let mut tags = Vec::new();
    if is_highest(&same_line) {
        tags.push(format!("{}.{}", version.major, version.minor));
    }
    // Never `0`: below 1.0.0 each minor version may break what used the last one (SemVer 2.0.0, 4).
    if version.major > 0 && is_highest(&same_major) {
        tags.push(version.major.to_string());
    }
    if is_highest(&|_| true) {
        tags.push("latest".to_owned());
    }
    tags
}

/// In words, which tags a version would have moved if none were higher.
pub fn staying(version: &Version, released: &[Version]) -> Option<String> {
    let moving = floating(version, released);
    let mut stays = floating(version, &[]);
    stays.retain(|tag| !moving.contains(tag));
    let highest = released.iter().filter(|other| other.pre.is_empty()).max()?;
    let word = if stays.len() == 1 { "stays" } else { "stay" };
    (!stays.is_empty()).then(|| format!("{} {word}: {highest} is released, and higher", stays.join(", ")))
}

/// # Errors
/// Exit 2.
pub fn refuse_build_metadata(version: &Version) -> Result<()> {
    if version.build.is_empty() {
        return Ok(());
    }
    let what = format!("version {version}: no tag of an image can hold the `+`");
    let hint =
        "leave the build metadata out: the commit is in the image's labels and in its tag sha-<commit>";
    Err(Failure::usage(what, hint).into())
}

/// The versions among tags: `1.4.2`, `2.0.0-rc.1`; neither `1.4` nor `v1.4.2`.
pub fn versions<'a>(tags: impl IntoIterator<Item = &'a str>) -> Vec<Version> {
    let mut versions: Vec<Version> = tags
        .into_iter()
        .filter_map(|tag| Version::parse(tag).ok())
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

/// A legal tag for a branch, which is none that something else goes by.
fn of_branch(branch: &str) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let mut tag: String = branch.chars().map(legal).collect();
    let begins = tag.trim_start_matches(['.', '-']).len();
    tag = tag.split_off(tag.len() - begins);
    if tag.is_empty() {
        tag = format!("branch-{}", &hash::of(branch)[..8]);
    } else if is_taken(&tag) {
        tag = format!("branch-{tag}");
    }
    if tag.len() <= LONGEST {
        return tag;
    }
    // Long names often differ at their end alone.
    let digits = &hash::of(branch)[..8];
    format!("{}-{digits}", &tag[..LONGEST - 9])
}

fn is_taken(tag: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    let number = tag.strip_prefix('v').unwrap_or(&tag);
    tag == "latest"
        || number.starts_with(|c: char| c.is_ascii_digit())
        || RESERVED.iter().any(|reserved| tag.starts_with(reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "734517e9d1b6a0f3c2e4d5a6b7c8d9e0f1a2b3c4";

    fn all(version: &str, released: &[&str]) -> String {
        let occasion = Occasion::Version(version.parse().unwrap());
        let tags = tags(&occasion, COMMIT, &versions(released.iter().copied())).unwrap();
        tags.join(" ").replace(COMMIT, "C")
    }

    #[test]
    fn a_version_gets_these_tags() {
        let cases: [(&str, &[&str], &str); 18] = [
            ("1.4.2", &[], "1.4.2 sha-C 1.4 1 latest"),
            ("1.4.2", &["1.4.1", "1.3.9", "0.9.0"], "1.4.2 sha-C 1.4 1 latest"),
            // Published again: its own tags are its own.
            ("1.4.2", &["1.4.2"], "1.4.2 sha-C 1.4 1 latest"),
            // An old line is patched: `latest` stays (and so does `1`).
            ("1.4.2", &["1.4.1", "1.5.0"], "1.4.2 sha-C 1.4"),
            ("1.4.2", &["1.4.1", "2.0.0"], "1.4.2 sha-C 1.4 1"),
            ("1.4.2", &["1.4.3", "1.5.0", "2.0.0"], "1.4.2 sha-C"),
            ("1.4.2", &["1.4.10"], "1.4.2 sha-C"),
            ("1.4.10", &["1.4.9"], "1.4.10 sha-C 1.4 1 latest"),
            // Pre-releases move nothing, and hold nothing back.
            ("2.0.0-rc.1", &[], "2.0.0-rc.1 sha-C"),
            ("2.0.0-rc.1", &["1.4.2"], "2.0.0-rc.1 sha-C"),
            ("1.4.2", &["2.0.0-rc.1", "1.4.3-beta"], "1.4.2 sha-C 1.4 1 latest"),
            ("2.0.0", &["2.0.0-rc.1"], "2.0.0 sha-C 2.0 2 latest"),
            // Below 1.0.0 no tag promises more than a minor version.
            ("0.1.0", &[], "0.1.0 sha-C 0.1 latest"),
            ("0.2.0", &["0.1.7"], "0.2.0 sha-C 0.2 latest"),
            ("0.1.8", &["0.2.0"], "0.1.8 sha-C 0.1"),
            ("0.0.1", &["0.0.1-alpha"], "0.0.1 sha-C 0.0 latest"),
            // A registry's other tags are no versions.
            (
                "1.4.2",
                &["1.9", "9", "latest", "v3.0.0", "main", "01.2.3"],
                "1.4.2 sha-C 1.4 1 latest",
            ),
            ("10.0.0", &["9.9.9"], "10.0.0 sha-C 10.0 10 latest"),
        ];
        for (version, released, expected) in cases {
            assert_eq!(all(version, released), expected, "{version} after {released:?}");
        }
    }

    #[test]
    fn what_stays_is_said_with_the_reason() {
        let said = |version: &str, released: &[&str]| {
            staying(&version.parse().unwrap(), &versions(released.iter().copied()))
        };
        assert_eq!(said("1.4.2", &["1.4.1", "2.0.0-rc.1"]), None);
        assert_eq!(said("2.0.0-rc.1", &["1.4.1"]), None);
        let latest = said("1.4.2", &["2.0.0"]);
        assert_eq!(
            latest.as_deref(),
            Some("latest stays: 2.0.0 is released, and higher")
        );
        let both = said("1.4.2", &["1.5.0"]);
        assert_eq!(
            both.as_deref(),
            Some("1, latest stay: 1.5.0 is released, and higher")
        );
    }

    #[test]
    fn build_metadata_is_refused_with_its_remedy() {
        let occasion = Occasion::Version("1.4.2+7".parse().unwrap());
        let error = tags(&occasion, COMMIT, &[]).unwrap_err();
        let (exit, text) = crate::exit::explain(&error);
        assert_eq!(exit, crate::exit::Exit::Usage);
        assert!(
            text.contains("1.4.2+7") && text.contains("leave the build metadata out"),
            "{text}"
        );
    }

    #[test]
    fn a_branch_gets_a_legal_tag_that_is_nobody_elses() {
        for (branch, expected) in [
            ("main", "main"),
            ("feature/x", "feature-x"),
            ("fix/ünder score_1.x", "fix--nder-score_1.x"),
            ("-a", "a"),
            ("..a", "a"),
            ("_a", "_a"),
            ("ü", "branch-607474ca"),
            ("1.4", "branch-1.4"),
            ("1.4.2", "branch-1.4.2"),
            ("v2", "branch-v2"),
            ("v2.x/next", "branch-v2.x-next"),
            ("very", "very"),
            ("latest", "branch-latest"),
            ("Latest", "branch-Latest"),
            ("latest-news", "latest-news"),
            ("sha-abc", "branch-sha-abc"),
            ("sha256-abc", "branch-sha256-abc"),
            ("claim-1.4.2", "branch-claim-1.4.2"),
            ("pr-17", "branch-pr-17"),
            ("pr/17", "branch-pr-17"),
            ("key-0", "branch-key-0"),
            ("/latest", "branch-latest"),
        ] {
            let tags = tags(&Occasion::Branch(branch.to_owned()), COMMIT, &[]).unwrap();
            assert_eq!(tags, [expected.to_owned(), format!("sha-{COMMIT}")], "{branch}");
        }
    }

    #[test]
    fn long_branches_that_differ_at_their_end_alone_differ_still() {
        let long = |end: &str| of_branch(&format!("{}{end}", "x".repeat(140)));
        let (one, other) = (long("1"), long("2"));
        assert_eq!((one.len(), other.len()), (LONGEST, LONGEST));
        assert_ne!(one, other);
        assert_eq!(of_branch(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    #[test]
    fn a_snapshot_is_of_what_github_or_else_git_says() {
        let of =
            |github_ref, branch| Occasion::snapshot(github_ref, branch).map_err(|error| error.to_string());
        let branch = |name: &str| Ok(Occasion::Branch(name.to_owned()));
        assert_eq!(of(None, "main"), branch("main"));
        assert_eq!(of(Some(""), "main"), branch("main"));
        assert_eq!(of(Some("refs/heads/feature/x"), "HEAD"), branch("feature/x"));
        assert_eq!(
            of(Some("refs/pull/17/merge"), "HEAD"),
            Ok(Occasion::PullRequest(17))
        );
        for (github_ref, said) in [
            (None, "without a branch"),
            (Some("refs/tags/v1.4.2"), "refs/tags/v1.4.2"),
        ] {
            let error = of(github_ref, "HEAD").unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let tags = tags(&Occasion::PullRequest(17), COMMIT, &[]).unwrap();
        assert_eq!(tags, ["pr-17".to_owned(), format!("sha-{COMMIT}")]);
    }
}
