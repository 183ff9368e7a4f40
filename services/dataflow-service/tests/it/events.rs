//! Changes told on the stream: after the commit, once, without values, and not lost with Redis or a process.

use std::collections::BTreeSet;

use contract::events::{Event, FIELD, STREAM};
use redis::streams::StreamRangeReply;
use serde_json::{Value, json};
use testkit::{Postgres, Redis, wait_for};

use crate::{refusal, replica};

async fn stream(redis: &Redis) -> Option<Vec<Event>> {
    let client = redis::Client::open(redis.url()).expect("an event of the stream");
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let reply: StreamRangeReply = redis::cmd("XRANGE")
        .arg(STREAM)
        .arg("-")
        .arg("+")
        .query_async(&mut connection)
        .await
        .ok()?;
    let events = reply.ids.iter().map(|entry| {
        let text: String = entry.get(FIELD).expect("an event of the stream");
        serde_json::from_str(&text).expect("an event of the stream")
    });
    Some(events.collect())
}

fn distinct(events: &[Event]) -> usize {
    let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    ids.len()
}

async fn told(redis: &Redis, count: usize) -> Vec<Event> {
    // Told at least once: the same one again does not count.
    wait_for("events", testkit::PATIENCE, async || {
        stream(redis).await.filter(|events| distinct(events) >= count)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_once_after_its_commit_and_outlives_redis_and_the_process() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let (one, two) = tokio::join!(replica(&postgres, &redis), replica(&postgres, &redis));
    // Both know Redis by now, and that it is up.
    for service in [&one, &two] {
        wait_for("redis", testkit::PATIENCE, async || {
            let ready = service.get("/ready").await;
            (ready.body["checks"]["redis"]["state"] == "up").then_some(())
        })
        .await;
    }
    let model = json!({ "name": "Part", "fields": { "sku": { "type": "str", "unique": true } } });
    assert_eq!(one.post("/models", &model).await.status, 201);

    let made = one.post("/data/Part", &json!({ "sku": "canary-7f3a" })).await;
    let first = told(&redis, 1).await;
    assert_eq!(
        (first[0].kind.as_str(), &first[0].data),
        (
            "dataflow.Part.create",
            &json!({ "model": "Part", "ids": [made.body["id"]] })
        )
    );
    assert!(!serde_json::to_string(&first).unwrap().contains("canary"));

    // What was rolled back is not told; what was deleted is.
    assert_eq!(
        refusal(&one.post("/data/Part", &json!({ "sku": "canary-7f3a" })).await),
        (409, "DF-711")
    );
    let rows: Vec<Value> = (0..50).map(|n| json!({ "sku": format!("n{n}") })).collect();
    assert_eq!(
        two.post("/data/Part/bulk/create", &json!({ "data": rows }))
            .await
            .status,
        200
    );
    let gone = one
        .request("DELETE", &format!("/data/Part/{}", made.body["id"]))
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 200);
    let events = told(&redis, 3).await;
    let kinds: BTreeSet<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        BTreeSet::from([
            "dataflow.Part.bulk_create",
            "dataflow.Part.create",
            "dataflow.Part.delete"
        ])
    );
    let bulk = events
        .iter()
        .find(|event| event.kind.ends_with("bulk_create"))
        .unwrap();
    assert_eq!(bulk.data, json!({ "model": "Part", "count": 50 }));

    // Two replicas, many writers: each event once.
    let writes = (0..40).map(|n| {
        let service = if n % 2 == 0 { &one } else { &two };
        let row = json!({ "sku": format!("w{n}") });
        async move { service.post("/data/Part", &row).await.status }
    });
    for status in futures_util::future::join_all(writes).await {
        assert_eq!(status, 201);
    }
    let events = told(&redis, 43).await;
    assert_eq!(distinct(&events), 43, "no event under two names");

    // Redis goes: rows are written all the same, the events wait, readiness says so, a process dies.
    redis.stop().await;
    assert_eq!(
        two.post("/data/Part", &json!({ "sku": "waits" })).await.status,
        201
    );
    two.kill().await;
    let degraded = wait_for("degraded", testkit::PATIENCE, async || {
        let ready = one.get("/ready").await;
        (ready.body["checks"]["outbox"]["state"] == "down").then_some(ready)
    })
    .await;
    assert_eq!(
        (degraded.status, &degraded.body["status"]),
        (200, &json!("degraded"))
    );
    redis.resume().await;
    // Redis has saved the others when it ended.
    let known: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let all = told(&redis, 44).await;
    let waited: BTreeSet<&str> = all
        .iter()
        .filter(|event| !known.contains(event.id.as_str()))
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(waited, BTreeSet::from(["dataflow.Part.create"]));
}
