//! Who depends on whom: every locked crate with its licence and with those that ask for it, so that a finding
//! can name the path that pulls it in, and what stands in the way of an update. Data of the catalogue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata, Package};
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

/// All locked crates, by `name version`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    crates: BTreeMap<String, Crate>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Crate {
    /// It lies in this checkout.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// The SPDX expression of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// The file that its manifest names in place of an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence_file: Option<String>,
    /// Who asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub askers: Vec<Edge>,
}

/// That a crate asks for another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(String, String, bool)", into = "(String, String, bool)")]
pub struct Edge {
    /// `name version` of the one that asks.
    pub by: String,
    /// The versions that it takes, e.g. `^0.6.13`.
    pub requirement: String,
    /// For its binary, not for its build or its tests.
    pub normal: bool,
}

impl From<(String, String, bool)> for Edge {
    fn from((by, requirement, normal): (String, String, bool)) -> Self {
        Edge {
            by,
            requirement,
            normal,
        }
    }
}

impl From<Edge> for (String, String, bool) {
    fn from(edge: Edge) -> Self {
        (edge.by, edge.requirement, edge.normal)
    }
}

impl Edge {
    /// Whether the one that asks would take this version. A requirement that cannot be read takes none.
    pub fn takes(&self, version: &Version) -> bool {
        VersionReq::parse(&self.requirement).is_ok_and(|requirement| requirement.matches(version))
    }
}

impl Graph {
    /// Reads the graph from the workspace's metadata.
    pub fn read(metadata: &Metadata) -> Self {
        let packages: BTreeMap<_, &Package> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package))
            .collect();
        let mut crates: BTreeMap<String, Crate> = metadata
            .packages
            .iter()
            .map(|package| (id(package), facts(package)))
            .collect();
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        for node in nodes {
            for dependency in &node.deps {
                let (Some(by), Some(of)) = (packages.get(&node.id), packages.get(&dependency.pkg)) else {
                    continue;
                };
                let entry = crates.entry(id(of)).or_default();
                entry.askers.extend(edges(by, of));
            }
        }
        for entry in crates.values_mut() {
            entry.askers.sort();
            entry.askers.dedup();
        }
        Graph { crates }
    }

    pub fn get(&self, id: &str) -> Option<&Crate> {
        self.crates.get(id)
    }

    /// The shortest path along which a service pulls a crate into its binary (`within`: the crates of the
    /// binary): `name version` of each, the service first, the crate last. Nothing where there is none.
    pub fn path(&self, service: &str, within: &BTreeSet<String>, id: &str) -> Option<Vec<&str>> {
        let (id, _) = self.crates.get_key_value(id)?;
        // From the crate upwards: of each the one below it.
        let mut below: BTreeMap<&str, Option<&str>> = BTreeMap::from([(id.as_str(), None)]);
        let mut queue = VecDeque::from([id.as_str()]);
        while let Some(here) = queue.pop_front() {
            if here.split(' ').next() == Some(service) {
                let path = std::iter::successors(Some(here), |at| below.get(at).copied().flatten());
                return Some(path.collect());
            }
            let askers = self.crates.get(here).into_iter().flat_map(|entry| &entry.askers);
            for edge in askers.filter(|edge| edge.normal && within.contains(&edge.by)) {
                below.entry(&edge.by).or_insert_with(|| {
                    queue.push_back(&edge.by);
                    Some(here)
                });
            }
        }
        None
    }

    /// [`Graph::path`] in words: `frontend -> sqlx 0.9.0 -> smallvec`; the crate itself where no path is known.
    pub fn path_words(&self, service: &str, within: &BTreeSet<String>, id: &str) -> String {
        let name = |id: &str| id.split(' ').next().unwrap_or_default().to_owned();
        let Some(path) = self.path(service, within, id) else {
            return name(id);
        };
        let last = path.len() - 1;
        let words = path.iter().enumerate().map(|(at, id)| match at {
            0 => name(id),
            at if at == last => name(id),
            _ => (*id).to_owned(),
        });
        words.collect::<Vec<_>>().join(" -> ")
    }
}

