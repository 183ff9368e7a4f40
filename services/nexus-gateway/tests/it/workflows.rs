//! Workflows over HTTP, in front of a real engine and shared by two replicas.
#![expect(
    clippy::unwrap_used,
    reason = "the scenes of a test are functions; what panics there fails it"
)]

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{
    rig::{Rig, Stream, ask, refusal},
    socket,
};

#[tokio::test(flavor = "multi_thread")]
async fn workflows_are_registered_run_followed_and_removed() {
    let rig = Rig::start().await;
    rig.register().await;
    what_is_listed_exists(&rig).await;
    inputs_are_bound_by_one_rule(&rig).await;
    a_run_has_a_status(&rig).await;
    a_stream_comes_as_it_happens(&rig).await;
    runs_are_signalled_and_asked(&rig).await;
    both_replicas_count_together(&rig).await;
    roles_and_tenants_are_kept_apart(&rig).await;
    what_is_removed_is_gone(&rig).await;
    let (one, token, engine) = (rig.one, rig.token, rig.engine);
    drop(engine);
    let away = ask(&one, &token, "GET", "/workflows", None).await;
    // 502 where the call found a connection that broke, 503 where it found none.
    assert!(
        matches!(refusal(&away), (502 | 503, "UPSTREAM_UNAVAILABLE")),
        "{away:?}"
    );
}

async fn what_is_listed_exists(rig: &Rig) {
    let bare = rig.one.get("/").await;
    assert_eq!((bare.status, &bare.body["workflows"]), (200, &Value::Null));
    let root = rig.get("/").await.body;
    assert_eq!(root["workflows"], json!(["greet", "hold"]));
    for (name, path) in root["links"].as_object().unwrap() {
        if name != "events" {
            assert_eq!(rig.get(path.as_str().unwrap()).await.status, 200, "{path}");
        }
    }
    let listed = ask(&rig.two, &rig.token, "GET", "/workflows", None).await.body;
    let greet = &listed["greet"];
    let keys: Vec<&String> = greet.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["description", "endpoints", "tags", "type", "version"]);
    assert_eq!(
        (&greet["type"], &greet["description"], &greet["tags"]),
        (&json!("workflow"), &json!("says hello"), &json!(["demo"]))
    );
    let run = rig
        .post(
            "/workflows/greet/execute",
            &json!({ "inputs": { "name": "you" } }),
        )
        .await
        .body;
    let endpoints = greet["endpoints"].as_array().unwrap();
    for path in endpoints.iter().map(|path| path.as_str().unwrap()) {
        let path = path.replace("{execution_id}", run["execution_id"].as_str().unwrap());
        let method = if path.ends_with("execute") || path.ends_with('/') {
            "POST"
        } else {
            "GET"
        };
        let body = json!({ "inputs": { "name": "you" } });
        let answer = ask(&rig.one, &rig.token, method, &path, Some(&body)).await;
        assert_eq!(answer.status, 200, "{method} {path}: {:?}", answer.body);
    }
    let info = rig.get("/workflows/greet/workflow/info").await.body;
    assert_eq!(info["inputs_schema"]["required"], json!(["name"]));
    assert_eq!(
        (&info["workflow_id"], &info["nodes"][0]["id"]),
        (&run["workflow_id"], &json!("say"))
    );
    let unknown = rig.get("/workflows/greet/schema").await;
    assert_eq!(refusal(&unknown), (404, "ENDPOINT_UNKNOWN"));
    assert_eq!(unknown.body["path"], "/workflows/greet/schema");
    assert_eq!(unknown.body["available_endpoints"], greet["endpoints"]);
}

