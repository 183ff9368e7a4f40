//! What mends a finding in a crate: the command of cargo that works, or who stands in its way.

use semver::Version;

use crate::graph::{Edge, Graph};

/// What can be done where there is no such version.
pub fn without_mending(package: &str) -> String {
    format!(
        "no version of {package} mends it: replace it, or say why it does no harm (docker/policy/openvex.json)"
    )
}

/// What has to be done for a crate to be of a version that mends it. `fixed` lists versions as a database
/// does: `0.6.14, 1.6.1`. Everyone who asks for the crate on our platform takes the version of the command that is
/// named; who asks for it on another alone is not seen.
pub fn of_crate(graph: &Graph, id: &str, fixed: &str) -> String {
    let (name, version) = id.split_once(' ').unwrap_or((id, ""));
    let newer = newer(fixed, version);
    let askers = graph.get(id).map_or(&[][..], |entry| &entry.askers);
    let against =
        |version: &Version| -> Vec<&Edge> { askers.iter().filter(|edge| !edge.takes(version)).collect() };
    let Some(nearest) = newer.iter().min_by_key(|version| against(version).len()) else {
        return without_mending(name);
    };
    let against = against(nearest);
    if against.is_empty() {
        return format!("cargo update -p {name}@{version} --precise {nearest}");
    }
    let words: Vec<String> = against
        .iter()
        .map(|edge| blocks(graph, edge, name, nearest))
        .collect();
    words.join("; ")
}

fn blocks(graph: &Graph, edge: &Edge, name: &str, version: &Version) -> String {
    let (by, requirement) = (&edge.by, &edge.requirement);
    match graph.get(by) {
        Some(entry) if entry.own => {
            let by = by.split(' ').next().unwrap_or(by);
            format!("{by} asks for {name} {requirement}: ask for {version} in its Cargo.toml")
        }
        _ => format!("{by} must move first: it asks for {name} {requirement}, mended is {version}"),
    }
}

/// What leads away from a yanked crate. Such a version is never chosen anew, so that any update does, unless somebody
/// asks for this very one.
pub fn of_yanked(graph: &Graph, id: &str) -> String {
    let askers = graph.get(id).map_or(&[][..], |entry| &entry.askers);
    let exact = askers.iter().filter(|edge| edge.requirement.starts_with('='));
    let exact: Vec<&str> = exact.map(|edge| edge.by.as_str()).collect();
    if exact.is_empty() {
        return format!("cargo update -p {}", id.replace(' ', "@"));
    }
    format!(
        "{} must move first: it asks for this very version",
        exact.join(", ")
    )
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
mod tests {
    use super::*;
    use crate::graph::tests::graph;

    #[test]
    fn the_remedy_is_a_command_that_works_or_names_what_blocks_it() {
        let remedy =
            |edges: &[(&str, &str, &str)], fixed: &str| of_crate(&graph(edges), "smallvec 0.6.13", fixed);
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
                "no version of smallvec mends it: replace it, or say why it does no harm (docker/policy/openvex.json)",
            ),
            (
                vec![loose],
                "",
                "no version of smallvec mends it: replace it, or say why it does no harm (docker/policy/openvex.json)",
            ),
        ];
        for (edges, fixed, expected) in cases {
            assert_eq!(remedy(&edges, fixed), expected, "{edges:?} {fixed}");
        }
    }
}
