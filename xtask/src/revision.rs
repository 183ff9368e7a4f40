//! The revision of an image: the last commit that touched its inputs, so that a commit elsewhere changes no
//! digest. Files count by path, Cargo.lock and the root's Cargo.toml by the part that the image depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::catalogue::{Catalogue, Service};
use crate::context::Context;
use crate::fingerprint::files::Ignore;
use crate::fingerprint::{Checkout, lock};
use crate::hash;
use crate::process::{self, Call};
use crate::tool::git::{self, Commit, Revision};

const LOCK: &str = "Cargo.lock";
const MANIFEST: &str = "Cargo.toml";

/// What git knows of all images of a checkout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Revisions {
    /// Service -> revision, for every service.
    pub of: BTreeMap<String, Revision>,
    /// What a reader should know: no git, a history that is cut off.
    pub words: Vec<String>,
}

/// Asks git. What it answered for the commit that is checked out is kept in the cache.
/// A checkout without git has unknown revisions, and says so.
pub async fn revisions(context: &Context, catalogue: &Catalogue, checkout: &Checkout) -> Revisions {
    let paths = all_paths(catalogue);
    let (head, status) = (git::head(&context.root), git::status(&context.root, &paths));
    let (head, status) = tokio::join!(answer(context, &head), answer(context, &status));
    let head = head.as_deref().and_then(git::parse_head);
    let Some((head, status)) = head.zip(status) else {
        let unknown = catalogue
            .services
            .iter()
            .map(|service| (service.name.clone(), Revision::UNKNOWN));
        return Revisions {
            of: unknown.collect(),
            words: vec!["git has no history here: the revision of every image reads `unknown`".to_owned()],
        };
    };
    let mut words = Vec::new();
    if head.shallow {
        let word = "this clone is shallow: an image whose inputs are older than its history gets another revision \
                    than in a full one (in a workflow: `fetch-depth: 0`)";
        words.push(word.to_owned());
    }
    let dirty = git::parse_status(&status, &head.prefix);
    let history = History {
        context,
        checkout,
        head: &head.commit,
    };
    let mut of: BTreeMap<String, Revision> = BTreeMap::new();
    for service in &catalogue.services {
        let mut revision = history.revision(service).await;
        revision.dirty = history.is_dirty(service, &dirty).await;
        of.insert(service.name.clone(), revision);
    }
    let unclean: Vec<&str> = of
        .iter()
        .filter(|(_, revision)| revision.dirty)
        .map(|(name, _)| name.as_str())
        .collect();
    if !unclean.is_empty() {
        words.push(format!(
            "not as committed: {} (the revision reads `-dirty`)",
            unclean.join(", ")
        ));
    }
    Revisions { of, words }
}

fn all_paths(catalogue: &Catalogue) -> Vec<PathBuf> {
    let own = catalogue.services.iter().flat_map(own_paths);
    let all: BTreeSet<PathBuf> = own.chain([LOCK.into(), MANIFEST.into()]).collect();
    all.into_iter().collect()
}

/// The folders and the file that count by path alone.
fn own_paths(service: &Service) -> Vec<PathBuf> {
    service
        .source_dirs
        .iter()
        .cloned()
        .chain([service.dockerfile()])
        .collect()
}

/// The output of a call that succeeded.
async fn answer(context: &Context, call: &Call) -> Option<String> {
    let output = process::run(context, call).await.ok()?;
    output.success().then_some(output.stdout)
}

struct History<'a> {
    context: &'a Context,
    checkout: &'a Checkout,
    head: &'a str,
}

/// What the answer for one image depends on.
#[derive(Serialize)]
struct Question<'a> {
    head: &'a str,
    paths: Vec<PathBuf>,
    ignore: String,
    shared: &'a Shared,
    pipeline: &'static str,
}

/// An image's part of the two files that all images share.
#[derive(Debug, PartialEq, Serialize)]
struct Shared {
    lock: BTreeMap<String, String>,
    manifest: BTreeMap<String, String>,
}

impl Shared {
    fn of(lock_text: &str, manifest_text: &str, closure: &BTreeSet<String>) -> Self {
        Shared {
            lock: lock::slice(lock_text, closure),
            manifest: lock::manifest(manifest_text, closure),
        }
    }
}

