//! The cache: used where it is there, missed where it is not.

use serde_json::json;
use testkit::Redis;

use super::{alone, classifier};

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_and_losing_them_only_degrades() {
    let redis = Redis::start().await;
    let service = classifier().set("REDIS_URL", redis.url()).start().await;
    testkit::wait_for("ready", testkit::PATIENCE, async || {
        (service.get("/ready").await.body["status"] == "ready").then_some(())
    })
    .await;
    let question = json!({ "text": "claw hammer" });
    let first = service.post("/classify", &question).await;
    let second = service
        .post("/classify", &json!({ "text": "CLAW  hammer!" }))
        .await;
    assert_eq!(
        (&first.body["cache_hit"], &second.body["cache_hit"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first.body["unspsc"], second.body["unspsc"]);
    let fresh = service
        .post("/classify", &json!({ "text": "claw hammer", "use_cache": false }))
        .await;
    assert_eq!(fresh.body["cache_hit"], json!(false));

    redis.stop().await;
    let alone = service.post("/classify", &question).await;
    assert_eq!((alone.status, &alone.body["cache_hit"]), (200, &json!(false)));
    testkit::wait_for("degraded", testkit::PATIENCE, async || {
        let ready = service.get("/ready").await;
        (ready.status == 200 && ready.body["status"] == "degraded").then_some(())
    })
    .await;

    redis.resume().await;
    testkit::wait_for("ready again", testkit::PATIENCE, async || {
        (service.get("/ready").await.body["status"] == "ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_cache_it_is_degraded_and_quick() {
    let service = alone().await;
    let ready = service.ready().await;
    assert_eq!(ready.body["status"], "degraded");
    assert_eq!(ready.body["checks"]["redis"]["on_loss"], "degrade");
    let begun = std::time::Instant::now();
    assert_eq!(
        service
            .post("/classify", &json!({ "text": "hammer" }))
            .await
            .status,
        200
    );
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}
