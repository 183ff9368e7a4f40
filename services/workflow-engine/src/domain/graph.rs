//! The graph of a workflow: its faults, and the order of its nodes.

use std::collections::{BTreeMap, BTreeSet};

use contract::workflow::{Connection, Definition};

use super::suggest::did_you_mean;

/// What is wrong with the connections, each in words.
pub(crate) fn faults(definition: &Definition) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for node in &definition.nodes {
        if !ids.insert(node.id.as_str()) {
            faults.push(format!("node '{}' is defined twice", node.id));
        }
    }
    let mut seen = BTreeSet::new();
    for connection in &definition.connections {
        let Connection {
            from,
            output,
            to,
            input,
        } = connection;
        for id in [from, to] {
            if !ids.contains(id.as_str()) {
                let meant = did_you_mean(id, ids.iter().copied());
                faults.push(format!("connection {from} -> {to}: no node '{id}'{meant}"));
            }
        }
        if from == to {
            faults.push(format!("connection {from} -> {to}: a node cannot feed itself"));
        }
        if output.is_empty() || input.is_empty() {
            faults.push(format!(
                "connection {from} -> {to}: output and input must be named"
            ));
        }
        if !seen.insert((to.as_str(), input.as_str())) {
            faults.push(format!("connection {from} -> {to}: input '{input}' is fed twice"));
        }
    }
    if faults.is_empty()
        && let Err(ids) = levels(definition)
    {
        faults.push(format!(
            "the nodes {} feed each other in a circle",
            ids.join(", ")
        ));
    }
    faults
}

/// Nodes (by place) in levels: each needs only earlier levels, so that a level can run at once (Kahn's order).
///
/// # Errors
/// The ids of the nodes that feed each other in a circle, or wait for one that does.
pub(crate) fn levels(definition: &Definition) -> Result<Vec<Vec<usize>>, Vec<String>> {
    let nodes = &definition.nodes;
    let places: BTreeMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .map(|(place, node)| (node.id.as_str(), place))
        .collect();
    let mut waits_for = vec![0_usize; nodes.len()];
    let mut feeds = vec![Vec::new(); nodes.len()];
    for edge in &definition.connections {
        if let (Some(from), Some(to)) = (places.get(edge.from.as_str()), places.get(edge.to.as_str())) {
            waits_for[*to] += 1;
            feeds[*from].push(*to);
        }
    }
    let mut levels = Vec::new();
    let mut level: Vec<usize> = (0..nodes.len()).filter(|place| waits_for[*place] == 0).collect();
    while !level.is_empty() {
        let mut next = Vec::new();
        for fed in level.iter().flat_map(|place| &feeds[*place]) {
            waits_for[*fed] -= 1;
            if waits_for[*fed] == 0 {
                next.push(*fed);
            }
        }
        next.sort_unstable();
        levels.push(std::mem::replace(&mut level, next));
    }
    let stuck: Vec<String> = nodes
        .iter()
        .zip(&waits_for)
        .filter(|(_, waits_for)| **waits_for > 0)
        .map(|(node, _)| node.id.clone())
        .collect();
    if stuck.is_empty() { Ok(levels) } else { Err(stuck) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(nodes: &[&str], edges: &[(&str, &str)]) -> Definition {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|id| json!({ "id": id, "type": "Transform" }))
            .collect();
        let edges: Vec<_> = edges
            .iter()
            .map(|(from, to)| json!({ "from": from, "output": "x", "to": to, "input": format!("from_{from}") }))
            .collect();
        serde_json::from_value(json!({ "name": "w", "nodes": nodes, "connections": edges })).unwrap()
    }

    #[test]
    fn a_level_needs_earlier_levels_only() {
        let diamond = definition(
            &["end", "b", "a", "start"],
            &[("start", "a"), ("start", "b"), ("a", "end"), ("b", "end")],
        );
        assert_eq!(levels(&diamond), Ok(vec![vec![3], vec![1, 2], vec![0]]));
        assert_eq!(faults(&diamond), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_told() {
        let wrong = definition(
            &["save", "save", "shape"],
            &[("shap", "save"), ("shape", "shape")],
        );
        assert_eq!(
            faults(&wrong),
            [
                "node 'save' is defined twice",
                "connection shap -> save: no node 'shap'; did you mean 'shape'?",
                "connection shape -> shape: a node cannot feed itself",
            ]
        );
        let circle = definition(&["a", "b", "c"], &[("a", "b"), ("b", "a")]);
        assert_eq!(faults(&circle), ["the nodes a, b feed each other in a circle"]);
    }
}
