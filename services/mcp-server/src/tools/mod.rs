//! The tools: their contracts, and the calls behind them. A failure of a tool is a result that says so
//! (`isError`), never a protocol error: the model that called is meant to read it.

mod classify;
mod sessions;
mod workflows;

use std::sync::Arc;

use axum::http::{HeaderMap, Method};
use futures_util::future::join_all;
use kit::upstream::{Answer, Upstream};
use kit::{Health, Identity, Problem};
use rmcp::model::{CallToolResult, JsonObject, MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use self::sessions::Sessions;
use crate::config::Config;
use classify::CLASSIFY_PRODUCT;
use workflows::{Catalogue, Workflows};

const CHANNEL_STATUS: &str = "channel_status";
/// The key of a list's `_meta` that says how far its workflows can be trusted.
const WORKFLOWS: &str = "dev.horme/workflows";

/// The services that tools reach.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    classification: Upstream,
    workflows: Workflows,
    sessions: Sessions,
}

impl Tools {
    pub(crate) fn new(config: &Config, health: &Health) -> Self {
        let base = config.classification.clone();
        Self {
            classification: Upstream::new("classification-service", base, config.tool_timeout),
            workflows: Workflows::new(
                config.workflow.as_deref(),
                config.tool_timeout,
                config.workflow_timeout,
            ),
            sessions: Sessions::new(config.redis.clone(), health),
        }
    }

    /// Every tool, in the order of the names: lists are the same every time. With the engine away its workflows
    /// are those that it told last, and the list's `_meta` says so.
    pub(crate) async fn list(&self) -> (Vec<Tool>, Option<MetaObject>) {
        let catalogue = self.workflows.catalogue().await;
        let tools = sorted(own().into_iter().chain(catalogue.tools()).collect());
        (tools, marked(&catalogue))
    }

    /// A tool as it was known last.
    pub(crate) fn known(&self, name: &str) -> Option<Tool> {
        let own = own().into_iter().find(|tool| tool.name == name);
        own.or_else(|| self.workflows.known().tool(name))
    }

    /// Calls a tool on behalf of whom the headers name; `None` when there is none of that name.
    pub(crate) async fn call(
        &self,
        headers: &HeaderMap,
        name: &str,
        arguments: &JsonObject,
    ) -> Option<CallToolResult> {
        let caller = Identity::from_headers(headers);
        match name {
            CLASSIFY_PRODUCT => Some(self.classify(&caller, arguments).await),
            CHANNEL_STATUS => Some(self.status(arguments).await),
            workflows::LIST => Some(self.workflows.list(&caller, arguments).await),
            workflows::EXECUTE => Some(self.workflows.execute(&caller, arguments).await),
            workflows::SCHEMA => Some(self.workflows.schema(&caller, arguments).await),
            sessions::GET => Some(self.sessions.get(headers, &caller, arguments).await),
            sessions::UPDATE => Some(self.sessions.update(headers, &caller, arguments).await),
            other => self.workflows.call(&caller, other, arguments).await,
        }
    }

    async fn classify(&self, caller: &Identity, arguments: &JsonObject) -> CallToolResult {
        let faults = classify::faults(arguments);
        if !faults.is_empty() {
            return invalid(&faults);
        }
        let called = self
            .classification
            .call_as(caller, Method::POST, "/classify", Some(arguments));
        answer(called.await)
    }

    async fn status(&self, arguments: &JsonObject) -> CallToolResult {
        let known = |name: &&String| name.as_str() != "verbose";
        let mut faults: Vec<String> = arguments.keys().filter(known).map(|name| unknown(name)).collect();
        let verbose = match arguments.get("verbose") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                faults.push("verbose: expected true or false".to_owned());
                false
            }
        };
        if !faults.is_empty() {
            return invalid(&faults);
        }
        let services = [&self.classification, self.workflows.engine()];
        let asked = services.map(|service| async move {
            let readiness = service.call(Method::GET, "/ready", None::<&()>).await;
            let mut said =
                readiness.map_or_else(|_| json!({ "status": "unreachable" }), |answer| answer.body);
            if !verbose {
                said = said["status"].take();
            }
            (service.name().to_owned(), said)
        });
        let said: Map<String, Value> = join_all(asked).await.into_iter().collect();
        let (tools, _) = self.list().await;
        CallToolResult::structured(json!({
            "channel": "mcp",
            "transports": ["streamable-http"],
            "tools": tools.iter().map(|tool| tool.name.to_string()).collect::<Vec<_>>(),
            "services": said,
        }))
    }
}

/// The tools that are always there.
fn own() -> Vec<Tool> {
    let mut tools = vec![channel_status(), classify::tool()];
    tools.extend(workflows::tools());
    tools.extend(sessions::tools());
    sorted(tools)
}

fn sorted(mut tools: Vec<Tool>) -> Vec<Tool> {
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools
}

fn marked(catalogue: &Catalogue) -> Option<MetaObject> {
    let mut meta = MetaObject::default();
    meta.0.insert(WORKFLOWS.to_owned(), json!("stale"));
    (!catalogue.current).then_some(meta)
}

/// A service's answer as a result; its refusals and its absence too.
fn answer(called: kit::Result<Answer>) -> CallToolResult {
    match called {
        Ok(answer) if answer.status.is_success() => CallToolResult::structured(answer.body),
        Ok(answer) => CallToolResult::structured_error(answer.body),
        Err(problem) => refused(&problem),
    }
}

fn refused(problem: &Problem) -> CallToolResult {
    CallToolResult::structured_error(Value::Object(problem.body()))
}

fn invalid(faults: &[String]) -> CallToolResult {
    CallToolResult::structured_error(json!({ "code": "INVALID_ARGUMENTS", "error": faults.join("; ") }))
}

fn unknown(name: &str) -> String {
    format!("{name}: no such argument")
}

fn channel_status() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": {
            "verbose": { "type": "boolean", "default": false, "description": "With each service's own words" },
        },
        "additionalProperties": false,
    });
    Tool::new(
        CHANNEL_STATUS,
        "Says how this channel and the services behind its tools are.",
        object(schema),
    )
    .with_title("Status of the channel")
    .with_annotations(
        ToolAnnotations::new()
            .read_only(true)
            .idempotent(true)
            .open_world(false),
    )
}

fn object(schema: Value) -> Arc<Map<String, Value>> {
    Arc::new(match schema {
        Value::Object(object) => object,
        _ => Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_listed_in_order_and_described() {
        let tools = own();
        assert!(tools.is_sorted_by_key(|tool| tool.name.clone()));
        for tool in tools {
            assert!(
                tool.description.is_some() && tool.input_schema["type"] == "object",
                "{}",
                tool.name
            );
        }
    }
}
