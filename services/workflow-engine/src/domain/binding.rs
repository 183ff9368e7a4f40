//! What a run is given, and what each node of it sees.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path;
use super::plan::{Plan, PlannedNode};

/// Under this name a run's parameters are seen as a whole.
pub(crate) const ENVELOPE: &str = "parameters";

/// `inputs` are passed untouched; else `parameters` are seen flat, and as a whole under `parameters`, which wins
/// where both have a key of that name; with neither a run gets nothing.
pub(crate) fn bound(
    inputs: Option<Map<String, Value>>,
    parameters: Option<Map<String, Value>>,
) -> Map<String, Value> {
    match (inputs, parameters) {
        (Some(inputs), _) => inputs,
        (None, Some(parameters)) => {
            let mut bound = parameters.clone();
            bound.insert(ENVELOPE.to_owned(), Value::Object(parameters));
            bound
        }
        (None, None) => Map::new(),
    }
}

/// What `node` sees: a root what the run was given, any other what is connected to it. An object given under a
/// node's own id goes to that node alone, and wins.
///
/// # Errors
/// A connected output that does not exist.
pub(crate) fn inputs_of(
    node: &PlannedNode,
    plan: &Plan,
    given: &Map<String, Value>,
    outputs: &BTreeMap<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut inputs = Map::new();
    if node.incoming.is_empty() {
        let shared = given
            .iter()
            .filter(|(key, value)| !is_addressed(plan, key, value));
        inputs.extend(shared.map(|(key, value)| (key.clone(), value.clone())));
    }
    for connection in &node.incoming {
        let output = outputs.get(&connection.from).and_then(Value::as_object);
        let Some(value) = output.and_then(|output| path::get(output, &connection.output)) else {
            return Err(format!(
                "node '{}' gives no '{}'",
                connection.from, connection.output
            ));
        };
        inputs.insert(connection.input.clone(), value.clone());
    }
    if let Some(Value::Object(own)) = given.get(&node.id) {
        inputs.extend(own.clone());
    }
    Ok(inputs)
}

/// Whether the value is meant for one node alone.
fn is_addressed(plan: &Plan, key: &str, value: &Value) -> bool {
    value.is_object() && plan.nodes.iter().any(|node| node.id == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn plan() -> Plan {
        let definition = json!({
            "name": "w",
            "nodes": [
                { "id": "a", "type": "Transform", "config": { "set": {} } },
                { "id": "b", "type": "Transform", "config": { "set": {} } },
            ],
            "connections": [{ "from": "a", "output": "x.y", "to": "b", "input": "z" }],
        });
        Plan::new(&serde_json::from_value(definition).unwrap()).unwrap()
    }

    #[test]
    fn parameters_are_seen_flat_and_as_a_whole() {
        let given = bound(None, Some(object(json!({ "a": 1 }))));
        assert_eq!(Value::Object(given), json!({ "a": 1, "parameters": { "a": 1 } }));
        let clash = bound(None, Some(object(json!({ "parameters": 1 }))));
        assert_eq!(Value::Object(clash), json!({ "parameters": { "parameters": 1 } }));
        assert_eq!(
            Value::Object(bound(Some(object(json!({ "i": 1 }))), None)),
            json!({ "i": 1 })
        );
        assert!(bound(None, None).is_empty());
    }

    #[test]
    fn roots_see_the_run_and_others_what_is_connected() {
        let plan = plan();
        let given = object(json!({ "k": 1, "b": { "own": 2 } }));
        let outputs = BTreeMap::from([("a".to_owned(), json!({ "x": { "y": 3 } }))]);
        let root = inputs_of(&plan.nodes[0], &plan, &given, &outputs).unwrap();
        assert_eq!(Value::Object(root), json!({ "k": 1 }));
        let other = inputs_of(&plan.nodes[1], &plan, &given, &outputs).unwrap();
        assert_eq!(Value::Object(other), json!({ "z": 3, "own": 2 }));
    }

    #[test]
    fn an_absent_output_is_named() {
        let plan = plan();
        let outputs = BTreeMap::from([("a".to_owned(), json!({ "x": 1 }))]);
        let error = inputs_of(&plan.nodes[1], &plan, &Map::new(), &outputs).unwrap_err();
        assert_eq!(error, "node 'a' gives no 'x.y'");
    }
}
