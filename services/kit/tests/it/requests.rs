//! What every service does with every request.

use serde_json::json;

use crate::tiny;

#[tokio::test]
async fn ids_are_echoed_and_problems_carry_them() {
    let service = tiny().start().await;
    let answer = service
        .request("GET", "/nowhere")
        .header("x-request-id", "r-7")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-request-id"]),
        (404, &"r-7".parse().unwrap())
    );
    let body: serde_json::Value = answer.json().await.unwrap();
    let wanted = json!({ "error": "no such resource", "code": "NOT_FOUND", "correlation_id": "r-7" });
    assert_eq!(body, wanted);
    let method = service.request("DELETE", "/echo").send().await.unwrap();
    assert_eq!(method.status(), 405);
}

#[tokio::test]
async fn bodies_and_times_have_limits() {
    let service = tiny()
        .set("BODY_LIMIT", "100")
        .set("REQUEST_TIMEOUT", "1")
        .start()
        .await;
    assert_eq!(service.post("/echo", &json!("x")).await.status, 200);
    let large = service.post("/echo", &json!("x".repeat(200))).await;
    assert_eq!(
        (large.status, &large.body["code"]),
        (413, &json!("BODY_TOO_LARGE"))
    );
    let late = service.get("/slow/5000").await;
    assert_eq!(
        (late.status, &late.body["code"]),
        (503, &json!("REQUEST_TIMEOUT"))
    );
}

#[tokio::test]
async fn metrics_count_by_route_and_tell_the_memory() {
    let service = tiny().start().await;
    assert_eq!(service.get("/slow/1").await.status, 200);
    let page = service.request("GET", "/metrics").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/plain; version=0.0.4");
    let text = page.text().await.unwrap();
    let counted = r#"http_requests_total{method="GET",route="/slow/{ms}",status="200"} 1"#;
    assert!(text.contains(counted), "{text}");
    assert!(text.contains("http_request_duration_seconds_bucket"), "{text}");
    let memory = text
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    assert!(memory.unwrap().parse::<f64>().unwrap() > 1e6);
    let version = service.get("/version").await.body;
    assert_eq!(
        (&version["name"], &version["version"]),
        (&json!("kit"), &json!(env!("CARGO_PKG_VERSION")))
    );
}
