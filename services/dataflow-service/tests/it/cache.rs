//! Kept answers: found again, never stale, and missed by nobody when they are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use testkit::{Postgres, Redis, Service, wait_for};

use crate::{WAITING, at_least, replica};

/// A replica that keeps answers from its first call on.
async fn keeping(postgres: &Postgres, redis: &Redis) -> Service {
    let service = replica(postgres, redis).await;
    wait_for("redis", testkit::PATIENCE, async || {
        let ready = service.get("/ready").await;
        (ready.body["checks"]["redis"]["state"] == "up").then_some(())
    })
    .await;
    service
}

async fn list(service: &Service, parameters: Value) -> Value {
    let call = json!({ "parameters": parameters });
    let answer = service.post("/nodes/CounterListNode/execute", &call).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["result"].clone()
}

/// Asks until the answer comes from the cache: it is kept in the background.
async fn hit(service: &Service, parameters: Value) -> Value {
    wait_for("a kept answer", testkit::PATIENCE, async || {
        let result = list(service, parameters.clone()).await;
        (result["_cache"]["hit"] == true).then_some(result)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_and_never_stale() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let (one, two) = tokio::join!(keeping(&postgres, &redis), keeping(&postgres, &redis));
    let model = json!({ "name": "Counter", "fields": { "n": "int" } });
    assert_eq!(one.post("/models", &model).await.status, 201);
    assert_eq!(one.post("/data/Counter", &json!({ "n": 0 })).await.status, 201);

    // A miss, then hits of both replicas, until something is written.
    let missed = list(&one, json!({})).await;
    assert_eq!(
        (&missed["_cache"]["hit"], &missed["_cache"]["source"]),
        (&json!(false), &json!("database"))
    );
    let kept = hit(&two, json!({})).await;
    assert_eq!(
        (&kept["_cache"]["source"], &kept["records"]),
        (&json!("cache"), &missed["records"])
    );
    assert!(
        kept["_cache"]["key"]
            .as_str()
            .unwrap()
            .starts_with("dataflow:v2:-:Counter:list:")
    );
    assert_eq!(
        list(&two, json!({ "enable_cache": false })).await["_cache"]["hit"],
        false
    );
    // However long a caller wishes it: what Redis would refuse does not switch the cache off.
    for ttl in [0_u64, 1 << 50] {
        list(&two, json!({ "cache_key": "long", "cache_ttl": ttl })).await;
    }
    hit(&two, json!({ "cache_key": "long", "cache_ttl": 1_u64 << 50 })).await;
    let own = list(&two, json!({ "cache_key": "mine" })).await;
    assert_ne!(own["_cache"]["key"], kept["_cache"]["key"]);
    let update = |n: i64| json!({ "parameters": { "filter": { "id": 1 }, "fields": { "n": n } } });
    assert_eq!(
        one.post("/nodes/CounterUpdateNode/execute", &update(1))
            .await
            .status,
        200
    );
    let fresh = list(&two, json!({})).await;
    assert_eq!(
        (&fresh["_cache"]["hit"], &fresh["records"][0]["n"]),
        (&json!(false), &json!(1))
    );

    never_behind(&one, &two).await;

    for round in 0..2 {
        killed_unheard(&postgres, &redis, [&one, &two], update(100_000 + round)).await;
    }

    // Without Redis the same answers come from the database.
    redis.stop().await;
    let without = list(&one, json!({})).await;
    assert_eq!(without["_cache"]["hit"], false);
    assert_eq!(one.post("/data/Counter", &json!({ "n": 7 })).await.status, 201);
    assert_eq!(list(&two, json!({})).await["count"], 2);
    redis.resume().await;
    let again = hit(&two, json!({})).await;
    assert_eq!(again["count"], 2);
}

/// A writer is killed while its statement waits for a row: the statement is committed all the same, and nobody is
/// told. No answer from before it is given afterwards.
async fn killed_unheard(postgres: &Postgres, redis: &Redis, [one, two]: [&Service; 2], body: Value) {
    let writer = replica(postgres, redis).await;
    let mut direct = PgConnection::connect(&postgres.url())
        .await
        .expect("the database is asked directly");
    let mut holds = direct.begin().await.expect("the database is asked directly");
    holds
        .execute("SELECT 1 FROM models.counters FOR UPDATE")
        .await
        .expect("a lock");
    let before = hit(two, json!({})).await;
    let request = writer.request("POST", "/nodes/CounterUpdateNode/execute");
    let writing = tokio::spawn(request.json(&body).send());
    at_least(postgres, 1, WAITING).await;
    writer.kill().await;
    assert!(writing.await.expect("a request").is_err(), "nobody is told");
    holds.rollback().await.expect("a lock that is given back");
    let truth = wait_for("the commit", testkit::PATIENCE, async || {
        let truth = list(one, json!({ "enable_cache": false })).await["records"].clone();
        (truth != before["records"]).then_some(truth)
    });
    let truth = truth.await;
    assert_eq!(truth[0]["n"], body["parameters"]["fields"]["n"]);
    for service in [one, two, one, two] {
        assert_eq!(list(service, json!({})).await["records"], truth);
    }
}

/// A writer and readers of another replica: who reads after a write was acknowledged, sees it.
async fn never_behind(one: &Service, two: &Service) {
    let acknowledged = Arc::new(AtomicI64::new(1));
    let over = Arc::new(AtomicBool::new(false));
    let hits = AtomicI64::new(0);
    let writing = async {
        for next in 2..60 {
            let body = json!({ "parameters": { "filter": { "id": 1 }, "fields": { "n": next } } });
            let answer = one.post("/nodes/CounterUpdateNode/execute", &body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            acknowledged.store(next, Ordering::SeqCst);
            let found = hits.load(Ordering::SeqCst);
            if next % 8 == 0 {
                // An answer of this state is kept and found again, so that the next write has something to spoil.
                wait_for("a hit", testkit::PATIENCE, async || {
                    (hits.load(Ordering::SeqCst) > found).then_some(())
                })
                .await;
            }
            tokio::time::sleep(Duration::from_millis(u64::try_from(next % 8).expect("a number"))).await;
        }
        over.store(true, Ordering::SeqCst);
    };
    let reading = async |service: &Service| {
        while !over.load(Ordering::SeqCst) {
            let before = acknowledged.load(Ordering::SeqCst);
            let result = list(service, json!({})).await;
            let seen = result["records"][0]["n"].as_i64().expect("a number");
            assert!(
                seen >= before,
                "saw {seen} after {before} was acknowledged: {result}"
            );
            hits.fetch_add(i64::from(result["_cache"]["hit"] == true), Ordering::SeqCst);
        }
    };
    tokio::join!(writing, reading(two), reading(one), reading(two));
}
