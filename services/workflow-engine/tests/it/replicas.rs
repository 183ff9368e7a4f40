//! Two replicas over the same stores: what one begins the other can signal, cancel and follow; what one leaves
//! behind the other gives up; and events that reach the stream whatever happens to Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::{PATIENCE, Postgres, Redis, Service, wait_for};

use crate::{as_tenant, binary, events, refusal};

/// Calls that were begun, and those that were given up by their caller.
#[derive(Debug, Default)]
struct Calls {
    begun: AtomicUsize,
    given_up: AtomicUsize,
}

struct Call(Arc<Calls>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::Relaxed);
    }
}

/// A data service that never answers.
async fn stuck() -> (String, Arc<Calls>) {
    let calls = Arc::<Calls>::default();
    let answer = async |State(calls): State<Arc<Calls>>, Path(_): Path<String>| {
        let _call = Call(calls.clone());
        calls.begun.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        Json(json!({ "result": {} }))
    };
    let router = Router::new()
        .route("/nodes/{node}/execute", post(answer))
        .with_state(calls.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("the port that was bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), calls)
}

async fn replica(postgres: &Postgres, redis: &Redis, dataflow: &str) -> Service {
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("REDIS_URL", redis.url())
        .set("DATAFLOW_URL", dataflow)
        .set("LEASE_SECS", "6")
        .set("UPSTREAM_TIMEOUT", "20")
        .start()
        .await;
    service.ready().await;
    service
}

/// Begins a run of tenant `acme` and waits until it has the status. Its id.
async fn begun(service: &Service, workflow: &str, status: &str) -> String {
    let path = format!("/workflows/{workflow}/execute");
    let call = json!({ "mode": "async" });
    let accepted = as_tenant(service, "acme", "POST", &path, Some(&call)).await;
    let id = accepted.body["execution_id"].as_str().expect("an id").to_owned();
    has(service, &id, status).await;
    id
}

async fn has(service: &Service, id: &str, status: &str) -> Value {
    wait_for(&format!("{status} of {id}"), PATIENCE, async || {
        let run = as_tenant(service, "acme", "GET", &format!("/executions/{id}"), None).await;
        (run.body["status"] == status).then_some(run.body)
    })
    .await
}

/// `(type, workflow, status)` of the events in the stream.
async fn told(redis: &Redis) -> Vec<(String, String, String)> {
    let client = redis::Client::open(redis.url()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let entries: redis::streams::StreamRangeReply = redis::cmd("XRANGE")
        .arg(contract::events::STREAM)
        .arg("-")
        .arg("+")
        .query_async(&mut connection)
        .await
        .expect("the stream");
    let event = |entry: redis::streams::StreamId| {
        let text: String = entry.get(contract::events::FIELD).expect("the field");
        let event: contract::events::Event = serde_json::from_str(&text).expect("an event");
        let data = |name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
        (event.kind.clone(), data("workflow"), data("status"))
    };
    entries.ids.into_iter().map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_are_one_engine() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let (dataflow, calls) = stuck().await;
    let one = replica(&postgres, &redis, &dataflow).await;
    let other = replica(&postgres, &redis, &dataflow).await;
    let approval = json!({
        "name": "approval",
        "nodes": [
            { "id": "wait", "type": "SignalWait", "config": { "signal": "approve" } },
            { "id": "say", "type": "Transform", "config": { "set": { "by": "{{who}}" } } },
        ],
        "connections": [{ "from": "wait", "output": "payload.by", "to": "say", "input": "who" }],
    });
    let call = json!({ "id": "call", "type": "DataFlow", "config": { "node": "StuckNode" } });
    let stuck = json!({ "name": "stuck", "nodes": [call] });
    for workflow in [&approval, &stuck] {
        assert_eq!(one.post("/workflows", workflow).await.status, 201);
    }

    a_signal_and_a_follower_at_the_other(&one, &other).await;
    cancelled_at_the_other(&one, &other, &calls).await;

    // Redis goes: the service stays, events wait.
    redis.stop().await;
    wait_for("degraded", PATIENCE, async || {
        let ready = one.get("/ready").await;
        (ready.status == 200 && ready.body["status"] == "degraded").then_some(())
    })
    .await;
    let waiting = begun(&one, "approval", "waiting").await;
    let running = begun(&one, "stuck", "running").await;
    redis.resume().await;

    // The process dies: the other one gives its runs up, and nothing completes them.
    one.kill().await;
    for id in [&waiting, &running] {
        let run = has(&other, id, "failed").await;
        assert_eq!(run["error"]["code"], "INTERRUPTED");
    }
    let late = format!("/executions/{waiting}/signals/approve");
    let late = as_tenant(&other, "acme", "POST", &late, Some(&json!({}))).await;
    assert_eq!(refusal(&late), (409, "EXECUTION_ENDED"));

    let wanted = [
        ("handler.registered", "approval", ""),
        ("handler.registered", "stuck", ""),
        ("handler.called", "approval", ""),
        ("handler.completed", "approval", "completed"),
        ("handler.called", "stuck", ""),
        ("handler.error", "stuck", "cancelled"),
        ("handler.called", "approval", ""),
        ("handler.called", "stuck", ""),
        ("handler.error", "approval", "failed"),
        ("handler.error", "stuck", "failed"),
    ];
    let mut wanted: Vec<_> = wanted.map(|(a, b, c)| (a.into(), b.into(), c.into())).to_vec();
    let mut got: Vec<(String, String, String)> = wait_for("all events", PATIENCE, async || {
        let got = told(&redis).await;
        (got.len() >= wanted.len()).then_some(got)
    })
    .await;
    assert_eq!(got[..4], wanted[..4], "in their order");
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted, "each once, the stream having lost nothing");
}

async fn a_signal_and_a_follower_at_the_other(one: &Service, other: &Service) {
    let id = begun(one, "approval", "waiting").await;
    let follow = other
        .request("GET", &format!("/executions/{id}/events"))
        .header("x-tenant-id", "acme")
        .send()
        .await
        .expect("an answer");
    let following = tokio::spawn(follow.text());
    let path = format!("/executions/{id}/signals/approve");
    let payload = json!({ "by": "ada" });
    let signalled = as_tenant(other, "acme", "POST", &path, Some(&payload)).await;
    assert_eq!(
        (signalled.status, &signalled.body["status"]),
        (202, &json!("accepted"))
    );
    let run = has(other, &id, "completed").await;
    assert_eq!(
        run["result"]["outputs"],
        json!({ "wait": { "signal": "approve", "payload": payload }, "say": { "by": "ada" } })
    );
    let text = following.await.expect("it ends").expect("a body");
    let names: Vec<String> = events(&text).into_iter().map(|event| event.name).collect();
    assert_eq!(
        names,
        [
            "run.started",
            "node.started",
            "node.waiting",
            "signal.received",
            "node.completed",
            "node.started",
            "node.completed",
            "run.completed"
        ]
    );
}

async fn cancelled_at_the_other(one: &Service, other: &Service, calls: &Calls) {
    // The caller waits for the result at one replica; it is cancelled at the other.
    let waits = as_tenant(one, "acme", "POST", "/workflows/stuck/execute", None);
    let cancels = async {
        wait_for("the call", PATIENCE, async || {
            (calls.begun.load(Ordering::Relaxed) == 1).then_some(())
        })
        .await;
        let listed = as_tenant(other, "acme", "GET", "/executions?status=running", None).await;
        let id = listed.body["executions"][0]["execution_id"].as_str();
        let path = format!("/executions/{}/cancel", id.expect("an id"));
        let cancelled = as_tenant(other, "acme", "POST", &path, None).await;
        assert_eq!(cancelled.body["status"], "cancelled");
        Instant::now()
    };
    let (answer, cancelled) = tokio::join!(waits, cancels);
    assert_eq!(refusal(&answer), (409, "RUN_CANCELLED"));
    wait_for("the call to be given up", testkit::PATIENCE, async || {
        (calls.given_up.load(Ordering::Relaxed) == 1).then_some(())
    })
    .await;
    assert!(
        cancelled.elapsed() < Duration::from_secs(15),
        "{:?}",
        cancelled.elapsed()
    );
    let id = answer.body["execution_id"].as_str().expect("an id");
    let kept = has(other, id, "cancelled").await;
    assert_eq!(kept["error"]["code"], "RUN_CANCELLED");
}
