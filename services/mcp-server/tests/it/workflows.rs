//! Workflows as tools, through the protocol, to a stand-in that speaks the engine's contract: definitions and
//! refusals as the engine gives them, and a run that answers with what it was sent and by whom.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::workflow::{ExecuteAnswer, ExecuteCall, Info, Listed};
use serde_json::{Value, json};
use testkit::wait_for;

use super::{Silent, classifier, client::Client, client::last_message, client::request, mcp_server, serve};

/// What is registered; `None`: the engine breaks.
type Registered = Arc<Mutex<Option<Vec<&'static str>>>>;

fn refusal(status: StatusCode, code: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({ "error": "refused", "code": code })))
}

fn schema() -> serde_json::Map<String, Value> {
    let schema =
        json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } });
    schema.as_object().expect("an object").clone()
}

async fn list(State(registered): State<Registered>) -> (StatusCode, Json<Value>) {
    let Some(names) = registered.lock().expect("nobody panicked with it").clone() else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "DATABASE_UNAVAILABLE");
    };
    let listed = names.into_iter().map(|name| {
        let listed = Listed {
            kind: "workflow".to_owned(),
            description: "takes things in".to_owned(),
            version: "1.0.0".to_owned(),
            tags: vec![],
            endpoints: vec![],
            inputs_schema: Some(schema()),
        };
        (name, listed)
    });
    (StatusCode::OK, Json(json!(listed.collect::<BTreeMap<_, _>>())))
}

async fn info(Path(name): Path<String>) -> (StatusCode, Json<Value>) {
    if name != "intake" {
        return refusal(StatusCode::NOT_FOUND, "WORKFLOW_UNKNOWN");
    }
    let info = Info {
        name,
        version: "1.0.0".to_owned(),
        description: String::new(),
        tags: vec![],
        workflow_id: "w1".to_owned(),
        fingerprint: "00".to_owned(),
        inputs_schema: Some(schema()),
        nodes: vec![],
        connections: vec![],
    };
    (StatusCode::OK, Json(json!(info)))
}

async fn execute(
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(call): Json<ExecuteCall>,
) -> (StatusCode, Json<Value>) {
    if name == "broken" {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "NODE_FAILED");
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let sent = json!({
        "inputs": call.inputs, "parameters": call.parameters, "user": header("x-user"),
        "tenant": header("x-tenant-id"),
    });
    let answer = ExecuteAnswer {
        outputs: BTreeMap::from([(name, sent)]),
        execution_time: 0.5,
        workflow_id: "w1".to_owned(),
        execution_id: "e1".to_owned(),
        version: "1.0.0".to_owned(),
    };
    (StatusCode::OK, Json(json!(answer)))
}

