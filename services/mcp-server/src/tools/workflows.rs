//! Workflows as tools: three that name a workflow, and one for each workflow that is registered. What a run gives
//! is what the gateway's synchronous run gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Method;
use contract::workflow::{ExecuteCall, Info, Listed};
use kit::Identity;
use kit::upstream::Upstream;
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::{answer, invalid, object, refused, unknown};

pub(super) const LIST: &str = "list_workflows";
pub(super) const EXECUTE: &str = "execute_workflow";
pub(super) const SCHEMA: &str = "get_workflow_schema";
/// A registered workflow's tool is named by this and the workflow's name.
pub(super) const PREFIX: &str = "workflow_";
/// Longest name of a tool (MCP, server/tools, tool names).
const LONGEST_TOOL_NAME: usize = 128;
/// How long the engine's list is taken for the state of things.
const FRESH: Duration = Duration::from_secs(2);

/// What is registered, as the engine told it last.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    workflows: Arc<BTreeMap<String, Listed>>,
    asked: Option<Instant>,
    /// Whether it is what the engine said when it was asked last.
    pub(super) current: bool,
}

/// The engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Workflows {
    /// For what is quick.
    engine: Upstream,
    /// For runs.
    runs: Upstream,
    catalogue: Arc<Mutex<Catalogue>>,
}

impl Workflows {
    pub(super) fn new(base: Option<&str>, limit: Duration, run_limit: Duration) -> Self {
        let engine = |limit| Upstream::new("workflow-engine", base.map(ToOwned::to_owned), limit);
        Self {
            engine: engine(limit),
            runs: engine(run_limit),
            catalogue: Arc::default(),
        }
    }

    pub(super) fn engine(&self) -> &Upstream {
        &self.engine
    }

    /// The workflows' tools as they were known last.
    pub(super) fn known(&self) -> Catalogue {
        let catalogue = self.catalogue.lock();
        catalogue.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is registered. With the engine away it is what that told last, at once: whether it is back is found out
    /// behind the answer.
    pub(super) async fn catalogue(&self) -> Catalogue {
        let known = self.known();
        match known.asked {
            Some(asked) if asked.elapsed() < FRESH => known,
            Some(_) if !known.current => {
                self.ask_behind();
                known
            }
            _ => self.asked().await,
        }
    }

    fn ask_behind(&self) {
        let mut known = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        // Who comes before it has answered does not ask again at once.
        known.asked = Some(Instant::now());
        let engine = self.clone();
        tokio::spawn(async move { engine.asked().await });
    }

    async fn asked(&self) -> Catalogue {
        let told = self.engine.get::<BTreeMap<String, Listed>>("/workflows").await;
        let mut known = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked = Some(Instant::now());
        known.current = told.is_ok();
        if let Ok(workflows) = told {
            known.workflows = Arc::new(workflows);
        }
        known.clone()
    }

    pub(super) async fn list(&self, caller: &Identity, arguments: &JsonObject) -> CallToolResult {
        let faults: Vec<String> = arguments.keys().map(|name| unknown(name)).collect();
        if !faults.is_empty() {
            return invalid(&faults);
        }
        let told = self
            .engine
            .call_as(caller, Method::GET, "/workflows", None::<&()>)
            .await;
        match told {
            Ok(told) if told.status.is_success() => {
                CallToolResult::structured(json!({ "workflows": listed(&told.body) }))
            }
            told => answer(told),
        }
    }

    pub(super) async fn schema(&self, caller: &Identity, arguments: &JsonObject) -> CallToolResult {
        let (name, faults) = name_of(arguments, &[]);
        let (Some(name), true) = (name, faults.is_empty()) else {
            return invalid(&faults);
        };
        let path = format!("/workflows/{}/info", segment(name));
        let told = self.engine.call_as(caller, Method::GET, &path, None::<&()>).await;
        match told {
            Ok(told) if told.status.is_success() => match serde_json::from_value::<Info>(told.body) {
                Ok(info) => CallToolResult::structured(json!({
                    "workflow_name": info.name,
                    "version": info.version,
                    "description": info.description,
                    "inputs_schema": input_schema(info.inputs_schema),
                })),
                Err(error) => refused(&kit::Problem::internal(error)),
            },
            told => answer(told),
        }
    }

    pub(super) async fn execute(&self, caller: &Identity, arguments: &JsonObject) -> CallToolResult {
        let (name, mut faults) = name_of(arguments, &["inputs"]);
        let inputs = match arguments.get("inputs") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(inputs)) => inputs.clone(),
            Some(_) => {
                faults.push("inputs: expected an object".to_owned());
                Map::new()
            }
        };
        match name {
            Some(name) if faults.is_empty() => self.run(caller, name, inputs).await,
            _ => invalid(&faults),
        }
    }

    /// Calls a workflow's own tool; `None` when there is none of that name.
    pub(super) async fn call(
        &self,
        caller: &Identity,
        tool: &str,
        arguments: &JsonObject,
    ) -> Option<CallToolResult> {
        let name = tool.strip_prefix(PREFIX)?;
        if !self.catalogue().await.workflows.contains_key(name) {
            // It may have been registered just now. Without the engine nobody knows: the call says so.
            let told = self.asked().await;
            if told.current && !told.workflows.contains_key(name) {
                return None;
            }
        }
        Some(self.run(caller, name, arguments.clone()).await)
    }

    /// Where a channel has one place for inputs, they are bound as `parameters` are: flat, and as a whole. The result
    /// is the call's alone: when that is cancelled, so is the run.
    async fn run(&self, caller: &Identity, name: &str, inputs: Map<String, Value>) -> CallToolResult {
        let call = ExecuteCall {
            parameters: Some(inputs),
            cancel_on_disconnect: true,
            ..ExecuteCall::default()
        };
        let path = format!("/workflows/{}/execute", segment(name));
        let ran = self.runs.call_as(caller, Method::POST, &path, Some(&call)).await;
        answer(ran)
    }
}

