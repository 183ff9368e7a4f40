//! The revision of an image: the last commit that touched its inputs, so that a commit elsewhere changes no
//! digest. Files count by path, Cargo.lock and the root's Cargo.toml by the part that the image depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::catalogue::{Catalogue, Service};
use crate::context::Context;
use crate::fingerprint::files::Ignore;
use crate::fingerprint::{Checkout, lock};
use crate::hash;
use crate::process::{self, Call};
use crate::tool::git::{self, Commit, Head, Revision};

const LOCK: &str = "Cargo.lock";
const MANIFEST: &str = "Cargo.toml";

/// What git knows of all images of a checkout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Revisions {
    /// Service -> revision, for every service.
    pub of: BTreeMap<String, Revision>,
    /// What a reader should know: no git, a history that is cut off.
    pub words: Vec<String>,
    /// What is checked out, where git knows.
    pub head: Option<Head>,
}

/// Asks git. What it answered for the commit that is checked out is kept in the cache. A checkout without git has
/// unknown revisions, and says so.
pub async fn revisions(context: &Context, catalogue: &Catalogue, checkout: &Checkout) -> Revisions {
    match ask(context, catalogue, checkout).await {
        Ok(revisions) => revisions,
        Err(why) => {
            let unknown = catalogue
                .services
                .iter()
                .map(|service| (service.name.clone(), Revision::UNKNOWN));
            let word = format!("the revision of every image reads `unknown`, git has no answer: {why:#}");
            Revisions {
                of: unknown.collect(),
                words: vec![word],
                head: None,
            }
        }
    }
}

async fn ask(context: &Context, catalogue: &Catalogue, checkout: &Checkout) -> Result<Revisions> {
    let paths: BTreeSet<PathBuf> = catalogue.services.iter().flat_map(paths).collect();
    let status = git::status(&context.root, &paths.into_iter().collect::<Vec<_>>());
    let head = git::head(&context.root);
    let unclean = git::unclean(&context.root);
    let (head, status, unclean) = tokio::join!(
        answer(context, &head),
        answer(context, &status),
        answer(context, &unclean)
    );
    let (head, status) = (head?, status?);
    let mut head = git::parse_head(&head).context("there is no commit yet")?;
    head.dirty = !unclean?.is_empty();
    let mut words = Vec::new();
    if head.shallow {
        let word = "this clone is shallow: an image whose inputs are older than its history gets another revision \
                    than in a full one (in a workflow: `fetch-depth: 0`)";
        words.push(word.to_owned());
    }
    let history = History {
        context,
        checkout,
        head: &head,
    };
    let dirty = git::parse_status(&status, &head.prefix);
    let mut of: BTreeMap<String, Revision> = BTreeMap::new();
    for service in &catalogue.services {
        let mut revision = history.revision(service).await?;
        revision.dirty = history.is_dirty(service, &dirty).await?;
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
    let head = Some(head);
    Ok(Revisions { of, words, head })
}

/// Where a commit that changes the image must have been: its own files, and those that all images share.
fn paths(service: &Service) -> Vec<PathBuf> {
    // The whole context, where a Dockerfile takes it, is the root itself.
    let named = |path: &PathBuf| match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path.clone(),
    };
    let own = service.source_dirs.iter().chain(&service.copied).map(named);
    own.chain([service.dockerfile(), LOCK.into(), MANIFEST.into()])
        .collect()
}

/// The output of a call that succeeded; its last line otherwise.
async fn answer(context: &Context, call: &Call) -> Result<String> {
    let output = process::run(context, call).await?;
    anyhow::ensure!(output.success(), "{}", output.last_lines(1));
    Ok(output.stdout)
}

struct History<'a> {
    context: &'a Context,
    checkout: &'a Checkout,
    head: &'a Head,
}

