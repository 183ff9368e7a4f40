//! The catalogue: every service crate that carries `[package.metadata.image]`, read from `cargo metadata`.
//! All problems are reported at once; the harness knows no service by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId, TargetKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine;
use crate::exit::Failure;
use crate::graph::Graph;

/// The platform whose dependencies count; images are static binaries for it.
pub const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// # Errors
/// Exit 3: images for this platform would not be made of the dependencies that are read here, which are [`TARGET`]'s.
pub fn refuse_another_target(platform: &str) -> Result<(), Failure> {
    let architecture = TARGET.split('-').next().unwrap_or_default();
    let own = engine::platform("linux", architecture);
    if platform == own {
        return Ok(());
    }
    Err(Failure::undecided(
        format!("the engine builds for {platform}, this program reads the dependencies for {own}"),
        format!("run it on a machine of the engine's kind, or name an engine for {own}"),
    ))
}

/// A service crate and what its manifest says of its image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Package name = binary name = compose service name.
    pub name: String,
    pub version: String,
    /// The published repository name, e.g. `horme-nexus-gateway`.
    pub image: String,
    pub port: u16,
    /// Unpacked size of the final image, at most.
    pub budget_bytes: u64,
    /// Backing stores, by compose service name.
    pub needs: Vec<String>,
    /// The only services that it may reach.
    pub calls: Vec<String>,
    /// What losing a store does to readiness.
    pub on_loss: BTreeMap<String, OnLoss>,
    /// The crate's folder, relative to the root.
    pub dir: PathBuf,
    /// Folders of the crate and of its path dependencies, relative to the root.
    pub source_dirs: BTreeSet<PathBuf>,
    /// What else its Dockerfile takes from the context by name, relative to the root.
    #[serde(default)]
    pub copied: BTreeSet<PathBuf>,
    /// `name version` of every crate in the binary: normal dependencies for [`TARGET`], no build
    /// dependencies, no procedural macros.
    pub crates: BTreeSet<String>,
    /// Those that only the build runs: procedural macros, build dependencies, and what they alone use.
    pub build_crates: BTreeSet<String>,
    /// Of all these crates, the features that a build of the whole workspace turns on, separated by spaces; filled
    /// in by `planning.rs`.
    pub features: BTreeMap<String, String>,
}

impl Service {
    /// Whether a path, relative to the root, lies in a folder that the image is made from.
    pub fn holds(&self, path: &Path) -> bool {
        let mut folders = self.source_dirs.iter().chain(&self.copied);
        folders.any(|folder| path.starts_with(folder))
    }

    pub fn dockerfile(&self) -> PathBuf {
        Path::new("docker").join(format!("Dockerfile.{}", self.name))
    }

