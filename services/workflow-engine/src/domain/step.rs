//! The kinds of steps, and the reading of a node's configuration into one.

use contract::workflow::Node;
use serde::Serialize;
use serde_json::{Map, Value};

use super::suggest;
use super::template::Template;

/// What a node does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Makes an object from its inputs.
    Transform(Vec<(String, Template)>),
    /// Executes a node of the data service: `parameters`, then its inputs, which win.
    DataFlow {
        node: String,
        parameters: Map<String, Value>,
    },
}

/// A kind of step, as it is told to those who write workflows.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Kind {
    pub name: &'static str,
    pub description: &'static str,
    /// The configuration's keys and what each expects.
    pub config: &'static [(&'static str, &'static str)],
}

/// Every kind there is.
pub(crate) const KINDS: [Kind; 2] = [
    Kind {
        name: "Transform",
        description: "makes an object from its inputs",
        config: &[(
            "set",
            "object of templates; '{{path | filter}}' or {\"$from\": path, \"default\": value}",
        )],
    },
    Kind {
        name: "DataFlow",
        description: "executes a node of the data service with its inputs",
        config: &[
            ("node", "the node's name, such as ProductCreateNode"),
            ("parameters", "object of fixed parameters (optional)"),
        ],
    },
];

impl Step {
    /// Reads a node.
    ///
    /// # Errors
    /// Every fault, in public words, without the node's name.
    pub(crate) fn read(node: &Node) -> Result<Self, Vec<String>> {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == node.kind) else {
            let near = suggest::hint(&node.kind, KINDS.map(|kind| kind.name));
            return Err(vec![format!("unknown type '{}'{near}", node.kind)]);
        };
        let mut faults = unknown_keys(kind, &node.config);
        let step = match kind.name {
            "Transform" => transform(&node.config, &mut faults),
            _ => dataflow(&node.config, &mut faults),
        };
        match step {
            Some(step) if faults.is_empty() => Ok(step),
            _ => Err(faults),
        }
    }
}

fn unknown_keys(kind: &Kind, config: &Map<String, Value>) -> Vec<String> {
    let known = || kind.config.iter().map(|(key, _)| *key);
    config
        .keys()
        .filter(|key| known().all(|name| name != *key))
        .map(|key| format!("unknown configuration '{key}'{}", suggest::hint(key, known())))
        .collect()
}

fn transform(config: &Map<String, Value>, faults: &mut Vec<String>) -> Option<Step> {
    let Some(set) = config.get("set").and_then(Value::as_object) else {
        faults.push("configuration 'set' expects an object".to_owned());
        return None;
    };
    let mut members = Vec::with_capacity(set.len());
    for (key, value) in set {
        match Template::read(value) {
            Ok(template) => members.push((key.clone(), template)),
            Err(fault) => faults.push(format!("configuration 'set.{key}': {fault}")),
        }
    }
    Some(Step::Transform(members))
}

fn dataflow(config: &Map<String, Value>, faults: &mut Vec<String>) -> Option<Step> {
    let node = config.get("node").and_then(Value::as_str).unwrap_or_default();
    // The name becomes a segment of a path: nothing else than a name may get there.
    if node.is_empty() || node.len() > 128 || !node.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        faults.push("configuration 'node' expects a node's name such as ProductCreateNode".to_owned());
    }
    let parameters = match config.get("parameters") {
        None => Map::new(),
        Some(Value::Object(parameters)) => parameters.clone(),
        Some(_) => {
            faults.push("configuration 'parameters' expects an object".to_owned());
            return None;
        }
    };
    Some(Step::DataFlow {
        node: node.to_owned(),
        parameters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, config: Value) -> Result<Step, Vec<String>> {
        Step::read(&serde_json::from_value(json!({ "id": "n", "type": kind, "config": config })).unwrap())
    }

    #[test]
    fn a_misspelt_type_gets_a_suggestion() {
        let faults = read("Dataflow", json!({})).unwrap_err();
        assert_eq!(faults, ["unknown type 'Dataflow'; did you mean 'DataFlow'?"]);
    }

    #[test]
    fn every_fault_of_a_configuration_is_told() {
        let faults = read(
            "Transform",
            json!({ "sett": 1, "set": { "a": "{{", "b": "{{c | x}}" } }),
        )
        .unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(faults[0], "unknown configuration 'sett'; did you mean 'set'?");
        assert_eq!(
            read("DataFlow", json!({ "node": "../x", "parameters": 1 }))
                .unwrap_err()
                .len(),
            2
        );
    }

    #[test]
    fn good_configurations_are_read() {
        assert!(read("Transform", json!({ "set": {} })).is_ok());
        assert!(read("DataFlow", json!({ "node": "ProductCreateNode" })).is_ok());
    }
}
