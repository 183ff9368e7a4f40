//! What goes wrong during a run: a data service that breaks or is slow, a run that takes too long, a caller that
//! hangs up; and settings that must be refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::{Postgres, Service, wait_for};

use crate::{binary, refusal};

const SLOW: Duration = Duration::from_millis(1500);

/// `BrokenNode` breaks, `SlowNode` takes 1.5 s, every other one is done at once. Gives its address and how many
/// calls it has answered.
async fn troubled() -> (String, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let router = Router::new()
        .route("/nodes/{node}/execute", post(answer))
        .with_state(answered.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!(
        "http://{}",
        listener.local_addr().expect("the port that was bound")
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, answered)
}

async fn answer(
    State(answered): State<Arc<AtomicUsize>>,
    Path(node): Path<String>,
) -> (StatusCode, Json<Value>) {
    if node == "SlowNode" {
        tokio::time::sleep(SLOW).await;
    }
    answered.fetch_add(1, Ordering::Relaxed);
    if node == "BrokenNode" {
        let failure = json!({ "error": "internal error", "code": "INTERNAL_ERROR" });
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(failure));
    }
    (StatusCode::OK, Json(json!({ "result": { "done": true } })))
}

/// Registers a workflow of one step after the other, each calling one of `nodes`; its name is the last of them.
async fn register(service: &Service, nodes: &[&str]) -> String {
    let name = (*nodes.last().expect("a node")).to_owned();
    let steps: Vec<Value> = nodes
        .iter()
        .map(|node| json!({ "id": node, "type": "DataFlow", "config": { "node": node } }))
        .collect();
    let connections: Vec<Value> = nodes
        .windows(2)
        .map(|pair| json!({ "from": pair[0], "output": "done", "to": pair[1], "input": "before" }))
        .collect();
    let workflow = json!({ "name": name, "nodes": steps, "connections": connections });
    let registered = service.post("/workflows", &workflow).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    format!("/workflows/{name}/execute")
}

async fn engine(postgres: &Postgres, dataflow_url: &str, limits: &[(&str, &str)]) -> Service {
    let starting = binary()
        .set("DATABASE_URL", postgres.url())
        .set("DATAFLOW_URL", dataflow_url);
    let starting = limits
        .iter()
        .fold(starting, |starting, (name, value)| starting.set(name, *value));
    let service = starting.start().await;
    service.ready().await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_and_a_slow_data_service_fail_the_run_in_time() {
    let (postgres, (url, _)) = (Postgres::start().await, troubled().await);
    let impatient = engine(&postgres, &url, &[("UPSTREAM_TIMEOUT", "1")]).await;
    for (node, wanted) in [
        ("BrokenNode", (502, "INTERNAL_ERROR")),
        ("SlowNode", (503, "UPSTREAM_UNAVAILABLE")),
    ] {
        let path = register(&impatient, &[node]).await;
        let failed = impatient.post(&path, &json!({})).await;
        assert_eq!(refusal(&failed), wanted, "{failed:?}");
        assert_eq!(failed.body["node"], node);
        let id = failed.body["execution_id"].as_str().expect("an id");
        let kept = impatient.get(&format!("/executions/{id}")).await;
        assert_eq!(kept.body["state"], "failed");
        assert_eq!(kept.body["error"]["code"], wanted.1);
    }
    let hurried = engine(&postgres, &url, &[("MAX_RUNTIME", "1")]).await;
    let late = hurried.post("/workflows/SlowNode/execute", &json!({})).await;
    assert_eq!(refusal(&late), (504, "RUN_TIMEOUT"), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_when_its_caller_hangs_up() {
    let (postgres, (url, answered)) = (Postgres::start().await, troubled().await);
    let service = engine(&postgres, &url, &[]).await;
    let path = register(&service, &["SlowNode", "AfterwardsNode"]).await;
    let request = service.request("POST", &path).json(&json!({}));
    let hung_up = request.timeout(SLOW / 3).send().await;
    assert!(hung_up.is_err_and(|error| error.is_timeout()));
    assert_eq!(answered.load(Ordering::Relaxed), 0);
    wait_for("the second step", Duration::from_secs(10), async || {
        (answered.load(Ordering::Relaxed) == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_setting_is_told_and_no_password() {
    let starting = binary()
        .set("DATABASE_URL", "mysql:secret-word")
        .set("DATAFLOW_URL", "ftp://x")
        .set("DRAIN_TIMEOUT", "soon");
    let exit = starting.run(&[]).await;
    assert_eq!(exit.code, Some(78), "{exit:?}");
    for name in ["DATABASE_URL", "DATAFLOW_URL", "DRAIN_TIMEOUT"] {
        assert!(
            exit.stderr.lines().any(|line| line.contains(name)),
            "{}",
            exit.stderr
        );
    }
    assert!(!exit.stderr.contains("secret-word"), "{}", exit.stderr);
}
