//! The protocol over HTTP: both kinds of revisions, and what is refused before any tool is reached.

use serde_json::{Value, json};

use super::{classifier, client::Client, client::last_message, mcp_server};

const STATELESS: &str = "2026-07-28";

/// What every request of the revision without sessions carries in `_meta`.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
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
    assert_eq!(names, ["channel_status", "classify_product"]);
}

#[tokio::test]
async fn the_revision_without_sessions_works_on_the_same_path() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let client = Client::new(&service);
    let call = |method: &str, name: Option<&str>, params: Value| {
        let message = super::client::request(method, params);
        let mut post = client
            .post(&message)
            .header("mcp-protocol-version", STATELESS)
            .header("mcp-method", method);
        if let Some(name) = name {
            post = post.header("mcp-name", name);
        }
        async move {
            let answer = post.send().await.unwrap();
            last_message(&answer.text().await.unwrap())
        }
    };
    let listed = call("tools/list", None, json!({ "_meta": meta() })).await;
    assert_eq!(
        listed["result"]["tools"].as_array().map(Vec::len),
        Some(2),
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
    let list = super::client::request("tools/list", json!({}));
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
