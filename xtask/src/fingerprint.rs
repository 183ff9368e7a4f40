//! The fingerprint of an image: everything that can change it and nothing else, as one key, and the words for
//! what differs between two of them (`cargo xtask why`).

pub mod dockerfile;
pub mod files;
pub mod lock;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::catalogue::Service;
use crate::exit::Failure;
use crate::hash;
use files::{Ignore, Modes};

/// What an image is made from. Every map is name -> value; values are hashes where the content is long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// Files of the crate, of its path dependencies, and its Dockerfile, by path from the root.
    pub files: BTreeMap<String, String>,
    /// `name version` of each crate that is linked in or runs in the build -> source and checksum as locked.
    pub crates: BTreeMap<String, String>,
    /// The same crates -> their features in the joint build.
    pub features: BTreeMap<String, String>,
    /// What the root's manifest says of them, by key.
    pub manifest: BTreeMap<String, String>,
    /// What the Dockerfile names in `FROM` -> what takes its place. Upstream bases stand in the Dockerfile.
    pub bases: BTreeMap<String, String>,
    /// The build's arguments.
    pub arguments: BTreeMap<String, String>,
    /// The code of the pipeline that decides how an image is built.
    pub build_part: String,
}

/// What a checkout holds for all images, read once.
#[derive(Debug)]
pub struct Checkout {
    pub ignore: Ignore,
    pub lock: String,
    pub manifest: String,
}

impl Checkout {
    /// Reads `.dockerignore`, Cargo.lock and Cargo.toml.
    ///
    /// # Errors
    /// Exit 2 or 3: one of them cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = root.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Checkout {
            ignore: Ignore::read(root)?,
            lock: text("Cargo.lock")?,
            manifest: text("Cargo.toml")?,
        })
    }
}

/// Notes what each service's Dockerfile takes from the context by name, beside the crates' own folders.
pub fn note_copied(root: &Path, services: &mut [Service]) {
    for service in services {
        let text = std::fs::read_to_string(root.join(service.dockerfile())).unwrap_or_default();
        let inside = |path: &PathBuf| service.source_dirs.iter().any(|folder| path.starts_with(folder));
        let there = |path: &PathBuf| root.join(path).exists() && !inside(path);
        service.copied = dockerfile::copied(&text).into_iter().filter(there).collect();
    }
}

/// A Dockerfile's own ignore file would be read in place of the one that the fingerprint reads.
fn refuse_own_ignore(root: &Path, dockerfile: &Path) -> Result<()> {
    let own = format!("{}.dockerignore", dockerfile.display());
    if root.join(&own).exists() {
        let hint = "move its rules into .dockerignore at the root";
        return Err(Failure::usage(format!("{own}: one .dockerignore holds for all images"), hint).into());
    }
    Ok(())
}

impl Inputs {
    /// Gathers the inputs of one image, all but the build's arguments.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn gather(
        root: &Path,
        checkout: &Checkout,
        service: &Service,
        bases: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let dockerfile = service.dockerfile();
        refuse_own_ignore(root, &dockerfile)?;
        let mut files = files::read(root, &service.source_dirs, &checkout.ignore, Modes::Program)?;
        files.extend(files::read(root, &service.copied, &checkout.ignore, Modes::All)?);
        let recipe = std::fs::read_to_string(root.join(&dockerfile))
            .with_context(|| format!("cannot read {}", dockerfile.display()))?;
        files.insert(dockerfile.display().to_string(), hash::of(&recipe));
        let closure = service.closure();
        let named = bases.iter().filter(|(from, _)| recipe.contains(from.as_str()));
        Ok(Inputs {
            files,
            crates: lock::slice(&checkout.lock, &closure),
            features: service.features.clone(),
            manifest: lock::manifest(&checkout.manifest, &closure),
            bases: named.map(|(from, to)| (from.clone(), to.clone())).collect(),
            arguments: BTreeMap::new(),
            build_part: env!("HORME_BUILD_PART").to_owned(),
        })
    }

    /// Gathers the inputs of an image once more, with the arguments that it was given.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn again(
        root: &Path,
        service: &Service,
        bases: &BTreeMap<String, String>,
        before: &Inputs,
    ) -> Result<Self> {
        let mut now = Self::gather(root, &Checkout::read(root)?, service, bases)?;
        now.arguments = before.arguments.clone();
        Ok(now)
    }

    /// The key: equal for equal inputs, 64 hex digits.
    pub fn key(&self) -> String {
        hash::of(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// What differs, a line each, in the order in which a person would look: sources, dependencies, the rest.
pub fn differences(old: &Inputs, new: &Inputs) -> Vec<String> {
    let mut words = Vec::new();
    for (path, change) in changes(&old.files, &new.files) {
        words.push(format!("{path} {}", change.word()));
    }
    words.extend(crates(&old.crates, &new.crates));
    for (id, _) in changes(&old.features, &new.features) {
        // A crate that came or went was named above.
        if let (Some(old), Some(new)) = (old.features.get(id), new.features.get(id)) {
            words.push(format!(
                "{id} has other features in the joint build: {}",
                words_apart(old, new)
            ));
        }
    }
    for (key, change) in changes(&old.manifest, &new.manifest) {
        words.push(format!("{key} {} in Cargo.toml", change.word()));
    }
    for (from, change) in changes(&old.bases, &new.bases) {
        words.push(match (old.bases.get(from), new.bases.get(from)) {
            (Some(old), Some(new)) => format!("the base image {}: {old} -> {new}", short_name(from)),
            _ => format!(
                "the base image {} {} in place of the one upstream",
                short_name(from),
                change.word()
            ),
        });
    }
    if old.build_part != new.build_part {
        words.push("the pipeline's own build part changed".to_owned());
    }
    if !words.is_empty() {
        // Revision and date follow from the rest.
        return words;
    }
    for (name, _) in changes(&old.arguments, &new.arguments) {
        let value = |inputs: &Inputs| {
            inputs
                .arguments
                .get(name)
                .map_or("(none)", String::as_str)
                .to_owned()
        };
        words.push(format!(
            "the build argument {name}: {} -> {}",
            value(old),
            value(new)
        ));
    }
    words
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Changed,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        }
    }
}

