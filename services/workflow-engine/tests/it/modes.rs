//! How a caller learns of a run's end, what a run may be given, and whose it is.

use serde_json::{Value, json};
use testkit::{Postgres, Service, wait_for};

use crate::{as_tenant, events, ready, refusal, shape_and_save, stand_in};

async fn stream(service: &Service, path: &str, body: &Value) -> Vec<crate::Event> {
    let answer = service
        .request("POST", path)
        .json(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    events(&answer.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_result_in_every_mode() {
    let postgres = Postgres::start().await;
    let (dataflow, _) = stand_in().await;
    let service = ready(&postgres, &dataflow).await;
    let path = "/workflows/intake/execute";
    assert_eq!(
        service.post("/workflows", &shape_and_save("1.0.0")).await.status,
        201
    );
    let call = |mode: &str| json!({ "parameters": { "name": "saw" }, "mode": mode });
    let wanted = service.post(path, &call("sync")).await.body["outputs"].clone();
    assert_eq!(wanted["save"]["id"], 7);

    let accepted = service.post(path, &call("async")).await;
    assert_eq!(
        (accepted.status, &accepted.body["status"]),
        (200, &json!("pending"))
    );
    let id = accepted.body["execution_id"].as_str().unwrap().to_owned();
    let done = wait_for("the run's end", testkit::PATIENCE, async || {
        let run = service.get(&format!("/executions/{id}")).await.body;
        (run["status"] == "completed").then_some(run)
    })
    .await;
    assert_eq!(done["result"]["outputs"], wanted);
    assert_eq!(done["result"]["execution_id"], json!(id));

    let told = stream(&service, path, &call("stream")).await;
    let names: Vec<&str> = told.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["start", "complete"]);
    assert_eq!(told[0].data["version"], "1.0.0");
    assert_eq!(
        told[0].data["execution_id"],
        told[1].data["result"]["execution_id"]
    );
    assert_eq!(told[1].data["result"]["outputs"], wanted);
    let failed = stream(&service, path, &json!({ "mode": "stream" })).await;
    assert_eq!(
        (failed[1].name.as_str(), &failed[1].data["error"]["code"]),
        ("error", &json!("NODE_FAILED"))
    );
    assert_eq!(failed[1].data["error"]["node"], "shape");
    let refused = service.post(path, &json!({ "config": { "retries": 3 } })).await;
    assert_eq!(refusal(&refused), (422, "CONFIG_UNSUPPORTED"));
    let empty = json!({ "parameters": { "name": "saw" }, "config": {} });
    assert_eq!(service.post(path, &empty).await.status, 200);

    let history = service.request("GET", &format!("/executions/{id}/events"));
    let all = events(&history.send().await.unwrap().text().await.unwrap());
    let names: Vec<&str> = all.iter().map(|event| event.name.as_str()).collect();
    let node = ["node.started", "node.completed"];
    assert_eq!(
        names,
        [&["run.started"], &node[..], &node[..], &["run.completed"]].concat()
    );
    let rest = service
        .request("GET", &format!("/executions/{id}/events"))
        .header("last-event-id", &all[3].id);
    let rest = events(&rest.send().await.unwrap().text().await.unwrap());
    assert_eq!(rest.len(), 2, "{rest:?}");

    let listed = service
        .get("/executions?workflow=intake&status=failed&limit=5")
        .await;
    let listed = listed.body["executions"].as_array().unwrap().clone();
    assert_eq!((listed.len(), &listed[0]["status"]), (1, &json!("failed")));
    assert_eq!(
        refusal(&service.get("/executions?status=dead").await),
        (422, "QUERY_INVALID")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_described_limited_and_deleted() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres, "http://127.0.0.1:9").await;
    let mut workflow = json!({
        "name": "greet", "description": "says hello", "tags": ["demo"],
        "inputs_schema": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } },
        "nodes": [
            { "id": "say", "type": "Transform", "config": { "set": { "text": "hello {{name}}" } } },
            { "id": "wait", "type": "SignalWait", "config": { "signal": "go", "timeout_s": 60 } },
        ],
    });
    assert_eq!(service.post("/workflows", &workflow).await.status, 201);
    workflow["version"] = json!("2.0.0");
    assert_eq!(service.post("/workflows", &workflow).await.status, 201);
    let info = service.get("/workflows/greet/info").await.body;
    assert_eq!(info["inputs_schema"], workflow["inputs_schema"]);
    assert_eq!(
        (&info["version"], &info["nodes"]),
        (&json!("2.0.0"), &workflow["nodes"])
    );
    let versions = service.get("/workflows/greet/versions").await.body;
    assert_eq!(versions["versions"][1]["version"], "1.0.0");

    let path = "/workflows/greet/execute";
    for (inputs, fault) in [
        (json!({}), "name: is required"),
        (json!({ "name": 1 }), "name: must be of type string"),
        (json!({ "name": "x", "__proto__": 1 }), "__proto__: this name"),
    ] {
        let refused = service.post(path, &json!({ "inputs": inputs })).await;
        assert_eq!(refusal(&refused), (422, "INPUTS_INVALID"));
        assert!(
            refused.body["error"].as_str().unwrap().starts_with(fault),
            "{refused:?}"
        );
    }

    let call = json!({ "inputs": { "name": "x" }, "mode": "async" });
    let begun = as_tenant(&service, "acme", "POST", path, Some(&call)).await;
    let id = begun.body["execution_id"].as_str().unwrap();
    let deleted = service
        .request("DELETE", "/workflows/greet")
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), 409, "while it is being run");

    // Another tenant, and nobody's, see nothing of it and can do nothing to it.
    for path in ["", "/events", "/queries/status"] {
        let path = format!("/executions/{id}{path}");
        let other = as_tenant(&service, "evil", "GET", &path, None).await;
        assert_eq!(refusal(&other), (404, "EXECUTION_UNKNOWN"), "{path}");
        assert_eq!(refusal(&service.get(&path).await), (404, "EXECUTION_UNKNOWN"));
    }
    for path in ["/cancel", "/signals/go"] {
        let path = format!("/executions/{id}{path}");
        let other = as_tenant(&service, "evil", "POST", &path, Some(&json!(1))).await;
        assert_eq!(refusal(&other), (404, "EXECUTION_UNKNOWN"), "{path}");
    }
    let others = as_tenant(&service, "evil", "GET", "/executions", None).await;
    assert_eq!(others.body["executions"], json!([]));
    let own = as_tenant(&service, "acme", "GET", "/executions", None).await;
    assert_eq!(own.body["executions"].as_array().map(Vec::len), Some(1));

    let query = format!("/executions/{id}/queries/");
    let waiting = json!({ "status": "waiting", "waiting_for": ["go"] });
    wait_for("the run to wait", testkit::PATIENCE, async || {
        let asked = as_tenant(&service, "acme", "GET", &format!("{query}status"), None).await;
        (asked.body["result"] == waiting).then_some(())
    })
    .await;
    let outputs = as_tenant(&service, "acme", "GET", &format!("{query}outputs"), None).await;
    assert_eq!(outputs.body["result"], json!({ "say": { "text": "hello x" } }));
    let unknown = as_tenant(&service, "acme", "GET", &format!("{query}statsu"), None).await;
    assert_eq!(refusal(&unknown), (404, "QUERY_UNKNOWN"));
    let signal = format!("/executions/{id}/signals/stop");
    let unknown = as_tenant(&service, "acme", "POST", &signal, Some(&json!({}))).await;
    assert_eq!(refusal(&unknown), (404, "SIGNAL_UNKNOWN"));

    let cancel = format!("/executions/{id}/cancel");
    for _ in 0..2 {
        let cancelled = as_tenant(&service, "acme", "POST", &cancel, None).await;
        assert_eq!(
            (cancelled.status, &cancelled.body["status"]),
            (200, &json!("cancelled"))
        );
    }
    let signal = format!("/executions/{id}/signals/go");
    let late = as_tenant(&service, "acme", "POST", &signal, None).await;
    assert_eq!(refusal(&late), (409, "EXECUTION_ENDED"));
    let deleted = service
        .request("DELETE", "/workflows/greet")
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(
        refusal(&service.post(path, &call).await),
        (404, "WORKFLOW_UNKNOWN")
    );
    let kept = as_tenant(&service, "acme", "GET", &format!("/executions/{id}"), None).await;
    assert_eq!(kept.body["workflow"], "greet", "its runs stay");
    assert_eq!(
        service.post("/workflows", &workflow).await.status,
        201,
        "its name is free"
    );
}
