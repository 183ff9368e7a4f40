//! The types of nodes, and what a node's configuration makes of them.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::suggest::did_you_mean;
use super::template::Template;

/// The node types that exist.
pub(crate) const TYPES: [&str; 3] = ["Transform", "DataFlow", "SignalWait"];
/// How long a step waits for its signal where its configuration says nothing.
const SIGNAL_PATIENCE_S: u64 = 3600;
const LONGEST_WAIT_S: u64 = 7 * 24 * 3600;

/// A node, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Makes an object from its inputs.
    Transform { set: Template },
    /// Runs a node of dataflow-service; inputs win over fixed parameters.
    DataFlow { node: String, parameters: Template },
    /// Waits until somebody sends the run a signal of this name.
    SignalWait { signal: String, patience: Duration },
}

impl Step {
    /// # Errors
    /// Everything that is wrong with it, in words.
    pub(crate) fn parse(kind: &str, config: &Map<String, Value>) -> Result<Self, Vec<String>> {
        match kind {
            "Transform" => transform(config),
            "DataFlow" => dataflow(config),
            "SignalWait" => signal_wait(config),
            unknown => {
                let meant = did_you_mean(unknown, TYPES);
                Err(vec![format!(
                    "unknown type '{unknown}'{meant}; types are {}",
                    TYPES.join(", ")
                )])
            }
        }
    }
}

fn transform(config: &Map<String, Value>) -> Result<Step, Vec<String>> {
    let mut faults = unknown_keys(config, &["set"]);
    match object(config, "set") {
        Ok(Some(set)) if faults.is_empty() => return Ok(Step::Transform { set }),
        Ok(Some(_)) => {}
        Ok(None) => faults.push("config.set is required: an object of outputs".to_owned()),
        Err(why) => faults.push(why),
    }
    Err(faults)
}

fn dataflow(config: &Map<String, Value>) -> Result<Step, Vec<String>> {
    let mut faults = unknown_keys(config, &["node", "parameters"]);
    let node = config
        .get("node")
        .and_then(Value::as_str)
        .filter(|name| is_node_name(name));
    if node.is_none() {
        faults.push("config.node is required: the name of a node such as 'ProductCreateNode'".to_owned());
    }
    let parameters = object(config, "parameters").unwrap_or_else(|why| {
        faults.push(why);
        None
    });
    match node {
        Some(node) if faults.is_empty() => Ok(Step::DataFlow {
            node: node.to_owned(),
            parameters: parameters.unwrap_or(Template::Object(Vec::new())),
        }),
        _ => Err(faults),
    }
}

fn signal_wait(config: &Map<String, Value>) -> Result<Step, Vec<String>> {
    let mut faults = unknown_keys(config, &["signal", "timeout_s"]);
    let signal = config
        .get("signal")
        .and_then(Value::as_str)
        .filter(|name| is_signal(name));
    if signal.is_none() {
        faults.push("config.signal is required: from 1 to 64 letters, digits, _, - or .".to_owned());
    }
    let seconds = config
        .get("timeout_s")
        .map_or(Some(SIGNAL_PATIENCE_S), Value::as_u64);
    let seconds = seconds.filter(|seconds| (1..=LONGEST_WAIT_S).contains(seconds));
    if seconds.is_none() {
        faults.push(format!(
            "config.timeout_s must be whole seconds from 1 to {LONGEST_WAIT_S}"
        ));
    }
    match (signal, seconds) {
        (Some(signal), Some(seconds)) if faults.is_empty() => Ok(Step::SignalWait {
            signal: signal.to_owned(),
            patience: Duration::from_secs(seconds),
        }),
        _ => Err(faults),
    }
}

/// One segment of a path, too.
fn is_signal(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn object(config: &Map<String, Value>, key: &str) -> Result<Option<Template>, String> {
    match config.get(key) {
        None => Ok(None),
        Some(value @ Value::Object(_)) => match Template::parse(value) {
            Ok(template @ Template::Object(_)) => Ok(Some(template)),
            Ok(_) => Err(format!("config.{key} must be an object of names and values")),
            Err(why) => Err(format!("config.{key}: {why}")),
        },
        Some(_) => Err(format!("config.{key} must be an object")),
    }
}

fn unknown_keys(config: &Map<String, Value>, known: &[&'static str]) -> Vec<String> {
    config
        .keys()
        .filter(|key| !known.contains(&key.as_str()))
        .map(|key| format!("unknown config.{key}{}", did_you_mean(key, known.iter().copied())))
        .collect()
}

/// One segment of a path: letters, digits and underscores, ending in `Node`.
fn is_node_name(name: &str) -> bool {
    name.len() <= 64
        && name.ends_with("Node")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The node types with their configuration, for people and programs.
pub(crate) fn catalogue() -> Value {
    json!({
        "Transform": {
            "description": "makes an object from its inputs; its output is that object",
            "config": {
                "set": "required; output names with texts such as '{{name | trim}}', {\"$from\": path, \"default\": value}, or any value",
            },
        },
        "DataFlow": {
            "description": "runs a node of dataflow-service; its output is the node's result",
            "config": {
                "node": "required; such as 'ProductCreateNode'",
                "parameters": "optional; as Transform's set; the step's inputs win over it",
            },
        },
        "SignalWait": {
            "description": "waits for a signal to the run; its output is {signal, payload}",
            "config": {
                "signal": "required; the signal's name",
                "timeout_s": format!("optional; whole seconds until the step fails, {SIGNAL_PATIENCE_S} unless set"),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, config: Value) -> Result<Step, Vec<String>> {
        Step::parse(kind, config.as_object().unwrap())
    }

    #[test]
    fn faults_are_told_all_at_once_with_what_was_meant() {
        assert_eq!(
            parse("DataFlow", json!({ "nod": "ProductCreateNode", "parameters": 1 })).unwrap_err(),
            [
                "unknown config.nod; did you mean 'node'?",
                "config.node is required: the name of a node such as 'ProductCreateNode'",
                "config.parameters must be an object",
            ]
        );
        assert_eq!(
            parse("Transfrom", json!({})).unwrap_err(),
            [
                "unknown type 'Transfrom'; did you mean 'Transform'?; types are Transform, DataFlow, SignalWait"
            ]
        );
        assert!(parse("Transform", json!({})).is_err());
        assert_eq!(
            parse("SignalWait", json!({ "signal": "a/b", "timeout_s": 0 })).map_err(|faults| faults.len()),
            Err(2)
        );
        assert!(parse("DataFlow", json!({ "node": "../admin/Node" })).is_err());
    }

    #[test]
    fn the_catalogue_lists_what_exists() {
        let catalogue = catalogue();
        assert!(TYPES.iter().all(|kind| catalogue.get(kind).is_some()));
    }
}
