//! Which values a node sees: a run's inputs, and what earlier nodes have put out.

use std::collections::BTreeMap;

use contract::workflow::{Definition, ExecuteCall, Node};
use serde_json::{Map, Value};

use super::template::look_up;

/// What nodes have put out, by their id.
pub(crate) type Outputs = BTreeMap<String, Value>;

/// A run's inputs. `inputs` are taken untouched; `parameters` are bound flat, and as a whole under `parameters`,
/// which wins (Nexus' envelope rule).
pub(crate) fn inputs_of(call: ExecuteCall) -> Map<String, Value> {
    if let Some(inputs) = call.inputs {
        return inputs;
    }
    let Some(parameters) = call.parameters else {
        return Map::new();
    };
    let mut inputs = parameters.clone();
    inputs.insert("parameters".to_owned(), Value::Object(parameters));
    inputs
}

/// What one node sees. A root sees the run's inputs. Inputs under the id of a node are that node's alone. Values
/// that come along connections win.
///
/// # Errors
/// A connection whose output is not there, in words.
pub(crate) fn inputs_for(
    node: &Node,
    definition: &Definition,
    inputs: &Map<String, Value>,
    outputs: &Outputs,
) -> Result<Map<String, Value>, String> {
    let mut incoming = definition
        .connections
        .iter()
        .filter(|edge| edge.to == node.id)
        .peekable();
    let mut seen = Map::new();
    if incoming.peek().is_none() {
        let own = |key: &String| definition.nodes.iter().any(|node| node.id == *key);
        let common = inputs
            .iter()
            .filter(|(key, value)| !(value.is_object() && own(key)));
        seen.extend(common.map(|(key, value)| (key.clone(), value.clone())));
    }
    if let Some(Value::Object(own)) = inputs.get(&node.id) {
        seen.extend(own.clone());
    }
    for edge in incoming {
        let value = outputs
            .get(&edge.from)
            .and_then(|output| look_up(output, &edge.output));
        let value = value.ok_or_else(|| format!("'{}' has put out no '{}'", edge.from, edge.output))?;
        seen.insert(edge.input.clone(), value.clone());
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(call: Value) -> Value {
        Value::Object(inputs_of(serde_json::from_value(call).unwrap()))
    }

    #[test]
    fn the_envelope_rule() {
        assert_eq!(
            call(json!({ "inputs": { "a": 1 }, "parameters": { "b": 2 } })),
            json!({ "a": 1 })
        );
        assert_eq!(
            call(json!({ "parameters": { "b": 2, "parameters": 3 } })),
            json!({ "b": 2, "parameters": { "b": 2, "parameters": 3 } })
        );
        assert_eq!(call(json!({})), json!({}));
    }

    #[test]
    fn roots_see_the_inputs_and_others_what_is_connected() {
        let definition: Definition = serde_json::from_value(json!({
            "name": "w",
            "nodes": [{ "id": "a", "type": "Transform" }, { "id": "b", "type": "Transform" }],
            "connections": [{ "from": "a", "output": "row.title", "to": "b", "input": "title" }],
        }))
        .unwrap();
        let inputs = json!({ "x": 1, "b": { "y": 2 } });
        let inputs = inputs.as_object().unwrap();
        let see = |place: usize, output: Value| {
            let outputs = Outputs::from([("a".to_owned(), output)]);
            inputs_for(&definition.nodes[place], &definition, inputs, &outputs).map(Value::Object)
        };
        assert_eq!(see(0, json!({})), Ok(json!({ "x": 1 })));
        assert_eq!(
            see(1, json!({ "row": { "title": "T" } })),
            Ok(json!({ "y": 2, "title": "T" }))
        );
        assert_eq!(
            see(1, json!({})),
            Err("'a' has put out no 'row.title'".to_owned())
        );
    }
}
