//! A run: nodes level by level, those of a level at once. It is spawned, so that it ends, and is recorded, even
//! if the caller does not wait.

use std::time::Instant;

use axum::http::StatusCode;
use contract::workflow::{ExecuteAnswer, ExecuteCall};
use futures_util::future::join_all;
use kit::Problem;
use serde_json::{Map, Value};

use crate::domain::binding::{Outputs, inputs_for, inputs_of};
use crate::domain::step::Step;
use crate::domain::workflow::Workflow;
use crate::error::{Error, Result};
use crate::state::AppState;
use crate::store::{Ending, Kept};
use crate::upstream::Dataflow;

/// Runs a workflow to its end.
pub(crate) async fn execute(state: &AppState, name: &str, call: ExecuteCall) -> Result<ExecuteAnswer> {
    if let Some(mode) = call.mode.as_deref().filter(|mode| *mode != "sync") {
        return Err(Error::mode_unsupported(mode));
    }
    let kept = state.store.latest(name).await?;
    let inputs = inputs_of(call);
    let execution_id = uuid::Uuid::new_v4().to_string();
    state.store.begin(&execution_id, &kept, &inputs).await?;
    let state = state.clone();
    let running = tokio::spawn(kit::carrying_ids(recorded(state, kept, execution_id, inputs)));
    running.await.map_err(|error| Error::Broken(error.to_string()))?
}

async fn recorded(
    state: AppState,
    kept: Kept,
    execution_id: String,
    inputs: Map<String, Value>,
) -> Result<ExecuteAnswer> {
    let begun = Instant::now();
    let limit = state.max_runtime;
    let running = nodes(&kept.workflow, &inputs, &state.dataflow);
    let ended = tokio::time::timeout(limit, running).await.unwrap_or_else(|_| {
        let message = format!("the run took longer than {} s", limit.as_secs());
        Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "RUN_TIMEOUT", message))
    });
    let took = begun.elapsed().as_secs_f64();
    let ending = match &ended {
        Ok(outputs) => Ending::Completed(outputs),
        Err(problem) => Ending::Failed(problem),
    };
    if let Err(error) = state.store.end(&execution_id, ending).await {
        // What the nodes did is done: the caller is told of that, not of our record.
        tracing::error!(execution_id, %error, "the end of a run could not be recorded");
    }
    tracing::info!(
        execution_id,
        took_s = took,
        completed = ended.is_ok(),
        "run ended"
    );
    let outputs = ended.map_err(|problem| problem.field("execution_id", execution_id.as_str()))?;
    Ok(ExecuteAnswer {
        outputs,
        execution_time: took,
        workflow_id: kept.workflow_id,
        execution_id,
        version: kept.workflow.definition.version,
    })
}

async fn nodes(
    workflow: &Workflow,
    inputs: &Map<String, Value>,
    dataflow: &Dataflow,
) -> Result<Outputs, Problem> {
    let mut outputs = Outputs::new();
    for level in &workflow.levels {
        let running = level.iter().map(|place| {
            let node = &workflow.definition.nodes[*place];
            let seen = inputs_for(node, &workflow.definition, inputs, &outputs);
            async move {
                let output = match seen {
                    Ok(seen) => one(&workflow.steps[*place], seen, dataflow).await,
                    Err(why) => Err(failed(why)),
                };
                let output = output.and_then(successful);
                output
                    .map(|output| (node.id.clone(), output))
                    .map_err(|problem| problem.field("node", node.id.as_str()))
            }
        });
        for ended in join_all(running).await {
            let (id, output) = ended?;
            outputs.insert(id, output);
        }
    }
    Ok(outputs)
}

async fn one(step: &Step, seen: Map<String, Value>, dataflow: &Dataflow) -> Result<Value, Problem> {
    match step {
        Step::Transform { set } => set.fill(&Value::Object(seen)).map_err(failed),
        Step::DataFlow { node, parameters } => {
            let seen = Value::Object(seen);
            let filled = parameters.fill(&seen).map_err(failed)?;
            let (Value::Object(mut sent), Value::Object(seen)) = (filled, seen) else {
                return Err(failed("parameters must be an object"));
            };
            sent.extend(seen);
            // The envelope repeats the parameters as a whole; no node of dataflow has a parameter of that name.
            sent.remove("parameters");
            dataflow.run(node, sent).await.map_err(refused)
        }
    }
}

/// An output that says `"success": false` fails the run.
fn successful(output: Value) -> Result<Value, Problem> {
    match output.get("success") {
        Some(Value::Bool(false)) => Err(failed("its output says that it has no success")),
        _ => Ok(output),
    }
}

fn failed(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "NODE_FAILED", message)
}

/// dataflow's refusal as the run's failure, in its words and with its code as the cause. That it cannot be
/// reached stays what it is.
fn refused(problem: Problem) -> Problem {
    if problem.status().is_server_error() {
        return problem;
    }
    failed(problem.message()).field("cause", problem.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    async fn run(definition: Value, inputs: Value) -> Result<Value, (u16, String)> {
        let workflow = Workflow::define(serde_json::from_value(definition).unwrap()).unwrap();
        let nowhere = Dataflow::new(None, Duration::from_secs(1));
        let ended = nodes(&workflow, inputs.as_object().unwrap(), &nowhere).await;
        ended
            .map(|outputs| json!(outputs))
            .map_err(|problem| (problem.status().as_u16(), problem.code().to_owned()))
    }

    #[tokio::test]
    async fn values_flow_from_node_to_node() {
        let definition = json!({
            "name": "w",
            "nodes": [
                { "id": "second", "type": "Transform", "config": { "set": { "text": "{{got}}!" } } },
                { "id": "first", "type": "Transform", "config": { "set": { "name": "{{name | upper}}" } } },
            ],
            "connections": [{ "from": "first", "output": "name", "to": "second", "input": "got" }],
        });
        let ended = run(definition, json!({ "name": "saw" })).await;
        assert_eq!(
            ended,
            Ok(json!({ "first": { "name": "SAW" }, "second": { "text": "SAW!" } }))
        );
    }

    #[tokio::test]
    async fn a_failed_output_and_a_lost_service_fail_the_run() {
        let saying = json!({ "id": "a", "type": "Transform", "config": { "set": { "success": false } } });
        let calling = json!({ "id": "a", "type": "DataFlow", "config": { "node": "XReadNode" } });
        for (node, wanted) in [
            (saying, (422, "NODE_FAILED")),
            (calling, (503, "UPSTREAM_UNAVAILABLE")),
        ] {
            let ended = run(json!({ "name": "w", "nodes": [node] }), json!({})).await;
            assert_eq!(ended, Err((wanted.0, wanted.1.to_owned())));
        }
    }
}
