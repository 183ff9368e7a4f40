//! Registering workflows.

use serde_json::json;
use testkit::Postgres;

use crate::{ready, refusal, shape_and_save};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_registered_once_and_the_last_one_counts() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres, "http://127.0.0.1:9").await;
    let first = service.post("/workflows", &shape_and_save("1.0.0")).await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = service.post("/workflows", &shape_and_save("1.0.0")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let mut other = shape_and_save("1.0.0");
    other["nodes"][1]["config"]["parameters"] = json!({});
    assert_eq!(
        refusal(&service.post("/workflows", &other).await),
        (409, "WORKFLOW_EXISTS")
    );
    assert_eq!(
        service.post("/workflows", &shape_and_save("1.1.0")).await.status,
        201
    );

    let kept = service.get("/workflows/intake").await;
    assert_eq!(kept.body["definition"]["version"], "1.1.0");
    assert_eq!(service.get("/workflows").await.body["intake"]["version"], "1.1.0");
    let unknown = service.get("/workflows/intaek").await;
    assert_eq!(refusal(&unknown), (404, "WORKFLOW_UNKNOWN"));
    assert!(
        unknown.body["error"]
            .as_str()
            .unwrap()
            .ends_with("did you mean 'intake'?")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_come_together_with_what_was_meant() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres, "http://127.0.0.1:9").await;
    let mut wrong = shape_and_save("1");
    wrong["nodes"][0]["type"] = json!("Tranform");
    wrong["connections"][0]["from"] = json!("shap");
    let refused = service.post("/workflows", &wrong).await;
    assert_eq!(refusal(&refused), (422, "WORKFLOW_INVALID"));
    assert_eq!(
        refused.body["faults"],
        json!([
            "node 'shape': unknown type 'Tranform'; did you mean 'Transform'?; types are Transform, DataFlow, SignalWait",
            "connection shap -> save: no node 'shap'; did you mean 'shape'?",
        ])
    );
    let unknown_key = service
        .post("/workflows", &json!({ "name": "w", "nods": [] }))
        .await;
    assert_eq!(refusal(&unknown_key), (422, "INVALID_BODY"));
}
