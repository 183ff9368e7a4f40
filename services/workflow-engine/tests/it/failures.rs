//! What goes wrong during a run: a data service that breaks or is slow, a run that takes too long, a caller that
//! hangs up; and settings that must be refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{PATIENCE, Postgres, Service, wait_for};
use tokio::sync::Semaphore;

use crate::binary;

/// What the data service has been asked, and what it may answer.
#[derive(Debug)]
struct Troubled {
    begun: AtomicUsize,
    answered: AtomicUsize,
    /// `HeldNode` takes one for each answer.
    permits: Semaphore,
}

/// `BrokenNode` breaks, `HeldNode` answers when it is let, every other one is done at once. Gives its address.
async fn troubled() -> (String, Arc<Troubled>) {
    let trouble = Arc::new(Troubled {
        begun: AtomicUsize::new(0),
        answered: AtomicUsize::new(0),
        permits: Semaphore::new(0),
    });
    let router = Router::new()
        .route("/nodes/{node}/execute", post(answer))
        .with_state(trouble.clone());
    (crate::serve(router).await, trouble)
}

async fn answer(State(trouble): State<Arc<Troubled>>, Path(node): Path<String>) -> (StatusCode, Json<Value>) {
    trouble.begun.fetch_add(1, Ordering::Relaxed);
    if node == "HeldNode" {
        trouble.permits.acquire().await.expect("it stays open").forget();
    }
    trouble.answered.fetch_add(1, Ordering::Relaxed);
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
    let patient = engine(&postgres, &url, &[]).await;
    let impatient = engine(&postgres, &url, &[("UPSTREAM_TIMEOUT", "1")]).await;
    for (engine, node, wanted) in [
        (&patient, "BrokenNode", (502, "INTERNAL_ERROR")),
        (&impatient, "HeldNode", (503, "UPSTREAM_UNAVAILABLE")),
    ] {
        let path = register(engine, &[node]).await;
        let request = engine.request("POST", &path).json(&json!({}));
        let failed = request.send().await.expect("an answer");
        assert_eq!(failed.status(), wanted.0);
        assert_eq!(failed.headers()["x-run-failed"], "1", "the engine is well");
        let failed: Value = failed.json().await.expect("JSON");
        assert_eq!(
            (&failed["code"], &failed["node"]),
            (&json!(wanted.1), &json!(node))
        );
        let id = failed["execution_id"].as_str().expect("an id");
        let kept = engine.get(&format!("/executions/{id}")).await;
        assert_eq!(kept.body["status"], "failed");
        assert_eq!(kept.body["error"]["code"], wanted.1);
    }
    let hurried = engine(&postgres, &url, &[("MAX_RUNTIME", "1")]).await;
    let request = hurried.request("POST", "/workflows/HeldNode/execute");
    let late = request.send().await.expect("an answer");
    assert_eq!(
        (late.status().as_u16(), &late.headers()["x-run-failed"].as_bytes()),
        (504, &&b"1"[..])
    );
    assert_eq!(late.json::<Value>().await.expect("JSON")["code"], "RUN_TIMEOUT");
    let refused = hurried.request("POST", "/workflows/none/execute").send().await;
    let refused = refused.expect("an answer");
    assert!(!refused.headers().contains_key("x-run-failed"), "no run began");
    let page = hurried
        .request("GET", "/metrics")
        .send()
        .await
        .expect("an answer");
    let page = page.text().await.expect("a text");
    for line in [
        r#"workflow_runs_total{outcome="timeout"} 1"#,
        "workflow_runs_active 0",
    ] {
        assert!(page.lines().any(|told| told == line), "{line}: {page}");
    }
}

async fn has_begun(trouble: &Troubled, calls: usize) {
    wait_for("the call", PATIENCE, async || {
        (trouble.begun.load(Ordering::Relaxed) >= calls).then_some(())
    })
    .await;
}

/// Begins a run, and hangs up when its first node has been asked.
async fn left_alone(service: &Service, path: &str, call: &Value, trouble: &Troubled) {
    let before = trouble.begun.load(Ordering::Relaxed);
    let calling = tokio::spawn(service.request("POST", path).json(call).send());
    has_begun(trouble, before + 1).await;
    calling.abort();
    assert!(calling.await.is_err_and(|error| error.is_cancelled()));
}

async fn only_run(service: &Service, wanted: &str) {
    wait_for(wanted, PATIENCE, async || {
        let listed = service.get(&format!("/executions?status={wanted}")).await;
        (listed.body["executions"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_when_its_caller_hangs_up_unless_it_is_asked_to_end() {
    let (postgres, (url, trouble)) = (Postgres::start().await, troubled().await);
    let service = engine(
        &postgres,
        &url,
        &[("UPSTREAM_TIMEOUT", "60"), ("MAX_RUNTIME", "60")],
    )
    .await;
    let path = register(&service, &["HeldNode", "AfterwardsNode"]).await;
    left_alone(&service, &path, &json!({}), &trouble).await;
    trouble.permits.add_permits(1);
    only_run(&service, "completed").await;
    assert_eq!(trouble.answered.load(Ordering::Relaxed), 2);

    left_alone(
        &service,
        &path,
        &json!({ "cancel_on_disconnect": true }),
        &trouble,
    )
    .await;
    only_run(&service, "cancelled").await;
    assert_eq!(trouble.answered.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_recorded_is_run_even_if_its_caller_hung_up_meanwhile() {
    let (postgres, (url, _)) = (Postgres::start().await, troubled().await);
    let service = engine(&postgres, &url, &[]).await;
    let path = register(&service, &["QuickNode"]).await;
    // Whoever records a run waits for this.
    let pool = PgPool::connect(&postgres.url()).await.expect("a connection");
    let mut change = pool.begin().await.expect("a transaction");
    let lock = "SELECT workflow_id FROM workflow.definitions FOR UPDATE";
    sqlx::query(lock).execute(&mut *change).await.expect("the lock");
    let calling = tokio::spawn(service.request("POST", &path).json(&json!({})).send());
    wait_for("the record to be under way", PATIENCE, async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND application_name = 'workflow-engine'";
        let waiting: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&pool)
            .await
            .expect("a count");
        (waiting == 1).then_some(())
    })
    .await;
    calling.abort();
    assert!(calling.await.is_err_and(|error| error.is_cancelled()));
    // Meanwhile the engine sees who hung up; were it later, less would be proven, and nothing fail.
    service.ready().await;
    change.rollback().await.expect("the lock is let go");
    only_run(&service, "completed").await;
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
