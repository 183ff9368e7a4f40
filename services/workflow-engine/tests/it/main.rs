//! The service as a process, against a real PostgreSQL and a stand-in for dataflow-service that records what it
//! is asked. The two services together are the network gate's story.

mod executions;
mod failures;
mod lifecycle;
mod modes;
mod replicas;
mod workflows;

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::{Answer, Postgres, Service};

/// What a stand-in was asked: node, parameters, `traceparent`.
type Asked = Arc<Mutex<Vec<(String, Value, String)>>>;

/// Serves on a free port until the test ends; its address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!(
        "http://{}",
        listener.local_addr().expect("the port that was bound")
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Answers as dataflow-service does: a row with an id, or its refusal of a node that it does not know.
async fn stand_in() -> (String, Asked) {
    let asked = Asked::default();
    let router = Router::new()
        .route("/nodes/{node}/execute", post(answer))
        .with_state(asked.clone());
    (serve(router).await, asked)
}

async fn answer(
    State(asked): State<Asked>,
    Path(node): Path<String>,
    headers: HeaderMap,
    Json(call): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let entry = (
        node.clone(),
        call["parameters"].clone(),
        trace.unwrap_or_default().to_owned(),
    );
    asked.lock().expect("nobody panicked with it").push(entry);
    if node != "ProductCreateNode" {
        let refusal = json!({ "error": format!("no node is named {node}"), "code": "DF-700" });
        return (StatusCode::NOT_FOUND, Json(refusal));
    }
    let mut row = call["parameters"].clone();
    row["id"] = json!(7);
    (StatusCode::OK, Json(json!({ "result": row })))
}

fn bare() -> testkit::Starting {
    Service::new(env!("CARGO_BIN_EXE_workflow-engine"))
}

/// Redis is away unless a test says where it is: events wait then, and nothing else does.
fn binary() -> testkit::Starting {
    bare().set("REDIS_URL", "redis://127.0.0.1:9")
}

/// The service with its database, ready.
async fn ready(postgres: &Postgres, dataflow_url: &str) -> Service {
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("DATAFLOW_URL", dataflow_url)
        .start()
        .await;
    service.ready().await;
    service
}

/// Two steps: shape a title, save it through dataflow.
fn shape_and_save(version: &str) -> Value {
    json!({
        "name": "intake", "version": version,
        "nodes": [
            { "id": "shape", "type": "Transform", "config": { "set": { "title": "{{name | trim}} (checked)" } } },
            { "id": "save", "type": "DataFlow", "config": { "node": "ProductCreateNode", "parameters": { "stock": 1 } } },
        ],
        "connections": [{ "from": "shape", "output": "title", "to": "save", "input": "title" }],
    })
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}

/// A server-sent event.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// The events of a stream that has ended.
fn events(text: &str) -> Vec<Event> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim().to_owned())
    };
    let blocks = text.split("\n\n").filter_map(|block| {
        Some(Event {
            id: field(block, "id:")?,
            name: field(block, "event:")?,
            data: serde_json::from_str(&field(block, "data:")?).expect("JSON"),
        })
    });
    blocks.collect()
}

/// A request on behalf of a tenant, as the gateway makes it.
async fn as_tenant(
    service: &Service,
    tenant: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let mut request = service
        .request(method, path)
        .header("x-user", "ada")
        .header("x-tenant-id", tenant)
        .header("x-role", "user");
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.json().await.unwrap_or_default();
    Answer { status, body }
}