async fn inputs_are_bound_by_one_rule(rig: &Rig) {
    let echo = json!({
        "name": "echo",
        "nodes": [{ "id": "all", "type": "Transform", "config": { "set": {
            "name": { "$from": "name" }, "whole": { "$from": "parameters" },
        } } }],
    });
    assert_eq!(rig.post("/workflows", &echo).await.status, 201);
    let run = async |body: Value| {
        let answer = rig.post("/workflows/echo/execute", &body).await;
        (answer.status, answer.body["outputs"]["all"].clone())
    };
    let bound = json!({ "name": 1, "whole": { "name": 1, "parameters": 2 } });
    assert_eq!(
        run(json!({ "parameters": { "name": 1, "parameters": 2 } })).await,
        (200, bound),
        "the envelope wins"
    );
    let untouched = json!({ "name": 1, "whole": "mine" });
    assert_eq!(
        run(json!({ "inputs": { "name": 1, "parameters": "mine" }, "parameters": { "name": 2 } })).await,
        (200, untouched)
    );
    for (body, code, field) in [
        (json!({ "inputs": [1] }), "INPUTS_INVALID", json!("inputs")),
        (
            json!({ "inputs": { "__class__": 1 } }),
            "INPUTS_INVALID",
            json!("inputs.__class__"),
        ),
        (
            json!({ "parameters": { "exec": 1 } }),
            "INPUTS_INVALID",
            json!("parameters.exec"),
        ),
        (json!({ "mode": "later" }), "CALL_INVALID", Value::Null),
    ] {
        let answer = rig.post("/workflows/echo/execute", &body).await;
        assert_eq!(
            (refusal(&answer), &answer.body["field"]),
            ((422, code), &field),
            "{body}"
        );
    }
    let missing = rig.post("/workflows/greet/execute", &json!({})).await;
    assert_eq!(missing.status, 422, "{:?}", missing.body);
    assert_eq!(missing.body["code"], "INPUTS_INVALID");
    let empty = rig
        .one
        .request("POST", "/workflows/greet/")
        .bearer_auth(&rig.token);
    assert_eq!(empty.send().await.unwrap().status(), 422, "no body binds nothing");
    let untyped = rig
        .one
        .request("POST", "/workflows/greet/execute")
        .bearer_auth(&rig.token);
    let untyped = untyped.body("{\"inputs\":{}}").send().await.unwrap();
    assert_eq!(untyped.status(), 415, "a body without its type is not ignored");
    let answer = rig.post("/workflows/nobody/execute", &json!({})).await;
    assert_eq!(refusal(&answer), (404, "WORKFLOW_UNKNOWN"));
    for name in ["a%3Cb", "a%2Fb", &"n".repeat(129)] {
        let answer = rig.post(&format!("/workflows/{name}/execute"), &json!({})).await;
        assert_eq!(refusal(&answer), (422, "NAME_INVALID"), "{name}");
    }
}

async fn a_run_has_a_status(rig: &Rig) {
    let call = |mode: &str| json!({ "inputs": { "name": "you" }, "mode": mode });
    let told = rig.post("/workflows/greet/execute", &call("sync")).await.body;
    assert_eq!(told["outputs"], json!({ "say": { "text": "hello you" } }));
    assert!(told["execution_time"].is_f64() && told["version"] == "1.0.0");
    let accepted = rig.post("/workflows/greet/execute", &call("async")).await.body;
    assert_eq!(accepted["status"], "pending");
    let id = accepted["execution_id"].as_str().unwrap();
    rig.until(id, "completed").await;
    let path = format!("/workflows/greet/status/{id}");
    let status = ask(&rig.two, &rig.token, "GET", &path, None).await.body;
    assert_eq!(
        (&status["status"], &status["result"]["outputs"]),
        (&json!("completed"), &told["outputs"])
    );
    let others = rig.get(&format!("/workflows/hold/status/{id}")).await;
    assert_eq!(refusal(&others), (404, "EXECUTION_UNKNOWN"));
    let none = rig.get("/workflows/greet/status/0").await;
    assert_eq!(refusal(&none), (404, "EXECUTION_UNKNOWN"));
    let failed = json!({
        "name": "fails",
        "nodes": [{ "id": "all", "type": "Transform", "config": { "set": { "x": { "$from": "nothing" } } } }],
    });
    assert_eq!(rig.post("/workflows", &failed).await.status, 201);
    let sync = rig.post("/workflows/fails/execute", &json!({})).await;
    assert!(sync.status >= 400, "{:?}", sync.body);
    let accepted = rig
        .post("/workflows/fails/execute", &json!({ "mode": "async" }))
        .await;
    let id = accepted.body["execution_id"].as_str().unwrap();
    rig.until(id, "failed").await;
    let status = rig.get(&format!("/workflows/fails/status/{id}")).await.body;
    assert_eq!(
        (&status["error"]["code"], &status["status_code"]),
        (&sync.body["code"], &json!(sync.status)),
        "{status}"
    );
    // The same by the other channel.
    let mut socket = socket::connected(rig.two.url(), &rig.token).await;
    let called = socket::ask(&mut socket, "workflow.run", json!({ "workflow": "fails" })).await;
    let data = &called["error"]["data"];
    assert_eq!(
        (&called["error"]["code"], &data["code"], &data["status"]),
        (&json!(-32000), &sync.body["code"], &json!(sync.status)),
        "{called}"
    );
    assert_eq!(called["error"]["message"], sync.body["error"]);
}

