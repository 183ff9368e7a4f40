//! Without settings, and with a database that goes and comes.

use serde_json::json;
use testkit::Postgres;

use crate::{binary, ready, refusal, shape_and_save, stand_in};

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_it_lives_and_names_what_is_missing() {
    let service = binary().start().await;
    let ready = service.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body["missing"], json!(["DATABASE_URL", "DATAFLOW_URL"]));
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
