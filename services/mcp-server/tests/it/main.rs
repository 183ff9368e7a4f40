//! The MCP server as a process, with and without the classifier.

mod client;
mod protocol;
mod tools;

use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use testkit::{Service, Starting};

fn mcp_server() -> Starting {
    Service::new(env!("CARGO_BIN_EXE_mcp-server"))
}

/// A stand-in for the classifier that answers with what it was sent.
async fn classifier() -> String {
    let classify =
        async |Json(sent): Json<Value>| Json(json!({ "unspsc": { "code": "10101001" }, "sent": sent }));
    let ready = async || Json(json!({ "status": "ready", "service": "classification-service" }));
    let router = Router::new()
        .route("/classify", post(classify))
        .route("/ready", axum::routing::get(ready));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("the port that was bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn without_settings_it_is_live_and_names_what_is_missing() {
    let service = mcp_server().start().await;
    let ready = service.status("/ready", 503).await;
    assert_eq!(ready.body["missing"], json!(["CLASSIFICATION_URL"]));
}

#[tokio::test]
async fn malformed_settings_are_refused_at_once() {
    let starting = mcp_server()
        .set("CLASSIFICATION_URL", "x")
        .set("MCP_ALLOWED_ORIGINS", "y")
        .set("TOOL_TIMEOUT", "z");
    let exit = starting.run(&[]).await;
    assert_eq!(exit.code, Some(78));
    assert_eq!(exit.stderr.lines().count(), 3, "{}", exit.stderr);
}