async fn a_stream_comes_as_it_happens(rig: &Rig) {
    let request = rig.one.request("POST", "/workflows/hold/execute");
    let request = request.bearer_auth(&rig.token).json(&json!({ "mode": "stream" }));
    let mut stream = Stream::open(request).await;
    let start = stream.next().await.unwrap();
    assert_eq!(start.name, "start");
    let id = start.data["execution_id"].as_str().unwrap();
    rig.until(id, "waiting").await;
    let signal = rig
        .post(&format!("/workflows/{id}/signals/go"), &json!({ "by": "test" }))
        .await;
    assert_eq!(signal.status, 202, "{:?}", signal.body);
    let complete = stream.next().await.unwrap();
    assert_eq!(complete.name, "complete");
    assert_eq!(
        complete.data["result"]["outputs"]["wait"]["payload"],
        json!({ "by": "test" })
    );
    assert_eq!(stream.next().await, None);
    let refused = rig
        .post("/workflows/nobody/execute", &json!({ "mode": "stream" }))
        .await;
    assert_eq!(refusal(&refused), (404, "WORKFLOW_UNKNOWN"));
}

async fn runs_are_signalled_and_asked(rig: &Rig) {
    let id = rig.held().await;
    let status = rig.get(&format!("/workflows/{id}/queries/status")).await.body;
    assert_eq!(status["result"]["waiting_for"], json!(["go"]));
    let unknown = rig.get(&format!("/workflows/{id}/queries/weather")).await;
    assert_eq!(unknown.status, 404, "{:?}", unknown.body);
    let unknown = rig
        .post(&format!("/workflows/{id}/signals/stop"), &json!({}))
        .await;
    assert_eq!(refusal(&unknown), (404, "SIGNAL_UNKNOWN"));
    let path = format!("/workflows/{id}/signals/go");
    let signal = ask(&rig.two, &rig.token, "POST", &path, Some(&json!({}))).await;
    assert_eq!((signal.status, &signal.body["signal"]), (202, &json!("go")));
    rig.until(&id, "completed").await;
    let late = rig.post(&format!("/executions/{id}/cancel"), &json!({})).await;
    assert_eq!(refusal(&late), (409, "EXECUTION_ENDED"));
    let id = rig.held().await;
    let cancelled = rig.post(&format!("/executions/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 200, "{:?}", cancelled.body);
    rig.until(&id, "cancelled").await;
    let listed = rig.get("/executions?workflow=hold&status=cancelled").await.body;
    assert_eq!(listed["executions"][0]["execution_id"], json!(id));
    let malformed = rig.get("/workflows/a:b/queries/status").await;
    assert_eq!(refusal(&malformed), (422, "EXECUTION_ID_INVALID"));
}

/// 100 within 60 s for each run, whichever replica is asked.
async fn both_replicas_count_together(rig: &Rig) {
    let (id, other) = (rig.held().await, rig.held().await);
    let path = format!("/workflows/{id}/queries/status");
    let asked = (0..120).map(|call| {
        let service = if call % 2 == 0 { &rig.one } else { &rig.two };
        ask(service, &rig.token, "GET", &path, None)
    });
    // Few at once: the engine would refuse a crowd by itself.
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(6).collect().await;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(taken, 100);
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    for answer in &refused {
        assert_eq!(refusal(answer), (429, "RATE_LIMIT_EXCEEDED"));
        assert_eq!(answer.body["error"], "Rate limit exceeded");
    }
    let call = rig.two.request("POST", &format!("/workflows/{id}/signals/go"));
    let signal = call
        .bearer_auth(&rig.token)
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(signal.status(), 429, "signals count with queries");
    let wait_s: u64 = signal.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait_s), "{wait_s}");
    let free = rig.get(&format!("/workflows/{other}/queries/status")).await;
    assert_eq!(free.status, 200, "another run is not held up");
}