    /// `name version` of every crate that can change the binary.
    pub fn closure(&self) -> BTreeSet<String> {
        &self.crates | &self.build_crates
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLoss {
    /// Stays ready (200), says `degraded`.
    Degrade,
    /// Turns not ready (503).
    NotReady,
}

/// All services, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    pub services: Vec<Service>,
    /// Who depends on whom.
    #[serde(default)]
    pub graph: Graph,
    /// Every manifest that it was read from -> the hash of its content.
    pub manifests: BTreeMap<PathBuf, String>,
}

impl Catalogue {
    /// The services named on the command line, or all of them.
    ///
    /// # Errors
    /// Exit 2 with the nearest name for one that does not exist.
    pub fn select(&self, names: &[String]) -> Result<Vec<Service>> {
        let known: Vec<&str> = self
            .services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        for name in names {
            if !known.contains(&name.as_str()) {
                let hint = match nearest(name, &known) {
                    Some(near) => format!("did you mean '{near}'? services: {}", known.join(", ")),
                    None => format!("services: {}", known.join(", ")),
                };
                return Err(Failure::usage(format!("no service is named '{name}'"), hint).into());
            }
        }
        let wanted = |service: &&Service| names.is_empty() || names.contains(&service.name);
        Ok(self.services.iter().filter(wanted).cloned().collect())
    }
}

/// Reads the catalogue from the workspace's metadata.
///
/// # Errors
/// Exit 2 with every problem of every manifest, a line each: file, key, what is expected.
pub fn read(root: &Path, metadata: &Metadata) -> Result<Catalogue> {
    let mut problems = Vec::new();
    let mut services = Vec::new();
    for package in metadata.workspace_packages() {
        if let Some(image) = package.metadata.get("image") {
            let mut reader = Reader::new(root, package, image, &mut problems);
            services.push(reader.service(metadata));
        }
    }
    services.sort_by(|a, b| a.name.cmp(&b.name));
    check_edges(&services, &mut problems);
    problems.extend(unreadable_dockerfiles(root, &services));
    if services.is_empty() && problems.is_empty() {
        problems.push("services/: no crate has a `[package.metadata.image]` table".to_owned());
    }
    refuse(problems)?;
    Ok(Catalogue {
        services,
        graph: Graph::read(metadata),
        manifests: BTreeMap::new(),
    })
}

/// Every service with an image needs a Dockerfile.
///
/// # Errors
/// Exit 2, naming all that are missing or no text.
pub fn check_dockerfiles(root: &Path, catalogue: &Catalogue) -> Result<()> {
    refuse(unreadable_dockerfiles(root, &catalogue.services))
}

fn unreadable_dockerfiles(root: &Path, services: &[Service]) -> Vec<String> {
    let problems = services.iter().filter_map(|service| {
        let file = service.dockerfile();
        let why = match std::fs::read(root.join(&file)) {
            Ok(bytes) if std::str::from_utf8(&bytes).is_ok() => return None,
            Ok(_) => "is no text (UTF-8)".to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!(
                "missing; the service '{}' has an image and so needs a Dockerfile",
                service.name
            ),
            Err(error) => format!("cannot be read: {error}"),
        };
        Some(format!("{}: {why}", file.display()))
    });
    problems.collect()
}

fn refuse(problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let count = problems.len();
    let what = format!(
        "{count} problem{} in the services' manifests:\n  {}",
        plural(count),
        problems.join("\n  ")
    );
    let hint = "the keys of `[package.metadata.image]` are described in the README";
    Err(Failure::usage(what, hint).into())
}

fn check_edges(services: &[Service], problems: &mut Vec<String>) {
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    for service in services {
        for callee in &service.calls {
            if callee == &service.name || !names.contains(&callee.as_str()) {
                let near = nearest(callee, &names).map(|near| format!("; did you mean '{near}'?"));
                problems.push(format!(
                    "{}: image.calls: '{callee}' is no other service with an image{}",
                    service.dir.join("Cargo.toml").display(),
                    near.unwrap_or_default()
                ));
            }
        }
    }
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for service in services.iter().filter(|service| !service.image.is_empty()) {
        if let Some(other) = seen.insert(&service.image, &service.name) {
            let file = service.dir.join("Cargo.toml");
            problems.push(format!(
                "{}: image.name: '{}' is {other}'s name already",
                file.display(),
                service.image
            ));
        }
    }
}

/// Reads one manifest's table, noting every problem instead of stopping at the first.
struct Reader<'a> {
    file: PathBuf,
    dir: PathBuf,
    root: &'a Path,
    package: &'a Package,
    table: &'a Value,
    problems: &'a mut Vec<String>,
}

const KEYS: [&str; 6] = ["name", "port", "budget", "needs", "calls", "on_loss"];

impl<'a> Reader<'a> {
    fn new(root: &'a Path, package: &'a Package, table: &'a Value, problems: &'a mut Vec<String>) -> Self {
        let file = package.manifest_path.as_std_path();
        let file = file.strip_prefix(root).unwrap_or(file).to_path_buf();
        let dir = file.parent().unwrap_or(Path::new("")).to_path_buf();
        Reader {
            file,
            dir,
            root,
            package,
            table,
            problems,
        }
    }

    fn problem(&mut self, key: &str, expected: impl std::fmt::Display) {
        self.problems
            .push(format!("{}: image.{key}: {expected}", self.file.display()));
    }

