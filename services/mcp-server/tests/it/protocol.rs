//! The protocol over HTTP: both kinds of revisions, and what is refused before any tool is reached.

use std::sync::Arc;

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::{PATIENCE, Service, wait_for};
use tokio::sync::Semaphore;

use super::{Silent, classifier, client::Client, client::last_message, client::request, mcp_server, serve};

const STATELESS: &str = "2026-07-28";

/// What every request of the revision without sessions carries in `_meta`.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// A request of the revision without sessions.
fn stateless(service: &Service, method: &str, name: Option<&str>, params: Value) -> reqwest::RequestBuilder {
    let post = Client::new(service)
        .post(&request(method, params))
        .header("mcp-protocol-version", STATELESS)
        .header("mcp-method", method);
    match name {
        Some(name) => post.header("mcp-name", name),
        None => post,
    }
}

#[tokio::test]
async fn a_session_initialises_and_lists() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let (client, said) = Client::initialised(&service).await;
    assert_eq!(said["serverInfo"]["name"], "mcp-server");
    assert_eq!(said["protocolVersion"], "2025-06-18");
    let listed = client.ask("tools/list", json!({})).await;
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "channel_status",
            "classify_product",
            "execute_workflow",
            "get_workflow_schema",
            "list_workflows",
            "session_get",
            "session_update"
        ]
    );
}

#[tokio::test]
async fn the_revision_without_sessions_works_on_the_same_path() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let call = async |method: &str, name: Option<&str>, params: Value| {
        let answer = stateless(&service, method, name, params).send().await.unwrap();
        last_message(&answer.text().await.unwrap())
    };
    let listed = call("tools/list", None, json!({ "_meta": meta() })).await;
    assert_eq!(
        listed["result"]["tools"].as_array().map(Vec::len),
        Some(7),
        "{listed}"
    );
    let params =
        json!({ "name": "classify_product", "arguments": { "text": "claw hammer" }, "_meta": meta() });
    let called = call("tools/call", Some("classify_product"), params).await;
    assert_eq!(
        called["result"]["structuredContent"]["unspsc"]["code"], "10101001",
        "{called}"
    );
}

#[tokio::test]
async fn foreign_hosts_and_browsers_are_refused() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let list = request("tools/list", json!({}));
    let client = Client::new(&service);
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let answer = client.post(&list).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{name}");
    }
    let answer = client
        .post(&list)
        .header("host", "own.mcp-server:3000")
        .send()
        .await
        .unwrap();
    assert_ne!(answer.status(), 403);
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_end() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let session = client.post(&json!({})).build().unwrap().headers()["mcp-session-id"].clone();
    let stream = service
        .request("GET", "/mcp")
        .header("accept", "text/event-stream");
    let open = stream.header("mcp-session-id", session).send().await.unwrap();
    assert_eq!(open.status(), 200);
    // The drain timeout is 30 s, and the patience of `end` 20 s.
    assert_eq!(service.end().await, Some(0));
}

#[tokio::test]
async fn a_call_in_flight_is_answered_before_the_end() {
    let held = Arc::new(Semaphore::new(0));
    let permits = held.clone();
    let silent = Silent::default();
    let asked = silent.clone();
    let classify = async move || {
        tokio::select! {
            answer = asked.answer() => answer,
            _ = permits.acquire() => Json(json!({ "unspsc": { "code": "10101001" } })),
        }
    };
    let url = serve(Router::new().route("/classify", post(classify))).await;
    let service = mcp_server()
        .set("CLASSIFICATION_URL", url)
        .set("TOOL_TIMEOUT", "60")
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let call = json!({ "name": "classify_product", "arguments": { "text": "claw hammer" } });
    let answer = client.post(&request("tools/call", call)).send().await.unwrap();
    silent.is_asked(1).await;

    let ready = format!("{}/ready", service.url());
    let ending = tokio::spawn(service.end());
    wait_for("the drain", PATIENCE, async || {
        // The head of the call's answer has gone out: it may be that nobody is admitted any more.
        let Ok(answer) = reqwest::get(&ready).await else {
            return Some(());
        };
        let ready = answer.text().await.unwrap_or_default();
        ready.contains("draining").then_some(())
    })
    .await;
    held.add_permits(1);
    let answer = last_message(&answer.text().await.unwrap());
    assert_eq!(
        answer["result"]["structuredContent"]["unspsc"]["code"], "10101001",
        "{answer}"
    );
    assert_eq!(ending.await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_call_that_its_client_gives_up_gives_its_run_up() {
    let silent = Silent::default();
    let run = silent.clone();
    let execute = post(move |Json(call): Json<Value>| {
        assert_eq!(call["cancel_on_disconnect"], true);
        run.answer()
    });
    let url = serve(Router::new().route("/workflows/{name}/execute", execute)).await;
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .set("WORKFLOW_URL", url)
        .set("WORKFLOW_TIMEOUT", "120")
        .start()
        .await;
    let call = json!({ "name": "execute_workflow", "arguments": { "workflow_name": "intake" } });

    // Without a session: by closing its stream.
    let mut params = call.clone();
    params["_meta"] = meta();
    let call_of = stateless(&service, "tools/call", Some("execute_workflow"), params);
    let calling = tokio::spawn(call_of.send());
    silent.is_asked(1).await;
    calling.abort();
    silent.is_asked(0).await;

    // With one: by saying so. Closing the stream is none: who comes back may have the answer.
    let (client, _) = Client::initialised(&service).await;
    let answer = client.post(&request("tools/call", call)).send().await.unwrap();
    silent.is_asked(1).await;
    drop(answer);
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    assert_eq!(client.post(&told).send().await.unwrap().status(), 202);
    silent.is_asked(0).await;
}