/// What the answer for one image depends on.
#[derive(Serialize)]
struct Question<'a> {
    head: &'a str,
    prefix: &'a str,
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
    async fn revision(&self, service: &Service) -> Result<Revision> {
        let closure = service.closure();
        let question = Question {
            head: &self.head.commit,
            prefix: &self.head.prefix,
            paths: paths(service),
            ignore: hash::of(format!("{:?}", self.checkout.ignore)),
            shared: &Shared::of(&self.checkout.lock, &self.checkout.manifest, &closure),
            pipeline: env!("HORME_PIPELINE"),
        };
        // A shallow clone may be deepened: its answer is true of now alone.
        let keeps = !self.head.shallow;
        let kept = self.context.cache.get("revision", &question);
        if let Some(kept) = kept.filter(|_| keeps && !self.context.options.fresh) {
            return Ok(kept.value);
        }
        let last = self.last(service, &question.paths, &closure).await?;
        let revision = last.map_or(Revision::UNKNOWN, |commit| Revision {
            commit: Some(commit.id),
            time_s: commit.time_s,
            dirty: false,
        });
        if keeps {
            self.context.cache.put("revision", &question, &revision);
        }
        Ok(revision)
    }

    /// The newest commit that brought an input of the service which none of its parents had.
    async fn last(
        &self,
        service: &Service,
        paths: &[PathBuf],
        closure: &BTreeSet<String>,
    ) -> Result<Option<Commit>> {
        let (mut seen, mut most) = (0, 64);
        loop {
            let listed = answer(self.context, &git::log(&self.context.root, most, paths)).await?;
            let commits = git::parse_log(&listed);
            for commit in commits.iter().skip(seen) {
                if self.changes(service, commit, closure).await? {
                    return Ok(Some(commit.clone()));
                }
            }
            if commits.len() < most {
                return Ok(None);
            }
            (seen, most) = (most, most * 8);
        }
    }

    /// Whether a commit differs from each of its parents in a file that the build sees, or in the image's part
    /// of the shared ones.
    async fn changes(&self, service: &Service, commit: &Commit, closure: &BTreeSet<String>) -> Result<bool> {
        // A merge lists no files for a parent that it does not differ from.
        if commit.touched.len() < commit.parents.len() {
            return Ok(false);
        }
        for (index, touched) in commit.touched.iter().enumerate() {
            let own = touched
                .iter()
                .any(|path| is_input(service, &self.checkout.ignore, path));
            let parent = commit.parents.get(index);
            let shared = touched.iter().any(|path| is_shared(path));
            let differs = own || (shared && self.part_differs(&commit.id, parent, closure).await?);
            if !differs {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn part_differs(
        &self,
        commit: &str,
        parent: Option<&String>,
        closure: &BTreeSet<String>,
    ) -> Result<bool> {
        let Some(parent) = parent else { return Ok(true) };
        Ok(self.part_in(commit, closure).await? != self.part_in(parent, closure).await?)
    }

    async fn part_in(&self, commit: &str, closure: &BTreeSet<String>) -> Result<Shared> {
        let lock = self.file_in(commit, LOCK).await?;
        Ok(Shared::of(&lock, &self.file_in(commit, MANIFEST).await?, closure))
    }

    /// A file as a commit holds it; empty where it holds none.
    async fn file_in(&self, commit: &str, path: &str) -> Result<String> {
        let output = process::run(self.context, &git::show(&self.context.root, commit, path)).await?;
        Ok(if output.success() {
            output.stdout
        } else {
            String::new()
        })
    }

    /// Whether an input differs from the commit that is checked out.
    async fn is_dirty(&self, service: &Service, differing: &[PathBuf]) -> Result<bool> {
        if differing
            .iter()
            .any(|path| is_input(service, &self.checkout.ignore, path))
        {
            return Ok(true);
        }
        if !differing.iter().any(|path| is_shared(path)) {
            return Ok(false);
        }
        let closure = service.closure();
        let here = Shared::of(&self.checkout.lock, &self.checkout.manifest, &closure);
        Ok(self.part_in(&self.head.commit, &closure).await? != here)
    }
}

fn is_shared(path: &Path) -> bool {
    path == Path::new(LOCK) || path == Path::new(MANIFEST)
}

fn is_input(service: &Service, ignore: &Ignore, path: &Path) -> bool {
    path == service.dockerfile() || (service.holds(path) && !is_shared(path) && !ignore.leaves_out(path))
}
