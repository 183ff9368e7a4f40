//! Passing calls on: headers, bodies, streams, and services that are not there.

use serde_json::json;

use super::{NOWHERE, PASSWORD, Stack, call, login, upstream};

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
    for path in ["/executions", "/api/dataflow/models", "/api/classify", "/mcp"] {
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
        .get(format!("{}/api/dataflow/data/redirect", stack.service.url()))
        .bearer_auth(&token);
    assert_eq!(
        call.send().await.unwrap().status(),
        302,
        "redirects are the caller's to follow"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited_and_streams_end_with_the_gateway() {
    let echo = upstream::echo().await;
    let stack = Stack::start(&echo).await;
    let token = stack.token().await;
    let large = stack
        .service
        .request("POST", "/api/dataflow/data/M")
        .bearer_auth(&token)
        .body(vec![b'x'; 11 << 20]);
    let refused = large.send().await.unwrap();
    assert_eq!(refused.status(), 413);
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "BODY_TOO_LARGE");

    let stream = stack
        .service
        .request("GET", "/api/dataflow/data/stream")
        .bearer_auth(&token);
    let mut open = stream.send().await.unwrap();
    assert_eq!(
        open.chunk().await.unwrap().as_deref(),
        Some(&b"data: first\n\n"[..])
    );
    // One that answers a POST ends with its work, and is waited for.
    let work = stack.service.request("POST", "/api/dataflow/data/work");
    let mut work = work.bearer_auth(&token).send().await.unwrap();
    assert_eq!(
        work.chunk().await.unwrap().as_deref(),
        Some(&b"data: first\n\n"[..])
    );
    let told = async {
        assert_eq!(open.chunk().await.unwrap(), None);
        reqwest::get(format!("{echo}/data/finish")).await.unwrap();
        assert_eq!(
            work.chunk().await.unwrap().as_deref(),
            Some(&b"data: last\n\n"[..])
        );
        assert_eq!(work.chunk().await.unwrap(), None);
    };
    assert_eq!(tokio::join!(stack.service.end(), told).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_away_from_all_tenants_is_the_operators() {
    let stack = Stack::start(&upstream::echo().await).await;
    let ada = stack.token().await;
    let user = json!({ "username": "dep", "password": PASSWORD, "role": "deployer", "tenant": "other" });
    let made = call(&stack.service, "POST", "/users", &ada, Some(user)).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let dep = login(&stack.service, "dep", PASSWORD).await["access_token"].clone();
    let dep = dep.as_str().unwrap();
    let model = json!({ "name": "Product", "fields": {} });
    let confirmed = json!({ "name": "Product", "fields": {}, "confirm": true });
    for (method, path, body, expected) in [
        ("POST", "models", Some(&model), 200),
        ("POST", "migrations/plan", Some(&model), 200),
        ("POST", "migrations/apply", Some(&model), 200),
        ("POST", "migrations/apply", Some(&confirmed), 403),
        ("POST", "migrations/rollback/1", None, 403),
        ("DELETE", "models/Product", None, 403),
    ] {
        let path = format!("/api/dataflow/{path}");
        let theirs = call(&stack.service, method, &path, dep, body.cloned()).await;
        assert_eq!(theirs.0, expected, "{method} {path}: {}", theirs.1);
        let ours = call(&stack.service, method, &path, &ada, body.cloned()).await;
        assert_eq!(ours.0, 200, "{method} {path}: {}", ours.1);
        // What was looked into arrives whole.
        let bytes = body.map_or(0, |body| body.to_string().len());
        for (status, seen) in [theirs, ours] {
            assert!(status == 403 || seen["bytes"] == bytes, "{seen}");
        }
    }
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
