//! The caller's session through the protocol, over a real Redis: the same state that other channels have.

use std::time::Duration;

use serde_json::{Value, json};
use sessions::{Channel, Limits, Mode, New, Owner, Store};
use testkit::Redis;

use super::{
    bare,
    client::{Client, last_message, request},
};

async fn call(client: &Client<'_>, headers: &[(&str, &str)], tool: &str, arguments: Value) -> Value {
    let message = request("tools/call", json!({ "name": tool, "arguments": arguments }));
    let post = headers.iter().fold(client.post(&message), |post, (name, value)| {
        post.header(*name, *value)
    });
    last_message(
        &post
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("an answer"),
    )["result"]
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_channel_is_seen_and_changed() {
    let redis = Redis::start().await;
    let service = bare()
        .set("WORKFLOW_URL", "http://127.0.0.1:9")
        .set("CLASSIFICATION_URL", "http://127.0.0.1:9")
        .set("REDIS_URL", redis.url());
    let service = service.start().await;
    let (mcp, _) = Client::initialised(&service).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let store = Store::new(client, Limits { per_user: 9 }).unwrap();
    let ada = Owner {
        user: "ada".to_owned(),
        tenant: "acme".to_owned(),
    };
    let new = New {
        ttl: Duration::from_secs(60),
        mode: Mode::Sliding,
        channel: Channel::Api,
        shared_data: json!({ "cart": [1] }).as_object().unwrap().clone(),
    };
    let id = store.create(&ada, &new).await.unwrap().session_id;
    let headers = [
        ("x-user", "ada"),
        ("x-tenant-id", "acme"),
        ("x-session-id", id.as_str()),
    ];

    let seen = call(&mcp, &headers, "session_get", json!({})).await;
    assert_eq!(seen["isError"], json!(false), "{seen}");
    assert_eq!(seen["structuredContent"]["shared_data"], json!({ "cart": [1] }));
    let change = json!({ "shared_data": { "step": 2 } });
    let changed = call(&mcp, &headers, "session_update", change).await;
    assert_eq!(
        changed["structuredContent"]["active_channels"],
        json!(["api", "mcp"]),
        "{changed}"
    );
    let kept = store.get(&ada, &id, Channel::Api).await.unwrap();
    assert_eq!(Value::Object(kept.shared_data), json!({ "cart": [1], "step": 2 }));

    let stranger = [
        ("x-user", "eve"),
        ("x-tenant-id", "acme"),
        ("x-session-id", id.as_str()),
    ];
    for (headers, arguments, code) in [
        (&stranger[..], json!({}), "SESSION_NOT_FOUND"),
        (&headers[..2], json!({}), "SESSION_UNNAMED"),
        (&headers[2..], json!({}), "CALLER_UNKNOWN"),
        (&headers[..], json!({ "session_id": id }), "INVALID_ARGUMENTS"),
    ] {
        let refused = call(&mcp, headers, "session_get", arguments).await;
        assert_eq!(refused["isError"], json!(true), "{refused}");
        assert_eq!(refused["structuredContent"]["code"], code);
    }
    let refused = call(&mcp, &headers, "session_update", json!({ "shared_data": 1 })).await;
    assert_eq!(refused["structuredContent"]["code"], "INVALID_ARGUMENTS");

    redis.stop().await;
    let refused = call(&mcp, &headers, "session_get", json!({})).await;
    assert_eq!(refused["structuredContent"]["code"], "SESSION_STORE_UNAVAILABLE");
    testkit::wait_for("degraded", testkit::PATIENCE, async || {
        let ready = service.get("/ready").await;
        (ready.status == 200 && ready.body["status"] == "degraded").then_some(())
    })
    .await;
}
