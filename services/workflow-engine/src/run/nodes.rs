//! A run's nodes, level by level, those of a level at once.

use std::time::Duration;

use axum::http::StatusCode;
use contract::workflow::Node;
use futures_util::future::try_join_all;
use kit::{Identity, Problem};
use serde_json::{Map, Value, json};

use super::journal::Journal;
use crate::domain::binding::{Outputs, inputs_for};
use crate::domain::step::Step;
use crate::domain::workflow::Workflow;
use crate::error::Result;
use crate::store::{self, Bell, Store};
use crate::upstream::Dataflow;

/// How often a step that waits looks for its signal where no ring told of one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the steps of a run need.
pub(super) struct Steps<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) inputs: &'a Map<String, Value>,
    pub(super) identity: &'a Identity,
    pub(super) execution_id: &'a str,
    pub(super) dataflow: &'a Dataflow,
    pub(super) store: &'a Store,
    pub(super) bell: &'a Bell,
    pub(super) journal: &'a Journal,
}

impl Steps<'_> {
    /// Runs all of them, until one fails.
    pub(super) async fn run(&self) -> Result<Outputs, Problem> {
        let mut outputs = Outputs::new();
        for level in &self.workflow.levels {
            let running = level.iter().map(|place| self.node(*place, &outputs));
            let ended = try_join_all(running).await?;
            outputs.extend(ended);
        }
        Ok(outputs)
    }

    async fn node(&self, place: usize, outputs: &Outputs) -> Result<(String, Value), Problem> {
        let definition = &self.workflow.definition;
        let node = &definition.nodes[place];
        self.journal.tell("node.started", Some(&node.id), None);
        let output = match inputs_for(node, definition, self.inputs, outputs) {
            Ok(seen) => self.step(node, &self.workflow.steps[place], seen).await,
            Err(why) => Err(failed(why)),
        };
        match output.and_then(successful) {
            Ok(output) => {
                self.journal.done(&node.id, &output);
                Ok((node.id.clone(), output))
            }
            Err(problem) => {
                let error = store::error_of(&problem);
                self.journal.tell("node.failed", Some(&node.id), Some(error));
                Err(problem.field("node", node.id.as_str()))
            }
        }
    }

    async fn step(&self, node: &Node, step: &Step, seen: Map<String, Value>) -> Result<Value, Problem> {
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
                let ran = self.dataflow.run(self.identity, node, sent).await;
                ran.map_err(refused)
            }
            Step::SignalWait { signal, patience } => self.signal(node, signal, *patience).await,
        }
    }

    /// Waits for a signal. One that came before is there already.
    async fn signal(&self, node: &Node, signal: &str, patience: Duration) -> Result<Value, Problem> {
        let _waiting = self.journal.wait();
        let told = json!({ "signal": signal });
        self.journal.tell("node.waiting", Some(&node.id), Some(told));
        let mut rings = self.bell.listen();
        let waiting = async {
            loop {
                let taken = self.store.take_signal(self.execution_id, signal, &node.id).await;
                match taken {
                    Ok(Some(payload)) => return json!({ "signal": signal, "payload": payload }),
                    Ok(None) => {}
                    // It may come back while there is time.
                    Err(error) => tracing::debug!(%error, "signals could not be looked for"),
                }
                rings.rung_for(self.execution_id, LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(patience, waiting).await.map_err(|_| {
            let message = format!("no signal '{signal}' came within {} s", patience.as_secs());
            failed(message).field("cause", "SIGNAL_TIMEOUT")
        })
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

    async fn run(definition: Value, inputs: Value) -> Result<Value, (u16, String)> {
        let workflow = Workflow::define(serde_json::from_value(definition).unwrap()).unwrap();
        let config = crate::Config::read(&mut kit::Settings::from_lookup(|_| None));
        let (journal, _told) = Journal::new();
        let steps = Steps {
            workflow: &workflow,
            inputs: inputs.as_object().unwrap(),
            identity: &Identity::default(),
            execution_id: "1",
            dataflow: &Dataflow::new(None, Duration::from_secs(1)),
            store: &Store::new(&config),
            bell: &Bell::new(),
            journal: &journal,
        };
        let ended = steps.run().await;
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