async fn engine(names: &[&'static str]) -> (String, Registered) {
    let registered = Arc::new(Mutex::new(Some(names.to_vec())));
    let router = Router::new()
        .route("/workflows", get(list))
        .route("/workflows/{name}/info", get(info))
        .route("/workflows/{name}/execute", post(execute))
        .with_state(registered.clone());
    (serve(router).await, registered)
}

fn workflow_tools(listed: &Value) -> Vec<String> {
    let tools = listed["result"]["tools"].as_array().expect("tools");
    let names: Vec<&str> = tools
        .iter()
        .map(|tool| tool["name"].as_str().expect("a name"))
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    names
        .into_iter()
        .filter_map(|name| name.strip_prefix("workflow_").map(ToOwned::to_owned))
        .collect()
}

#[tokio::test]
async fn a_workflow_is_run_by_name_or_as_a_tool_of_its_own_with_one_result() {
    let (url, _) = engine(&["intake", "broken"]).await;
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .set("WORKFLOW_URL", url)
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let calls = [
        (
            "execute_workflow",
            json!({ "workflow_name": "intake", "inputs": { "name": "x" } }),
        ),
        ("workflow_intake", json!({ "name": "x" })),
    ];
    let wanted = json!({
        "outputs": { "intake": { "inputs": null, "parameters": { "name": "x" }, "user": "ada", "tenant": "acme" } },
        "execution_time": 0.5, "workflow_id": "w1", "execution_id": "e1", "version": "1.0.0",
    });
    for (tool, arguments) in calls {
        let call = request("tools/call", json!({ "name": tool, "arguments": arguments }));
        let call = client
            .post(&call)
            .header("x-user", "ada")
            .header("x-tenant-id", "acme");
        let answer = last_message(&call.send().await.unwrap().text().await.unwrap());
        assert_eq!(answer["result"]["isError"], json!(false), "{answer}");
        assert_eq!(answer["result"]["structuredContent"], wanted, "{tool}");
    }

    let listed = client.call("list_workflows", json!({})).await;
    let names = &listed["result"]["structuredContent"]["workflows"];
    assert_eq!(
        (&names[0]["name"], &names[1]["name"]),
        (&json!("broken"), &json!("intake"))
    );
    let told = client
        .call("get_workflow_schema", json!({ "workflow_name": "intake" }))
        .await;
    assert_eq!(
        told["result"]["structuredContent"]["inputs_schema"],
        json!(schema())
    );

    // Refusals are results, in the engine's words.
    for (tool, arguments, code) in [
        ("workflow_broken", json!({}), "NODE_FAILED"),
        (
            "get_workflow_schema",
            json!({ "workflow_name": "../x" }),
            "WORKFLOW_UNKNOWN",
        ),
        ("execute_workflow", json!({ "inputs": {} }), "INVALID_ARGUMENTS"),
        (
            "execute_workflow",
            json!({ "workflow_name": "a", "inputs": 1 }),
            "INVALID_ARGUMENTS",
        ),
    ] {
        let refused = client.call(tool, arguments).await;
        assert_eq!(refused["result"]["isError"], json!(true), "{refused}");
        assert_eq!(refused["result"]["structuredContent"]["code"], code, "{tool}");
    }
    let unknown = client.call("workflow_nope", json!({})).await;
    assert_eq!(unknown["error"]["code"], json!(-32602), "{unknown}");
}

#[tokio::test]
async fn the_list_follows_the_engine_and_outlives_it() {
    let (url, registered) = engine(&["intake"]).await;
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .set("WORKFLOW_URL", url)
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let listed = client.ask("tools/list", json!({})).await;
    assert_eq!(workflow_tools(&listed), ["intake"]);
    assert_eq!(listed["result"]["_meta"], Value::Null);
    let tools = listed["result"]["tools"].as_array().unwrap();
    let tool = tools.iter().find(|tool| tool["name"] == "workflow_intake");
    assert_eq!(tool.unwrap()["inputSchema"], json!(schema()));

    // One that was registered just now can be called at once, and is listed soon.
    *registered.lock().unwrap() = Some(vec!["intake", "fresh"]);
    let called = client.call("workflow_fresh", json!({})).await;
    assert_eq!(called["result"]["isError"], json!(false), "{called}");
    wait_for("the list", testkit::PATIENCE, async || {
        let listed = client.ask("tools/list", json!({})).await;
        (workflow_tools(&listed) == ["fresh", "intake"]).then_some(())
    })
    .await;

    *registered.lock().unwrap() = None;
    let stale = wait_for("the mark", testkit::PATIENCE, async || {
        let listed = client.ask("tools/list", json!({})).await;
        (listed["result"]["_meta"]["dev.horme/workflows"] == "stale").then_some(listed)
    })
    .await;
    assert_eq!(workflow_tools(&stale), ["fresh", "intake"]);
}

#[tokio::test]
async fn without_an_engine_calls_say_so_and_the_own_tools_are_listed() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let listed = client.ask("tools/list", json!({})).await;
    assert!(workflow_tools(&listed).is_empty());
    assert_eq!(listed["result"]["_meta"]["dev.horme/workflows"], "stale");
    for (tool, arguments) in [
        ("list_workflows", json!({})),
        ("execute_workflow", json!({ "workflow_name": "intake" })),
        ("workflow_intake", json!({})),
    ] {
        let refused = client.call(tool, arguments).await;
        assert_eq!(refused["result"]["isError"], json!(true), "{refused}");
        assert_eq!(
            refused["result"]["structuredContent"]["code"],
            "UPSTREAM_UNAVAILABLE"
        );
    }
    let status = client.call("channel_status", json!({})).await;
    let services = &status["result"]["structuredContent"]["services"];
    assert_eq!(services["workflow-engine"], "unreachable", "{status}");
}

#[tokio::test]
async fn a_silent_engine_holds_up_no_list() {
    let (silent, falls_silent) = (Silent::default(), Arc::new(AtomicBool::new(false)));
    let (asked, fell_silent) = (silent.clone(), falls_silent.clone());
    let list = async move || {
        if fell_silent.load(Ordering::Relaxed) {
            return (StatusCode::OK, asked.answer().await);
        }
        refusal(StatusCode::SERVICE_UNAVAILABLE, "DATABASE_UNAVAILABLE")
    };
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .set(
            "WORKFLOW_URL",
            serve(Router::new().route("/workflows", get(list))).await,
        )
        .set("TOOL_TIMEOUT", "120")
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let stale = async || {
        let listed = client.ask("tools/list", json!({})).await;
        assert_eq!(listed["result"]["_meta"]["dev.horme/workflows"], "stale");
    };
    stale().await;
    falls_silent.store(true, Ordering::Relaxed);
    wait_for(
        "the engine to be asked behind an answer",
        testkit::PATIENCE,
        async || {
            stale().await;
            (silent.0.load(Ordering::Relaxed) > 0).then_some(())
        },
    )
    .await;
    stale().await;
}