impl History<'_> {
    async fn revision(&self, service: &Service) -> Revision {
        let closure = service.closure();
        let question = Question {
            head: self.head,
            paths: own_paths(service),
            ignore: hash::of(format!("{:?}", self.checkout.ignore)),
            shared: &Shared::of(&self.checkout.lock, &self.checkout.manifest, &closure),
            pipeline: env!("HORME_PIPELINE"),
        };
        if let Some(kept) = self.context.cache.get("revision", &question) {
            return kept.value;
        }
        let by_path = self
            .last(&question.paths, async |commit: &Commit| {
                self.touches_files(service, commit)
            })
            .await;
        let shared = [LOCK.into(), MANIFEST.into()];
        let by_part = self
            .last(&shared, async |commit: &Commit| {
                self.touches_part(commit, &closure).await
            })
            .await;
        let revision = self.later(by_path, by_part).await;
        self.context.cache.put("revision", &question, &revision);
        revision
    }

    /// The newest commit that `counts` among those that touched the paths.
    async fn last(&self, paths: &[PathBuf], counts: impl AsyncFn(&Commit) -> bool) -> Option<Commit> {
        let (mut seen, mut most) = (0, 64);
        loop {
            let listed = answer(self.context, &git::log(&self.context.root, most, paths)).await?;
            let commits = git::parse_log(&listed);
            for commit in commits.iter().skip(seen) {
                if counts(commit).await {
                    return Some(commit.clone());
                }
            }
            if commits.len() < most {
                return None;
            }
            (seen, most) = (most, most * 8);
        }
    }

    /// Whether a commit brought something that none of its parents had, in a file that the build sees.
    fn touches_files(&self, service: &Service, commit: &Commit) -> bool {
        let seen = |path: &PathBuf| is_input(service, &self.checkout.ignore, path);
        commit.touched.iter().all(|paths| paths.iter().any(seen))
    }

    async fn touches_part(&self, commit: &Commit, closure: &BTreeSet<String>) -> bool {
        let now = self.part_in(&commit.id, closure).await;
        for parent in &commit.parents {
            if self.part_in(parent, closure).await == now {
                return false;
            }
        }
        true
    }

    async fn part_in(&self, commit: &str, closure: &BTreeSet<String>) -> Shared {
        let root = &self.context.root;
        let (lock, manifest) = (git::show(root, commit, LOCK), git::show(root, commit, MANIFEST));
        let (lock, manifest) = tokio::join!(answer(self.context, &lock), answer(self.context, &manifest));
        Shared::of(&lock.unwrap_or_default(), &manifest.unwrap_or_default(), closure)
    }

    /// The one that has the other in its history; where neither has, the younger.
    async fn later(&self, one: Option<Commit>, other: Option<Commit>) -> Revision {
        let later = match (one, other) {
            (Some(one), Some(other)) if one.id != other.id => {
                let root = &self.context.root;
                if answer(self.context, &git::is_ancestor(root, &one.id, &other.id))
                    .await
                    .is_some()
                {
                    Some(other)
                } else if answer(self.context, &git::is_ancestor(root, &other.id, &one.id))
                    .await
                    .is_some()
                {
                    Some(one)
                } else {
                    Some(if (one.time_s, &one.id) > (other.time_s, &other.id) {
                        one
                    } else {
                        other
                    })
                }
            }
            (one, other) => one.or(other),
        };
        later.map_or(Revision::UNKNOWN, |commit| Revision {
            commit: Some(commit.id),
            time_s: commit.time_s,
            dirty: false,
        })
    }

    /// Whether an input differs from the commit that is checked out.
    async fn is_dirty(&self, service: &Service, differing: &[PathBuf]) -> bool {
        let ignore = &self.checkout.ignore;
        if differing.iter().any(|path| is_input(service, ignore, path)) {
            return true;
        }
        if !differing
            .iter()
            .any(|path| path == Path::new(LOCK) || path == Path::new(MANIFEST))
        {
            return false;
        }
        let closure = service.closure();
        let here = Shared::of(&self.checkout.lock, &self.checkout.manifest, &closure);
        self.part_in(self.head, &closure).await != here
    }
}

fn is_input(service: &Service, ignore: &Ignore, path: &Path) -> bool {
    let inside = service.source_dirs.iter().any(|dir| path.starts_with(dir));
    path == service.dockerfile() || (inside && !ignore.leaves_out(path))
}
