//! Without settings, and with a database that goes and comes.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use testkit::{PATIENCE, Postgres, wait_for};
use tokio::sync::Semaphore;

use crate::{bare, binary, events, ready, refusal, shape_and_save, stand_in};

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_it_lives_and_names_what_is_missing() {
    let service = bare().start().await;
    let ready = service.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.body["missing"],
        json!(["DATABASE_URL", "REDIS_URL", "DATAFLOW_URL"])
    );
    assert_eq!(
        refusal(&service.get("/workflows").await),
        (503, "DATABASE_UNAVAILABLE")
    );
    assert!(service.get("/node-types").await.body["DataFlow"].is_object());
    assert_eq!(service.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_back_is_used_without_a_restart() {
    let postgres = Postgres::start().await;
    let (dataflow, asked) = stand_in().await;
    let service = ready(&postgres, &dataflow).await;
    assert_eq!(
        service.post("/workflows", &shape_and_save("1.0.0")).await.status,
        201
    );

    postgres.stop().await;
    service.status("/ready", 503).await;
    let call = json!({ "inputs": { "name": "x" } });
    let refused = service.post("/workflows/intake/execute", &call).await;
    assert_eq!(refusal(&refused), (503, "DATABASE_UNAVAILABLE"));
    assert!(
        asked.lock().unwrap().is_empty(),
        "nothing runs that cannot be recorded"
    );

    postgres.resume().await;
    service.ready().await;
    let ran = service.post("/workflows/intake/execute", &call).await;
    assert_eq!(ran.status, 200, "{ran:?}");
}

/// A data service that answers when it is let.
async fn held() -> (String, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let answer = async |State(permits): State<Arc<Semaphore>>| {
        permits.acquire().await.expect("it stays open").forget();
        Json(json!({ "result": { "id": 7 } }))
    };
    let router = Router::new()
        .route("/nodes/{node}/execute", post(answer))
        .with_state(permits.clone());
    (crate::serve(router).await, permits)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_as_many_events_wait_as_it_would_keep() {
    let postgres = Postgres::start().await;
    let service = bare().set("DATABASE_URL", postgres.url()).start().await;
    wait_for("the tables", PATIENCE, async || {
        (service.get("/workflows").await.status == 200).then_some(())
    })
    .await;
    let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
    let most = i64::try_from(contract::events::MOST).unwrap();
    sqlx::query("INSERT INTO workflow.outbox (event) SELECT '{}' FROM generate_series(1, $1 + 5)")
        .bind(most)
        .execute(&pool)
        .await
        .unwrap();
    wait_for("the oldest to be forgotten", PATIENCE, async || {
        let page = service.request("GET", "/metrics").send().await.unwrap();
        let told = format!("outbox_waiting {most}");
        page.text()
            .await
            .unwrap()
            .lines()
            .any(|line| line == told)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_followers_and_runs_that_only_wait_but_not_a_run_at_work() {
    let postgres = Postgres::start().await;
    let (dataflow, held) = held().await;
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("DATAFLOW_URL", &dataflow)
        .set("UPSTREAM_TIMEOUT", "60")
        .set("MAX_RUNTIME", "60")
        .start()
        .await;
    service.ready().await;
    assert_eq!(
        service.post("/workflows", &shape_and_save("1.0.0")).await.status,
        201
    );
    let call = json!({ "inputs": { "name": "x" }, "mode": "stream" });
    let course = service.request("POST", "/workflows/intake/execute").json(&call);
    let course = tokio::spawn(course.send().await.unwrap().text());
    let wait = json!({ "id": "wait", "type": "SignalWait", "config": { "signal": "go" } });
    let workflow = json!({ "name": "waits", "nodes": [wait] });
    assert_eq!(service.post("/workflows", &workflow).await.status, 201);
    let call = json!({ "mode": "async" });
    let begun = service.post("/workflows/waits/execute", &call).await;
    let path = format!("/executions/{}", begun.body["execution_id"].as_str().unwrap());
    wait_for("the run to wait", testkit::PATIENCE, async || {
        (service.get(&path).await.body["status"] == "waiting").then_some(())
    })
    .await;
    let follow = service.request("GET", &format!("{path}/events"));
    let mut following = follow.send().await.unwrap();
    let first = following.chunk().await.unwrap().unwrap();

    let ending = tokio::spawn(service.end());
    // It ends with the drain, which has begun then.
    let rest = following.bytes().await.unwrap();
    let followed = events(&String::from_utf8([first, rest].concat()).unwrap());
    assert_eq!(followed[0].name, "run.started");
    held.add_permits(1);
    assert_eq!(ending.await.unwrap(), Some(0));
    let course = events(&course.await.unwrap().unwrap());
    let names: Vec<&str> = course.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["start", "complete"]);
    let next = ready(&postgres, &dataflow).await;
    let run = next.get(&path).await.body;
    assert_eq!(
        (&run["status"], &run["error"]["code"]),
        (&json!("failed"), &json!("INTERRUPTED"))
    );
}
