//! Calls to dataflow-service.

use std::time::Duration;

use contract::dataflow::{NodeAnswer, NodeCall};
use kit::upstream::Upstream;
use kit::{Identity, Problem};
use serde_json::{Map, Value};

/// dataflow-service, as a step sees it.
#[derive(Debug, Clone)]
pub(crate) struct Dataflow(Upstream);

impl Dataflow {
    pub(crate) fn new(base: Option<String>, limit: Duration) -> Self {
        Dataflow(Upstream::new("dataflow-service", base, limit))
    }

    /// Runs a node for who began the run. Its name was checked to be letters, digits and underscores, so that it is
    /// one path segment.
    pub(crate) async fn run(
        &self,
        identity: &Identity,
        node: &str,
        parameters: Map<String, Value>,
    ) -> Result<Value, Problem> {
        let call = NodeCall { parameters };
        let path = format!("/nodes/{node}/execute");
        let answer: NodeAnswer = self.0.post_as(identity, &path, &call).await?;
        Ok(Value::Object(answer.result))
    }
}
