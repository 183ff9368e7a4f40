//! What was in an image before: at the last release, or where this branch left the default one. A finding in a
//! crate that was there already was disclosed by the world; in any other it was introduced by the change.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::fingerprint::{dockerfile, lock};
use crate::plan::ImagePlan;
use crate::process::{self, Call};
use crate::tool::git;

/// How a finding came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// What it is in was not in the image before.
    Introduced,
    /// It was; the finding is new.
    Disclosed,
    /// There is nothing to compare with. Counts as introduced.
    Unknown,
}

/// What is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// As a reader knows it: `v1.2.0`, `main at 1a2b3c4`.
    pub name: String,
    /// A commit or a tag.
    revision: String,
    /// `Cargo.lock` as it was.
    lock: String,
    /// The crates of ours that there were -> the names of what each linked in.
    linked: BTreeMap<String, BTreeSet<String>>,
}

/// Asks git. Nothing without a release and without a branch that was left, and where git cannot say.
pub async fn find(context: &Context) -> Option<Since> {
    let root = &context.root;
    let tags = said(context, &git::release_tags(root)).await?;
    let (name, revision) = match git::last_release(&tags) {
        Some(tag) => (tag.to_owned(), format!("refs/tags/{tag}")),
        None => left(context).await?,
    };
    let lock = said(context, &git::show(root, &revision, "Cargo.lock")).await?;
    let mut linked = BTreeMap::new();
    let files = said(context, &git::manifests(root, &revision)).await?;
    for path in git::parse_manifests(&files) {
        let text = said(context, &git::show(root, &revision, path)).await?;
        linked.extend(lock::linked(&text));
    }
    Some(Since {
        name,
        revision,
        lock,
        linked,
    })
}

/// Where the default branch was left. On that branch itself nothing was: what is there came with its last changes.
async fn left(context: &Context) -> Option<(String, String)> {
    let root = &context.root;
    let branches = said(context, &git::default_branches(root)).await?;
    let branch = git::default_branch(&branches)?;
    let head = git::parse_head(&said(context, &git::head(root)).await?)?;
    let base = said(context, &git::merge_base(root, branch))
        .await?
        .trim()
        .to_owned();
    let short = branch.rsplit('/').next().unwrap_or(branch);
    (base != head.commit).then(|| (format!("{short} at {}", &base[..base.len().min(7)]), base))
}

async fn said(context: &Context, call: &Call) -> Option<String> {
    let output = process::run(context, call).await.ok()?;
    output.success().then_some(output.stdout)
}

impl Since {
    /// The crates that a service had.
    pub fn crates(&self, service: &str) -> BTreeSet<String> {
        lock::reach(&self.lock, service, &self.linked)
    }

    /// Whether the image stood on the same base; `now` is its Dockerfile's text. Nobody knows of a base that this
    /// machine made itself: the Dockerfile does not say which one it was.
    pub async fn same_base(&self, context: &Context, plan: &ImagePlan, now: &str) -> Option<bool> {
        let now = dockerfile::shipped(now).base;
        if plan.inputs.bases.contains_key(&now) {
            return None;
        }
        let path = plan.service.dockerfile().display().to_string();
        let before = said(context, &git::show(&context.root, &self.revision, &path)).await;
        Some(before.is_some_and(|before| dockerfile::shipped(&before).base == now))
    }
}

/// How a finding in a crate came about: `before` are the crates that the image had, where that is known.
pub fn cause(before: Option<&BTreeSet<String>>, id: &str) -> Cause {
    match before {
        None => Cause::Unknown,
        Some(before) if before.contains(id) => Cause::Disclosed,
        Some(_) => Cause::Introduced,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalogue::tests::service;
    use crate::cli::RunOptions;
    use crate::fingerprint::Inputs;
    use crate::tool::git::Revision;

    const LOCK: &str = "[[package]]\nname = \"frontend\"\nversion = \"0.1.0\"\ndependencies = [\"smallvec\"]\n\
        [[package]]\nname = \"smallvec\"\nversion = \"0.6.13\"\nsource = \"registry+x\"\n[[package]]\nname = \"time\"\nversion = \"0.1.0\"\n";

    pub(crate) fn sample() -> Since {
        Since {
            name: "v1.0.0".into(),
            revision: "v1.0.0".into(),
            lock: LOCK.into(),
            linked: BTreeMap::from([("frontend".to_owned(), BTreeSet::from(["smallvec".to_owned()]))]),
        }
    }

    #[test]
    fn what_was_there_already_was_disclosed_and_all_else_introduced() {
        let since = sample();
        let cases = [
            ("frontend", "smallvec 0.6.13", Cause::Disclosed),
            ("frontend", "smallvec 0.6.12", Cause::Introduced),
            ("frontend", "time 0.1.0", Cause::Introduced),
            ("frontend", "new 1.0.0", Cause::Introduced),
            ("new-service", "smallvec 0.6.13", Cause::Introduced),
        ];
        for (service, id, expected) in cases {
            assert_eq!(
                cause(Some(&since.crates(service)), id),
                expected,
                "{service}: {id}"
            );
        }
        assert_eq!(cause(None, "smallvec 0.6.13"), Cause::Unknown);
    }

    #[tokio::test]
    async fn of_a_base_that_this_machine_made_nobody_knows_whether_it_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::new(folder.path().to_path_buf(), RunOptions::default());
        let mut plan = ImagePlan {
            service: service("frontend", &[]),
            revision: Revision::UNKNOWN,
            args: BTreeMap::new(),
            key: String::new(),
            inputs: Inputs::default(),
            support: false,
        };
        let now = "FROM rust AS build\nFROM base@sha256:1 AS prod\n";
        let no_git = sample().same_base(&context, &plan, now).await;
        assert_eq!(no_git, Some(false));
        plan.inputs
            .bases
            .insert("base@sha256:1".to_owned(), "horme-local/base:1".to_owned());
        assert_eq!(sample().same_base(&context, &plan, now).await, None);
    }
}