    fn service(&mut self, metadata: &Metadata) -> Service {
        self.unknown_keys();
        let needs = self.names("needs");
        let on_loss = self.on_loss(&needs);
        let Closure {
            crates,
            build_crates,
            source_dirs,
        } = closure(metadata, &self.package.id, self.root);
        Service {
            name: self.package.name.to_string(),
            version: self.package.version.to_string(),
            image: self.image_name(),
            port: self.port(),
            budget_bytes: self.budget(),
            needs,
            calls: self.names("calls"),
            on_loss,
            dir: self.dir.clone(),
            source_dirs,
            copied: BTreeSet::new(),
            crates,
            build_crates,
            features: BTreeMap::new(),
        }
    }

    fn unknown_keys(&mut self) {
        let Some(table) = self.table.as_object() else {
            self.problems.push(format!(
                "{}: package.metadata.image: expected a table",
                self.file.display()
            ));
            return;
        };
        for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let near = nearest(key, &KEYS).map(|near| format!("; did you mean '{near}'?"));
            self.problem(key, format!("unknown key{}", near.unwrap_or_default()));
        }
    }

    fn image_name(&mut self) -> String {
        let valid = |name: &&str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
            edge(name.chars().next()) && edge(name.chars().last()) && name.chars().all(inner)
        };
        match self.table.get("name").and_then(Value::as_str).filter(valid) {
            Some(name) => name.to_owned(),
            None => {
                self.problem(
                    "name",
                    "expected a repository name of lower-case letters, digits, '-', '_', '.'",
                );
                String::new()
            }
        }
    }

    fn port(&mut self) -> u16 {
        let port = self
            .table
            .get("port")
            .and_then(Value::as_u64)
            .and_then(|port| u16::try_from(port).ok());
        match port.filter(|port| *port > 0) {
            Some(port) => port,
            None => {
                self.problem("port", "expected a number from 1 to 65535");
                0
            }
        }
    }

    fn budget(&mut self) -> u64 {
        match self
            .table
            .get("budget")
            .and_then(Value::as_str)
            .and_then(parse_size)
        {
            Some(bytes) => bytes,
            None => {
                self.problem("budget", "expected a size such as \"16 MB\" or \"16 MiB\"");
                0
            }
        }
    }

    /// An optional list of names; absent is empty.
    fn names(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let words = value
            .as_array()
            .map(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        match words {
            Some(Some(words)) => words.into_iter().map(str::to_owned).collect(),
            _ => {
                self.problem(key, "expected a list of names");
                Vec::new()
            }
        }
    }

    /// What is not said of a store that is needed is the careful answer: not ready without it.
    fn on_loss(&mut self, needs: &[String]) -> BTreeMap<String, OnLoss> {
        let mut on_loss: BTreeMap<_, _> = needs
            .iter()
            .map(|store| (store.clone(), OnLoss::NotReady))
            .collect();
        let Some(value) = self.table.get("on_loss") else {
            return on_loss;
        };
        let Some(table) = value.as_object() else {
            self.problem(
                "on_loss",
                "expected a table { store = \"degrade\" | \"not-ready\" }",
            );
            return on_loss;
        };
        for (store, effect) in table {
            let known = match effect.as_str() {
                Some("degrade") => Some(OnLoss::Degrade),
                Some("not-ready") => Some(OnLoss::NotReady),
                _ => None,
            };
            match known {
                _ if !needs.contains(store) => {
                    self.problem(&format!("on_loss.{store}"), "not among image.needs")
                }
                Some(effect) => drop(on_loss.insert(store.clone(), effect)),
                None => self.problem(
                    &format!("on_loss.{store}"),
                    "expected \"degrade\" or \"not-ready\"",
                ),
            }
        }
        on_loss
    }
}

/// What a package is made of.
#[derive(Debug, Default)]
struct Closure {
    crates: BTreeSet<String>,
    build_crates: BTreeSet<String>,
    source_dirs: BTreeSet<PathBuf>,
}

