//! The service as a process, against a real PostgreSQL and a stand-in for dataflow-service that records what it
//! is asked. The two services together are the network gate's story.

mod executions;
mod failures;
mod lifecycle;
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

/// Answers as dataflow-service does: a row with an id, or its refusal of a node that it does not know.
async fn stand_in() -> (String, Asked) {
    let asked = Asked::default();
    let router = Router::new()
        .route("/nodes/{node}/execute", post(answer))
        .with_state(asked.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!(
        "http://{}",
        listener.local_addr().expect("the port that was bound")
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
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

fn binary() -> testkit::Starting {
    Service::new(env!("CARGO_BIN_EXE_workflow-engine"))
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
