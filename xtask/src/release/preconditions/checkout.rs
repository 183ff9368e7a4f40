//! The checkout: clean, tagged with the version that Cargo.toml names, and with a word about it in the changelog.

use anyhow::Result;
use semver::Version;

use crate::context::Context;
use crate::exit::Failure;
use crate::process::{self, Call};
use crate::tool::git;

const CHANGELOG: &str = "CHANGELOG.md";
/// How many changed files are named.
const NAMED: usize = 5;

/// What git, GitHub and the changelog say.
#[derive(Debug, Clone)]
pub(super) struct Checkout {
    /// In full; none where git has no answer.
    pub(super) commit: Option<String>,
    /// `HEAD` where none is checked out.
    pub(super) branch: String,
    /// `GITHUB_REF`.
    pub(super) github_ref: Option<String>,
    /// What differs from the commit, untracked files too, as `git status` writes it; or why that is not known.
    changes: Result<Vec<String>, String>,
    /// Of the commit.
    tags: Vec<String>,
    /// The changelog's text.
    changelog: Option<String>,
}

pub(super) async fn look(context: &Context) -> Checkout {
    let calls = [
        git::head(&context.root),
        git::changes(&context.root),
        git::tags_of_head(&context.root),
    ];
    let [head, changes, tags] = &calls;
    let (head, changes, tags) =
        tokio::join!(said(context, head), said(context, changes), said(context, tags));
    let head = head.ok().and_then(|said| git::parse_head(&said));
    let lines = |said: String| said.lines().map(str::to_owned).collect::<Vec<_>>();
    Checkout {
        commit: head.as_ref().map(|head| head.commit.clone()),
        branch: head.map_or("HEAD".to_owned(), |head| head.branch),
        github_ref: std::env::var("GITHUB_REF").ok(),
        changes: changes.map(lines),
        tags: tags.map(lines).unwrap_or_default(),
        changelog: std::fs::read_to_string(context.root.join(CHANGELOG)).ok(),
    }
}

async fn said(context: &Context, call: &Call) -> Result<String, String> {
    let output = process::run(context, call)
        .await
        .map_err(|error| format!("{error:#}"))?;
    match output.success() {
        true => Ok(output.stdout),
        false => Err(output.last_lines(1)),
    }
}

impl Checkout {
    /// What forbids a release of this version from here; of a snapshot there is none.
    pub(super) fn problems(&self, version: Option<&Version>, snapshot: bool) -> Vec<Failure> {
        let mut problems: Vec<Failure> = self.unclean().into_iter().collect();
        if snapshot {
            return problems;
        }
        let Some(version) = version else {
            let what = "Cargo.toml: [workspace.metadata.release] names no version";
            problems.push(Failure::usage(
                what,
                "write version = \"1.4.2\" there: what this release is called",
            ));
            return problems;
        };
        problems.extend(self.untagged(version));
        problems.extend(self.unmentioned(version));
        problems
    }

    fn unclean(&self) -> Option<Failure> {
        let changes = match &self.changes {
            Ok(changes) if self.commit.is_some() => changes,
            Ok(_) => {
                return Some(Failure::usage(
                    "there is no commit yet",
                    "what is released is a commit: make one",
                ));
            }
            Err(why) => {
                let what = format!("git does not say whether the checkout is clean: {why}");
                return Some(Failure::usage(what, "release from a git checkout"));
            }
        };
        if changes.is_empty() {
            return None;
        }
        let named: Vec<&str> = changes.iter().take(NAMED).map(|line| line.trim()).collect();
        let more = match changes.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = format!("the checkout is not its commit: {}{more}", named.join(", "));
        Some(Failure::usage(
            what,
            "commit, stash or delete it: what is released is a commit",
        ))
    }