/// The crates in a package's binary, those of its build, and the folders of those that lie in this checkout.
fn closure(metadata: &Metadata, root_id: &PackageId, root: &Path) -> Closure {
    let mut closure = Closure::default();
    let Some(resolve) = &metadata.resolve else {
        return closure;
    };
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let packages: BTreeMap<&PackageId, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package))
        .collect();
    let mut seen = BTreeSet::new();
    let mut queue = vec![(root_id, true)];
    while let Some((id, in_binary)) = queue.pop() {
        let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else {
            continue;
        };
        let in_binary = in_binary && !is_proc_macro(package);
        if !seen.insert((id, in_binary)) {
            continue;
        }
        let crates = if in_binary {
            &mut closure.crates
        } else {
            &mut closure.build_crates
        };
        let id = format!("{} {}", package.name, package.version);
        crates.insert(id);
        if package.source.is_none()
            && let Some(dir) = package.manifest_path.as_std_path().parent()
        {
            closure
                .source_dirs
                .insert(dir.strip_prefix(root).unwrap_or(dir).to_path_buf());
        }
        for dependency in &node.deps {
            let kinds = || dependency.dep_kinds.iter().map(|kind| kind.kind);
            if kinds().any(|kind| kind == DependencyKind::Normal) {
                queue.push((&dependency.pkg, in_binary));
            } else if kinds().any(|kind| kind == DependencyKind::Build) {
                queue.push((&dependency.pkg, false));
            }
        }
    }
    closure.build_crates = &closure.build_crates - &closure.crates;
    closure
}

fn is_proc_macro(package: &Package) -> bool {
    package
        .targets
        .iter()
        .any(|target| target.kind.contains(&TargetKind::ProcMacro))
}

/// `"16 MB"` -> 16,000,000; `"16 MiB"` -> 16,777,216. Decimal and binary units up to GB and GiB.
pub fn parse_size(text: &str) -> Option<u64> {
    size(text).filter(|bytes| *bytes > 0.0).map(|bytes| bytes as u64)
}

/// The same as a program prints it: nothing may be 0, too.
pub fn printed_size(text: &str) -> Option<u64> {
    size(text).map(|bytes| bytes as u64)
}

fn size(text: &str) -> Option<f64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * factor)
}

/// The candidate that a mistyped word most likely meant, if one is near.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let scored = candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}

/// The first of some names and how many there are besides: `a, b, c, d and 7 more`.
pub fn first_of(names: &[&str]) -> String {
    const MOST: usize = 4;
    let first = names[..names.len().min(MOST)].join(", ");
    match names.len().saturating_sub(MOST) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

pub fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_long_list_says_how_long_it_is() {
        assert_eq!(first_of(&["a", "b", "c", "d"]), "a, b, c, d");
        assert_eq!(first_of(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d and 2 more");
    }

    #[test]
    fn an_engine_of_another_architecture_is_refused() {
        let own = engine::platform("linux", std::env::consts::ARCH);
        assert_eq!(
            refuse_another_target(&own).map_err(|failure| failure.what),
            Ok(())
        );
        let failure = refuse_another_target("linux/riscv64").unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Undecided);
        assert!(
            failure.what.contains(&format!("dependencies for {own}")),
            "{}",
            failure.what
        );
    }

    /// A service with these crates (`name version`) in its binary.
    pub(crate) fn service(name: &str, crates: &[&str]) -> Service {
        let value = serde_json::json!({
            "name": name, "version": "0.1.0", "image": format!("horme-{name}"), "port": 8000, "budget_bytes": 1,
            "needs": [], "calls": [], "on_loss": {}, "dir": format!("services/{name}"), "source_dirs": [],
            "crates": crates, "build_crates": [], "features": {}
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_written() {
        assert_eq!(parse_size("16 MB"), Some(16_000_000));
        assert_eq!(parse_size("16 MiB"), Some(16 * 1024 * 1024));
        assert_eq!(parse_size("1.5GB"), Some(1_500_000_000));
        for wrong in ["16", "MB", "-1 MB", "16 potatoes", "", "0 MB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_mistyped_name_finds_its_neighbour_and_nonsense_finds_none() {
        let names = ["nexus-gateway", "dataflow-service", "frontend"];
        assert_eq!(nearest("nexus-gatway", &names), Some("nexus-gateway"));
        assert_eq!(nearest("fronted", &names), Some("frontend"));
        assert_eq!(nearest("zzz", &names), None);
    }
}