fn changes<'a>(
    old: &'a BTreeMap<String, String>,
    new: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a String, Change)> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter_map(move |name| match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(_), Some(_)) => Some((name, Change::Changed)),
            (None, _) => Some((name, Change::Added)),
            (_, None) => Some((name, Change::Removed)),
        })
}

/// Crates by name: `axum 0.8.9 -> 0.8.10 in Cargo.lock`.
fn crates(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let mut versions: BTreeMap<&str, [Vec<&str>; 2]> = BTreeMap::new();
    let mut words = Vec::new();
    for (id, change) in changes(old, new) {
        let (name, version) = id.split_once(' ').unwrap_or((id, ""));
        match change {
            Change::Removed => versions.entry(name).or_default()[0].push(version),
            Change::Added => versions.entry(name).or_default()[1].push(version),
            Change::Changed => words.push(format!("{id} has another source or checksum in Cargo.lock")),
        }
    }
    let moved = versions
        .into_iter()
        .map(|(name, [gone, come])| match (gone.join(", "), come.join(", ")) {
            (gone, come) if come.is_empty() => format!("{name} {gone} is no longer a dependency"),
            (gone, come) if gone.is_empty() => format!("{name} {come} is a new dependency"),
            (gone, come) => format!("{name} {gone} -> {come} in Cargo.lock"),
        });
    moved.chain(words).collect()
}

/// `+fs -net`: what a list of words gained and lost.
fn words_apart(old: &str, new: &str) -> String {
    let set = |text: &str| {
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let (old, new) = (set(old), set(new));
    let come = new.difference(&old).map(|word| format!("+{word}"));
    come.chain(old.difference(&new).map(|word| format!("-{word}")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A reference without its digest.
fn short_name(reference: &str) -> &str {
    reference.split('@').next().unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn inputs() -> Inputs {
        Inputs {
            files: map(&[("services/kit/src/serve.rs", "1"), ("docker/Dockerfile.a", "2")]),
            crates: map(&[("axum 0.8.9", "x aa"), ("tokio 1.54.1", "x bb")]),
            features: map(&[("axum 0.8.9", "http1 json"), ("tokio 1.54.1", "net rt")]),
            manifest: map(&[("profile.release", "{ opt-level = 2 }")]),
            bases: map(&[("rust:1.95@sha256:aa", "docker-image://horme-local/builder:1")]),
            arguments: map(&[("IMAGE_REVISION", "abc")]),
            build_part: "1".into(),
        }
    }

    #[test]
    fn equal_inputs_have_equal_keys_and_no_differences() {
        assert_eq!(inputs().key(), inputs().key());
        assert!(differences(&inputs(), &inputs()).is_empty());
    }

    /// Every kind of input once: the key changes, and one line says it as a person would.
    #[test]
    fn each_kind_of_input_changes_the_key_and_has_its_words() {
        type Change = (&'static str, fn(&mut Inputs));
        let changes: [Change; 11] = [
            ("services/kit/src/serve.rs changed", |x| {
                drop(x.files.insert("services/kit/src/serve.rs".into(), "9".into()))
            }),
            ("services/kit/src/new.rs added", |x| {
                drop(x.files.insert("services/kit/src/new.rs".into(), "9".into()))
            }),
            ("docker/Dockerfile.a removed", |x| {
                drop(x.files.remove("docker/Dockerfile.a"))
            }),
            ("axum 0.8.9 -> 0.8.10 in Cargo.lock", |x| {
                x.crates.remove("axum 0.8.9");
                x.crates.insert("axum 0.8.10".into(), "x cc".into());
            }),
            ("hyper 1.0.0 is a new dependency", |x| {
                drop(x.crates.insert("hyper 1.0.0".into(), "x".into()))
            }),
            ("tokio 1.54.1 has another source or checksum in Cargo.lock", |x| {
                drop(x.crates.insert("tokio 1.54.1".into(), "y".into()))
            }),
            (
                "tokio 1.54.1 has other features in the joint build: +fs -net",
                |x| drop(x.features.insert("tokio 1.54.1".into(), "fs rt".into())),
            ),
            ("profile.release changed in Cargo.toml", |x| {
                drop(x.manifest.insert("profile.release".into(), "{}".into()))
            }),
            (
                "the base image rust:1.95: docker-image://horme-local/builder:1 -> docker-image://horme-local/builder:2",
                |x| {
                    x.bases.insert(
                        "rust:1.95@sha256:aa".into(),
                        "docker-image://horme-local/builder:2".into(),
                    );
                },
            ),
            ("the build argument IMAGE_REVISION: abc -> def-dirty", |x| {
                drop(x.arguments.insert("IMAGE_REVISION".into(), "def-dirty".into()))
            }),
            ("the pipeline's own build part changed", |x| {
                x.build_part = "2".into()
            }),
        ];
        for (words, change) in changes {
            let mut changed = inputs();
            change(&mut changed);
            assert_ne!(changed.key(), inputs().key(), "{words}");
            assert_eq!(differences(&inputs(), &changed), [words]);
        }
    }
}
