//! Which dependency can be added to a service without anything being downloaded: a crate that the lock file
//! has for other services already. Pure.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use cargo_metadata::Metadata;

use crate::catalogue::{Catalogue, Service};

/// A crate that the workspace is locked to.
#[derive(Debug, Clone, PartialEq)]
pub struct Locked {
    pub name: String,
    pub version: String,
    /// Whether it comes from a registry.
    registry: bool,
    /// How many crates it asks for itself.
    dependencies: usize,
}

/// Every crate that `cargo metadata` resolved.
pub fn locked(metadata: &str) -> Result<Vec<Locked>> {
    let metadata: Metadata =
        cargo_metadata::MetadataCommand::parse(metadata).context("cargo metadata cannot be read")?;
    let nodes = metadata.resolve.map(|resolve| resolve.nodes).unwrap_or_default();
    let dependencies = |package: &cargo_metadata::Package| {
        let node = nodes.iter().find(|node| node.id == package.id);
        node.map_or(0, |node| node.deps.len())
    };
    let crates = metadata.packages.iter().map(|package| Locked {
        name: package.name.to_string(),
        version: package.version.to_string(),
        registry: package.source.is_some(),
        dependencies: dependencies(package),
    });
    Ok(crates.collect())
}

/// The crates that are linked into other services but not into this one, the smallest first. One of which there
/// are two versions is left out: a name alone must say which.
pub fn candidates(service: &Service, catalogue: &Catalogue, locked: &[Locked]) -> Vec<Locked> {
    let elsewhere = catalogue
        .services
        .iter()
        .flat_map(|service| service.crates.clone());
    let elsewhere: BTreeSet<String> = elsewhere.collect();
    let elsewhere = &elsewhere - &service.closure();
    let fits = |candidate: &&Locked| {
        let versions = locked.iter().filter(|other| other.name == candidate.name);
        candidate.registry
            && !candidate.version.contains('+')
            && versions.count() == 1
            && elsewhere.contains(&format!("{} {}", candidate.name, candidate.version))
    };
    let mut found: Vec<Locked> = locked.iter().filter(fits).cloned().collect();
    found.sort_by(|a, b| (a.dependencies, &a.name).cmp(&(b.dependencies, &b.name)));
    found
}

/// A manifest with one dependency more. Its name holds `number`, so that no cache has seen the manifest before;
/// without default features, the crate is the very one that is compiled for the others.
pub fn added(manifest: &str, candidate: &Locked, number: i64) -> String {
    let Locked { name, version, .. } = candidate;
    let line = format!(
        "bench_{number} = {{ package = \"{name}\", version = \"={version}\", default-features = false }}\n"
    );
    let table = "\n[dependencies]\n";
    match manifest.find(table) {
        Some(at) => {
            let (before, after) = manifest.split_at(at + table.len());
            format!("{before}{line}{after}")
        }
        None => format!("{manifest}{table}{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, crates: &[&str]) -> Service {
        Service {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            image: name.to_owned(),
            port: 1,
            budget_bytes: 1,
            needs: Vec::new(),
            calls: Vec::new(),
            on_loss: Default::default(),
            dir: name.into(),
            source_dirs: BTreeSet::new(),
            copied: Default::default(),
            crates: crates.iter().map(ToString::to_string).collect(),
            build_crates: BTreeSet::from(["built 1.0.0".to_owned()]),
            features: Default::default(),
        }
    }

    fn locked(name: &str, version: &str, dependencies: usize) -> Locked {
        Locked {
            name: name.to_owned(),
            version: version.to_owned(),
            registry: name != "own",
            dependencies,
        }
    }

    #[test]
    fn the_smallest_crate_that_only_others_have_comes_first() {
        let (one, other) = (
            service("a", &["shared 1.0.0"]),
            service(
                "b",
                &[
                    "shared 1.0.0",
                    "built 1.0.0",
                    "large 1.0.0",
                    "leaf 2.1.0",
                    "twice 1.0.0",
                    "own 0.1.0",
                ],
            ),
        );
        let known = [
            locked("built", "1.0.0", 0),
            locked("large", "1.0.0", 7),
            locked("leaf", "2.1.0", 0),
            locked("own", "0.1.0", 0),
            locked("shared", "1.0.0", 0),
            locked("twice", "1.0.0", 0),
            locked("twice", "2.0.0", 0),
            locked("unused", "1.0.0", 0),
        ];
        let catalogue = Catalogue {
            services: vec![one.clone(), other],
            graph: Default::default(),
            manifests: Default::default(),
        };
        let found = candidates(&one, &catalogue, &known);
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["leaf", "large"]);
    }

    #[test]
    fn a_dependency_goes_into_its_table() {
        let line = "bench_7 = { package = \"leaf\", version = \"=2.1.0\", default-features = false }\n";
        let leaf = locked("leaf", "2.1.0", 0);
        let with = "[package]\n\n[dependencies]\na = \"1\"\n\n[dev-dependencies]\n";
        assert_eq!(
            added(with, &leaf, 7),
            format!("[package]\n\n[dependencies]\n{line}a = \"1\"\n\n[dev-dependencies]\n")
        );
        assert_eq!(
            added("[package]\n", &leaf, 7),
            format!("[package]\n\n[dependencies]\n{line}")
        );
    }
}
