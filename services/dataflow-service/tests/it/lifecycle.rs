//! Without a database, with one that goes and comes, and with settings that are no settings.

use serde_json::json;
use testkit::Postgres;

use crate::{bare, binary, ready, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_it_lives_and_names_what_is_missing() {
    let service = bare().start().await;
    assert_eq!(service.get("/health").await.body["status"], "healthy");
    let ready = service.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body["missing"], json!(["DATABASE_URL", "REDIS_URL"]));
    assert_eq!(ready.body["checks"]["postgres"]["state"], "unconfigured");
    assert_eq!(refusal(&service.get("/models").await), (503, "DF-201"));
    assert_eq!(service.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_settings_are_told_all_at_once() {
    let exit = binary()
        .set("DATABASE_URL", "mysql//user:geheim@x")
        .set("MAX_PAGE", "0")
        .set("DRAIN_TIMEOUT", "soon")
        .run(&[])
        .await;
    assert_eq!(exit.code, Some(78), "{exit:?}");
    assert_eq!(exit.stderr.lines().count(), 3, "{}", exit.stderr);
    assert!(!exit.stderr.contains("geheim"), "{}", exit.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_back_is_used_without_a_restart() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let model = json!({ "name": "Note", "fields": { "text": "str" } });
    assert_eq!(service.post("/models", &model).await.status, 201);

    postgres.stop().await;
    let lost = service.status("/ready", 503).await;
    assert_eq!(lost.body["checks"]["postgres"]["state"], "down");
    assert_eq!(service.get("/live").await.status, 200);
    let refused = service.post("/data/Note", &json!({ "text": "x" })).await;
    assert_eq!(refusal(&refused), (503, "DF-201"));

    postgres.resume().await;
    service.ready().await;
    let made = service.post("/data/Note", &json!({ "text": "x" })).await;
    assert_eq!(made.status, 201, "{made:?}");
}