fn id(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

fn facts(package: &Package) -> Crate {
    Crate {
        own: package.source.is_none(),
        licence: package.license.clone(),
        licence_file: package.license_file.as_ref().map(ToString::to_string),
        askers: Vec::new(),
    }
}

/// What one crate's manifest says of another one, which it was resolved to.
fn edges<'a>(by: &'a Package, of: &'a Package) -> impl Iterator<Item = Edge> + 'a {
    let named = by.dependencies.iter().filter(|asked| {
        // A path dependency has no version to match, or one that matches.
        asked.name == of.name.as_str() && (asked.path.is_some() || asked.req.matches(&of.version))
    });
    named.map(|asked| Edge {
        by: id(by),
        requirement: asked.req.to_string(),
        normal: asked.kind == DependencyKind::Normal,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A graph from its edges: who, requirement, of whom. `frontend` and `kit` are our own.
    pub(crate) fn graph(edges: &[(&str, &str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (by, requirement, of) in edges {
            graph.crates.entry((*by).to_owned()).or_default();
            let edge = Edge::from(((*by).to_owned(), (*requirement).to_owned(), true));
            graph
                .crates
                .entry((*of).to_owned())
                .or_default()
                .askers
                .push(edge);
        }
        for (id, entry) in &mut graph.crates {
            entry.own = id.starts_with("frontend") || id.starts_with("kit");
            entry.licence = Some("MIT".to_owned());
            entry.askers.sort();
        }
        graph
    }

    pub(crate) fn with_licence(
        mut graph: Graph,
        id: &str,
        licence: Option<&str>,
        file: Option<&str>,
    ) -> Graph {
        let entry = graph.crates.entry(id.to_owned()).or_default();
        entry.licence = licence.map(str::to_owned);
        entry.licence_file = file.map(str::to_owned);
        graph
    }

    fn sample() -> Graph {
        graph(&[
            ("frontend 0.1.0", "*", "kit 0.1.0"),
            ("frontend 0.1.0", "^0.8", "axum 0.8.9"),
            ("kit 0.1.0", "^1", "hyper 1.2.0"),
            ("axum 0.8.9", "^1", "hyper 1.2.0"),
            ("hyper 1.2.0", "^0.6.1", "smallvec 0.6.13"),
            ("axum 0.8.9", "^0.3", "long 0.3.0"),
            ("long 0.3.0", "^0.6", "smallvec 0.6.13"),
            ("other 1.0.0", "^0.6", "smallvec 0.6.13"),
        ])
    }

    fn all(graph: &Graph) -> BTreeSet<String> {
        graph.crates.keys().cloned().collect()
    }

    #[test]
    fn the_shortest_path_leads_from_the_service_to_the_crate() {
        let graph = sample();
        let words = |id: &str| graph.path_words("frontend", &all(&graph), id);
        assert_eq!(words("axum 0.8.9"), "frontend -> axum");
        assert_eq!(
            words("smallvec 0.6.13"),
            "frontend -> axum 0.8.9 -> hyper 1.2.0 -> smallvec"
        );
        assert_eq!(words("frontend 0.1.0"), "frontend");
        assert_eq!(words("other 1.0.0"), "other", "the service does not reach it");
        assert_eq!(words("unknown 1.0.0"), "unknown");
    }

    #[test]
    fn a_path_stays_within_the_binary() {
        let graph = sample();
        let mut within = all(&graph);
        within.remove("axum 0.8.9");
        assert_eq!(
            graph.path_words("frontend", &within, "smallvec 0.6.13"),
            "frontend -> kit 0.1.0 -> hyper 1.2.0 -> smallvec"
        );
    }

    #[test]
    fn a_graph_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), sample());
    }
}
