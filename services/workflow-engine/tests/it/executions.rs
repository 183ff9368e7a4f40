//! Running workflows.

use serde_json::json;
use testkit::Postgres;

use crate::{ready, refusal, shape_and_save, stand_in};

#[tokio::test(flavor = "multi_thread")]
async fn two_steps_run_and_the_second_calls_dataflow() {
    let postgres = Postgres::start().await;
    let (dataflow, asked) = stand_in().await;
    let service = ready(&postgres, &dataflow).await;
    assert_eq!(
        service.post("/workflows", &shape_and_save("1.0.0")).await.status,
        201
    );

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let answer = service
        .request("POST", "/workflows/intake/execute")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&json!({ "parameters": { "name": " Hammer " } }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = answer.json().await.unwrap();
    let row = json!({ "id": 7, "title": "Hammer (checked)", "stock": 1 });
    assert_eq!(
        answer["outputs"],
        json!({ "shape": { "title": "Hammer (checked)" }, "save": row })
    );
    assert_eq!(answer["version"], "1.0.0");
    assert!(answer["execution_time"].as_f64().is_some_and(|took| took < 5.0));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1, json!({ "title": "Hammer (checked)", "stock": 1 }));
    assert!(asked[0].2.starts_with(&format!("00-{trace}-")), "{}", asked[0].2);

    let id = answer["execution_id"].as_str().unwrap();
    let run = service.get(&format!("/executions/{id}")).await;
    assert_eq!(
        (&run.body["status"], &run.body["result"]),
        (&json!("completed"), &answer)
    );
    assert_eq!(
        refusal(&service.get("/executions/nope").await),
        (404, "EXECUTION_UNKNOWN")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_named_and_the_run_is_recorded() {
    let postgres = Postgres::start().await;
    let (dataflow, _) = stand_in().await;
    let service = ready(&postgres, &dataflow).await;
    let mut wrong = shape_and_save("1.0.0");
    wrong["nodes"][1]["config"]["node"] = json!("ProductReedNode");
    assert_eq!(service.post("/workflows", &wrong).await.status, 201);

    let refused = service
        .post("/workflows/intake/execute", &json!({ "inputs": { "name": "x" } }))
        .await;
    assert_eq!(refusal(&refused), (422, "NODE_FAILED"));
    assert_eq!(
        (&refused.body["node"], &refused.body["cause"]),
        (&json!("save"), &json!("DF-700"))
    );
    let id = refused.body["execution_id"].as_str().unwrap();
    let run = service.get(&format!("/executions/{id}")).await;
    assert_eq!(
        (&run.body["status"], &run.body["error"]["code"]),
        (&json!("failed"), &json!("NODE_FAILED"))
    );

    let absent = service.post("/workflows/intake/execute", &json!({})).await;
    assert_eq!(refusal(&absent), (422, "NODE_FAILED"));
    assert_eq!(absent.body["error"], "no input 'name'; inputs are: none");
    let empty = service
        .request("POST", "/workflows/intake/execute")
        .send()
        .await
        .unwrap();
    assert_eq!(empty.status(), 422, "no body is no input");
    let mode = service
        .post("/workflows/intake/execute", &json!({ "mode": "later" }))
        .await;
    assert_eq!(refusal(&mode), (422, "INVALID_BODY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dataflow_that_cannot_be_reached_is_503() {
    let postgres = Postgres::start().await;
    let nobody = format!("http://127.0.0.1:{}", testkit::free_port());
    let service = ready(&postgres, &nobody).await;
    assert_eq!(
        service.post("/workflows", &shape_and_save("1.0.0")).await.status,
        201
    );
    let lost = service
        .post("/workflows/intake/execute", &json!({ "inputs": { "name": "x" } }))
        .await;
    assert_eq!(refusal(&lost), (503, "UPSTREAM_UNAVAILABLE"));
    assert_eq!(lost.body["upstream"], "dataflow-service");
}
