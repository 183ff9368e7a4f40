//! The MCP server as a process, with and without the classifier.

mod client;
mod protocol;
mod sessions;
mod tools;
mod workflows;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use testkit::{PATIENCE, Service, Starting, wait_for};

fn bare() -> Starting {
    Service::new(env!("CARGO_BIN_EXE_mcp-server"))
}

/// Without an engine unless a test says where it is.
fn mcp_server() -> Starting {
    bare().set("WORKFLOW_URL", "http://127.0.0.1:9")
}

/// A stand-in for the classifier that answers with what it was sent.
async fn classifier() -> String {
    let classify =
        async |Json(sent): Json<Value>| Json(json!({ "unspsc": { "code": "10101001" }, "sent": sent }));
    let ready = async || Json(json!({ "status": "ready", "service": "classification-service" }));
    let router = Router::new()
        .route("/classify", post(classify))
        .route("/ready", axum::routing::get(ready));
    serve(router).await
}

/// What a service that never answers is being asked.
#[derive(Debug, Clone, Default)]
struct Silent(Arc<AtomicUsize>);

struct Asking(Silent);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Silent {
    /// Never answers; who asks may give up.
    async fn answer(self) -> Json<Value> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let _asking = Asking(self);
        std::future::pending().await
    }

    async fn is_asked(&self, calls: usize) {
        let what = format!("{calls} calls to be held");
        wait_for(&what, PATIENCE, async || {
            (self.0.load(Ordering::Relaxed) == calls).then_some(())
        })
        .await;
    }
}

/// Serves a stand-in on a port of its own; its address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("the port that was bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn without_settings_it_is_live_and_names_what_is_missing() {
    let service = bare().start().await;
    let ready = service.status("/ready", 503).await;
    assert_eq!(
        ready.body["missing"],
        json!(["CLASSIFICATION_URL", "WORKFLOW_URL", "REDIS_URL"])
    );
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
