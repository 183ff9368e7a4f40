//! The graph of a workflow: what joins what, and in which order the nodes can run.

use std::collections::{BTreeMap, BTreeSet};

use contract::workflow::{Connection, Definition};

use super::path;
use super::suggest;

/// Faults of the connections: ends that do not exist, loops, two values for one input.
pub(crate) fn faults(definition: &Definition) -> Vec<String> {
    let ids: BTreeSet<&str> = definition.nodes.iter().map(|node| node.id.as_str()).collect();
    let mut taken = BTreeSet::new();
    let mut faults = Vec::new();
    for connection in &definition.connections {
        let name = name(connection);
        for (side, id) in [("from", &connection.from), ("to", &connection.to)] {
            if !ids.contains(id.as_str()) {
                let near = suggest::hint(id, ids.iter().copied());
                faults.push(format!("connection {name}: '{side}' names no node '{id}'{near}"));
            }
        }
        if connection.from == connection.to {
            faults.push(format!("connection {name}: a node cannot feed itself"));
        }
        if !path::is_path(&connection.output) {
            faults.push(format!(
                "connection {name}: 'output' is no path such as product.name"
            ));
        }
        if connection.input.is_empty() {
            faults.push(format!("connection {name}: 'input' is empty"));
        }
        if !taken.insert((&connection.to, &connection.input)) {
            faults.push(format!("connection {name}: the input has a value already"));
        }
    }
    faults
}

fn name(connection: &Connection) -> String {
    let Connection {
        from,
        output,
        to,
        input,
        ..
    } = connection;
    format!("{from}.{output} -> {to}.{input}")
}

/// The nodes' positions by level: every node stands after all that feed it; those of one level can run at once.
///
/// # Errors
/// The ids of the nodes that wait for each other.
pub(crate) fn levels(definition: &Definition) -> Result<Vec<Vec<usize>>, Vec<String>> {
    let position: BTreeMap<&str, usize> = definition
        .nodes
        .iter()
        .enumerate()
        .map(|(position, node)| (node.id.as_str(), position))
        .collect();
    let edges: BTreeSet<(usize, usize)> = definition
        .connections
        .iter()
        .filter_map(|edge| Some((*position.get(&*edge.from)?, *position.get(&*edge.to)?)))
        .collect();
    let mut waiting: BTreeSet<usize> = (0..definition.nodes.len()).collect();
    let mut levels = Vec::new();
    while !waiting.is_empty() {
        let blocked = |node: &usize| {
            edges
                .iter()
                .any(|(from, to)| to == node && waiting.contains(from))
        };
        let level: Vec<usize> = waiting.iter().copied().filter(|node| !blocked(node)).collect();
        if level.is_empty() {
            let ids = waiting.iter().map(|node| definition.nodes[*node].id.clone());
            return Err(ids.collect());
        }
        waiting.retain(|node| !level.contains(node));
        levels.push(level);
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(ids: &[&str], edges: &[(&str, &str)]) -> Definition {
        let nodes: Vec<_> = ids
            .iter()
            .map(|id| json!({ "id": id, "type": "Transform" }))
            .collect();
        let edges: Vec<_> = edges
            .iter()
            .enumerate()
            .map(|(i, (from, to))| json!({ "from": from, "output": "x", "to": to, "input": format!("i{i}") }))
            .collect();
        serde_json::from_value(json!({ "name": "w", "nodes": nodes, "connections": edges })).unwrap()
    }

    #[test]
    fn a_diamond_has_three_levels() {
        let diamond = definition(
            &["d", "b", "a", "c"],
            &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")],
        );
        assert_eq!(levels(&diamond), Ok(vec![vec![2], vec![1, 3], vec![0]]));
    }

    #[test]
    fn a_circle_is_named() {
        let circle = definition(&["a", "b", "c"], &[("b", "c"), ("c", "b"), ("a", "b")]);
        assert_eq!(levels(&circle), Err(vec!["b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn connections_to_nowhere_and_to_oneself_are_faults() {
        let faults = faults(&definition(&["fetch"], &[("fetsh", "fetch"), ("fetch", "fetch")]));
        assert_eq!(
            faults,
            [
                "connection fetsh.x -> fetch.i0: 'from' names no node 'fetsh'; did you mean 'fetch'?",
                "connection fetch.x -> fetch.i1: a node cannot feed itself",
            ]
        );
    }

    #[test]
    fn an_input_has_one_source() {
        let mut twice = definition(&["a", "b", "c"], &[("a", "c"), ("b", "c")]);
        twice.connections[1].input = "i0".to_owned();
        assert_eq!(
            faults(&twice),
            ["connection b.x -> c.i0: the input has a value already"]
        );
    }
}
