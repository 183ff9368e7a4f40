//! Running a plan: level by level, the nodes of a level at once. Keeps nothing; what is kept is `executions`' part.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use contract::dataflow::{NodeAnswer, NodeCall};
use futures_util::{StreamExt, TryStreamExt, stream};
use kit::upstream::Upstream;
use kit::{Problem, Result};
use serde_json::{Map, Value};

use crate::domain::binding::{self, ENVELOPE};
use crate::domain::plan::{Plan, PlannedNode};
use crate::domain::step::Step;
use crate::domain::template::Template;

/// Nodes of one run that are under way at once, at most.
const AT_ONCE: usize = 10;

/// Each node's output, by the node's id.
pub(crate) type Outputs = BTreeMap<String, Value>;

/// Runs `plan` with what it is `given`.
///
/// # Errors
/// That of the first node that failed, with the node's id in the field `node`.
pub(crate) async fn run(plan: &Plan, given: &Map<String, Value>, dataflow: &Upstream) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    for level in &plan.levels {
        // Collected first: a closure inside the stream would have to hold for every lifetime.
        let nodes = level.iter().map(|position| &plan.nodes[*position]);
        let under_way: Vec<_> = nodes
            .map(|node| one(node, plan, given, &outputs, dataflow))
            .collect();
        let ended: Vec<(String, Value)> = stream::iter(under_way)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        outputs.extend(ended);
    }
    Ok(outputs)
}

async fn one(
    node: &PlannedNode,
    plan: &Plan,
    given: &Map<String, Value>,
    outputs: &Outputs,
    dataflow: &Upstream,
) -> Result<(String, Value)> {
    let named = |problem: Problem| problem.field("node", node.id.as_str());
    let inputs = binding::inputs_of(node, plan, given, outputs).map_err(|fault| named(refused(fault)))?;
    let output = match &node.step {
        Step::Transform(members) => transform(members, &inputs).map_err(refused),
        Step::DataFlow { node, parameters } => call(dataflow, node, parameters, inputs).await,
    };
    let output = output.map_err(named)?;
    if output.get("success") == Some(&Value::Bool(false)) {
        return Err(named(failed("the node's output says that it failed")));
    }
    Ok((node.id.clone(), Value::Object(output)))
}

fn transform(
    members: &[(String, Template)],
    inputs: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let filled = members.iter().map(|(key, template)| {
        let value = template.fill(inputs);
        value
            .map(|value| (key.clone(), value))
            .map_err(|fault| format!("'{key}': {fault}"))
    });
    filled.collect()
}

async fn call(
    dataflow: &Upstream,
    node: &str,
    fixed: &Map<String, Value>,
    inputs: Map<String, Value>,
) -> Result<Map<String, Value>> {
    let mut parameters = fixed.clone();
    // The envelope repeats what is there already; the data service would refuse it as an unknown field.
    parameters.extend(inputs.into_iter().filter(|(key, _)| key != ENVELOPE));
    let path = format!("/nodes/{node}/execute");
    let answer: NodeAnswer = dataflow.post(&path, &NodeCall { parameters }).await?;
    Ok(answer.result)
}

/// The run's inputs do not fit.
fn refused(fault: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "NODE_REFUSED", fault)
}

fn failed(message: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "NODE_FAILED", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    async fn run_it(nodes: Value, connections: Value, given: Value) -> Result<Outputs> {
        let definition = json!({ "name": "w", "nodes": nodes, "connections": connections });
        let plan = Plan::new(&serde_json::from_value(definition).unwrap()).unwrap();
        let nobody = Upstream::new("dataflow-service", None, Duration::from_secs(1));
        run(&plan, given.as_object().unwrap(), &nobody).await
    }

    #[tokio::test]
    async fn values_go_from_step_to_step() {
        let nodes = json!([
            { "id": "a", "type": "Transform", "config": { "set": { "name": "{{name | trim}}" } } },
            { "id": "b", "type": "Transform", "config": { "set": { "title": "{{name}}!" } } },
        ]);
        let connections = json!([{ "from": "a", "output": "name", "to": "b", "input": "name" }]);
        let outputs = run_it(nodes, connections, json!({ "name": " x " }))
            .await
            .unwrap();
        assert_eq!(
            json!(outputs),
            json!({ "a": { "name": "x" }, "b": { "title": "x!" } })
        );
    }

    #[tokio::test]
    async fn an_output_that_says_failure_fails_the_run() {
        let nodes = json!([{ "id": "a", "type": "Transform", "config": { "set": { "success": false } } }]);
        let problem = run_it(nodes, json!([]), json!({})).await.unwrap_err();
        assert_eq!(problem.code(), "NODE_FAILED");
    }

    #[tokio::test]
    async fn without_a_data_service_its_steps_are_unavailable() {
        let nodes = json!([{ "id": "a", "type": "DataFlow", "config": { "node": "XCreateNode" } }]);
        let problem = run_it(nodes, json!([]), json!({})).await.unwrap_err();
        assert_eq!(
            (problem.status().as_u16(), problem.code()),
            (503, "UPSTREAM_UNAVAILABLE")
        );
    }
}
