//! From a definition to something that can run, or to every reason why it cannot.

use std::collections::BTreeSet;

use contract::workflow::{Connection, Definition};

use super::graph;
use super::step::Step;

/// Limits of one workflow.
const MOST_NODES: usize = 500;
const DEEPEST: usize = 50;
/// Longest name of a workflow or a node.
const LONGEST_NAME: usize = 128;

/// A workflow that can run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub nodes: Vec<PlannedNode>,
    /// Positions in `nodes`; a level runs when all before it have ended.
    pub levels: Vec<Vec<usize>>,
}

/// One node of a plan.
#[derive(Debug, Clone)]
pub(crate) struct PlannedNode {
    pub id: String,
    pub step: Step,
    /// What feeds it; nothing feeds a root.
    pub incoming: Vec<Connection>,
}

impl Plan {
    /// Plans a definition.
    ///
    /// # Errors
    /// Every fault, in public words.
    pub(crate) fn new(definition: &Definition) -> Result<Self, Vec<String>> {
        let mut faults = name_faults(definition);
        faults.extend(graph::faults(definition));
        let mut nodes = Vec::with_capacity(definition.nodes.len());
        for node in &definition.nodes {
            match Step::read(node) {
                Ok(step) => nodes.push(PlannedNode {
                    id: node.id.clone(),
                    step,
                    incoming: incoming(definition, &node.id),
                }),
                Err(found) => faults.extend(found.iter().map(|fault| format!("node '{}': {fault}", node.id))),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        match graph::levels(definition) {
            Ok(levels) if levels.len() > DEEPEST => Err(vec![format!(
                "{} steps follow each other; at most {DEEPEST} may",
                levels.len()
            )]),
            Ok(levels) => Ok(Plan { nodes, levels }),
            Err(circle) => Err(vec![format!(
                "these nodes wait for each other: {}",
                circle.join(", ")
            )]),
        }
    }
}

fn incoming(definition: &Definition, id: &str) -> Vec<Connection> {
    let to_it = definition
        .connections
        .iter()
        .filter(|connection| connection.to == id);
    to_it.cloned().collect()
}

/// Whether it may name a workflow: it is a segment of a path, and is shown to people.
pub(crate) fn is_workflow_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn name_faults(definition: &Definition) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_workflow_name(&definition.name) {
        faults.push(format!(
            "name: expected 1 to {LONGEST_NAME} letters, digits, '-', '_' or '.'"
        ));
    }
    if definition.version.is_empty() || definition.version.len() > 64 {
        faults.push("version: expected 1 to 64 characters".to_owned());
    }
    match definition.nodes.len() {
        0 => faults.push("nodes: expected at least one".to_owned()),
        many if many > MOST_NODES => faults.push(format!("nodes: {many} are more than {MOST_NODES}")),
        _ => {}
    }
    let mut ids = BTreeSet::new();
    for node in &definition.nodes {
        if !is_workflow_name(&node.id) {
            faults.push(format!(
                "node '{}': an id is made of letters, digits, '-', '_' or '.'",
                node.id
            ));
        }
        if !ids.insert(&node.id) {
            faults.push(format!("node '{}': the id is used twice", node.id));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(definition: serde_json::Value) -> Result<Plan, Vec<String>> {
        Plan::new(&serde_json::from_value(definition).unwrap())
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let faults = plan(json!({
            "name": "a/b",
            "nodes": [{ "id": "a", "type": "Transfrom" }, { "id": "a", "type": "Transform", "config": { "set": {} } }],
            "connections": [{ "from": "a", "output": "x", "to": "b", "input": "x" }],
        }))
        .unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn a_sound_definition_is_planned() {
        let set = json!({ "set": { "name": "{{name}}" } });
        let plan = plan(json!({
            "name": "intake",
            "nodes": [
                { "id": "store", "type": "DataFlow", "config": { "node": "ProductCreateNode" } },
                { "id": "clean", "type": "Transform", "config": set },
            ],
            "connections": [{ "from": "clean", "output": "name", "to": "store", "input": "name" }],
        }))
        .unwrap();
        assert_eq!(plan.levels, [[1], [0]]);
        assert_eq!(plan.nodes[0].incoming.len(), 1);
        assert!(plan.nodes[1].incoming.is_empty());
    }

    #[test]
    fn an_empty_workflow_is_refused() {
        assert_eq!(
            plan(json!({ "name": "a", "nodes": [] })).unwrap_err(),
            ["nodes: expected at least one"]
        );
    }
}