impl Catalogue {
    /// A tool for each workflow whose name can be part of a tool's; the others are there for `execute_workflow`.
    pub(super) fn tools(&self) -> impl Iterator<Item = Tool> + '_ {
        let named = self.workflows.iter().filter(|(name, _)| is_tool_name(name));
        named.map(|(name, listed)| tool_of(name, listed))
    }

    pub(super) fn tool(&self, tool: &str) -> Option<Tool> {
        let name = tool.strip_prefix(PREFIX)?;
        Some(tool_of(name, self.workflows.get(name)?))
    }
}

fn tool_of(name: &str, listed: &Listed) -> Tool {
    let description = match listed.description.as_str() {
        "" => format!("Runs the workflow '{name}', version {}.", listed.version),
        described => format!("{described} (workflow '{name}', version {})", listed.version),
    };
    let schema = input_schema(listed.inputs_schema.clone());
    Tool::new(format!("{PREFIX}{name}"), description, Arc::new(schema))
        .with_annotations(ToolAnnotations::new().read_only(false).open_world(false))
}

/// A tool's schema is that of an object.
fn input_schema(schema: Option<Map<String, Value>>) -> Map<String, Value> {
    let mut schema = schema.unwrap_or_default();
    schema.insert("type".to_owned(), json!("object"));
    schema
}

/// Letters, digits, `_`, `-` and `.` (MCP, server/tools, tool names).
fn is_tool_name(workflow: &str) -> bool {
    workflow.len() + PREFIX.len() <= LONGEST_TOOL_NAME
        && workflow
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// `workflow_name`, and what is wrong with the arguments where `others` are allowed besides.
fn name_of<'a>(arguments: &'a JsonObject, others: &[&str]) -> (Option<&'a str>, Vec<String>) {
    let known = |name: &&String| name.as_str() == "workflow_name" || others.contains(&name.as_str());
    let mut faults: Vec<String> = arguments
        .keys()
        .filter(|name| !known(name))
        .map(|name| unknown(name))
        .collect();
    let name = arguments.get("workflow_name").and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty());
    if name.is_none() {
        faults.push("workflow_name: expected the name of a workflow".to_owned());
    }
    (name, faults)
}

/// A name as one segment of a path (RFC 3986, 2.3: everything but the unreserved characters is encoded).
fn segment(name: &str) -> String {
    name.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing to a string cannot fail. A dot is encoded, too: a segment of dots alone would lead elsewhere.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

/// The engine's list without what only HTTP callers need.
fn listed(workflows: &Value) -> Vec<Value> {
    let entries = workflows.as_object().into_iter().flatten();
    entries
        .map(|(name, entry)| {
            json!({
                "name": name, "version": entry["version"], "description": entry["description"],
                "tags": entry["tags"],
            })
        })
        .collect()
}

/// The tools that name a workflow.
pub(super) fn tools() -> [Tool; 3] {
    let name =
        json!({ "type": "string", "minLength": 1, "maxLength": 128, "description": "The workflow's name" });
    let reading = || {
        ToolAnnotations::new()
            .read_only(true)
            .idempotent(true)
            .open_world(false)
    };
    let execute = json!({
        "type": "object",
        "properties": {
            "workflow_name": name,
            "inputs": { "type": "object", "default": {}, "description": "What get_workflow_schema says" },
        },
        "required": ["workflow_name"],
        "additionalProperties": false,
    });
    let named = json!({
        "type": "object",
        "properties": { "workflow_name": name },
        "required": ["workflow_name"],
        "additionalProperties": false,
    });
    let nothing = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    [
        Tool::new(
            EXECUTE,
            "Runs a workflow to its end and gives each step's output.",
            object(execute),
        )
        .with_title("Run a workflow")
        .with_annotations(ToolAnnotations::new().read_only(false).open_world(false)),
        Tool::new(SCHEMA, "Says which inputs a workflow takes.", object(named))
            .with_title("Inputs of a workflow")
            .with_annotations(reading()),
        Tool::new(LIST, "Lists the workflows that can be run.", object(nothing))
            .with_title("List workflows")
            .with_annotations(reading()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_whatever_it_holds() {
        assert_eq!(segment("intake_1-a"), "intake_1-a");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("a b/é?"), "a%20b%2F%C3%A9%3F");
    }

    #[test]
    fn only_names_that_a_tool_may_have_become_tools() {
        let listed = |schema: Value| json!({ "type": "workflow", "description": "", "version": "1", "endpoints": [], "inputs_schema": schema });
        let workflows = json!({
            "b c": listed(Value::Null), "intake": listed(json!({ "required": ["x"] })),
            "n".repeat(120): listed(Value::Null),
        });
        let catalogue = Catalogue {
            workflows: Arc::new(serde_json::from_value(workflows).unwrap()),
            ..Catalogue::default()
        };
        let tools: Vec<Tool> = catalogue.tools().collect();
        assert_eq!(tools.len(), 1);
        assert_eq!(tools[0].name, "workflow_intake");
        assert_eq!(
            json!(tools[0].input_schema),
            json!({ "type": "object", "required": ["x"] })
        );
        assert_eq!(catalogue.tool("workflow_intake"), Some(tools[0].clone()));
    }

    #[test]
    fn every_wrong_argument_is_told() {
        let arguments = json!({ "workflow": "x", "inputs": 1 });
        let (name, faults) = name_of(arguments.as_object().unwrap(), &[]);
        assert_eq!((name, faults.len()), (None, 3), "{faults:?}");
    }
}
