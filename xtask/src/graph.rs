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

    /// What has to be done for a crate to be of a version that mends it. `fixed` lists versions as a database
    /// does: `0.6.14, 1.6.1`. The command that is named works: everyone who asks for the crate takes the version.
    pub fn remedy(&self, id: &str, fixed: &str) -> String {
        let (name, version) = id.split_once(' ').unwrap_or((id, ""));
        let newer = newer(fixed, version);
        let askers = self.get(id).map_or(&[][..], |entry| &entry.askers);
        let against =
            |version: &Version| -> Vec<&Edge> { askers.iter().filter(|edge| !edge.takes(version)).collect() };
        let Some(nearest) = newer.iter().min_by_key(|version| against(version).len()) else {
            return format!("{name} has no version that mends it: take it out, or except it for a time");
        };
        let against = against(nearest);
        if against.is_empty() {
            return format!("cargo update -p {name}@{version} --precise {nearest}");
        }
        let words: Vec<String> = against
            .iter()
            .map(|edge| self.blocks(edge, name, nearest))
            .collect();
        words.join("; ")
    }

    /// Those that would take no other version of a crate than the one that is locked.
    pub fn exact_askers(&self, id: &str) -> Vec<&str> {
        let askers = self.get(id).map_or(&[][..], |entry| &entry.askers);
        let exact = askers.iter().filter(|edge| edge.requirement.starts_with('='));
        exact.map(|edge| edge.by.as_str()).collect()
    }

    fn blocks(&self, edge: &Edge, name: &str, version: &Version) -> String {
        let (by, requirement) = (&edge.by, &edge.requirement);
        match self.get(by) {
            Some(entry) if entry.own => {
                let by = by.split(' ').next().unwrap_or(by);
                format!("{by} asks for {name} {requirement}: ask for {version} in its Cargo.toml")
            }
            _ => format!("{by} must move first: it asks for {name} {requirement}, mended is {version}"),
        }
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

/// The versions above `than` in a list such as `0.6.14, >=1.6.1`, ascending. Upper bounds (`<2`) are none.
fn newer(fixed: &str, than: &str) -> Vec<Version> {
    let plain = |word: &str| {
        let word = word.trim();
        if word.starts_with('<') {
            return None;
        }
        Version::parse(word.trim_start_matches(['>', '=', '^', '~', 'v', ' '])).ok()
    };
    let mut versions: Vec<Version> = fixed.split([',', '|']).filter_map(plain).collect();
    if let Ok(than) = Version::parse(than) {
        versions.retain(|version| *version > than);
    }
    versions.sort();
    versions
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
    fn the_remedy_is_a_command_that_works_or_names_what_blocks_it() {
        let remedy =
            |edges: &[(&str, &str, &str)], fixed: &str| graph(edges).remedy("smallvec 0.6.13", fixed);
        let loose = ("hyper 1.2.0", "^0.6.1", "smallvec 0.6.13");
        let exact = ("frontend 0.1.0", "=0.6.13", "smallvec 0.6.13");
        let pinned = ("hyper 1.2.0", "=0.6.13", "smallvec 0.6.13");
        let cases = [
            (
                vec![loose],
                "1.6.1, 0.6.14",
                "cargo update -p smallvec@0.6.13 --precise 0.6.14",
            ),
            (
                vec![loose],
                ">=0.6.14, <1.0.0, >=1.6.1",
                "cargo update -p smallvec@0.6.13 --precise 0.6.14",
            ),
            (
                vec![loose],
                "1.6.1",
                "hyper 1.2.0 must move first: it asks for smallvec ^0.6.1, mended is 1.6.1",
            ),
            (
                vec![loose, exact],
                "0.6.14, 1.6.1",
                "frontend asks for smallvec =0.6.13: ask for 0.6.14 in its Cargo.toml",
            ),
            (
                vec![pinned, exact],
                "0.6.14",
                "frontend asks for smallvec =0.6.13: ask for 0.6.14 in its Cargo.toml; hyper 1.2.0 must move first: it asks for smallvec =0.6.13, mended is 0.6.14",
            ),
            (
                vec![loose],
                "0.6.12",
                "smallvec has no version that mends it: take it out, or except it for a time",
            ),
            (
                vec![loose],
                "",
                "smallvec has no version that mends it: take it out, or except it for a time",
            ),
        ];
        for (edges, fixed, expected) in cases {
            assert_eq!(remedy(&edges, fixed), expected, "{edges:?} {fixed}");
        }
    }

    #[test]
    fn a_graph_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), sample());
    }
}