async fn roles_and_tenants_are_kept_apart(rig: &Rig) {
    let user = rig.user("una", "user", "default").await;
    let definition = json!({ "name": "hers", "nodes": [{ "id": "a", "type": "Transform", "config": { "set": { "x": 1 } } }] });
    for (method, path, body) in [
        ("POST", "/workflows", Some(&definition)),
        ("DELETE", "/workflows/greet", None),
    ] {
        let answer = ask(&rig.one, &user, method, path, body).await;
        assert_eq!(answer.status, 403, "{:?}", answer.body);
        assert!(!answer.body.to_string().contains("deployer"));
    }
    for name in ["ping", "session.mine"] {
        let shadowed = json!({ "name": name, "nodes": definition["nodes"] });
        let answer = rig.post("/workflows", &shadowed).await;
        assert_eq!(refusal(&answer), (422, "NAME_RESERVED"));
    }
    let deployer = rig.user("dep", "deployer", "other").await;
    let removal = ask(&rig.one, &deployer, "DELETE", "/workflows/greet", None).await;
    assert_eq!(refusal(&removal), (403, "FORBIDDEN"), "it is all tenants'");
    let answer = ask(&rig.one, &deployer, "POST", "/workflows", Some(&definition)).await;
    assert_eq!(answer.status, 201);
    let id = rig.held().await;
    for (method, path) in [
        ("GET", format!("/executions/{id}")),
        ("GET", format!("/workflows/hold/status/{id}")),
        ("GET", format!("/workflows/{id}/queries/status")),
        ("POST", format!("/workflows/{id}/signals/go")),
        ("POST", format!("/executions/{id}/cancel")),
    ] {
        let body = (method == "POST").then(|| json!({}));
        let theirs = ask(&rig.one, &deployer, method, &path, body.as_ref()).await;
        assert_eq!(refusal(&theirs), (404, "EXECUTION_UNKNOWN"), "{method} {path}");
    }
    let own = ask(&rig.one, &user, "GET", &format!("/executions/{id}"), None).await;
    assert_eq!(own.status, 200, "the same tenant's run");
}

async fn what_is_removed_is_gone(rig: &Rig) {
    let held = ask(&rig.one, &rig.token, "DELETE", "/workflows/hold", None).await;
    assert_eq!(held.status, 409, "runs are active: {:?}", held.body);
    let gone = ask(&rig.one, &rig.token, "DELETE", "/workflows/echo", None).await;
    assert_eq!(gone.status, 204);
    for path in ["/workflows/echo/health", "/workflows/echo/workflow/info"] {
        let answer = ask(&rig.two, &rig.token, "GET", path, None).await;
        assert_eq!(refusal(&answer), (404, "WORKFLOW_UNKNOWN"), "{path}");
    }
    let listed = ask(&rig.two, &rig.token, "GET", "/workflows", None).await.body;
    assert!(listed["echo"].is_null() && listed["greet"].is_object());
}
