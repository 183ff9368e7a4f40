//! Passing calls on: headers, bodies, streams, and services that are not there.

use serde_json::json;

use super::{NOWHERE, Stack, upstream};

#[tokio::test(flavor = "multi_thread")]
async fn identity_is_the_gateways_and_ids_go_along() {
    let stack = Stack::start(&upstream::echo().await).await;
    let call = stack.service.request("POST", "/api/dataflow/models?strict=true");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = call
        .bearer_auth(stack.token().await)
        .header("x-user", "root")
        .header("x-tenant-id", "other")
        .header("x-request-id", "r-1")
        .header("traceparent", trace)
        .json(&json!({ "name": "Product" }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-request-id"], "r-1");
    let seen: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(
        (&seen["method"], &seen["uri"]),
        (&json!("POST"), &json!("/models?strict=true"))
    );
    let headers = &seen["headers"];
    assert_eq!(
        (&headers["x-user"], &headers["x-tenant-id"]),
        (&json!("ada"), &json!("default"))
    );
    assert_eq!(headers["x-request-id"], "r-1");
    assert!(
        headers["traceparent"]
            .as_str()
            .unwrap()
            .starts_with("00-0af7651916cd43dd8448eb211c80319c-")
    );
    assert!(
        !headers["traceparent"]
            .as_str()
            .unwrap()
            .contains("b7ad6b7169203331"),
        "a span of its own"
    );
    assert!(
        headers["authorization"].is_null(),
        "the token stays at the gateway"
    );
    assert_eq!(seen["bytes"], json!(18));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_without_a_token_and_nothing_but_what_is_listed() {
    let stack = Stack::start(&upstream::echo().await).await;
    for path in [
        "/workflows",
        "/workflows/x/execute",
        "/api/dataflow/models",
        "/api/classify",
        "/mcp",
    ] {
        let answer = stack.service.get(path).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (401, Some("missing_token")),
            "{path}"
        );
    }
    let token = stack.token().await;
    for path in ["/api/dataflow/metrics", "/api/else", "/mcp/x"] {
        assert_eq!(stack.get(path, &token).await.0, 404, "{path}");
    }
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let call = http
        .get(format!("{}/workflows/redirect/x", stack.service.url()))
        .bearer_auth(&token);
    assert_eq!(
        call.send().await.unwrap().status(),
        302,
        "redirects are the caller's to follow"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited_and_streams_end_with_the_gateway() {
    let stack = Stack::start(&upstream::echo().await).await;
    let token = stack.token().await;
    let large = stack
        .service
        .request("POST", "/workflows")
        .bearer_auth(&token)
        .body(vec![b'x'; 11 << 20]);
    let refused = large.send().await.unwrap();
    assert_eq!(refused.status(), 413);
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "BODY_TOO_LARGE");

    let stream = stack
        .service
        .request("GET", "/workflows/stream/x")
        .bearer_auth(&token);
    let mut open = stream.send().await.unwrap();
    assert_eq!(
        open.chunk().await.unwrap().as_deref(),
        Some(&b"data: first\n\n"[..])
    );
    assert_eq!(stack.service.end().await, Some(0));
    assert_eq!(open.chunk().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_service_is_told_with_a_code_and_in_time() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let token = stack.token().await;
    for path in ["/workflows", "/api/dataflow/models", "/api/classify"] {
        let (status, body) = stack.get(path, &token).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (503, Some("UPSTREAM_UNAVAILABLE")),
            "{path}"
        );
    }
}
