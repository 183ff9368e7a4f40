//! What a verdict is true of, and the verdicts of earlier runs that are true of the same. Only what passed is
//! kept: what was violated or undecided is looked at again.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cache::Kept;
use crate::context::Context;
use crate::engine::docker_config;
use crate::fingerprint::files::{self, Ignore};
use crate::hash;
use crate::tool::compose;
use crate::verdict::{Gate, Origin, Outcome, Record};

/// Everything that a finding depends on: for an equal subject it would be found again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subject {
    pub gate: Gate,
    /// The service, or the part of a gate that is about several.
    pub of: String,
    /// Service -> digest of each image that is looked at.
    pub digests: BTreeMap<String, String>,
    /// Whatever the gate was told: limits, metadata, hashes of the files that it reads.
    pub settings: Value,
    /// Which programs look.
    pub tools: Vec<String>,
    /// SHA-256 of the vulnerability database that is asked.
    pub database: Option<String>,
    /// The pipeline's own code.
    pub pipeline: &'static str,
}

impl Subject {
    /// The subject of a gate that looks at one image, or at several.
    pub fn new(
        gate: Gate,
        of: &str,
        digests: impl IntoIterator<Item = (String, String)>,
        settings: Value,
        tools: Vec<String>,
    ) -> Self {
        Subject {
            gate,
            of: of.to_owned(),
            digests: digests.into_iter().collect(),
            settings,
            tools,
            database: None,
            pipeline: env!("HORME_PIPELINE"),
        }
    }
}

/// What an earlier run found of this very subject; nothing where the run is to repeat everything.
pub fn find<T: DeserializeOwned>(context: &Context, subject: &Subject) -> Option<Kept<T>> {
    if context.options.fresh {
        return None;
    }
    context.cache.get(subject.gate.name(), subject)
}

/// Keeps what was found.
pub fn keep<T: Serialize>(context: &Context, subject: &Subject, found: &T) {
    context.cache.put(subject.gate.name(), subject, found);
}

/// The verdict of an earlier run on this very subject.
pub fn verdict(context: &Context, subject: &Subject) -> Option<Record> {
    let kept: Kept<Record> = find(context, subject)?;
    let mut record = kept.value.clone();
    record.origin = Origin::Reused {
        run_id: kept.run_id.clone(),
        age_s: kept.age_s(),
    };
    record.took_ms = 0;
    record.log = None;
    (record.outcome == Outcome::Passed).then_some(record)
}

/// Keeps a verdict that later runs may reuse.
pub fn keep_verdict(context: &Context, subject: &Subject, record: &Record) {
    if record.outcome == Outcome::Passed && record.origin == Origin::Fresh {
        keep(context, subject, record);
    }
}

/// Which file this is, as it is now: path, size, times and place on its disk. Another version is another file.
pub fn file(path: &Path) -> String {
    let facts = path.metadata().map(|facts| {
        let changed = (facts.ctime(), facts.ctime_nsec());
        format!("{} {} {} {changed:?}", facts.len(), facts.mtime(), facts.ino())
    });
    format!("{} {}", path.display(), facts.unwrap_or_default())
}

/// Which compose plugin would be called: the first that the docker CLI finds.
pub fn compose_plugin() -> String {
    let own = docker_config().map(|folder| folder.join("cli-plugins"));
    let shared = ["/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec"]
        .map(|folder| Path::new(folder).join("docker/cli-plugins"));
    let plugins = own
        .into_iter()
        .chain(shared)
        .map(|folder| folder.join("docker-compose"));
    plugins
        .into_iter()
        .find(|path| path.is_file())
        .map_or("no compose".to_owned(), |path| file(&path))
}

/// What git does not hold below `compose/`: generated secrets, which no gate uses.
const GENERATED: &str = "compose/secrets/*\n!compose/secrets/generate\n";

/// Everything that decides how the shipped compose files are read and run: the files, the variables that they
/// name as this process has them, and the proxies that the docker CLI puts into every container.
pub fn compose_files(root: &Path) -> String {
    let mut parts = vec![folders(root, &["compose"], GENERATED), proxies()];
    for (path, _) in below(root, &["compose"], GENERATED) {
        let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        for name in compose::variables(&text) {
            parts.extend(std::env::var(&name).map(|value| format!("{name}={value}")));
        }
    }
    parts.sort();
    hash::of_parts(parts.iter().map(String::as_str))
}

fn proxies() -> String {
    let text = docker_config().map(|folder| std::fs::read_to_string(folder.join("config.json")));
    let config: Value = text
        .and_then(Result::ok)
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    config["proxies"].to_string()
}

/// One hash of all files under some folders, relative to `root`, but for what the rules leave out (as in a
/// `.dockerignore`). A folder that is absent holds none; one that cannot be read is like no other.
pub fn folders(root: &Path, folders: &[&str], left_out: &str) -> String {
    let parts = below(root, folders, left_out)
        .into_iter()
        .map(|(path, content)| format!("{path} {content}"));
    hash::of_parts(parts.collect::<Vec<_>>().iter().map(String::as_str))
}

fn below(root: &Path, folders: &[&str], left_out: &str) -> BTreeMap<String, String> {
    let there = folders
        .iter()
        .map(PathBuf::from)
        .filter(|folder| root.join(folder).exists())
        .collect();
    let files =
        Ignore::parse(left_out).and_then(|ignore| files::read(root, &there, &ignore, files::Modes::All));
    files.unwrap_or_else(|error| {
        let now = jiff::Timestamp::now();
        BTreeMap::from([(format!("{error:#}"), now.to_string())])
    })
}
