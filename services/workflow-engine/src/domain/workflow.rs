//! A definition that was checked, ready to run.

use contract::workflow::Definition;
use sha2::{Digest, Sha256};

use super::step::Step;
use super::{graph, inputs};

const LONGEST_NAME: usize = 128;
const MOST_NODES: usize = 500;
const MOST_CONNECTIONS: usize = 1000;
const MOST_TAGS: usize = 32;
const LONGEST_TAG: usize = 64;

/// A workflow: its definition, each node's step, and the order of the nodes.
#[derive(Debug, Clone)]
pub(crate) struct Workflow {
    pub(crate) definition: Definition,
    /// In the order of the definition's nodes.
    pub(crate) steps: Vec<Step>,
    pub(crate) levels: Vec<Vec<usize>>,
}

impl Workflow {
    /// # Errors
    /// Everything that is wrong with it, in words.
    pub(crate) fn define(definition: Definition) -> Result<Self, Vec<String>> {
        let mut faults = title_faults(&definition);
        if !(1..=MOST_NODES).contains(&definition.nodes.len()) {
            faults.push(format!("nodes: from 1 to {MOST_NODES} are needed"));
            return Err(faults);
        }
        if definition.connections.len() > MOST_CONNECTIONS {
            faults.push(format!("connections: {MOST_CONNECTIONS} at most"));
            return Err(faults);
        }
        let mut steps = Vec::new();
        for node in &definition.nodes {
            if !is_node_id(&node.id) {
                faults.push(format!(
                    "node '{}': an id is from 1 to 64 letters, digits, _ or -",
                    node.id
                ));
            }
            match Step::parse(&node.kind, &node.config) {
                Ok(step) => steps.push(step),
                Err(wrong) => faults.extend(wrong.iter().map(|why| format!("node '{}': {why}", node.id))),
            }
        }
        faults.extend(graph::faults(&definition));
        if !faults.is_empty() {
            return Err(faults);
        }
        let levels = graph::levels(&definition)?;
        Ok(Workflow {
            definition,
            steps,
            levels,
        })
    }

    /// The signals that steps wait for.
    pub(crate) fn signals(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::SignalWait { signal, .. } => Some(signal.as_str()),
            _ => None,
        })
    }

    /// SHA-256 of the definition, in hex. Objects are written with sorted keys, so that the same definition has
    /// one fingerprint however it was sent.
    pub(crate) fn fingerprint(&self) -> String {
        let text = serde_json::json!(self.definition).to_string();
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What is wrong with all but the graph.
fn title_faults(definition: &Definition) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_name(&definition.name) {
        faults.push(format!(
            "name must have from 1 to {LONGEST_NAME} letters and none of / \\ < > | & ; $ ` ! * ? nor control characters"
        ));
    }
    let version = definition.version.as_bytes();
    if !(1..=32).contains(&version.len()) || !version.iter().all(u8::is_ascii_graphic) {
        faults.push("version must be from 1 to 32 letters without spaces, such as 1.0.0".to_owned());
    }
    let tags = &definition.tags;
    if tags.len() > MOST_TAGS || !tags.iter().all(|tag| (1..=LONGEST_TAG).contains(&tag.len())) {
        faults.push(format!(
            "tags: {MOST_TAGS} at most, each from 1 to {LONGEST_TAG} bytes"
        ));
    }
    let schema = definition.inputs_schema.iter();
    faults.extend(schema.flat_map(inputs::schema_faults));
    faults
}

/// The characters that Nexus refuses in a workflow's name.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.chars().count())
        && name.trim() == name
        && !name
            .chars()
            .any(|letter| letter.is_control() || "/\\<>|&;$`!*?".contains(letter))
}

fn is_node_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn define(definition: Value) -> Result<Workflow, Vec<String>> {
        Workflow::define(serde_json::from_value(definition).unwrap())
    }

    #[test]
    fn faults_of_names_steps_and_edges_come_together() {
        let faults = define(json!({
            "name": "a/b", "version": "",
            "nodes": [{ "id": "a b", "type": "Transform", "config": { "set": {} } }, { "id": "c", "type": "Nope" }],
            "connections": [{ "from": "c", "output": "x", "to": "d", "input": "x" }],
        }));
        assert_eq!(faults.unwrap_err().len(), 5);
        assert_eq!(define(json!({ "name": "w", "nodes": [] })).unwrap_err().len(), 1);
    }

    #[test]
    fn the_order_of_keys_changes_no_fingerprint() {
        let print = |text: &str| define(serde_json::from_str(text).unwrap()).unwrap().fingerprint();
        let one =
            print(r#"{"name":"w","nodes":[{"id":"a","type":"Transform","config":{"set":{"x":1,"y":2}}}]}"#);
        let two =
            print(r#"{"nodes":[{"config":{"set":{"y":2,"x":1}},"type":"Transform","id":"a"}],"name":"w"}"#);
        assert_eq!((one.len(), &one), (64, &two));
    }
}