    /// Every version tag of the commit: GitHub's word for the tag that started a job counts as one.
    fn version_tags(&self) -> Vec<&str> {
        let pushed = self
            .github_ref
            .as_deref()
            .and_then(|name| name.strip_prefix("refs/tags/"));
        let mut tags: Vec<&str> = self.tags.iter().map(String::as_str).chain(pushed).collect();
        tags.retain(|tag| {
            tag.trim_start_matches('v')
                .starts_with(|c: char| c.is_ascii_digit())
        });
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    fn untagged(&self, version: &Version) -> Option<Failure> {
        let expected = format!("v{version}");
        let pushed = self
            .github_ref
            .as_deref()
            .and_then(|name| name.strip_prefix("refs/tags/"));
        if let Some(pushed) = pushed.filter(|pushed| *pushed != expected) {
            return Some(disagrees(
                &format!("this job was started by the tag {pushed}"),
                pushed,
                version,
            ));
        }
        let tags = self.version_tags();
        if tags.contains(&expected.as_str()) {
            return None;
        }
        Some(match tags.as_slice() {
            [] => Failure::usage(
                format!("the commit has no tag {expected}"),
                format!("git tag {expected}; or --snapshot publishes it under the tags of its branch"),
            ),
            [tag] => disagrees(&format!("the commit's tag is {tag}"), tag, version),
            several => {
                let what = format!(
                    "the commit has the tags {} and not {expected}, which Cargo.toml's version asks for",
                    several.join(", ")
                );
                Failure::usage(
                    what,
                    format!("git tag {expected}, or correct the version in Cargo.toml"),
                )
            }
        })
    }

    fn unmentioned(&self, version: &Version) -> Option<Failure> {
        let Some(text) = &self.changelog else {
            let what = format!("there is no {CHANGELOG}");
            return Some(Failure::usage(
                what,
                format!("write one, with a section `## {version}`"),
            ));
        };
        let changelog = match parse_changelog::parse(text) {
            Ok(changelog) => changelog,
            Err(error) => {
                let what = format!("{CHANGELOG} cannot be read: {error}");
                return Some(Failure::usage(
                    what,
                    format!("a section a release, e.g. `## {version}`"),
                ));
            }
        };
        let name = version.to_string();
        let what = match changelog.get(name.as_str()) {
            Some(release) if !release.notes.trim().is_empty() => return None,
            Some(_) => format!("{CHANGELOG}: the section {version} is empty"),
            None => format!("{CHANGELOG} has no section {version}"),
        };
        let hint = match changelog.contains_key("Unreleased") {
            true => format!("call its section Unreleased `## {version}`"),
            false => format!("write `## {version}`, and below it what changes for who uses the images"),
        };
        Some(Failure::usage(what, hint))
    }
}

/// One tag, which is not the version's.
fn disagrees(found: &str, tag: &str, version: &Version) -> Failure {
    match tag.strip_prefix('v').map(Version::parse) {
        Some(Ok(_)) => Failure::usage(
            format!("{found}, Cargo.toml's version is {version}"),
            format!("correct [workspace.metadata.release] version in Cargo.toml, or git tag v{version}"),
        ),
        _ => Failure::usage(
            format!("{found}, which is not `v` and a SemVer version"),
            format!("git tag --delete {tag}; git tag v{version}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(tags: &[&str]) -> Checkout {
        Checkout {
            commit: Some("734517e9".to_owned()),
            branch: "main".to_owned(),
            github_ref: None,
            changes: Ok(Vec::new()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            changelog: Some("# Changelog\n\n## 1.4.2 - 2026-01-01\n\n- Faster.\n".to_owned()),
        }
    }

    fn said(checkout: &Checkout) -> Vec<String> {
        let version: Version = "1.4.2".parse().unwrap();
        let problems = checkout.problems(Some(&version), false);
        problems
            .into_iter()
            .map(|problem| {
                assert_eq!(problem.exit, crate::exit::Exit::Usage);
                format!("{} | {}", problem.what, problem.hint.unwrap())
            })
            .collect()
    }

    #[test]
    fn a_clean_tagged_and_mentioned_commit_has_no_problem() {
        assert_eq!(said(&checkout(&["v1.4.2"])), Vec::<String>::new());
        // A release candidate that is good enough, and a tag that is no version.
        assert_eq!(
            said(&checkout(&["v1.4.2-rc.1", "v1.4.2", "deployed"])),
            Vec::<String>::new()
        );
        // A job that a tag started, whose checkout did not fetch it.
        let mut job = checkout(&[]);
        job.github_ref = Some("refs/tags/v1.4.2".to_owned());
        assert_eq!(said(&job), Vec::<String>::new());
    }

    #[test]
    fn each_fault_of_the_tag_has_its_word() {
        for (tags, words, remedy) in [
            (&[][..], "no tag v1.4.2", "git tag v1.4.2"),
            (&["deployed"], "no tag v1.4.2", "--snapshot"),
            (
                &["v1.4.3"],
                "tag is v1.4.3, Cargo.toml's version is 1.4.2",
                "correct",
            ),
            (
                &["v1.4"],
                "tag is v1.4, which is not `v` and a SemVer version",
                "git tag --delete v1.4; git tag v1.4.2",
            ),
            (
                &["1.4.2"],
                "tag is 1.4.2, which is not `v`",
                "git tag --delete 1.4.2",
            ),
            (&["v1.4.2.1"], "not `v` and a SemVer", "git tag v1.4.2"),
            (
                &["v1.4.3", "v1.5.0"],
                "the tags v1.4.3, v1.5.0 and not v1.4.2",
                "git tag v1.4.2",
            ),
        ] {
            let said = said(&checkout(tags));
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].contains(words) && said[0].contains(remedy),
                "{tags:?}: {}",
                said[0]
            );
        }
        let mut job = checkout(&["v1.4.2"]);
        job.github_ref = Some("refs/tags/v1.5.0".to_owned());
        assert!(
            said(&job)[0].contains("this job was started by the tag v1.5.0"),
            "{:?}",
            said(&job)
        );
        job.github_ref = Some("refs/heads/main".to_owned());
        assert_eq!(said(&job), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_committed_is_named_up_to_a_number() {
        let mut dirty = checkout(&["v1.4.2"]);
        dirty.changes = Ok((1..=7).map(|number| format!("?? file-{number}")).collect());
        let said_of_it = said(&dirty);
        assert!(
            said_of_it[0].contains("?? file-1, ?? file-2") && said_of_it[0].contains("and 2 more"),
            "{said_of_it:?}"
        );
        assert_eq!(
            dirty.problems(None, true).len(),
            1,
            "a snapshot is of a commit, too"
        );
        dirty.changes = Err("not a git repository".to_owned());
        assert!(said(&dirty)[0].contains("not a git repository"));
        let none = Checkout {
            commit: None,
            ..checkout(&["v1.4.2"])
        };
        assert!(said(&none)[0].contains("no commit yet"));
    }

    #[test]
    fn the_changelog_must_say_something_about_this_version() {
        for (text, words, remedy) in [
            (None, "there is no CHANGELOG.md", "## 1.4.2"),
            (Some("nothing"), "cannot be read", "## 1.4.2"),
            (Some("## 1.4.1\n\n- x\n"), "no section 1.4.2", "write `## 1.4.2`"),
            (
                Some("## Unreleased\n\n- x\n\n## 1.4.1\n\n- y\n"),
                "no section 1.4.2",
                "call its section Unreleased",
            ),
            (
                Some("## 1.4.2\n\n## 1.4.1\n\n- y\n"),
                "the section 1.4.2 is empty",
                "## 1.4.2",
            ),
            (Some("## 1.4.2-rc.1\n\n- x\n"), "no section 1.4.2", "## 1.4.2"),
        ] {
            let mut checkout = checkout(&["v1.4.2"]);
            checkout.changelog = text.map(str::to_owned);
            let said = said(&checkout);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].contains(words) && said[0].contains(remedy),
                "{text:?}: {}",
                said[0]
            );
        }
    }

    #[test]
    fn this_repositorys_changelog_has_the_version_that_comes_next() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest: toml::Table = std::fs::read_to_string(root.join("Cargo.toml"))
            .unwrap()
            .parse()
            .unwrap();
        let version = manifest["workspace"]["metadata"]["release"]["version"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut here = checkout(&[]);
        here.changelog = std::fs::read_to_string(root.join(CHANGELOG)).ok();
        here.tags = vec![format!("v{version}")];
        let problems = here.problems(Some(&version.parse().unwrap()), false);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_snapshot_needs_no_version_and_a_release_does() {
        assert!(checkout(&[]).problems(None, true).is_empty());
        let said = checkout(&[]).problems(None, false);
        assert!(said[0].what.contains("names no version"), "{said:?}");
    }
}
